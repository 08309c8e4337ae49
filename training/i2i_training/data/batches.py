"""Endless batches for training, exactly resumable."""

from __future__ import annotations

import logging
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i_sdk.errors import TrainingError
from i2i_training.data.augment import add_noise, crop, flip_randomly, jitter_colors, shrink
from i2i_training.data.batch_plan import BatchPlan, BatchPlanner
from i2i_training.data.data_options import DataOptions, check_data_options
from i2i_training.data.image_tensors import Image, decode, normalize_images
from i2i_training.data.labels import check_labels
from i2i_training.data.layout import HELD_OUT_EVERY, ImageFile, Split, find_layout
from i2i_training.data.scan import THREADS, extract_part, read_split, resize_part

PREFETCH_BATCHES = 2  # batches that are prepared while the network trains, where images must be decoded
GB = 10**9

log = logging.getLogger(__name__)

Crops = tuple[Image | None, Image, Image | None]  # of one sample: input, target, overview of the input


@dataclass(frozen=True)
class Batch:
    """float32 [N, C, crop, crop] in -1..1 on the device, RGB where C is 3; `a` is translated into `b`.

    The direction is applied: with BtoA, `a` is the data set's B. `a` is None for a single domain.
    """

    a: Tensor | None
    b: Tensor
    overviews: tuple[Tensor, ...] | None = None  # of the images that `a` was cut from: [C, h, w], shrunken


