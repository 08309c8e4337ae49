"""GAN objectives: their papers' numbers, who wants what, and the gradient penalty in closed form."""

from __future__ import annotations

import pytest
import torch
from tiny_recipe import PAPER_LOSSES
from torch import Tensor, nn

from i2i_training.losses.gan import GAN_OBJECTIVES, compute_discriminator_loss, compute_gradient_penalty


def make_scores(value: float, shape: tuple[int, ...] = (2, 1, 3, 3)) -> Tensor:
    return torch.full(shape, value, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge", "wgan-gp"])
@pytest.mark.parametrize("score", [-3.0, -1.0, 0.0, 0.5, 2.0])
def test_objectives_follow_their_papers(mode: str, score: float) -> None:
    objective = GAN_OBJECTIVES[mode]
    found = (objective.real, objective.fake, objective.generator)
    for loss, paper in zip(found, PAPER_LOSSES[mode], strict=True):
        torch.testing.assert_close(loss(make_scores(score)), paper(make_scores(score)))


def test_scores_of_certain_discriminators_stay_finite() -> None:
    vanilla = GAN_OBJECTIVES["vanilla"]
    for loss in (vanilla.real, vanilla.fake, vanilla.generator):
        for score in (-1000.0, 1000.0):
            s = make_scores(score)
            value = loss(s)
            value.backward()
            assert value.isfinite() and s.grad is not None and s.grad.isfinite().all()


# ---------------------------------------------------------------- gradient penalty


class LinearDiscriminator(nn.Module):
    """D(x, y) = sum(w_x x) + sum(w_y y), one score per pixel, per image a sum."""

    def __init__(self, *weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weights)

    def forward(self, *images: Tensor) -> Tensor:
        return torch.stack([(w * x).sum(1) for w, x in zip(self.weights, images, strict=True)]).sum(0)


class QuadraticDiscriminator(nn.Module):
    """D(x) = w |x|^2 / 2, whose gradient is w x."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * x.square().sum((1, 2, 3)) / 2


def make_images(count: int, seed: int, channels: int = 2) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, 3, 3, generator=random, dtype=torch.float64)


def test_penalty_of_a_linear_discriminator_is_that_of_its_weights() -> None:
    w = make_images(1, 0)[0]
    d = LinearDiscriminator(w)
    penalty = compute_gradient_penalty(d, [make_images(4, 1)], [make_images(4, 2)])
    torch.testing.assert_close(penalty, (w.norm() - 1) ** 2)
    penalty.backward()
    torch.testing.assert_close(d.weights[0].grad, 2 * (w.norm() - 1) * w / w.norm())


def test_penalty_of_a_conditional_discriminator_holds_both_inputs() -> None:
    wx, wy = make_images(1, 0)[0], make_images(1, 3, channels=1)[0]
    x, y, fake = make_images(4, 1), make_images(4, 2, channels=1), make_images(4, 4, channels=1)
    penalty = compute_gradient_penalty(LinearDiscriminator(wx, wy), [x, y], [x, fake])
    torch.testing.assert_close(penalty, (torch.sqrt(wx.square().sum() + wy.square().sum()) - 1) ** 2)


def test_penalty_is_taken_between_real_and_fake_of_each_image() -> None:
    real, fake = make_images(4, 1), make_images(4, 2)
    torch.manual_seed(5)
    share = torch.rand(4, 1, 1, 1, dtype=torch.float64)
    between = (1 - share) * real + share * fake
    torch.manual_seed(5)
    d = QuadraticDiscriminator()
    penalty = compute_gradient_penalty(d, [real], [fake])
    norms = 1.5 * between.flatten(1).norm(dim=1)
    torch.testing.assert_close(penalty, ((norms - 1) ** 2).mean())
    penalty.backward()
    assert d.w.grad is not None and d.w.grad != 0  # of second order
    assert not real.requires_grad and real.grad is None


def test_a_discriminators_loss_is_half_of_all_it_wants() -> None:
    w = make_images(1, 0)[0]
    real, fake = make_images(4, 1), make_images(4, 2)
    for mode, objective in GAN_OBJECTIVES.items():
        d = LinearDiscriminator(w)
        wanted = PAPER_LOSSES[mode][0](d(real)) + PAPER_LOSSES[mode][1](d(fake))
        if mode == "wgan-gp":  # Gulrajani et al. 2017, equation 3
            wanted = wanted + 10 * (w.norm() - 1) ** 2
        torch.testing.assert_close(compute_discriminator_loss(objective, d, [real], [fake]), wanted / 2)


def test_the_penalty_goes_through_the_plain_discriminator() -> None:
    w = make_images(1, 0)[0]
    inputs = LinearDiscriminator(w), [make_images(4, 1)], [make_images(4, 2)]
    alone = compute_discriminator_loss(GAN_OBJECTIVES["wgan-gp"], *inputs)
    plain = compute_discriminator_loss(GAN_OBJECTIVES["wgan-gp"], *inputs, LinearDiscriminator(3 * w))
    difference = 5 * ((3 * w.norm() - 1) ** 2 - (w.norm() - 1) ** 2)
    torch.testing.assert_close(plain - alone, difference)


def test_the_penalty_is_computed_in_the_type_of_the_weights() -> None:
    w = make_images(1, 0)[0]
    real, fake = make_images(4, 1).float(), make_images(4, 2).float()
    penalty = compute_gradient_penalty(LinearDiscriminator(w), [real], [fake])
    torch.testing.assert_close(penalty, (w.norm() - 1) ** 2)
