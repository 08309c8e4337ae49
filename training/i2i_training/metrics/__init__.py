"""How good translations are. Every function takes uint8 images [H, W, 3] RGB and says its units.

    paired.py     truth is known: L1, PSNR, SSIM; with a palette per-pixel accuracy and mean IoU
    palette.py    the colours of label maps and drawn maps: found, parsed, assigned
    swd.py        two sets of any size: do their patches look alike, scale by scale? No weights needed
    inception.py  two sets of any size: FID and KID, with an Inception file that the user has
    unpaired.py   no truth: are the input's edges kept, and did CycleGAN turn the colours round?

`HIGHER_IS_BETTER` says of each figure which direction is better; loops that keep the best checkpoint
use it. The levels of `sliced_wasserstein` ("256", "128", …, "mean") all go by "swd".
"""

from i2i_training.metrics.inception import inception_scores
from i2i_training.metrics.paired import paired_scores
from i2i_training.metrics.palette import dominant_colours, nearest_colour, parse_palette
from i2i_training.metrics.swd import sliced_wasserstein
from i2i_training.metrics.unpaired import ColourShift, colour_shift, edge_similarity

HIGHER_IS_BETTER: dict[str, bool] = {
    "l1": False,
    "psnr": True,
    "ssim": True,
    "pixel_accuracy": True,
    "miou": True,
    "swd": False,
    "fid": False,
    "kid": False,
    "edge_similarity": True,
}

__all__ = [
    "HIGHER_IS_BETTER",
    "ColourShift",
    "colour_shift",
    "dominant_colours",
    "edge_similarity",
    "inception_scores",
    "nearest_colour",
    "paired_scores",
    "parse_palette",
    "sliced_wasserstein",
]
