"""Every operation against a loop over pixels, and what a draw may hold."""

import math
from collections import Counter

import pytest
import torch

from mdckit import augment

pytestmark = pytest.mark.usefixtures("float64")

ALL = "flip_color_crop_scale_rotate_cutout"


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(rows=1, count=2, channels=3, size=8):
    return torch.randn(rows, count, channels, size, size, generator=seeded())


def one(image, **params):
    """`image` (C, H, W) after the given operations."""
    return augment.apply(image[None, None], {name: torch.tensor([value]) for name, value in params.items()})[0, 0]


def sample(image, y, x):
    """Bilinear value at a real position, zero outside."""
    height, width = image.shape[-2:]
    value = torch.zeros(len(image))
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * image[:, row, column]
    return value


def warped(image, matrix):
    """Every pixel reads from `matrix` times its own position (x, y), measured from the centre."""
    size = image.shape[-1]
    middle = (size - 1) / 2
    out = torch.zeros_like(image)
    for y in range(size):
        for x in range(size):
            from_x, from_y = matrix @ torch.tensor([x - middle, y - middle])
            out[:, y, x] = sample(image, from_y.item() + middle, from_x.item() + middle)
    return out


# --- operations


def test_flip_mirrors_left_and_right():
    image = batch()[0, 0]
    assert torch.equal(one(image, flip=True), image[:, :, range(7, -1, -1)])
    assert torch.equal(one(image, flip=False), image)


def test_color_is_brightness_then_saturation_then_contrast():
    image = batch()[0, 0]
    brightness, saturation, contrast = 0.9, 0.3, 0.8
    x = image + (brightness - 0.5)
    for i in range(8):
        for j in range(8):
            grey = sum(x[:, i, j]) / 3
            x[:, i, j] = (x[:, i, j] - grey) * (2 * saturation) + grey
    level = x.sum() / x.numel()
    x = (x - level) * (contrast + 0.5) + level
    torch.testing.assert_close(one(image, color=[brightness, saturation, contrast]), x)
    torch.testing.assert_close(one(image, color=[0.5, 0.5, 0.5]), image)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -1), (-1, 1)])
def test_crop_shifts_and_fills_with_zero(shift):
    image = batch()[0, 0]
    wanted = torch.zeros_like(image)
    for y in range(8):
        for x in range(8):
            if 0 <= y + shift[0] < 8 and 0 <= x + shift[1] < 8:
                wanted[:, y, x] = image[:, y + shift[0], x + shift[1]]
    assert torch.equal(one(image, crop=shift), wanted)


