"""GAN objectives on raw discriminator scores: what D wants of real and fake images, what G wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """Three losses, each from scores of any shape to a scalar."""

    real: Loss  # D's, on scores of real images
    fake: Loss  # D's, on scores of generated images
    generator: Loss  # G's, on scores of generated images
    gradient_penalty: float = 0.0  # weight of the penalty on D's gradient


def _build_cross_entropy(label: float) -> Loss:
    return lambda s: F.binary_cross_entropy_with_logits(s, torch.full_like(s, label))


def _build_squared_error(label: float) -> Loss:
    return lambda s: F.mse_loss(s, torch.full_like(s, label))


GanMode = Literal["vanilla", "lsgan", "hinge", "wgan-gp"]
GAN_OBJECTIVES: dict[str, Objective] = {
    # Goodfellow et al. 2014, equation 1, with the non-saturating -log sigmoid(s) for G (section 3).
    "vanilla": Objective(_build_cross_entropy(1.0), _build_cross_entropy(0.0), _build_cross_entropy(1.0)),
    # Least squares, Mao et al. 2017, equation 2 with a = 0, b = c = 1.
    "lsgan": Objective(_build_squared_error(1.0), _build_squared_error(0.0), _build_squared_error(1.0)),
    # Hinge, Lim and Ye 2017, equations 12 and 13.
    "hinge": Objective(lambda s: F.relu(1 - s).mean(), lambda s: F.relu(1 + s).mean(), lambda s: -s.mean()),
    # Wasserstein with gradient penalty, Gulrajani et al. 2017, equation 3 (lambda = 10).
    "wgan-gp": Objective(lambda s: -s.mean(), lambda s: s.mean(), lambda s: -s.mean(), gradient_penalty=10.0),
}


def compute_discriminator_loss(
    objective: Objective,
    discriminator: nn.Module,
    real: Sequence[Tensor],
    fake: Sequence[Tensor],
    raw_discriminator: nn.Module | None = None,
) -> Tensor:
    """Half of (real + fake + penalty), as pix2pix and CycleGAN do, so that D learns at half of G's pace.

    Args:
        objective: what D wants.
        discriminator: gives scores of any shape.
        real: what it takes, each [N, C, H, W].
        fake: the same with generated images; it must not lead back to G.
        raw_discriminator: `discriminator` outside mixed precision and torch.compile, neither of which can go
            back twice, as the gradient of a gradient must; None where it is plain itself.

    Returns:
        A scalar.
    """
    loss = objective.real(discriminator(*real)) + objective.fake(discriminator(*fake))
    if objective.gradient_penalty:
        loss = loss + objective.gradient_penalty * compute_gradient_penalty(
            raw_discriminator or discriminator, real, fake
        )
    return 0.5 * loss


def compute_gradient_penalty(
    discriminator: nn.Module, real: Sequence[Tensor], fake: Sequence[Tensor]
) -> Tensor:
    """E[(|grad_x D(x)|_2 - 1)^2] on random mixtures x of real and fake (Gulrajani et al. 2017, eq. 3).

    Args:
        discriminator: D; D(x) is the sum of a map of scores, as upstream.
        real: what it takes, each [N, C, H, W].
        fake: the same with generated images.

    Returns:
        A scalar, computed in the type of D's weights.
    """
    dtype = next(discriminator.parameters()).dtype
    share = torch.rand(real[0].shape[0], 1, 1, 1, dtype=dtype, device=real[0].device)
    mixed = [
        torch.lerp(r.to(dtype), f.to(dtype), share).requires_grad_() for r, f in zip(real, fake, strict=True)
    ]
    scores = discriminator(*mixed)
    gradients = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
    norms = torch.cat([g.flatten(1) for g in gradients], 1).norm(dim=1)
    return ((norms - 1) ** 2).mean()
