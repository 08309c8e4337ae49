"""What a student is taught with: SSIM, wavelet bands, features and their correlations, adapted maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data
from skimage.metrics import structural_similarity
from torch import Tensor

from i2i_sdk.quality.metrics import ssim
from i2i_training.data import normalize_images, to_tensor
from i2i_training.losses.adapters import FeatureAdapters, count_channels
from i2i_training.losses.energy import INVISIBLE, compute_energy_loss, measure_local_energies
from i2i_training.losses.haar import compute_haar_loss, split_haar_bands
from i2i_training.losses.perceptual import compute_feature_loss, compute_gram_loss, compute_gram_matrix
from i2i_training.losses.ssim import compute_ssim_loss


def make_maps(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


# ---------------------------------------------------------------- SSIM


def test_ssim_is_that_of_the_metric() -> None:
    photo = data.astronaut()[100:148, 150:190]
    random = np.random.default_rng(0)
    for spread in (3, 20, 80):
        noise = random.normal(0, spread, photo.shape)
        other = np.clip(photo + noise, 0, 255).astype(np.uint8)
        loss = compute_ssim_loss(*(normalize_images(to_tensor([image])) for image in (other, photo)))
        assert 1 - float(loss) == pytest.approx(ssim(other, photo), abs=1e-4)


def test_negatives_are_not_alike() -> None:
    """Nor where both means have opposite signs."""
    x = 0.5 + make_maps(2, 3, 16, 16) / 4
    assert float(compute_ssim_loss(x, -x)) > 1


def test_ssim_sees_contrast_and_structure() -> None:
    """A checkerboard leaves the means of windows as they are."""
    a = make_maps(1, 2, 30, 25)
    board = torch.from_numpy((np.indices((30, 25)).sum(0) % 2 * 2 - 1).astype(np.float32))
    losses: list[float] = []
    for strength in (0.1, 0.4, 1.0):
        b = a + strength * board
        expected = structural_similarity(
            a[0].numpy() + 1,
            b[0].numpy() + 1,
            channel_axis=0,
            data_range=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )[1][:, 5:-5, 5:-5].mean()
        losses.append(float(compute_ssim_loss(a, b)))
        assert 1 - losses[-1] == pytest.approx(expected, abs=2e-3)
    assert losses[0] < 0.1 and losses[2] > 0.5


def test_ssim_is_nothing_for_equal_pictures() -> None:
    x = make_maps(2, 3, 16, 16)
    assert float(compute_ssim_loss(x, x)) == pytest.approx(0, abs=1e-5)
    assert 0.5 < float(compute_ssim_loss(x, make_maps(2, 3, 16, 16, seed=1))) < 1.5


def test_following_the_gradient_makes_pictures_alike() -> None:
    y, x = make_maps(1, 3, 16, 16), make_maps(1, 3, 16, 16, seed=1).requires_grad_()
    first = compute_ssim_loss(x, y)
    optimizer = torch.optim.Adam([x], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        compute_ssim_loss(x, y).backward()
        optimizer.step()
    assert float(compute_ssim_loss(x, y).detach()) < 0.4 * float(first.detach())


def test_the_gradient_of_flat_pictures_is_finite() -> None:
    x = torch.full((1, 3, 12, 12), 0.5, requires_grad=True)
    compute_ssim_loss(x, torch.full((1, 3, 12, 12), -1.0)).backward()
    assert x.grad is not None and x.grad.isfinite().all()


# ---------------------------------------------------------------- wavelet bands


def test_haar_keeps_all_energy() -> None:
    x = make_maps(2, 3, 12, 20, dtype=torch.float64)
    low, high = split_haar_bands(x)
    assert low.shape == (2, 3, 6, 10) and high.shape == (2, 3, 3, 6, 10)
    torch.testing.assert_close(low.square().sum() + high.square().sum(), x.square().sum())


def test_haar_bands_are_sums_and_differences_of_four_pixels() -> None:
    x = make_maps(1, 2, 4, 6)
    low, high = split_haar_bands(x)
    for c in range(2):
        for i in range(2):
            for j in range(3):
                a, b = x[0, c, 2 * i, 2 * j : 2 * j + 2].tolist()
                d, e = x[0, c, 2 * i + 1, 2 * j : 2 * j + 2].tolist()
                assert float(low[0, c, i, j]) == pytest.approx((a + b + d + e) / 2, abs=1e-6)
                bands = [(a + d - b - e) / 2, (a + b - d - e) / 2, (a + e - b - d) / 2]
                assert high[0, :, c, i, j].tolist() == pytest.approx(bands, abs=1e-6)


def test_haar_loss_is_of_the_high_bands_of_each_level() -> None:
    a, b = make_maps(2, 3, 16, 8, seed=1), make_maps(2, 3, 16, 8, seed=2)
    lows, means = (a, b), []
    for _ in range(3):
        bands = [split_haar_bands(low) for low in lows]
        lows = tuple(low for low, _ in bands)
        means.append(float((bands[0][1] - bands[1][1]).abs().mean()))
    assert float(compute_haar_loss(a, b)) == pytest.approx(sum(means) / 3, rel=1e-5)
    assert float(compute_haar_loss(a, b, levels=1)) == pytest.approx(means[0], rel=1e-5)
    assert float(compute_haar_loss(a, a)) == 0


def test_haar_loss_ignores_a_cast_and_pays_for_blur() -> None:
    """A cast is the same in each block of 8x8 pixels."""
    x = make_maps(1, 3, 16, 16)
    assert float(compute_haar_loss(x + 0.5, x)) == pytest.approx(0, abs=1e-6)
    blurred = F.avg_pool2d(x, 3, 1, 1)
    assert float(compute_haar_loss(blurred, x)) > 0.2


# ---------------------------------------------------------------- energies


def test_bands_add_up_to_the_edit() -> None:
    """What one level leaves is the next level's, down to what no level has."""
    edit = make_maps(1, 1, 16, 16)
    coarser = F.avg_pool2d(edit, 2)
    band = edit - F.interpolate(coarser, scale_factor=2, mode="bilinear")
    expected = [
        float(band[..., y : y + 8, x : x + 8].square().mean() + INVISIBLE**2) ** 0.5
        for y in (0, 8)
        for x in (0, 8)
    ]
    fine, next_one = measure_local_energies(edit, levels=2)
    assert fine.flatten().tolist() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(next_one, measure_local_energies(coarser, levels=1)[0])


