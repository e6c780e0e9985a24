"""The augmentation of photographs, pixel by pixel."""

import colorsys
import math

import pytest
import torch

from mdckit import CondensedSet, TrainConfig, augment, baselines, condense, evaluate, photos

pytestmark = pytest.mark.usefixtures("float64")
MEAN, STD = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (photos.MEAN, photos.STD))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    """Two photographs, pixels in 0..1, (2, 1, 3, 12, 12)."""
    return torch.rand(2, 1, 3, 12, 12, generator=seeded())


def test_boxes_cover_half_to_all_of_the_area_and_lie_inside():
    boxes = photos.draw_crop(2000, seeded())
    area, ratio = boxes[:, 2] * boxes[:, 3], boxes[:, 2] / boxes[:, 3]
    assert 0.5 <= area.min() < 0.52
    assert 0.98 < area.max() <= 1
    assert 0.75 - 1e-9 <= ratio.min() < 0.77
    assert 1.3 < ratio.max() <= 4 / 3 + 1e-9
    assert (boxes[:, :2].abs() + boxes[:, 2:]).max() <= 1 + 1e-9
    assert boxes[:, 0].min() < -0.15
    assert boxes[:, 0].max() > 0.15


def test_a_box_of_whole_pixels_is_enlarged_as_it_is(images):
    """The right half of the columns and the lower half of the rows: a box of 6 x 6 pixels."""
    found = photos.crop(images, torch.tensor([[0.5, 0.5, 0.5, 0.5]] * 2))
    for y in range(12):
        for x in range(12):
            row, column = 6 + (y + 0.5) / 2 - 0.5, 6 + (x + 0.5) / 2 - 0.5
            wanted = torch.zeros(2, 3)
            for near_y in (math.floor(row), math.floor(row) + 1):
                for near_x in (math.floor(column), math.floor(column) + 1):
                    share = (1 - abs(row - near_y)) * (1 - abs(column - near_x))
                    wanted += share * images[:, 0, :, min(near_y, 11), min(near_x, 11)]
            torch.testing.assert_close(found[:, 0, :, y, x], wanted)
    whole = photos.crop(images, torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2))
    torch.testing.assert_close(whole, images)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_jitter_blends_in_the_order_drawn(images, order):
    strengths = (0.7, 1.3, 0.9)
    drawn = torch.tensor([[*strengths, *order], [1.0, 1.0, 1.0, 0.0, 1.0, 2.0]])
    found = photos.jitter((images - MEAN) / STD, drawn) * STD + MEAN
    wanted = images[0, 0].clone()
    for which in order:
        red, green, blue = wanted
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        towards = [torch.zeros_like(wanted), torch.full_like(wanted, grey.mean()), torch.stack([grey] * 3)][which]
        wanted = towards + strengths[which] * (wanted - towards)
    torch.testing.assert_close(found[0, 0], wanted)
    torch.testing.assert_close(found[1], images[1])  # strength 1 changes nothing
    grey = photos.jitter((images - MEAN) / STD, torch.tensor([[1.0, 1.0, 0.0, 2.0, 0.0, 1.0]] * 2)) * STD + MEAN
    assert all(colorsys.rgb_to_hls(*pixel)[2] < 1e-9 for pixel in grey[0, 0].flatten(1).T.tolist())


def test_strengths_and_orders_vary():
    drawn = photos.draw_jitter(1000, seeded())
    assert 0.6 <= drawn[:, :3].min() < 0.61
    assert 1.39 < drawn[:, :3].max() <= 1.4
    assert len({tuple(row) for row in drawn[:, 3:].tolist()}) == 6


def test_lighting_moves_every_pixel_of_a_row_alike(images):
    shifts = photos.draw_lighting(5000, seeded())
    vectors, values = torch.tensor(photos.EIGENVECTORS), torch.tensor(photos.EIGENVALUES)
    wanted = vectors @ torch.diag((0.1 * values) ** 2) @ vectors.T
    torch.testing.assert_close(shifts.T.cov(), wanted, rtol=0.1, atol=1e-6)
    moved = photos.lighting((images - MEAN) / STD, shifts[:2]) * STD + MEAN
    torch.testing.assert_close(moved - images, shifts[:2, None, :, None, None].expand_as(images))


def test_photographs_are_augmented_each_in_its_own_way(images):
    config = TrainConfig.preset("imagenet10")
    both = images[:1].expand(2, -1, -1, -1, -1)[:, 0]
    found = augment.per_sample((both - MEAN) / STD, config.augment, seeded())
    assert found.shape == both.shape
    assert not torch.allclose(found[0], found[1])


def test_images_without_colours_are_refused(grey, tiny):
    config = TrainConfig(augment="flip_jitter", epochs=4, width=4, depth=2)
    one = CondensedSet(grey.first_images(1), 1, grey.mean, grey.std, grey.classes)
    with pytest.raises(ValueError, match="augment 'flip_jitter' asked, but the images of grey have no colours"):
        evaluate(one, grey, config)
    with pytest.raises(ValueError, match="the images of grey have no colours"):
        condense(grey, [baselines.baseline_c()], tiny.replace(net_augment="crop_lighting"))
