"""Composing and decoding stored images against pixel by pixel loops."""

import pytest
import reference
import reference_scores
import torch

from mdckit.condensed import CondensedSet
from mdckit.formation import cell_sides, compose, decode, join, pack, split, unpack

SHAPES = [((3, 32, 32), 2), ((1, 28, 28), 2), ((3, 224, 224), 3), ((1, 8, 8), 3), ((1, 7, 7), 5)]
each_shape = pytest.mark.parametrize(("shape", "factor"), SHAPES, ids=[f"{s[1]}-{f}" for s, f in SHAPES])


def real_images(shape, count, classes=1):
    return torch.rand(classes, count, *shape, generator=torch.Generator().manual_seed(0))


@each_shape
def test_compose_samples_the_nearest_pixel(shape, factor):
    images = real_images(shape, factor**2)
    assert torch.equal(compose(images, factor)[0], reference.mix_initialisation(images[0], factor))


def test_compose_keeps_classes_and_images_apart():
    images = real_images((1, 8, 8), 12, classes=2)
    stored = compose(images, 2)
    assert stored.shape == (2, 3, 1, 8, 8)
    for c in range(2):
        assert torch.equal(stored[c], reference.mix_initialisation(images[c], 2))


def test_compose_at_half_size_takes_every_even_pixel():
    images = real_images((1, 32, 32), 4)
    assert torch.equal(compose(images, 2)[0, 0, :, :16, 16:], images[0, 1, :, ::2, ::2])


def test_compose_of_one_cell_is_a_copy():
    images = real_images((1, 8, 8), 3)
    stored = compose(images, 1)
    assert torch.equal(stored, images)
    assert stored.data_ptr() != images.data_ptr()


@pytest.mark.parametrize(
    ("size", "factor", "sides"),
    [(32, 2, [16, 16]), (28, 2, [14, 14]), (224, 3, [75, 75, 74]), (8, 3, [3, 3, 2]), (11, 4, [3, 3, 3, 2])],
)
def test_the_first_cells_get_the_pixels_left_over(size, factor, sides):
    assert cell_sides(size, factor) == sides


def test_more_cells_than_pixels_are_refused():
    with pytest.raises(ValueError, match="factor 9 asked of images with 8 pixels a side"):
        cell_sides(8, 9)


@each_shape
def test_decode_pads_cuts_and_enlarges(shape, factor, float64):
    stored = real_images(shape, 2)[0]
    torch.testing.assert_close(decode(stored, factor), reference.decode(stored, factor), rtol=1e-12, atol=1e-12)


def test_decode_hands_the_gradient_to_its_own_image(float64):
    stored = real_images((1, 8, 8), 2)[0].requires_grad_()
    (gradient,) = torch.autograd.grad(decode(stored, 3)[:9].square().sum(), stored)
    (wanted,) = torch.autograd.grad(reference.decode(stored, 3)[:9].square().sum(), stored)
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=1e-12)
    assert gradient[0].all()
    assert not gradient[1].any()


def test_decode_works_on_any_leading_axes():
    stored = real_images((3, 8, 8), 4, classes=2)
    patches = decode(stored, 2)
    assert patches.shape == (2, 16, 3, 8, 8)
    for c in range(2):
        assert torch.equal(patches[c], decode(stored[c], 2))
    assert torch.equal(decode(stored, 1), stored)


@each_shape
def test_round_trip_shapes(shape, factor):
    images = real_images(shape, 2 * factor**2)
    stored = compose(images, factor)
    assert stored.shape == (1, 2, *shape)
    assert decode(stored, factor).shape == images.shape


def test_patches_are_in_the_order_of_the_composed_images():
    """Flat images survive the round trip, so patch m shows real image m."""
    levels = real_images((1, 1, 1), 12)
    patches = decode(compose(levels.expand(1, 12, 1, 8, 8), 2), 2)
    torch.testing.assert_close(patches, levels.expand_as(patches))


@each_shape
def test_a_prefix_of_images_is_a_prefix_of_patches(shape, factor):
    stored = real_images(shape, 3)[0]
    for n in (1, 2):
        assert torch.equal(decode(stored[:n], factor), decode(stored, factor)[: n * factor**2])


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_taking_images_takes_the_first_patches_of_every_class(factor):
    condensed = CondensedSet(real_images((1, 8, 8), 4, classes=2), factor, (0.5,), (0.5,), ("a", "b"))
    patches, labels = condensed.decode()
    for n in range(1, 5):
        taken, taken_labels = condensed.take(n).decode()
        wanted = patches.unflatten(0, (2, -1))[:, : n * factor**2].flatten(0, 1)
        assert torch.equal(taken, wanted)
        assert torch.equal(taken_labels, labels.unflatten(0, (2, -1))[:, : n * factor**2].flatten())


@each_shape
def test_split_cuts_the_tiles_that_decode_enlarges(shape, factor):
    stored = real_images(shape, 2)
    cells = split(stored, factor)
    side = -(-shape[-1] // factor)
    assert cells.shape == (1, 2 * factor**2, shape[0], side, side)
    padded = torch.full((2, shape[0], side * factor, side * factor), 0.5)
    padded[..., : shape[-1], : shape[-1]] = stored[0]
    assert torch.equal(cells[0], torch.stack(reference_scores.cells(padded, factor)))


@each_shape
def test_join_puts_the_tiles_back(shape, factor):
    stored = real_images(shape, 3, classes=2)
    for images in (stored, stored[1], stored[:, :1]):
        assert torch.equal(join(split(images, factor), factor, shape[-2:]), images)


@pytest.mark.parametrize(("size", "factor"), [(8, 1), (8, 2), (28, 2), (9, 3)])
def test_tiles_can_be_moved_where_the_factor_divides_the_side(size, factor):
    cells = real_images((2, size // factor, size // factor), 2 * factor**2, classes=3).flip(1)
    stored = join(cells, factor, (size, size))
    assert stored.shape == (3, 2, 2, size, size)
    assert torch.equal(split(stored, factor), cells)


def test_a_tile_moved_to_the_edge_loses_its_last_line_where_the_factor_does_not_divide_the_side():
    cells = split(real_images((1, 8, 8), 1)[0], 3)
    moved = split(join(cells.flip(0), 3, (8, 8)), 3)
    for k, (row, column) in enumerate((row, column) for row in range(3) for column in range(3)):
        tall, wide = 3 - (row == 2), 3 - (column == 2)
        assert torch.equal(moved[k, :, :tall, :wide], cells[8 - k, :, :tall, :wide])
        assert (moved[k, :, tall:] == 0.5).all()
        assert (moved[k, :, :, wide:] == 0.5).all()


@pytest.mark.parametrize("counts", [[3, 0, 1], [0, 0, 2], [4, 4, 4]])
def test_rows_of_classes_are_filled_and_taken_apart(counts):
    values = torch.rand(sum(counts), 2, 5)
    rows = unpack(values, counts, 4, fill=-1.0)
    assert rows.shape == (3, 4, 2, 5)
    assert torch.equal(pack(rows, counts), values)
    assert all(bool((row[count:] == -1).all()) for row, count in zip(rows, counts, strict=True))
