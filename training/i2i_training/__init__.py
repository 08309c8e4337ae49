"""Train image-to-image GANs: `from i2i_training import train, distill, sample, load_generator`.

Start at `recipes/` for a method, `loop.py` for how a run goes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from i2i_training.api import train
    from i2i_training.checkpoint import load_generator, save_generator
    from i2i_training.distillation.api import distill, judge_run
    from i2i_training.loop import TrainingResult
    from i2i_training.sampling import sample

__all__ = ["TrainingResult", "distill", "judge_run", "load_generator", "sample", "save_generator", "train"]

_HOMES = {
    "train": "api",
    "distill": "distillation.api",
    "judge_run": "distillation.api",
    "sample": "sampling",
    "TrainingResult": "loop",
}  # the others: checkpoint


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `i2i_training.networks` alone needs no Lightning."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'checkpoint')}"), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs {error.name}: pip install 'i2i-sdk[train]'") from error
