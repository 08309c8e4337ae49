"""What an upstream state dict was trained as, told from its keys and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from i2i_training.networks import build_generator
from i2i_training.networks.spec import GeneratorConfig, MobileResnetConfig, Norm, ResnetConfig, UnetConfig

Shapes = Mapping[str, tuple[int, ...]]
Inferred = tuple[GeneratorConfig, dict[str, str]]

SUPPORTED = (
    "generators of the upstream CycleGAN/pix2pix repository (resnet_Nblocks; unet_256 and smaller), of "
    "GAN Compression (mobile ResNet), and i2i-sdk's own .safetensors"
)
BLOCK = re.compile(r"model\.(\d+)\.conv_block\.")


class UnknownArchitectureError(ValueError):
    """The keys are not those of a supported generator; the message says what stands in the way."""


def infer_config(shapes: Shapes) -> Inferred:
    """Architecture of a repaired state dict (see `repair_state_dict`), from {key: shape}.

    Returns it with what the keys could not tell: what was taken for granted, by the name of the option.
    Raises UnknownArchitectureError, naming the first layers that do not fit.
    """
    try:
        if "model.model.0.weight" in shapes:
            config, assumptions = _infer_unet(shapes)
        elif "model.1.weight" in shapes and any(BLOCK.match(k) for k in shapes):
            config, assumptions = _infer_resnet(shapes)
        else:
            some = ", ".join(list(shapes)[:4])
            raise UnknownArchitectureError(f"it has layers named {some} …")
    except ValueError as error:  # an option that no generator has, such as no channels at all
        raise UnknownArchitectureError(str(error)) from error
    # The final word: the network built from the inference has exactly the file's keys and shapes.
    expected = {k: tuple(v.shape) for k, v in build_meta_state(config).items()}
    if wrong := describe_differences(shapes, expected):
        raise UnknownArchitectureError(
            f"it looks like a {config.architecture} generator, but these layers do not fit: {wrong}"
        )
    return config, assumptions


def repair_state_dict(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Undo the known quirks of upstream files; returns the state dict and one line per repair."""
    repairs: list[str] = []
    fixed = dict(state)
    if fixed and all(k.startswith("module.") for k in fixed):
        fixed = {k.removeprefix("module."): v for k, v in fixed.items()}
        repairs.append("removed the prefix 'module.' that DataParallel adds to every key")

    # InstanceNorm has no weights here, so statistics without a weight beside them are its own.
    stats = re.compile(r"^(.*)\.(running_mean|running_var|num_batches_tracked)$")
    stale = [k for k in fixed if (m := stats.match(k)) and f"{m[1]}.weight" not in fixed]
    if stale:
        fixed = {k: v for k, v in fixed.items() if k not in stale}
        repairs.append(
            f"dropped {len(stale)} running statistics of InstanceNorm layers (old PyTorch kept them)"
        )

    means = [k for k in fixed if k.endswith(".running_mean")]
    counters = [k.replace("running_mean", "num_batches_tracked") for k in means]
    missing = [k for k in counters if k not in fixed]
    if missing:
        fixed |= {k: torch.tensor(0) for k in missing}
        repairs.append(
            f"added {len(missing)} num_batches_tracked counters that PyTorch before 0.4.1 did not write"
        )

    other = {k: v.dtype for k, v in fixed.items() if v.is_floating_point() and v.dtype != torch.float32}
    if other:
        fixed = {k: v.float() if k in other else v for k, v in fixed.items()}
        kinds = ", ".join(sorted({str(d).removeprefix("torch.") for d in other.values()}))
        repairs.append(f"widened {len(other)} tensors from {kinds} to float32")
    return fixed, tuple(repairs)


def _infer_resnet(shapes: Shapes) -> Inferred:
    indices = sorted({int(m[1]) for k in shapes if (m := BLOCK.match(k))})
    first_up, last = indices[-1] + 1, max(int(m[1]) for k in shapes if (m := re.match(r"model\.(\d+)\.", k)))
    norm = _infer_norm(shapes, "model.1", "model.2")
    padding, dropout = _infer_block_slots(shapes, f"model.{indices[0]}.conv_block")
    assumptions: dict[str, str] = {}
    if padding == "reflect":
        assumptions["padding"] = (
            "padding inside the blocks: reflect (upstream's default; --padding replicate)"
        )
    # The output convolution is the last layer: two resize layers are longer than two transposed ones.
    upsample = "transpose" if last == first_up + 7 else "nearest"
    if upsample == "nearest":
        assumptions["upsample"] = (
            "upsampling: nearest (the keys only say resize + convolution; --upsample bilinear)"
        )
    common = {
        "in_channels": _get_size(shapes, "model.1.weight", 1),
        "out_channels": _get_size(shapes, f"model.{last}.weight", 0),
        "norm": norm,
        "padding": padding,
        "upsample": upsample,
        "dropout": dropout,
    }
    down = tuple(_get_size(shapes, f"model.{i}.weight", 0) for i in (1, 4, 7))
    separable = any(".conv_block." in k and ".conv.0.weight" in k for k in shapes)
    if not separable:
        return ResnetConfig(width=down[0], blocks=len(indices), **common), assumptions

    first = _find_block_convs(shapes, f"model.{indices[0]}.conv_block")[0]
    inner = tuple(_get_size(shapes, f"model.{i}.conv_block.{first}.conv.2.weight", 0) for i in indices)
    # The two doublings: their indices, and the axis of the output channels.
    ups, axis = ((0, 3), 1) if upsample == "transpose" else ((2, 7), 0)
    up = tuple(_get_size(shapes, f"model.{first_up + i}.weight", axis) for i in ups)
    config = MobileResnetConfig(down=down, inner=inner, up=up, **common)  # pyright: ignore[reportArgumentType]
    return config, assumptions