@pytest.mark.parametrize("octave", range(4))
def test_energies_tell_sizes_of_detail_apart(octave: int) -> None:
    """Waves of 2.5, 5, 10 and 20 pixels are strongest in the level that is called after them."""
    place = torch.arange(128, dtype=torch.float32)
    waves = torch.sin(2 * torch.pi * place / (2.5 * 2**octave)).expand(1, 3, 128, 128)
    energies = [float(level.mean()) for level in measure_local_energies(waves)]
    assert max(range(4), key=energies.__getitem__) == octave


def test_energy_loss_asks_how_strong_and_not_where() -> None:
    target = 0.3 * make_maps(2, 3, 64, 64)
    moved = target.roll((8 * 16, 16), (2, 3))
    assert float(compute_energy_loss(moved, target)) < 0.1
    assert float(compute_energy_loss(target, target)) == 0
    for share in (0.0, 0.5, 2.0):  # INVISIBLE is left of nothing
        assert float(compute_energy_loss(share * target, target)) == pytest.approx(abs(1 - share), abs=0.12)


def test_energies_are_local() -> None:
    """A picture whose halves were exchanged has the same energies, at other places."""
    target = make_maps(1, 3, 64, 64) * torch.linspace(0, 1, 64)
    assert float(compute_energy_loss(target.flip(3), target)) > 0.5


def test_an_edit_of_nothing_gives_no_gradient_without_end() -> None:
    edit = torch.zeros(1, 3, 32, 32, requires_grad=True)
    compute_energy_loss(edit, make_maps(1, 3, 32, 32)).backward()
    assert edit.grad is not None and edit.grad.isfinite().all()


# ---------------------------------------------------------------- features


