"""What a generator is: its architecture's options, and where its weights come from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

from i2i_sdk.bundle.decoding import decode
from i2i_sdk.bundle.manifest import SAMPLER_ADVICE, explain_channels

Norm = Literal["instance", "batch", "none"]
Padding = Literal["reflect", "replicate", "zero"]
Upsample = Literal["transpose", "nearest", "bilinear"]
NormMode = Literal["batch_stats", "running_stats", "none"]
Direction = Literal["AtoB", "BtoA"]
DIRECTIONS: tuple[str, ...] = get_args(Direction)
# Far above any generator, and small enough to build from a hostile header.
MAX_CHANNELS = 4096
MAX_BLOCKS = 256


def check_choices(options: Any, error: type[Exception] = ValueError) -> None:
    """Raise `error` for a field of a dataclass that has none of the values of its Literal."""
    for name, kind in get_type_hints(type(options)).items():
        value, allowed = getattr(options, name), get_args(kind)
        if get_origin(kind) is Literal and value not in allowed:
            raise error(f"{name} is {value!r}; allowed: {', '.join(map(str, allowed))}")


def _check_options(config: TranslatorConfig | DcganConfig) -> None:
    """Numbers count something, words are known ones."""
    check_choices(config)
    for name, value in vars(config).items():
        if isinstance(value, str | bool):
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        if not 1 <= len(numbers) <= MAX_BLOCKS:
            raise ValueError(f"{name} has {len(numbers)} numbers; allowed: 1 to {MAX_BLOCKS}")
        least = 0 if name == "global_places" else 1
        most = MAX_BLOCKS if name == "blocks" else MAX_CHANNELS
        if not all(least <= n <= most for n in numbers):
            raise ValueError(f"{name} is {value!r}; allowed: whole numbers from {least} to {most}")


@dataclass(frozen=True)
class TranslatorConfig:
    """What all networks that translate images have in common."""

    in_channels: int = 3  # of the input: 3 is RGB
    out_channels: int = 3  # of the output

    def __post_init__(self) -> None:
        _check_options(self)

    @property
    def multiple_of(self) -> int:
        """Input sides must divide by this: 2 for each halving, of which there are 2 unless `downs` says."""
        return 2 ** getattr(self, "downs", 2)


@dataclass(frozen=True)
class ResnetConfig(TranslatorConfig):
    """ResNet generator (Johnson et al. 2016, as in CycleGAN): 2 downs, `blocks` residual blocks, 2 ups."""

    architecture: ClassVar[str] = "resnet"

    width: int = 64  # channels after the first convolution ('ngf' upstream)
    blocks: int = 9  # residual blocks
    norm: Norm = "instance"  # after the convolutions
    padding: Padding = "reflect"  # inside the blocks
    upsample: Upsample = "transpose"  # transposed convolution, or resizing before a convolution
    dropout: bool = False  # a dropout slot in each block; it shifts the keys of the second convolution


@dataclass(frozen=True)
class MobileResnetConfig(TranslatorConfig):
    """ResNet with separable blocks and a width per layer (Li et al. 2020, GAN Compression)."""

    architecture: ClassVar[str] = "mobile_resnet"

    down: tuple[int, int, int] = (64, 128, 256)  # channels of the first and the two strided convolutions
    inner: tuple[int, ...] = (256,) * 9  # channels between the two convolutions of each block
    up: tuple[int, int] = (128, 64)  # channels of the two upsampling layers
    norm: Norm = "instance"  # after the convolutions
    padding: Padding = "reflect"  # inside the blocks
    upsample: Upsample = "transpose"  # transposed convolution, or resizing before a convolution
    dropout: bool = True  # a dropout slot in each block; upstream always keeps it

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, length in (("down", self.down, 3), ("up", self.up, 2)):
            if len(value) != length:
                raise ValueError(f"{name} is {value!r}; needed: {length} numbers")


@dataclass(frozen=True)
class UnetConfig(TranslatorConfig):
    """U-Net generator (Isola et al. 2017): `downs` halvings with skip connections; 8 downs is "unet_256"."""

    architecture: ClassVar[str] = "unet"

    width: int = 64  # channels of the outermost layers
    downs: Literal[5, 6, 7, 8] = 8  # halvings
    norm: Norm = "batch"  # after the convolutions
    dropout: bool = True  # in the inner blocks; it leaves no trace in the keys


@dataclass(frozen=True)
class UnitConfig(TranslatorConfig):
    """Encoder of one domain and generator of the other (Liu, Breuel, Kautz 2017, UNIT).

    3 convolutions and `blocks` residual blocks to a latent map, as many back; the `shared_blocks` around
    the latent map are common to both domains.
    """

    architecture: ClassVar[str] = "unit"

    width: int = 64  # channels after the first convolution; the latent map has 4 times as many
    blocks: int = 4  # residual blocks on each side of the latent map
    shared_blocks: int = 1  # of these, on each side, how many both domains share
    norm: Norm = "instance"  # inside the residual blocks
    padding: Padding = "reflect"  # inside the blocks
    upsample: Upsample = "transpose"  # transposed convolution, or resizing before a convolution

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shared_blocks > self.blocks:
            raise ValueError(f"shared_blocks is {self.shared_blocks}; there are {self.blocks} blocks")


@dataclass(frozen=True)
class EncoderDecoderConfig(TranslatorConfig):
    """Plain encoder-decoder: `downs` strided convolutions of `width` to a latent map, as many back."""

    architecture: ClassVar[str] = "encoder_decoder"

    width: int = 128  # of every layer
    downs: Literal[1, 2, 3, 4, 5, 6, 7, 8] = 4  # halvings
    norm: Norm = "none"  # after the convolutions


@dataclass(frozen=True)
class CompactConfig(TranslatorConfig):
    """A generator made for the device, to be a student: everything at half resolution and below."""

    architecture: ClassVar[str] = "compact"

    width: int = 48  # channels of the blocks, at a quarter of the resolution; half as many around them
    blocks: int = 6  # residual blocks
    norm: Literal["batch", "none"] = "batch"  # after the convolutions; BatchNorm folds away in export
    global_places: int = 2  # blocks that get gains and biases from the frame as a whole; 0 for none

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 2:
            raise ValueError(f"width is {self.width}; it must be even")
        if self.global_places > self.blocks:
            raise ValueError(f"global_places is {self.global_places}; there are {self.blocks} blocks")


@dataclass(frozen=True)
class DcganConfig:
    """DCGAN generator (Radford et al. 2016): a sampler, which makes a picture of `latent` random numbers."""

    architecture: ClassVar[str] = "dcgan"

    latent: int = 100  # numbers, independent and N(0, 1), that one picture is made of
    out_channels: int = 3  # of the output
    width: int = 64  # channels before the last layer; they double toward the latent, up to 16 times
    size: Literal[32, 64, 128, 256] = 64  # height and width of the pictures
    norm: Norm = "batch"  # after the convolutions

    def __post_init__(self) -> None:
        _check_options(self)

    @property
    def in_channels(self) -> int:
        """A latent is a map of one pixel with this many channels."""
        return self.latent

    @property
    def multiple_of(self) -> int:
        """It makes pictures of one size only."""
        return self.size


GeneratorConfig = (
    ResnetConfig
    | MobileResnetConfig
    | UnetConfig
    | UnitConfig
    | EncoderDecoderConfig
    | CompactConfig
    | DcganConfig
)
CONFIGS: dict[str, type[GeneratorConfig]] = {kind.architecture: kind for kind in get_args(GeneratorConfig)}
ConfigT = TypeVar("ConfigT", bound=TranslatorConfig)


def reverse_config(config: ConfigT) -> ConfigT:
    """The network of the way back."""
    return dataclasses.replace(config, in_channels=config.out_channels, out_channels=config.in_channels)


@dataclass(frozen=True)
class GeneratorSpec:
    """A generator and its history. It is the header of our checkpoints and feeds the bundle's manifest."""

    config: GeneratorConfig
    norm_mode: NormMode = "none"  # of BatchNorm at test time
    # where the weights come from
    recipe: str = "unknown"
    direction: Literal["AtoB", "BtoA", "unknown"] = "unknown"  # of the data set
    steps: int | None = None  # optimizer steps of training
    size: int | None = None  # crop size it was trained at, pixels
    trained_on: str = "unknown"
    license: str = "unknown"
    source_sha256: str = ""
    # what was done and taken for granted while reading the file
    repairs: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choices(self)
        if min(self.steps or 0, self.size or 0) < 0:
            raise ValueError(f"steps is {self.steps} and size {self.size}; needed: 0 or more, or none")
        has_batch_norm = self.config.norm == "batch"
        if has_batch_norm == (self.norm_mode == "none"):
            raise ValueError(
                f"norm_mode is {self.norm_mode!r}, but the network's norm is {self.config.norm!r}"
            )
        if isinstance(self.config, DcganConfig) and self.norm_mode == "batch_stats":
            raise ValueError("norm_mode is 'batch_stats'; a DCGAN makes single images: running_stats")

    @property
    def default_side(self) -> int:
        """Pixels on a side unless told otherwise: those of a DCGAN's images, else of its crops, else 256."""
        config = self.config
        return config.size if isinstance(config, DcganConfig) else self.size or 256

    def get_input_shape(self, height: int, width: int) -> tuple[int, ...]:
        """What one input looks like, without the batch: (channels, height, width), or (latent,)."""
        config = self.config
        return (config.latent,) if isinstance(config, DcganConfig) else (config.in_channels, height, width)

    def explain_no_bundle(self) -> str | None:
        """Why a bundle cannot hold such a network; None if it can."""
        if isinstance(self.config, DcganConfig):
            return SAMPLER_ADVICE
        return explain_channels(self.config.in_channels, self.config.out_channels)

    def to_json(self) -> dict[str, Any]:
        """A plain dict for JSON; `from_json` reads it back."""
        return {**dataclasses.asdict(self), "architecture": self.config.architecture}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> GeneratorSpec:
        """Inverse of `to_json`. Raises ValueError for unknown architectures, options and types."""
        data = dict(data)
        if "licence" in data:  # its name in files of before 0.3
            data["license"] = data.pop("licence")
        architecture = data.pop("architecture", None)
        if architecture not in CONFIGS:
            raise ValueError(f"architecture is {architecture!r}; supported: {', '.join(CONFIGS)}")
        config = decode(CONFIGS[architecture], data.get("config", {}), "config")
        return decode(cls, {**data, "config": config}, "header")
