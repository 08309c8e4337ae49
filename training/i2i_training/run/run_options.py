"""The options of every run, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from i2i_training.data import DataOptions
from i2i_training.options import check_value, or_none
from i2i_training.run.schedules import Schedule

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]  # Fabric's; weights are never halved


@dataclass(frozen=True)
class RunOptions(DataOptions):
    # what the weights are, for their file and the bundle's manifest
    trained_on: str = "unknown"  # a few words about the data, for the manifest
    license: str = "unknown"  # of the weights, for the manifest
    # length and learning rate
    steps: int = 20000  # optimizer steps of the whole run; epochs x images / batch
    batch: int = 1  # images a step, over all processes
    schedule: Schedule = "linear"  # how the learning rate falls
    decay_from: float = 0.5  # share of the steps after which it falls; for step: between two drops
    ema: float = 0.0  # decay of a moving average of the weights, which is what is kept; 0 is off
    minutes: Annotated[float | None, or_none(float)] = None  # stop after so long; --resume goes on
    # machine
    precision: Precision = "32-true"  # of the computation; 16-mixed needs a GPU
    compile: bool = False  # compile the networks with torch.compile
    seed: int = 0  # of weights, order and augmentation
    # what is left behind
    out: str = "out/run"  # folder of the run
    overwrite: bool = False  # replace an earlier run in `out`
    save_every: int = 500  # steps between checkpoints, with held-out scores and sample grids
    log_every: int = 50  # steps between two rows of losses
    eval_images: int = 50  # held-out images that are scored
    best_by: str = "auto"  # the score that picks the best checkpoint; auto: l1 with pairs, else swd
    palette: str = "none"  # colors of label maps for pixel accuracy and mIoU: auto, or #rrggbb,…
    inception: str = ""  # TorchScript Inception file, for FID and KID
    tensorboard: bool = False  # write TensorBoard events too
    wandb: str = ""  # Weights & Biases project to log to

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("trained_on", "license"):
            value = getattr(self, name)
            check_value(name, repr(value), len(value.splitlines()) <= 1, "it must be one line")
        for name in ("steps", "batch", "save_every", "log_every", "eval_images"):
            value = getattr(self, name)
            check_value(name, value, value >= 1, "at least 1")
        is_limit = self.minutes is None or self.minutes > 0
        check_value("minutes", self.minutes, is_limit, "more than 0, or none for no limit")
        check_value("seed", self.seed, 0 <= self.seed < 2**32, f"allowed: 0 to {2**32 - 1}")
        is_share = 0 <= self.decay_from <= 1
        check_value("decay_from", self.decay_from, is_share, "it is a share of the steps, 0 to 1")
        check_value("ema", self.ema, 0 <= self.ema < 1, "it is a decay, 0 (off) up to, not including, 1")
