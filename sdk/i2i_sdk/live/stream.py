"""The live loop: capture, translate, present, with one slot between each.

    sources ──► [slots] ──► pictures ──► [slots] ──► whoever iterates, or the sinks
    a thread                a thread                 the caller's thread
    each

A source is opened, read and released in its own thread, which the caller can leave behind if it hangs.
A live source's newest frame wins; a file's frames all count, and wait. What goes wrong anywhere reaches the
caller.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import astuple, replace
from functools import partial

from i2i_sdk.errors import InputError
from i2i_sdk.files import Closing
from i2i_sdk.live.processor import FrameProcessor, ProcessedFrame, StreamOptions, TranslatingProcessor
from i2i_sdk.live.results import Latency, Recorder, Result, SourceStats, StreamStats, ViewState
from i2i_sdk.live.slot import LatestSlot
from i2i_sdk.live.sources.source import Captured, Event, Source
from i2i_sdk.live.stop_signals import INTERRUPT, TERMINATE, delay_signals, handle_signals

log = logging.getLogger(__name__)

# On their way to the translation, and to the caller; with their index among the frames of their source.
NumberedFrame = tuple[int, Captured]
NumberedPicture = tuple[int, Captured, ProcessedFrame]

IDLE_INTERVAL_S = 0.03  # between two looks at the keyboard while no frame comes
JOIN_TIMEOUT_S = 0.9  # `close` returns within a second


class Sink(ABC):
    """Takes results in the thread that called `Stream.run`.

    source: takes only the results of this source; None takes all. single: has room for one source only.
    """

    single = False

    def __init__(self, source: int | None = None) -> None:
        self.source = source

    def open(self, stream: Stream) -> None:  # noqa: B027  # most sinks need nothing
        """Called once, before the first result. If it raises, `close` is not called."""

    def write(self, result: Result) -> None:
        """Take a result. Raises MediaError or InputError if that fails, which ends the stream."""
        if self.source in (None, result.source):
            self.take(result)

    @abstractmethod
    def take(self, result: Result) -> None:
        """Take a result that is meant for this sink."""

    def idle(self) -> None:  # noqa: B027  # most sinks have nothing to do
        """Called between results, about thirty times a second while none comes."""

    def close(self) -> None:  # noqa: B027
        """Finish. Called for every sink that was opened, also after an error or Ctrl-C."""


class Stream(Closing):
    """A running translation of one or several sources. Made by `Translator.stream`; runs once.

    Iterate over it for results, or call `run` to hand them to the sinks. It starts with the first of these,
    and stops when all sources have ended, at `close`, or when the loop is left.

    view_state: how results are shown. paused: present nothing; files wait, cameras go on. translator: what
    translates. stabilize: whether pictures are steadied. These may be changed at any time.

    Thread safety: iterate in one thread; `close`, `stats` and the attributes above from any.

    Args:
        translator: of uint8 frames [H, W, 3] BGR.
        sources: one or more.
        sinks: for `run`; none to iterate.
        options: the picture, the view, and who is told of events.

    Raises:
        InputError: there is no source, a sink is none, or one has no room for several sources.
    """

    def __init__(
        self,
        translator: FrameProcessor,
        sources: Sequence[Source],
        sinks: Sequence[Sink],
        options: StreamOptions,
    ) -> None:
        if not sources:
            raise InputError("a stream needs at least one source")
        if not isinstance(sinks, list | tuple) or not all(isinstance(sink, Sink) for sink in sinks):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(f"sinks is a list of Sinks; got {sinks!r}")
        for sink in sinks:
            if sink.single and sink.source is None and len(sources) > 1:
                count, kind = len(sources), type(sink).__name__
                advice = f"give each a sink of its own: {kind}(…, source=0)"
                raise InputError(f"{count} sources do not go into one {kind}; {advice}")
        self.sources, self.sinks, self.options = tuple(sources), tuple(sinks), options
        self.translator, self.stabilize = translator, bool(options.stabilize)
        self.view_state = ViewState(options.view)
        self._maker = TranslatingProcessor(options, len(sources))
        keep_all = [not source.live for source in sources]
        self._captured: LatestSlot[NumberedFrame] = LatestSlot(keep_all)
        self._made: LatestSlot[NumberedPicture] = LatestSlot(keep_all)
        self._recorder = Recorder()
        self._recorders = [Recorder() for _ in sources]  # what is written over each source's pictures
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._started = self._closed = False
        self._unopened = len(sources)
        self._opened = threading.Event()  # all sources are, or the stream is closed
        self._final_stats: StreamStats | None = None

    def __iter__(self) -> Iterator[Result]:
        """Results as they come. Raises what went wrong in any stage: MediaError, BackendError …"""
        if self.sinks:
            raise InputError("this stream has sinks: call run(), or iterate over one that has none")
        self._claim()
        try:
            self._start()
            while not self._made.is_finished:
                yield from self._poll()
        finally:
            self.close()

    def run(self) -> StreamStats:
        """Hand every result to the sinks until the sources end or a sink calls `close`.

        Files are finished in every case, so that Ctrl-C leaves a video that plays. Raises what went wrong in
        any stage or sink, and KeyboardInterrupt.
        """
        if not self.sinks:
            raise InputError("run() hands results to sinks, and there are none; give sinks=[…], or iterate")
        self._claim()
        opened = ExitStack()
        opened.callback(self.close)
        try:
            self._start()
            if self._closed:
                return self.stats
            for sink in self.sinks:
                sink.open(self)
                opened.callback(sink.close)
            while not self._made.is_finished:
                # What is counted is in every sink, so that a recording has as many frames as are said.
                with delay_signals(INTERRUPT + TERMINATE):
                    self._present()
        finally:
            # A second Ctrl-C must not cost the recording.
            with handle_signals(INTERRUPT + TERMINATE, signal.SIG_IGN):
                opened.close()
        return self.stats

    def _present(self) -> None:
        """One result, if there is one, into the sinks."""
        for result in self._poll():
            for sink in self.sinks:
                sink.write(result)
        for sink in self.sinks:
            sink.idle()

    def _poll(self) -> list[Result]:
        """The next result, or none if none comes for a while or the stream is over."""
        if self.paused and not self._closed:
            time.sleep(IDLE_INTERVAL_S)
            return []
        results: list[Result] = []
        for source, made in self._made.take(1, IDLE_INTERVAL_S):
            result = self._make_result(source, made)
            self._recorder.add(result)
            self._recorders[source].add(result)
            results.append(result)
        return results

    @property
    def stats(self) -> StreamStats:
        """Rates, latencies and counts so far; after `close`, as they were then."""
        if self._final_stats is not None:
            return self._final_stats
        return self._recorder.collect_stats([*map(self._collect_source_stats, range(len(self.sources)))])

    def _collect_source_stats(self, source: int) -> SourceStats:
        dropped = self._captured.dropped[source] + self._made.dropped[source]
        of = self.sources[source]
        counts = of.captured, dropped + of.skipped, of.undecodable, of.reconnects
        return SourceStats(of.name, *counts, of.rate.per_second, of.width, of.height)

    @property
    def paused(self) -> bool:
        """Whether results are held back: a file waits, a camera goes on unseen."""
        return self.sources[0].paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        for source in self.sources:
            source.paused = paused

    def close(self) -> None:
        """Stop within a second, whatever the sources wait for. Calling it twice is allowed."""
        with self._lock:
            self._closed = True
            threads, self._threads = self._threads, []
        self._final_stats = self.stats
        self._captured.close()  # before the sources: an error that closing causes is none
        self._made.close()
        self._opened.set()
        for source in self.sources:
            source.close()
        deadline = time.perf_counter() + JOIN_TIMEOUT_S
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.perf_counter()))
        for thread in threads:
            if thread.is_alive() and thread is not threading.current_thread():
                log.warning("%s still waits for its source; it ends with the next frame", thread.name)

    def _claim(self) -> None:
        """Raise InputError for a second run, which must not end the first."""
        with self._lock:
            if self._started:
                raise InputError("a stream runs once; ask the translator for another one")
            self._started = True

    def _start(self) -> None:
        """Let the stages run, and wait until every source is open. Raises what went wrong with one."""
        for index, source in enumerate(self.sources):
            source.tell = partial(self._tell, index)
        stages = [(f"i2i-capture-{i}", self._capture, (i, s)) for i, s in enumerate(self.sources)]
        with self._lock:
            if self._closed:
                return
            for name, stage, arguments in [*stages, ("i2i-translate", self._translate, ())]:
                thread = threading.Thread(target=stage, args=arguments, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        while not self._opened.wait(IDLE_INTERVAL_S):
            self._made.take(0, 0)

    def _capture(self, number: int, source: Source) -> None:
        try:
            try:
                source.open()
                with self._lock:
                    self._unopened -= 1
                    if not self._unopened:
                        self._opened.set()
                self._opened.wait()  # no result before it is known that all are there
                if self._closed:
                    return
                for index, captured in enumerate(source.frames()):
                    source.captured += 1
                    source.height, source.width = captured.image.shape[:2]
                    source.rate.add(captured.arrived)
                    if not self._captured.put(number, (index, captured)):
                        return
                if not source.stopped.is_set():
                    self._tell(number, "ended", f"{source.name} has ended")
            finally:
                source.close()
                source.release()
            self._captured.end(number)
        except BaseException as error:
            self._captured.fail(error)

    def _translate(self) -> None:
        try:
            while True:
                batch = self._captured.take(self.translator.max_batch)
                if not batch:
                    break
                images = [(source, captured.image) for source, (_, captured) in batch]
                pictures = self._maker(images, self.translator, self.stabilize)
                for (source, numbered), finished in zip(batch, pictures, strict=True):
                    self._made.put(source, (*numbered, finished))
            for source in range(len(self.sources)):
                self._made.end(source)
        except BaseException as error:
            self._made.fail(error)

    def _make_result(self, source: int, picture: NumberedPicture) -> Result:
        index, captured, done = picture
        capture_ms, spent = (captured.ready - captured.arrived) * 1000, astuple(done.timings)
        wait_ms = (time.perf_counter() - captured.arrived) * 1000 - capture_ms - sum(spent)
        latency = Latency(capture_ms, wait_ms, *spent)
        look = replace(self.view_state, lines=(*self._format_overlay(source), *self.view_state.lines))
        time_ms, name = captured.time_ms, captured.name
        return Result(done.frame, done.output, index, source, time_ms, latency, done.repeated, name, look)

    def _format_overlay(self, source: int) -> tuple[str, ...]:
        """Rate and latency of the source, once something is known of them."""
        recorder = self._recorders[source]
        if not (self.options.overlay and recorder.presented):
            return ()
        return (recorder.collect_stats([self._collect_source_stats(source)]).format_line(),)

    def _tell(self, source: int, kind: str, message: str) -> None:
        """Something happened to a source; see `Event`."""
        if kind != "ended":
            log.warning("%s", message)
        if kind == "reconnected":
            self._maker.forget(source)
        if self.options.on_event is not None:
            self.options.on_event(Event(kind, source, self.sources[source].name, message))
