"""The format of results: what is written is read, what is not understood is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from i2i_sdk.errors import InputError
from i2i_sdk.perf.machine import describe_machine
from i2i_sdk.perf.record import (
    SCHEMA,
    TIMES,
    VALUES,
    Conditions,
    Record,
    Row,
    make_record,
    read_record,
    write_record,
)
from i2i_sdk.perf.timing import compute_statistics

SAMPLES = (10.0, 11.0, 12.0, 10.5)


def build_record(*rows: Row, marks: tuple[str, ...] = ()) -> Record:
    conditions, rows = Conditions(2.0, 0.1, 0.2, 0.0, 0.0, 0.01, marks=marks), rows or (make_row(),)
    return make_record("engines", "a title", rows, describe_machine(), conditions, baseline="eager")


def make_row(**changes: Any) -> Row:
    fields: dict[str, Any] = {"subject": "net", "name": "ort-fp32", "height": 256, "width": 256}
    fields |= {"times": {"frame": compute_statistics(SAMPLES)}, "samples": {"frame": SAMPLES}}
    fields |= {"values": {"psnr": 50.0, "memory": 1e8}, "notes": ("unsteady",)}
    return Row(**{**fields, **changes})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = build_record(make_row(), make_row(name="not run", times={}, samples={}, values={}))
    write_record(tmp_path / "deep" / "x.json", written)
    assert read_record(tmp_path / "deep" / "x.json") == written
    assert written.is_trusted and not build_record(marks=("busy",)).is_trusted


def test_every_figure_has_its_unit(tmp_path: Path) -> None:
    write_record(tmp_path / "x.json", build_record())
    data = json.loads((tmp_path / "x.json").read_text())
    assert data["units"] == {"psnr": "dB", "memory": "B", "frame": "ms"}
    assert data["schema"] == SCHEMA and data["created"].endswith("+00:00")
    assert all(quantity.unit and quantity.meaning for quantity in VALUES.values())
    assert not set(TIMES) & set(VALUES)


def test_a_quantity_that_nobody_defined_is_refused() -> None:
    with pytest.raises(KeyError, match="furlongs"):
        build_record(make_row(values={"furlongs": 1.0}))
    with pytest.raises(KeyError, match="moment"):
        build_record(make_row(times={"moment": compute_statistics(SAMPLES)}))


def test_figures_that_are_none_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(tmp_path / "x.json", build_record(make_row(values={"psnr": float("inf")})))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(schema=SCHEMA + 1), "schema 2; this version reads 1"),
        (lambda data: data.pop("schema"), "schema None"),
        (lambda data: data.update(extra=1), "record: unknown key 'extra'"),
        (lambda data: data["rows"][0].pop("subject"), r"record.rows\[0\]: the key 'subject' is missing"),
        (lambda data: data["rows"][0]["values"].update(furlongs=1), "the quantity 'furlongs' is not known"),
        (
            lambda data: data["rows"][0]["times"]["frame"].update(median_ms="fast"),
            r"record.rows\[0\].times.frame.median_ms: got str, expected float",
        ),
    ],
)
def test_what_is_not_understood_is_refused(
    tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    path = tmp_path / "x.json"
    write_record(path, build_record())
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        read_record(path)


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", "[" * 100_000])
def test_files_that_are_no_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.json: "):
        read_record(path)
    with pytest.raises(InputError, match="no benchmark's JSON"):
        read_record(tmp_path / "missing.json")


def test_rows_of_the_same_thing_agree_on_their_key() -> None:
    assert make_row().key == make_row(values={}, times={}, samples={}, notes=()).key
    for change in ({"batch": 4}, {"streams": 2}, {"height": 128}, {"name": "x"}, {"subject": "y"}):
        assert make_row().key != make_row(**change).key
