"""What the WebSocket and POST share: turns at the engine, threads, figures.

A model translates one picture at a time. Whoever wants it waits for its turn in a queue, first come, first
served. A WebSocket stands in it once, however many frames it sends, and all POSTs together stand in it once:
so turns go round among clients, and none can starve another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TypeVar

from i2i_sdk.errors import InputError
from i2i_sdk.server import encoded_images
from i2i_sdk.server.encoded_images import Image
from i2i_sdk.server.models import Models, ServedModel
from i2i_sdk.server.prometheus import Metrics, StageTimings
from i2i_sdk.server.refusals import RefusedError
from i2i_sdk.server.schema import Encoding
from i2i_sdk.server.settings import Limits

log = logging.getLogger(__name__)

T = TypeVar("T")


class Service:
    """The models of one server, and its threads. For one event loop."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models, self.limits, self.metrics = models, limits, Metrics()
        # `async with service.turns[model.name]:` the engine is the caller's.
        self.turns = {model.name: asyncio.Lock() for model in models}
        self._posts = {model.name: asyncio.Lock() for model in models}
        self.pending = asyncio.Semaphore(limits.max_pending)  # POSTs that are here
        # One per engine, which is busy for long, and some for encoding meanwhile.
        self._threads = ThreadPoolExecutor(len(models) + (cpu_count() or 1), thread_name_prefix="i2i-serve")

    def close(self) -> None:
        """Wait for the engine calls under way and end the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def translate(self, model: ServedModel, data: bytes) -> tuple[Image, float, float]:
        """An encoded picture -> the translated one, uint8 BGR(A); milliseconds of decoding and of the engine.

        To be called in the model's turn. Raises RefusedError.
        """

        def work() -> tuple[Image, float, float]:
            start = time.perf_counter()
            image = encoded_images.decode(data, self.limits.max_pixels)
            decoded = time.perf_counter()
            result = model.translator(image)
            return result, (decoded - start) * 1000, (time.perf_counter() - decoded) * 1000

        return await self._run_in_thread(work)

    async def encode(self, image: Image, encoding: Encoding) -> tuple[bytes, float]:
        """A picture's file, and the milliseconds that it took. Raises RefusedError."""

        def work() -> tuple[bytes, float]:
            start = time.perf_counter()
            return encoded_images.encode(image, encoding), (time.perf_counter() - start) * 1000

        return await self._run_in_thread(work)

    async def translate_post(
        self, model: ServedModel, data: bytes, encoding: Encoding
    ) -> tuple[bytes, StageTimings]:
        """Translate one picture for a POST.

        Args:
            model: that translates it.
            data: a picture's file.
            encoding: of the answer.

        Returns:
            A picture's file, and where the time went.

        Raises:
            RefusedError: it cannot be read, translated or written.
        """
        arrived = time.perf_counter()
        async with self._posts[model.name], self.turns[model.name]:
            wait = (time.perf_counter() - arrived) * 1000
            image, decode, engine = await self.translate(model, data)
        encoded, encode = await self.encode(image, encoding)
        timings = StageTimings(wait, decode, engine, encode)
        self.metrics.count_translated(model.name, "post", timings)
        return encoded, timings

    async def _run_in_thread(self, work: Callable[[], T]) -> T:
        """Run `work` without blocking the event loop; what goes wrong becomes a RefusedError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RefusedError:
            raise
        except InputError as error:  # the picture does not suit the model, for example its fit
            raise RefusedError("cannot_translate", str(error)) from error
        except Exception as error:  # the engine failed; clients are told no more than that
            log.exception("a picture could not be translated")
            message = "the engine failed on this picture; the server's log says why"
            raise RefusedError("internal", message) from error