class TrainingData:
    """The training images of a recipe, as batches without end. For one thread; call `close` in the end.

    waited_s: seconds spent in `next` so far.
    description: what is read, in a few words.
    """

    def __init__(
        self,
        options: DataOptions,
        kind: str,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        overview_stride: int = 0,
    ) -> None:
        """Read and check the images, and begin at the first batch.

        Args:
            options: of the data set.
            kind: of the recipe, "paired", "unpaired" or "single".
            batch: images per step over all processes; `rank` of `world` gets its share. All processes draw
                the same plan, so that together they see what one alone would.
            seed: of the order, crops, flips and jitter.
            rank: number of this process, from 0.
            world: processes in all.
            overview_stride: pixels of an input that one of its overview is the mean of; 0 for no overviews.

        Raises:
            TrainingError: listing every file that cannot be used, for a layout that is not known, options
                that do not work, and label maps that are on the other side.
        """
        check_data_options(options)
        if batch % world:
            raise TrainingError(
                f"batch is {batch}; it must be a multiple of the number of processes, {world}"
            )
        layout = find_layout(Path(options.data), kind, options.direction, options.layout)
        train = replace(layout.train, is_paired=kind == "paired")
        max_bytes = options.cache_gb * GB
        split, kept = read_split(train, options, options.crop_size, max_bytes, should_log=rank == 0)
        check_labels([*split.inputs, *split.targets], options)
        self.wait_s = 0.0
        self._split, self._kept, self._options = split, kept, options
        self._overview_stride = overview_stride
        self._planner = BatchPlanner(len(split.inputs), len(split.targets), split.is_paired, seed)
        self._batch, share = batch, batch // world
        self._share = range(rank * share, (rank + 1) * share)  # which images of a batch are this process's
        self._files = _compute_fingerprint(split)
        everything = all(s in kept for s in (*split.inputs, *split.targets))
        self._pool = None if everything else ThreadPoolExecutor(THREADS, "i2i-data")
        self._pending: deque[tuple[BatchPlan, Iterator[Crops], dict[str, Any]]] = deque()
        self._state = self._planner.state_dict()  # after the batch that was handed out last
        counts = [len(x) for x in (split.inputs, split.targets) if x]
        what = f"{counts[0]} pairs" if split.is_paired else f"{' + '.join(map(str, counts))} images"
        self.description = f"{what}: {layout.name}"
        if rank == 0:
            log.info("training with %s", self.description)
            if layout.is_divided:
                log.warning("%s: every %dth is held out, since no others are", layout.name, HELD_OUT_EVERY)

    def next(self, device: torch.device | str) -> Batch:
        """The next batch, this process's share of it."""
        start = time.perf_counter()
        ahead = PREFETCH_BATCHES if self._pool else 0
        while len(self._pending) <= ahead:
            plan = self._planner.next(self._batch)
            self._pending.append((plan, self._crop_share(plan), self._planner.state_dict()))
        plan, cuts, state = self._pending.popleft()
        inputs, targets, overviews = zip(*cuts, strict=True)
        mine = slice(self._share.start, self._share.stop)
        a = None
        if plan.inputs:
            a = self._prepare_tensor(inputs, self._split.inputs[0].domain, plan.input_draws[mine], device)
        b = self._prepare_tensor(targets, self._split.targets[0].domain, plan.target_draws[mine], device)
        seen = None
        if self._overview_stride:
            draws, domain = plan.input_draws[mine].split(1), self._split.inputs[0].domain
            parts = [
                self._prepare_tensor([o], domain, d, device)[0] for o, d in zip(overviews, draws, strict=True)
            ]
            seen = tuple(parts)
        self._state = state
        self.wait_s += time.perf_counter() - start
        return Batch(a, b, seen)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and whole numbers: what comes after the batch that was handed out last."""
        return {**self._state, "files": self._files}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state` was taken. Raises TrainingError if it was taken with other images."""
        if state["files"] != self._files:
            raise TrainingError(
                f"{self._options.data}: not the images that the run began with, which had "
                f"{len(state['targets'])} targets where there are {len(self._split.targets)}, or other names "
                f"or another direction. Bring them back, or begin a new run"
            )
        self._pending.clear()
        self._planner.load_state_dict(state)
        self._state = self._planner.state_dict()

    def close(self) -> None:
        """End the threads. `next` cannot be called afterwards."""
        self._pending.clear()
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _crop_share(self, plan: BatchPlan) -> Iterator[Crops]:
        """Crops of this process's share, in order; begun at once where there are threads."""
        run = self._pool.map if self._pool else map
        return run(partial(self._crop_sample, plan), self._share)

    def _crop_sample(self, plan: BatchPlan, i: int) -> Crops:
        # Copies: a crop's view would keep an image alive that is not kept.
        size = self._options.crop_size
        target = self._split.targets[plan.targets[i]]
        if not plan.inputs:
            (b,) = self._read([target])
            return None, crop(b, size, plan.target_draws[i]).copy(), None
        a, b = self._read([self._split.inputs[plan.inputs[i]], target])
        cut = crop(a, size, plan.input_draws[i]).copy(), crop(b, size, plan.target_draws[i]).copy()
        return *cut, shrink(a, self._overview_stride) if self._overview_stride else None

    def _read(self, sources: Sequence[ImageFile]) -> list[Image]:
        """uint8 [H, W, C] of each source: from memory, or its file, decoded once for both halves."""
        decoded: dict[Path, Image] = {}
        images: list[Image] = []
        for source in sources:
            if source in self._kept:
                images.append(self._kept[source])
                continue
            try:
                if source.path not in decoded:
                    decoded[source.path] = decode(source.path)
                part = extract_part(decoded[source.path], source, self._options)
            except ValueError as error:
                raise TrainingError(f"{source.path}: {error}; it was good when training began") from error
            images.append(resize_part(part, source, self._options))
        return images

    def _prepare_tensor(
        self, crops: Sequence[Image], domain: str, draws: Tensor, device: torch.device | str
    ) -> Tensor:
        device = torch.device(device)
        stacked = torch.from_numpy(np.stack(crops))
        if device.type == "cuda":
            stacked = stacked.pin_memory()  # so that copying does not wait for the network
        images = stacked.to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous()
        if self._options.flip:
            images = flip_randomly(images, draws)
        values = normalize_images(images)
        if self._options.jitter and not self._options.are_labels(domain):
            values = jitter_colors(values, draws, self._options.jitter)
        return add_noise(values, draws, self._options.noise) if self._options.noise else values


def _compute_fingerprint(split: Split) -> int:
    """CRC-32 of the names of all images, in their order."""
    names = (f"{s.domain} {s.path.name}" for s in (*split.inputs, *split.targets))
    return zlib.crc32("\n".join(names).encode())
