"""`i2i bench`: every variant in a process of its own, a table and a file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from known_bundles import RunCommand, edit_manifest, hash_files

from i2i_sdk import Bundle
from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.perf.bench import ORT_DEFAULT, BenchOptions, bench_variants, collect_candidates
from i2i_sdk.perf.record import read_record

BRIEF_OPTIONS = ("--rounds", "6", "--seconds", "0")


def test_a_table_and_a_file(bundle: Bundle, run_command: RunCommand) -> None:
    before = hash_files(bundle.path)
    said = run_command("bench", bundle.path, *BRIEF_OPTIONS, "--batch", "1,2").out
    assert hash_files(bundle.path) == before
    record = read_record(Path("x.bench.json"))
    assert "written to x.bench.json" in said and f"next: i2i run {bundle.path} SOURCE -o OUT" in said
    runs = {v.name for v in bundle.manifest.variants if explain_unsupported_variant(v) is None}
    runs = {name.removesuffix("-24x40") for name in runs}
    for batch in (1, 2):
        rows = {row.name: row for row in record.rows if row.batch == batch and row.times}
        assert set(rows) == runs | {ORT_DEFAULT}
        assert rows[ORT_DEFAULT].values["faster"] == 1.0
        for name in runs:
            row = rows[name]
            assert (row.subject, row.height, row.width) == ("invert", 24, 40)
            assert row.values["psnr"] == 60.0 and row.values["faster"] > 0  # psnr: as the manifest says
            assert row.values["size"] > 0 and row.values["macs"] == batch * bundle.manifest.variants[0].macs
            assert row.times["frame"].runs == len(row.samples["frame"]) >= 6
            assert name in said
    assert record.baseline == ORT_DEFAULT and record.facts["quality"] == "as at export"
    assert record.conditions.seconds > 0
    quiet = "the machine was quiet: these figures can be a reference"
    assert (quiet in said) == record.is_trusted != ("NOT TO BE RELIED ON" in said)


def test_a_folder_of_bundles_is_measured_in_one_record(bundle: Bundle, run_command: RunCommand) -> None:
    for name in ("first", "second"):
        copy = Path(shutil.copytree(bundle.path, Path("both") / f"{name}.i2i"))
        edit_manifest(copy, lambda data, name=name: data["model"].update(name=name))
        edit_manifest(copy, lambda data: data.update(variants=data["variants"][:1]))
    run_command("bench", "both", *BRIEF_OPTIONS)
    record = read_record(Path("both.bench.json"))
    assert {row.subject for row in record.rows if row.times} == {"first", "second"}
    assert record.facts["bundle"] == "first.i2i, second.i2i"


def test_quality_can_be_measured_here(bundle: Bundle, photos: Path, run_command: RunCommand) -> None:
    run_command("bench", "x.i2i", *BRIEF_OPTIONS, "--frames", photos, "-o", "y.json")
    record = read_record(Path("y.json"))
    assert record.facts["quality"] == "measured here"
    measured = [row.values for row in record.rows if "psnr" in row.values]
    assert measured and all(v["psnr"] == 120.0 and v["frames"] == 3 for v in measured)


def test_what_does_not_run_says_why(bundle: Bundle, run_command: RunCommand) -> None:
    edit_manifest(bundle.path, lambda data: data["variants"][2].update(backend="abacus", name="strange"))
    edit_manifest(bundle.path, lambda data: data["variants"][0].update(max_batch=1))
    bundle = Bundle.read(bundle.path)
    _, reasons = collect_candidates(bundle, bundle.manifest.variants, 2, BenchOptions())
    assert reasons == {
        "strange": "backend 'abacus' is not known to this version",
        bundle.manifest.variants[0].name: "takes 1 frames at most",
    }
    said = run_command("bench", "x.i2i", *BRIEF_OPTIONS).out
    assert "strange: not run: backend 'abacus' is not known" in said
    (row,) = [row for row in read_record(Path("x.bench.json")).rows if row.name == "strange"]
    assert not row.times and not row.values


@pytest.mark.parametrize("words", [("bench", *BRIEF_OPTIONS), ("tune",), ("verify",)])
def test_nothing_that_runs_is_an_error(
    bundle: Bundle, run_command: RunCommand, words: tuple[str, ...]
) -> None:
    edit_manifest(bundle.path, lambda data: [v.update(backend="abacus") for v in data["variants"]])
    said = " ".join(run_command(words[0], "x.i2i", *words[1:], code=2).err.split())
    assert "no variant can run on this device: " in said and "backend 'abacus' is not known" in said
    assert not Path("x.bench.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to measure: i2i bench BUNDLE"),
        (["x.i2i", "--rounds", "5"], "--rounds 5: at least 6"),
        (["x.i2i", "--size", "99"], "--size 99: x.i2i has 24x40"),
        (["x.i2i", "--batch", "1,0"], "--batch 1,0: whole numbers from 1 to"),
        (["x.i2i", "--batch", "two"], "--batch two: whole numbers from 1"),
        (["x.i2i", "--batch", "9999"], "--batch 9999: whole numbers from 1 to"),
        (["x.i2i", "--seconds", "nan"], "--seconds nan: 0 or more"),
        (["x.i2i", "-o", "nowhere/y.json"], "there is no folder nowhere"),
        (["x.i2i", "--threads", "0"], "threads is 0"),
        (["x.i2i", "--provider", "abacus"], "abacus"),
    ],
)
def test_what_cannot_be_measured(
    bundle: Bundle, run_command: RunCommand, words: list[str], message: str
) -> None:
    assert message in " ".join(run_command("bench", *words, code=2).err.split())
    assert not Path("x.bench.json").exists()


def test_no_baseline_no_ratio(bundle: Bundle) -> None:
    rows, _ = bench_variants(bundle, bundle.manifest.variants, [], "nobody")
    assert rows and all("faster" not in row.values for row in rows)
