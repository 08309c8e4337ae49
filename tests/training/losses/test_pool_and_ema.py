"""The discriminators' memory, and the generators' moving averages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_networks import has_same_weights
from tiny_recipe import copy_state, make_batch, make_recipe
from torch import Tensor

from i2i_training.losses.image_pool import ImagePool
from i2i_training.run.ema import WeightAverages

CPU = torch.device("cpu")


def make_numbered_images(*numbers: int) -> Tensor:
    """Images of one value each."""
    return torch.tensor(numbers, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 2, 2).clone()


def read_numbers(images: Tensor) -> list[int]:
    assert all((image == image[0, 0, 0]).all() for image in images)
    return [int(image[0, 0, 0]) for image in images]


# ---------------------------------------------------------------- pool


def test_without_size_fakes_are_handed_through() -> None:
    fakes = make_numbered_images(1, 2)
    pool = ImagePool(0)
    assert pool.swap(fakes) is fakes and pool.images == []


def test_while_it_fills_fakes_are_handed_through_and_kept() -> None:
    pool = ImagePool(3)
    assert read_numbers(pool.swap(make_numbered_images(1, 2))) == [1, 2]
    assert read_numbers(pool.swap(make_numbered_images(3))) == [3]
    assert read_numbers(torch.stack(pool.images)) == [1, 2, 3]


def test_then_half_are_older_ones_which_make_room() -> None:
    pool = ImagePool(5)
    pool.swap(make_numbered_images(*range(5)))
    older = 0
    for n in range(5, 405):
        before = set(read_numbers(torch.stack(pool.images)))
        (shown,) = read_numbers(pool.swap(make_numbered_images(n)))
        after = set(read_numbers(torch.stack(pool.images)))
        if shown == n:
            assert after == before
        else:
            assert shown in before and after == (before - {shown}) | {n}
            older += 1
    assert 150 < older < 250


def test_images_are_kept_as_they_were() -> None:
    pool = ImagePool(1)
    fakes = make_numbered_images(7)
    pool.swap(fakes)
    fakes.zero_()
    assert read_numbers(torch.stack(pool.images)) == [7]


def test_choices_are_the_pools_own() -> None:
    """Neither PyTorch's generator nor anything else draws from or disturbs them."""
    shown = []
    for seed, outer in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(outer)
        state = torch.get_rng_state()
        pool = ImagePool(3, seed)
        shown.append([read_numbers(pool.swap(make_numbered_images(n, n + 1))) for n in range(0, 60, 2)])
        assert torch.equal(torch.get_rng_state(), state)
    assert shown[0] == shown[1] != shown[2]


@pytest.mark.parametrize("cut", [0, 2, 20])
def test_a_pool_goes_on_where_it_was(cut: int, tmp_path: Path) -> None:
    whole, first, second = ImagePool(4, 0), ImagePool(4, 0), ImagePool(4, 1)
    shown = [read_numbers(whole.swap(make_numbered_images(n))) for n in range(40)]
    for n in range(cut):
        first.swap(make_numbered_images(n))
    torch.save(first.state_dict(), tmp_path / "pool.pt")
    second.load_state_dict(torch.load(tmp_path / "pool.pt", weights_only=True), CPU)
    assert [read_numbers(second.swap(make_numbered_images(n))) for n in range(cut, 40)] == shown[cut:]


# ---------------------------------------------------------------- moving averages


@pytest.mark.parametrize("name", ["cyclegan", "unit", "dcgan"])
def test_averages_follow_the_formula(name: str) -> None:
    """w_avg <- d w_avg + (1 - d) w, from the first step's weights on; buffers are the latest.

    d is 2/11 and 3/12 at the next two steps, and 0.3 from then on.
    """
    recipe = make_recipe(name)
    averages, expected = WeightAverages(recipe, 0.3), dict[str, dict[str, Tensor]]()
    for seed in range(4):
        recipe.step(make_batch(recipe, seed))
        averages.update()
        for n in (n for n in recipe.networks if n.startswith("G")):
            latest = copy_state(recipe.networks[n])
            weights = {key for key, _ in recipe.networks[n].named_parameters(remove_duplicate=False)}
            before = expected.get(n, latest)
            d = min(0.3, (1 + seed) / (10 + seed))
            expected[n] = {k: d * before[k] + (1 - d) * v if k in weights else v for k, v in latest.items()}
    for n in (n for n in recipe.networks if n.startswith("G")):
        found = averages.get_networks()[n].state_dict()
        torch.testing.assert_close(found, expected[n])
        live = recipe.networks[n].state_dict()
        assert any(not torch.equal(found[k], live[k]) for k in found)


def test_all_generators_are_averaged_and_nothing_else() -> None:
    for name in ("pix2pix", "cyclegan", "cut", "unit", "encdec", "dcgan"):
        recipe = make_recipe(name)
        networks = WeightAverages(recipe, 0.9).get_networks()
        assert networks.keys() == recipe.networks.keys()
        averaged = {n for n in networks if networks[n] is not recipe.networks[n]}
        assert averaged == {n for n in networks if n.startswith("G")}


def test_without_decay_the_live_networks_are_kept() -> None:
    recipe = make_recipe("cyclegan")
    averages = WeightAverages(recipe, 0.0)
    averages.update()
    assert all(averages.get_networks()[n] is network for n, network in recipe.networks.items())
    assert averages.state_dict() == {}


def test_the_generators_to_keep_are_made_of_the_averages() -> None:
    recipe = make_recipe("unit")
    averages = WeightAverages(recipe, 0.9)
    for seed in range(2):
        recipe.step(make_batch(recipe, seed))
        averages.update()
    kept, live = (recipe.list_generators(n) for n in (averages.get_networks(), recipe.networks))
    averaged = averages.get_networks()["G"].state_dict()
    for one, other in zip(kept, live, strict=True):
        assert one.config == other.config
        x, y = one.module.state_dict(), other.module.state_dict()
        assert any(not torch.equal(x[k], y[k]) for k in x)
        assert all(any(v.data_ptr() == w.data_ptr() for w in averaged.values()) for v in x.values())
    # What both directions share is one tensor in the averages too.
    first, second = (g.module.state_dict() for g in kept)
    shared = {k for k in first if first[k].data_ptr() == second[k].data_ptr()}
    assert shared == {k for k in first if ".shared." in k} and shared


def test_averages_do_not_touch_what_trains() -> None:
    plain, averaged = make_recipe("encdec"), make_recipe("encdec")
    averages = WeightAverages(averaged, 0.5)
    for seed in range(3):
        plain.step(make_batch(plain, seed))
        averaged.step(make_batch(averaged, seed))
        averages.update()
    assert all(has_same_weights(network, averaged.networks[name]) for name, network in plain.networks.items())


def test_averages_of_runs_before_0_2_go_on() -> None:
    """Their state was one of plain networks, with the number of updates beside them."""
    recipe = make_recipe("encdec")
    averages = WeightAverages(recipe, 0.5)
    for seed in range(2):
        recipe.step(make_batch(recipe, seed))
        averages.update()
    former = {"updates": 2, "G": averages.get_networks()["G"].state_dict()}
    again = WeightAverages(recipe, 0.5)
    again.load_state_dict(former)
    assert str(again.state_dict()) == str(averages.state_dict())
