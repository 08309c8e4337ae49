"""What the project promises, checked where it is measured."""

from __future__ import annotations

from collections.abc import Mapping


def report_promises(promises: Mapping[str, bool]) -> int:
    """Print every promise with whether it held; 0 if all did, else 1: the exit code of a part."""
    for promise, kept in promises.items():
        print(f"{'holds' if kept else 'DOES NOT HOLD'}: {promise}")
    return 0 if all(promises.values()) else 1
