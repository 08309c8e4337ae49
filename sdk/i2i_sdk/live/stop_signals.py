"""Signals that ask a program to end, and who handles them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

Handler = signal.Handlers | Callable[[int, FrameType | None], object]

INTERRUPT = (signal.SIGINT,)  # Ctrl-C
# From `kill`, `timeout` and a container's stop; SIGHUP from a terminal that is closed, which Windows has not.
TERMINATE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def handle_signals(numbers: tuple[signal.Signals, ...], handler: Handler) -> Generator[None]:
    """Meanwhile these signals go to `handler`, but for those that `nohup` switched off.

    Only the main thread may decide this; in another nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [n for n in numbers if n in INTERRUPT or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def delay_signals(numbers: tuple[signal.Signals, ...]) -> Generator[None]:
    """Handle the first of these signals at the end, and a second one at once, as KeyboardInterrupt.

    Those that no Python function handles stay as they are.
    """
    arrived: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        if arrived:
            raise KeyboardInterrupt
        arrived.append(number)

    with handle_signals(tuple(n for n in numbers if callable(signal.getsignal(n))), remember):
        yield
    if arrived:
        signal.raise_signal(arrived[0])