@pytest.mark.parametrize("size", [7, 8, 9, 10])
def test_cutout_sets_a_square_to_zero(size):
    image = batch(size=size)[0, 0]
    side = math.floor(0.5 * size + 0.5)
    for centre in [(0, 0), (size // 2, size // 2 + 1), (size - 1, 1), (size - side % 2, size - side % 2)]:
        wanted = image.clone()
        for y in range(centre[0] - side // 2, centre[0] - side // 2 + side):
            for x in range(centre[1] - side // 2, centre[1] - side // 2 + side):
                if 0 <= y < size and 0 <= x < size:
                    wanted[:, y, x] = 0
        assert torch.equal(one(image, cutout=centre), wanted)


@pytest.mark.parametrize("factors", [(1.0, 1.0), (1.2, 1.0), (0.85, 1.1)])
def test_scale_multiplies_the_sampling_grid(factors):
    image = batch()[0, 0]
    matrix = torch.diag(torch.tensor(factors))
    torch.testing.assert_close(one(image, scale=factors), warped(image, matrix))


@pytest.mark.parametrize("degrees", [0.0, 15.0, -7.0])
def test_rotate_turns_the_sampling_grid(degrees):
    image = batch()[0, 0]
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    matrix = torch.tensor([[cos, -sin], [sin, cos]])
    torch.testing.assert_close(one(image, rotate=[degrees]), warped(image, matrix))


def test_scale_one_and_rotate_zero_change_nothing():
    image = batch()[0, 0]
    torch.testing.assert_close(one(image, scale=[1.0, 1.0]), image)
    torch.testing.assert_close(one(image, rotate=[0.0]), image)


def test_operations_are_applied_in_the_stated_order():
    image = batch()[0, 0]
    wanted = one(one(one(one(image, flip=True), color=[0.9, 0.2, 0.7]), crop=[1, -1]), cutout=[2, 7])
    found = one(image, cutout=[2, 7], crop=[1, -1], color=[0.9, 0.2, 0.7], flip=True)
    assert torch.equal(found, wanted)


# --- draws


def each_draw(strategy, size=32, rows=8, count=300):
    return [augment.draw(strategy, rows, size, seeded(seed)) for seed in range(count)]


def test_exactly_one_of_crop_scale_and_rotate_is_drawn_evenly():
    warps = Counter()
    for params in each_draw(ALL, rows=2):
        chosen = params.keys() & {"crop", "scale", "rotate"}
        assert len(chosen) == 1
        assert params.keys() - chosen == {"flip", "color", "cutout"}
        warps.update(chosen)
    assert all(70 < warps[name] < 130 for name in ("crop", "scale", "rotate"))


@pytest.mark.parametrize("strategy", ["", "color", "color_crop_cutout", "flip_rotate"])
def test_only_named_operations_are_drawn(strategy):
    assert "_".join(augment.draw(strategy, 3, 32, seeded())) == strategy


@pytest.mark.parametrize(("size", "most", "last"), [(32, 4, 32), (28, 4, 28), (224, 28, 224), (9, 1, 8)])
def test_ranges_of_crop_and_cutout(size, most, last):
    drawn = each_draw("crop_cutout", size=size, rows=64)
    shifts, centres = (torch.cat([params[name] for params in drawn]) for name in ("crop", "cutout"))
    assert sorted(set(shifts.flatten().tolist())) == list(range(-most, most + 1))
    assert sorted(set(centres.flatten().tolist())) == list(range(last + 1))
    assert (shifts[:, 0] != shifts[:, 1]).any()  # rows and columns move independently


def test_ranges_of_the_real_valued_draws():
    color = torch.cat([params["color"] for params in each_draw("color")])
    scale = torch.cat([params["scale"] for params in each_draw("scale")])
    rotate = torch.cat([params["rotate"] for params in each_draw("rotate")])
    flip = torch.cat([params["flip"] for params in each_draw("flip")])
    for values, low, high in [(color, 0, 1), (scale, 1 / 1.2, 1.2), (rotate, -15, 15)]:
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high
    assert color.shape[1] == 3
    assert scale.shape[1] == 2
    assert 0.45 < flip.double().mean() < 0.55


@pytest.mark.parametrize("seed", range(6))
def test_a_row_shares_its_draw_and_rows_differ(seed):
    """Siamese: all images of a row get the same parameters, whatever else is in the row."""
    images = batch(rows=2, count=3)
    images[1] = images[0]
    params = augment.draw(ALL, 2, 8, seeded(seed))
    together = augment.apply(images, params)
    assert not torch.equal(together[0], together[1])
    for b in range(2):
        for p in range(3):
            alone = augment.apply(images[b : b + 1, p : p + 1], augment.rows(params, [b]))
            torch.testing.assert_close(together[b, p], alone[0, 0], rtol=1e-12, atol=1e-12)


def test_per_sample_draws_differ_from_image_to_image():
    images = batch(count=1)[0].expand(6, -1, -1, -1)
    found = augment.per_sample(images, "color_crop_cutout", seeded())
    assert found.shape == images.shape
    assert len({tuple(image.flatten().tolist()) for image in found}) == 6
    params = augment.draw("color_crop_cutout", 6, 8, seeded())
    assert torch.equal(found[4], augment.apply(images[None, 4:5], augment.rows(params, [4]))[0, 0])


def test_the_same_generator_gives_the_same_images():
    images = batch(count=5)[0]
    assert torch.equal(augment.per_sample(images, ALL, seeded(3)), augment.per_sample(images, ALL, seeded(3)))


@pytest.mark.parametrize("seed", range(3))
def test_gradients_flow_to_the_images(seed):
    params = augment.draw(ALL, 1, 6, seeded(seed))
    images = batch(size=6, count=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment.apply(x, params), images)


# --- CutMix


def test_cutmix_pastes_one_box_and_returns_its_share():
    """Image i is filled with i, so every pixel tells where it came from."""
    images = torch.arange(5.0)[:, None, None, None].expand(5, 2, 8, 8)
    for seed in range(200):
        mixed, order, share = augment.cutmix(images, 1.0, seeded(seed))
        pasted = torch.zeros(8, 8, dtype=torch.bool)
        for i, j in enumerate(order.tolist()):
            assert set(mixed[i].unique().tolist()) <= {i, j}
            if i != j:
                pasted = (mixed[i] == j).all(0)
                assert torch.equal((mixed[i] == j).any(0), pasted)  # all channels alike
        if (order != torch.arange(5)).any():
            moved = [i for i in range(5) if order[i] != i]
            assert all(torch.equal((mixed[i] != i).all(0), pasted) for i in moved)  # one box for the batch
            assert share == pytest.approx(1 - pasted.double().mean().item(), abs=1e-12)
            rows, columns = pasted.any(1), pasted.any(0)
            assert torch.equal(pasted, rows[:, None] & columns)


def test_cutmix_shares_as_many_pixels_as_published():
    shares = [augment.cutmix(torch.zeros(2, 1, 32, 32), 1.0, seeded(seed))[2] for seed in range(2000)]
    assert sum(shares) / len(shares) == pytest.approx(0.70, abs=0.02)


@pytest.mark.parametrize(("chance", "low", "high"), [(0.0, 0, 0), (0.5, 0.4, 0.6), (1.0, 0.9, 1)])
def test_cutmix_happens_by_chance(chance, low, high):
    images = batch(count=8, channels=1, size=16)[0]
    happened = 0
    for seed in range(400):
        mixed, _, share = augment.cutmix(images, chance, seeded(seed))
        assert (share == 1) == torch.equal(mixed, images)
        happened += share < 1
    assert low <= happened / 400 <= high


def test_cutmix_leaves_its_input_alone():
    images = batch(count=8, channels=1, size=16)[0]
    before = images.clone()
    for seed in range(5):
        augment.cutmix(images, 1.0, seeded(seed))
    assert torch.equal(images, before)
