"""How good translations are. Every function takes uint8 images [H, W, 3] RGB and says its units.

    paired.py     truth is known: L1, PSNR, SSIM; with a palette per-pixel accuracy and mean IoU
    palette.py    the colors of label maps and drawn maps: found, parsed, assigned
    swd.py        two sets of any size: do their patches look alike, scale by scale? No weights needed
    inception.py  two sets of any size: FID and KID, with an Inception file that the user has
    unpaired.py   no truth: are the input's edges kept, and did CycleGAN turn the colors round?

`HIGHER_IS_BETTER` has the figures that a best checkpoint can go by. Edge similarity is none: a copy of the
input has the highest. The levels of `compute_sliced_wasserstein` ("256", "128", …, "mean") all go by "swd".
"""

from i2i_training.metrics.inception import compute_inception_scores
from i2i_training.metrics.paired import compute_l1, compute_paired_scores
from i2i_training.metrics.palette import find_dominant_colors, find_nearest_color, parse_palette
from i2i_training.metrics.swd import compute_sliced_wasserstein
from i2i_training.metrics.unpaired import compute_edge_similarity, detect_color_shift

HIGHER_IS_BETTER: dict[str, bool] = {
    "l1": False,
    "psnr": True,
    "ssim": True,
    "pixel_accuracy": True,
    "miou": True,
    "swd": False,
    "fid": False,
    "kid": False,
}

__all__ = [
    "HIGHER_IS_BETTER",
    "compute_edge_similarity",
    "compute_inception_scores",
    "compute_l1",
    "compute_paired_scores",
    "compute_sliced_wasserstein",
    "detect_color_shift",
    "find_dominant_colors",
    "find_nearest_color",
    "parse_palette",
]
