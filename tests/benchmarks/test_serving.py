"""A short real run of the server's benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.serving import CASES, HEIGHT, WIDTH, ServingCase, ServingRun, measure_case, start_server
from benchmarks.support.identity import write_identity
from i2i_sdk.perf.record import VALUES


def test_a_run_becomes_a_row() -> None:
    run = ServingRun([10.0, 20.0, 30.0], dropped=1, seconds=0.5, server_cpu=0.25)
    row = run.to_row(ServingCase("all frames sent", True, None))
    assert (row.subject, row.name, row.height, row.width) == ("0.1 s engine", "all frames sent", 480, 640)
    assert row.times["glass"].median_ms == 20 and row.samples["glass"] == (10.0, 20.0, 30.0)
    assert row.values == {"fps": 6.0, "dropped": 1, "server_cpu": 0.25}
    assert set(row.values) <= set(VALUES)


def test_no_two_cases_have_the_same_key() -> None:
    rows = [ServingRun([1.0], seconds=1.0).to_row(case) for case in CASES]
    assert len({row.key for row in rows}) == len(CASES) == 5


def test_a_client_gets_pictures_from_a_server_of_its_own_process(tmp_path: Path) -> None:
    graph = write_identity(tmp_path / "identity.onnx", HEIGHT, WIDTH)
    with start_server(graph, slow=False) as (port, process):
        run = measure_case(port, process, 0.5, ServingCase("2 under way", False, 2))
    assert run.latencies and min(run.latencies) > 0 and run.dropped == 0
    assert run.to_row(CASES[0]).values["fps"] == pytest.approx(len(run.latencies) / run.seconds)
