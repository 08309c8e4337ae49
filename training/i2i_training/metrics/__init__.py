"""How good translations are. Every function takes uint8 images [H, W, 3] RGB and says its units.

    paired.py     truth is known: L1, PSNR, SSIM; with a palette per-pixel accuracy and mean IoU
    effect.py    a teacher's picture is known: does a student do the same to the input, and as strongly?
    palette.py    the colors of label maps and drawn maps: found, parsed, assigned
    swd.py        two sets of any size: do their patches look alike, scale by scale? No weights needed
    inception.py  two sets of any size: FID and KID, with an Inception file that the user has
    unpaired.py   no truth: are the input's edges kept, and did CycleGAN turn the colors round?

`SCORES` names them. A best checkpoint can go by those of which better is known, which leaves out edge
similarity: a copy of the input has the highest. All levels of `compute_sliced_wasserstein` go by "swd".
"""

from dataclasses import dataclass

from i2i_training.metrics.effect import compute_effect_scores
from i2i_training.metrics.inception import compute_inception_scores
from i2i_training.metrics.paired import compute_l1, compute_paired_scores
from i2i_training.metrics.palette import find_dominant_colors, parse_palette
from i2i_training.metrics.swd import compute_sliced_wasserstein
from i2i_training.metrics.unpaired import compute_edge_similarity, detect_color_shift


@dataclass(frozen=True)
class Score:
    """How a figure is written, and which way is better: 1 higher, -1 lower, 0 not known."""

    label: str
    unit: str = ""
    better: int = 0

    def format(self, value: float) -> str:
        """One of its values."""
        return f"{value:.4g} {self.unit}".strip()


SCORES = {
    "l1": Score("L1", "gray levels", better=-1),
    "psnr": Score("PSNR", "dB", better=1),
    "ssim": Score("SSIM", better=1),
    "pixel_accuracy": Score("Pixel accuracy", better=1),
    "miou": Score("Mean IoU", better=1),
    "edit_energy": Score("Edit energy, worst octave", better=1),
    "edit_correlation": Score("Edit correlation", better=1),
    "swd": Score("Patch distance (SWD)", better=-1),
    "fid": Score("FID", better=-1),
    "kid": Score("KID", better=-1),
    "edge_similarity": Score("Edge similarity"),
}

__all__ = [
    "SCORES",
    "Score",
    "compute_edge_similarity",
    "compute_effect_scores",
    "compute_inception_scores",
    "compute_l1",
    "compute_paired_scores",
    "compute_sliced_wasserstein",
    "detect_color_shift",
    "find_dominant_colors",
    "parse_palette",
]
