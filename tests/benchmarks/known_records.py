"""Records for tests: the kept one of engines, and a made-up one of streams and a camera."""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.docs import RESULTS
from i2i_sdk.perf.record import Conditions, Record, Row, make_record, read_record
from i2i_sdk.perf.timing import compute_statistics

MACHINE = {"cpu": "Example CPU avx2 avx512_bf16", "cores": 2, "system": "Linux x86_64", "torch": "2.13.0"}


def read_engines_record() -> Record:
    """Three models, one of them at three sizes, and the device's peaks."""
    return read_record(sorted(RESULTS.glob("engines_*.json"))[-1])


def make_live_record() -> Record:
    """A camera's results, and streams whose time grows with an exponent of 1.2."""
    generator = np.random.default_rng(1)
    noise = 1 + generator.gamma(2.0, 0.05, 300)
    medians = {"glass": 9.0, "capture": 4.0}
    times = {name: compute_statistics((ms * noise).tolist()) for name, ms in medians.items()}
    values = {"fps": 30.0, "dropped": 3.0, "cpu": 0.41, "camera_cpu": 0.1}
    rows = [Row("loopback camera", "identity", 720, 1280, times=times, values=values)]
    for streams in (1, 2, 4, 8):
        times = {"round": compute_statistics((7.0 * streams**1.2 * noise).tolist())}
        rows.append(Row("streams", "openvino-bf16", 256, 256, streams=streams, times=times))
    quiet = Conditions(412.0, 0.11, 2.04, others=0.01, stolen=0.0, slowdown=0.02)
    return make_record("live", "live: camera to result", tuple(rows), MACHINE, quiet)


def make_students_record() -> Record:
    """A teacher, a judged student with two variants, and one that was not judged."""
    judged = {"energy_least": 0.82, "energy_most": 1.1, "correlation": 0.84, "accepted": 0.9}
    found = [
        ("zebra, openvino-int8", 530.0, 11e6, {}),
        ("zebra_small, ort-fp32", 60.0, 1.4e6, judged),
        ("zebra_small, openvino-int8", 16.2, 0.4e6, judged),
        ("zebra_nano, openvino-int8", 7.4, 0.4e6, {}),
    ]
    rows: list[Row] = []
    for name, ms, size, effect in found:
        times = {"frame": dataclasses.replace(compute_statistics([ms] * 30), spread=0.02)}
        values = {"faster": 530 / ms, "size": size, **effect}
        rows.append(Row("zebra", name, 512, 512, times=times, values=values))
    conditions = Conditions(60.0, 0.1, 2.0, others=0.0, stolen=0.0, slowdown=0.0)
    baseline = "zebra, openvino-int8"
    return make_record("students", "students of zebra", tuple(rows), MACHINE, conditions, baseline=baseline)


def select_rows(record: Record, subject: str, suffix: str = "") -> Record:
    """Of one model, and something behind the names."""
    rows = [row for row in record.rows if row.subject == subject]
    named = [dataclasses.replace(row, subject=subject + suffix, name=row.name + suffix) for row in rows]
    return dataclasses.replace(record, rows=tuple(named))


def add_marks(record: Record, *marks: str) -> Record:
    """The same from a machine that was busy."""
    return dataclasses.replace(record, conditions=dataclasses.replace(record.conditions, marks=marks))