def test_features_are_compared_as_shares_of_the_targets() -> None:
    targets = [make_maps(2, 3, 8, 8, seed=1), 40 * make_maps(2, 5, 4, 4, seed=2)]
    ours = [targets[0] + 0.1, targets[1] * 1.5]
    shares = [0.1 / float(targets[0].abs().mean()), 0.5]
    assert float(compute_feature_loss(ours, targets)) == pytest.approx(sum(shares) / 2, rel=1e-4)
    for scale in (0.01, 100.0):
        scaled = compute_feature_loss([scale * f for f in ours], [scale * t for t in targets])
        assert float(scaled) == pytest.approx(sum(shares) / 2, rel=1e-2)


def test_nothing_flows_into_the_targets() -> None:
    ours, target = make_maps(1, 2, 4, 4, seed=1).requires_grad_(), make_maps(1, 2, 4, 4).requires_grad_()
    (compute_feature_loss([ours], [target]) + compute_gram_loss([ours], [target])).backward()
    assert ours.grad is not None and ours.grad.abs().max() > 0
    assert target.grad is None


def test_as_many_features_as_targets_are_needed() -> None:
    maps = make_maps(1, 2, 4, 4)
    with pytest.raises(ValueError, match="zip"):
        compute_feature_loss([maps, maps], [maps])


def test_a_gram_matrix_by_loops() -> None:
    maps = make_maps(2, 3, 4, 5)
    found = compute_gram_matrix(maps)
    assert found.shape == (2, 3, 3) and found.dtype == torch.float32
    for n in range(2):
        for one in range(3):
            for other in range(3):
                products = [
                    float(maps[n, one, y, x] * maps[n, other, y, x]) for y in range(4) for x in range(5)
                ]
                assert float(found[n, one, other]) == pytest.approx(sum(products) / 20, abs=1e-6)


def test_gram_loss_asks_how_often_and_not_where() -> None:
    maps = make_maps(1, 4, 8, 8)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(3))
    moved = maps.flatten(2)[..., order].reshape(maps.shape)
    assert float(compute_gram_loss([moved], [maps])) == pytest.approx(0, abs=1e-5)
    assert float(compute_feature_loss([moved], [maps])) > 0.5
    assert float(compute_gram_loss([2 * maps], [maps])) == pytest.approx(3, rel=1e-3)


# ---------------------------------------------------------------- the teacher's maps


@pytest.mark.parametrize(
    ("student", "teacher", "chosen"),
    [(4, 3, [0, 1, 3]), (6, 3, [1, 3, 5]), (6, 1, [5]), (2, 2, [0, 1]), (1, 1, [0])],
)
def test_maps_are_chosen_evenly_and_end_with_the_last(student: int, teacher: int, chosen: list[int]) -> None:
    """Those that matter have gradients."""
    torch.manual_seed(0)
    adapters = FeatureAdapters(4, [7] * teacher)
    features = [make_maps(2, 4, 6, 6, seed=n).requires_grad_() for n in range(student)]
    targets = [make_maps(2, 7, 6, 6, seed=10 + n) for n in range(teacher)]
    adapters(features, targets).backward()
    assert [n for n, f in enumerate(features) if f.grad is not None] == chosen
    assert all(conv.weight.grad is not None for conv in adapters.convs)


def test_adapted_maps_are_compared_at_the_students_size() -> None:
    torch.manual_seed(0)
    adapters = FeatureAdapters(2, (3, 5))
    features = [make_maps(1, 2, 4, 6, seed=n) for n in range(2)]
    targets = [make_maps(1, 3, 8, 12, seed=5), make_maps(1, 5, 4, 6, seed=6)]
    assert count_channels(targets) == (3, 5)
    with torch.no_grad():
        ours = [conv(maps) for conv, maps in zip(adapters.convs, features, strict=True)]
        wanted = [F.avg_pool2d(targets[0], 2), targets[1]]
        shares = [float((o - w).abs().mean() / w.abs().mean()) for o, w in zip(ours, wanted, strict=True)]
        assert float(adapters(features, targets)) == pytest.approx(sum(shares) / 2, rel=1e-4)