def _infer_unet(shapes: Shapes) -> Inferred:
    downs, prefix = 1, "model.model.1.model"
    while f"{prefix}.1.weight" in shapes:
        downs, prefix = downs + 1, f"{prefix}.3.model"
    config = UnetConfig(
        in_channels=_get_size(shapes, "model.model.0.weight", 1),
        out_channels=_get_size(shapes, "model.model.3.weight", 1),
        width=_get_size(shapes, "model.model.0.weight", 0),
        downs=downs,  # pyright: ignore[reportArgumentType]
        norm=_infer_norm(shapes, "model.model.0", "model.model.1.model.2"),
    )
    dropout = "dropout in the inner blocks: off, although upstream's test script without --eval leaves it on"
    return config, {"dropout": dropout}


def _get_size(shapes: Shapes, key: str, axis: int) -> int:
    """One side of a convolution's weights."""
    shape = shapes.get(key)
    if shape is None or len(shape) != 4:
        raise UnknownArchitectureError(
            f"{key} is {'missing' if shape is None else shape}; expected a convolution's weights"
        )
    return shape[axis]


def _infer_norm(shapes: Shapes, conv: str, norm: str) -> Norm:
    """Upstream gives a convolution a bias only before InstanceNorm."""
    if f"{norm}.running_mean" in shapes:
        return "batch"
    return "instance" if f"{conv}.bias" in shapes else "none"


def _find_block_convs(shapes: Shapes, block: str) -> list[int]:
    pattern = re.compile(re.escape(block) + r"\.(\d+)\.(?:conv\.0\.)?weight$")
    return sorted({int(m[1]) for k, s in shapes.items() if (m := pattern.match(k)) and len(s) == 4})


def _infer_block_slots(shapes: Shapes, block: str) -> tuple[str, bool]:
    """Padding modules and dropout shift the indices of a block's two convolutions."""
    slots = {
        (1, 5): ("reflect", False),
        (1, 6): ("reflect", True),
        (0, 3): ("zero", False),
        (0, 4): ("zero", True),
    }
    found = tuple(_find_block_convs(shapes, block))
    if found not in slots:
        raise UnknownArchitectureError(
            f"{block} has convolutions at {found}; known are {', '.join(map(str, slots))}"
        )
    return slots[found]  # pyright: ignore[reportArgumentType]


def build_meta_state(config: GeneratorConfig) -> dict[str, Tensor]:
    """Names, shapes and types of the weights that `config` makes, without any memory behind them."""
    with torch.device("meta"):
        return build_generator(config).state_dict()


def describe_differences(found: Mapping[str, object], expected: Mapping[str, object]) -> str:
    """The first three entries that are not as expected; empty when all are."""
    wrong = [k for k in {**expected, **found} if found.get(k) != expected.get(k)]
    lines = [f"{k}: {found.get(k, 'missing')}, expected {expected.get(k, 'nothing')}" for k in wrong[:3]]
    return "; ".join(lines) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")


def override_config(config: GeneratorConfig, padding: str | None, upsample: str | None) -> GeneratorConfig:
    """Replace what was assumed by what the user knows.

    Args:
        config: as `infer_config` told it.
        padding: "reflect" or "replicate"; None leaves it.
        upsample: "nearest" or "bilinear"; None leaves it.

    Returns:
        The config with what is given.

    Raises:
        ValueError: where the keys say something else, or the network has no such option.
    """
    changes = {k: v for k, v in (("padding", padding), ("upsample", upsample)) if v is not None}
    for name, value in changes.items():
        free = {"padding": ("reflect", "replicate"), "upsample": ("nearest", "bilinear")}[name]
        now = getattr(config, name, None)
        if now not in free or value not in free:
            found = f"its keys say {name}={now!r}" if now else f"a {config.architecture} has no {name}"
            raise ValueError(
                f"{name}={value!r} does not fit this file: {found}; only {' and '.join(free)} cannot be told "
                f"apart by keys"
            )
    return replace(config, **changes)
