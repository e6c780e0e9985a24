"""ImageData: what from_arrays takes and refuses, and what is drawn from the images."""

import re

import numpy as np
import pytest
import torch

from mdckit import from_arrays, load
from mdckit.data import normalize, to_float

LABELS = [0, 1, 0, 1, 0, 1, 0]


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def make(x=None, y=LABELS, **settings):
    """from_arrays with the same images for training and testing."""
    x = pixels(7, 8, 8) if x is None else x
    return from_arrays(x, y, x, y, **settings)


def test_images_are_shown_in_a_line():
    assert repr(make(name="toys")) == "ImageData(toys: 2 classes, 7 training and 7 test images of 1 x 8 x 8)"


# -- layouts and kinds of pixels


@pytest.mark.parametrize(
    ("shape", "stored"),
    [
        ((7, 8, 9), (1, 8, 9)),
        ((7, 8, 9, 1), (1, 8, 9)),
        ((7, 8, 9, 3), (3, 8, 9)),
        ((7, 1, 8, 9), (1, 8, 9)),
        ((7, 3, 8, 9), (3, 8, 9)),
    ],
)
def test_every_layout_becomes_channels_first(shape, stored):
    x = pixels(*shape)
    data = make(x)
    assert data.shape == stored
    assert data.x_train.dtype == torch.uint8
    assert data.x_train.is_contiguous()
    expected = x if shape[1] in (1, 3) else np.moveaxis(x.reshape(7, 8, 9, -1), 3, 1)
    assert np.array_equal(data.x_train.numpy(), expected)
    assert torch.equal(data.x_train, data.x_test)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int64, np.uint32])
def test_integer_pixels_are_kept(kind):
    x = pixels(7, 8, 8)
    assert np.array_equal(make(x.astype(kind)).x_train[:, 0].numpy(), x)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_float_pixels_are_rounded_to_8_bits(kind):
    x = pixels(7, 8, 8)
    assert np.array_equal(make((x / 255).astype(kind)).x_train[:, 0].numpy(), x)


def test_floats_between_two_levels_go_to_the_nearest():
    x = np.array([0.0, 0.0019, 0.0021, 0.5, 0.9979, 0.9981, 1.0])[:, None, None] * np.ones((1, 2, 2))
    assert make(x).x_train[:, 0, 0, 0].tolist() == [0, 0, 1, 128, 254, 255, 255]


def test_small_signed_integers_are_pixels():
    x = (pixels(7, 8, 8) // 2).astype(np.int8)
    assert np.array_equal(make(x).x_train[:, 0].numpy(), x)


def test_tensors_and_lists_are_taken_like_arrays():
    x = pixels(7, 8, 8)
    plain = make(x)
    for given in (torch.from_numpy(x), x.tolist(), (torch.from_numpy(x) / 255).requires_grad_()):
        assert torch.equal(make(given, torch.tensor(LABELS)).x_train, plain.x_train)


def test_read_only_arrays_are_copied():
    x = pixels(7, 8, 8)
    x.flags.writeable = False
    data = make(x)
    data.x_train.zero_()
    assert x.any()


# -- bad pixels


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_pixels_are_refused(bad):
    x = np.zeros((7, 8, 8))
    x[3, 2, 1] = bad
    with pytest.raises(ValueError, match="x_train holds NaN or infinite pixels"):
        make(x)


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (np.full((7, 8, 8), 255.0), r"255\.\.255"),
        (np.full((7, 8, 8), -0.5), r"-0\.5\.\.-0\.5"),
        (np.full((7, 8, 8), 256), r"256\.\.256"),
        (np.full((7, 8, 8), 4096, dtype=np.uint16), r"4096\.\.4096"),
        (np.full((7, 8, 8), -1), r"-1\.\.-1"),
    ],
)
def test_pixels_out_of_range_are_named(x, found):
    with pytest.raises(ValueError, match=f"x_train holds pixels in {found}: expected integers 0..255 or floats 0..1"):
        make(x)


@pytest.mark.parametrize("kind", ["bool", "complex128", "str", "object"])
def test_other_kinds_of_pixels_are_refused(kind):
    with pytest.raises(ValueError, match=r"x_train holds .* pixels: expected integers"):
        make(np.zeros((7, 8, 8)).astype(kind))


@pytest.mark.parametrize("shape", [(7, 64), (7, 8, 8, 2), (7, 2, 8, 8), (7, 4, 8, 8), (7, 8, 8, 3, 1), (0, 8, 8)])
def test_bad_shapes_are_named(shape):
    with pytest.raises(ValueError, match=rf"x_train has shape {re.escape(str(shape))}: expected \(M, H, W\)"):
        make(np.zeros(shape, dtype=np.uint8), LABELS[: shape[0]])


def test_the_test_images_are_checked_too():
    x = pixels(7, 8, 8)
    with pytest.raises(ValueError, match="x_test holds NaN"):
        from_arrays(x, LABELS, np.full((7, 8, 8), np.nan), LABELS)


def test_images_of_unequal_size_are_named():
    with pytest.raises(ValueError, match=re.escape("x_test holds items of unequal size (8, 8) and (9, 8): bring them")):
        from_arrays(pixels(2, 8, 8), [0, 1], [pixels(8, 8), pixels(9, 8)], [0, 1])


def test_unequal_train_and_test_images_are_named():
    with pytest.raises(ValueError, match="training images are 1x8x8, test images 1x9x8"):
        from_arrays(pixels(7, 8, 8), LABELS, pixels(7, 9, 8), LABELS)
    with pytest.raises(ValueError, match="training images are 3x8x8, test images 1x8x8"):
        from_arrays(pixels(7, 8, 8, 3), LABELS, pixels(7, 8, 8), LABELS)


# -- labels and classes


@pytest.mark.parametrize(
    "labels",
    [LABELS[:-1], [LABELS], [float(y) for y in LABELS], [bool(y) for y in LABELS], [str(y) for y in LABELS]],
)
def test_labels_must_be_one_integer_per_image(labels):
    with pytest.raises(ValueError, match="y_train must be 7 integers, one per image, got"):
        make(y=labels)


def test_labels_below_zero_are_named():
    with pytest.raises(ValueError, match="y_test holds the label -1: labels start at 0"):
        from_arrays(pixels(7, 8, 8), LABELS, pixels(7, 8, 8), [-1, *LABELS[1:]])


def test_a_missing_class_is_named():
    with pytest.raises(ValueError, match=r"labels must be 0\.\.2 .* none of 1"):
        make(y=[0, 2, 0, 2, 0, 2, 0])
    with pytest.raises(ValueError, match=r"labels must be 0\.\.2 .* none of 2"):
        make(classes=["a", "b", "c"])


def test_labels_that_are_identifiers_are_refused_at_once():
    with pytest.raises(ValueError, match="none of 0"):
        make(y=[10**12 + y for y in LABELS])


def test_a_label_beyond_the_classes_is_named():
    with pytest.raises(ValueError, match="labels must be below 2, got 2"):
        make(y=[0, 1, 2, 1, 0, 1, 0], classes=["a", "b"])
    with pytest.raises(ValueError, match="labels must be below 2, got 5"):
        from_arrays(pixels(7, 8, 8), LABELS, pixels(7, 8, 8), [5] * 7)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="1 class given: at least 2"):
        make(y=[0] * 7)


def test_class_names_default_to_the_labels():
    assert make().classes == ("0", "1")
    assert make(classes=["cat", "dog"]).classes == ("cat", "dog")


# -- mean and std


def test_mean_and_std_are_those_of_the_training_pixels():
    x = pixels(7, 8, 8, 3)
    data = from_arrays(x, LABELS, np.zeros((7, 8, 8, 3), dtype=np.uint8), LABELS)
    assert data.mean == pytest.approx((x / 255).mean((0, 1, 2)), abs=1e-4)
    assert data.std == pytest.approx((x / 255).std((0, 1, 2)), abs=1e-4)


def test_constant_images_have_a_std_above_zero():
    assert min(make(np.zeros((7, 8, 8))).std) > 0


def test_given_mean_and_std_are_kept():
    data = make(mean=(0.1307,), std=[0.3081])
    assert (data.mean, data.std) == ((0.1307,), (0.3081,))


@pytest.mark.parametrize(
    "given",
    [{"mean": (0.5,)}, {"std": (0.5,)}, {"mean": (0.5,) * 3, "std": (0.5,) * 3}, {"mean": (0.5,), "std": (0.0,)}],
)
def test_mean_and_std_that_do_not_fit_are_named(given):
    with pytest.raises(ValueError, match=r"mean .* and std .* asked"):
        make(**given)


def test_normalize_gives_zero_mean_and_unit_variance():
    data = make(pixels(7, 8, 8, 3))
    flat = normalize(to_float(data.x_train), data.mean, data.std).transpose(0, 1).flatten(1)
    assert torch.allclose(flat.mean(1), torch.zeros(3), atol=2e-3)
    assert torch.allclose(flat.std(1, correction=0), torch.ones(3), atol=2e-3)


def test_normalize_works_per_channel():
    images = torch.ones(2, 4, 3, 5, 5)
    result = normalize(images, (0.0, 0.5, 1.0), (1.0, 2.0, 4.0))
    assert torch.equal(result[1, 3, :, 0, 0], torch.tensor([1.0, 0.25, 0.0]))


def test_to_float_maps_255_to_1():
    assert torch.equal(to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)), torch.tensor([0.0, 0.2, 1.0]))


# -- images of a class


@pytest.fixture
def numbered():
    """Twelve 1x2x2 images whose pixels hold their number, the labels in mixed order."""
    x = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), dtype=np.uint8)
    return from_arrays(x, [1, 0, 2, 0, 1, 2, 2, 0, 1, 0, 1, 2], x[:3], [0, 1, 2], classes=["ant", "bee", "cow"])


def numbers(images):
    return (images[..., 0, 0, 0] * 255).round().int().tolist()


def test_class_indices_are_in_dataset_order(numbered):
    assert [index.tolist() for index in numbered.class_indices] == [[1, 3, 7, 9], [0, 4, 8, 10], [2, 5, 6, 11]]


def test_first_images_are_the_first_in_dataset_order(numbered):
    images = numbered.first_images(2)
    assert images.shape == (3, 2, 1, 2, 2)
    assert images.is_floating_point()
    assert numbers(images) == [[1, 3], [0, 4], [2, 5]]
    assert numbers(numbered.first_images(2, start=1)) == [[3, 7], [4, 8], [5, 6]]
    assert numbers(numbered.first_images(4)) == [[1, 3, 7, 9], [0, 4, 8, 10], [2, 5, 6, 11]]


def test_too_many_first_images_name_the_class():
    data = from_arrays(pixels(7, 8, 8), LABELS, pixels(7, 8, 8), LABELS, classes=["ant", "bee"], name="insects")
    with pytest.raises(ValueError, match="4 training images per class needed, class 'bee' of insects has 3"):
        data.first_images(4)
    with pytest.raises(ValueError, match="5 training images per class needed, class 'ant' of insects has 4"):
        data.first_images(3, start=2)


@pytest.mark.parametrize("count", [0, -1, 1.0, True])
def test_a_bad_count_of_first_images_is_named(numbered, count):
    with pytest.raises(ValueError, match=f"count must be an integer >= 1, got {count}"):
        numbered.first_images(count)


# -- holdout


@pytest.fixture
def many():
    """Sixty different training images in three classes, and test images that are none of them."""
    x = np.arange(60, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), dtype=np.uint8)
    return from_arrays(x, np.arange(60) % 3, x[:9] + 200, np.arange(9) % 3, mean=(0.5,), std=(0.25,), name="many")


def test_holdout_divides_the_training_images(many):
    part = many.holdout(5)
    assert torch.bincount(part.y_test).tolist() == [5, 5, 5]
    assert torch.bincount(part.y_train).tolist() == [15, 15, 15]
    kept, held = (x[:, 0, 0, 0].tolist() for x in (part.x_train, part.x_test))
    assert sorted(kept + held) == list(range(60))
    assert kept == sorted(kept)
    assert [number % 3 for number in kept] == part.y_train.tolist()
    assert [number % 3 for number in held] == part.y_test.tolist()


def test_holdout_keeps_the_rest(many):
    part = many.holdout(5)
    assert (part.classes, part.mean, part.std) == (many.classes, many.mean, many.std)
    assert part.name == "many-holdout5"


def test_holdout_is_always_the_same_and_not_the_first_images(many):
    torch.manual_seed(1)
    first = many.holdout(5)
    torch.manual_seed(2)
    assert torch.equal(first.x_test, many.holdout(5).x_test)
    assert first.x_test[:, 0, 0, 0].tolist() != list(range(15))


def test_fewer_test_images_are_always_the_same_and_all_are_kept_on_request():
    digits = load("digits")
    part = digits.fewer_tests(60)
    assert (len(part.x_test), len(part.x_train), part.name) == (60, len(digits.x_train), "digits")
    assert torch.equal(part.y_test, digits.fewer_tests(60).y_test)
    assert set(part.y_test.tolist()) == set(range(10))
    assert not torch.equal(part.y_test, digits.y_test[:60])
    assert digits.fewer_tests(0) is digits
    with pytest.raises(ValueError, match="351 test images asked of digits, which has 350"):
        digits.fewer_tests(351)


def test_holdout_leaves_the_global_random_state_alone(many):
    before = torch.get_rng_state()
    many.holdout(5)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("count", [0, -3, 2.0, True, "5"])
def test_a_bad_holdout_is_named(many, count):
    with pytest.raises(ValueError, match=f"holdout must be an integer >= 1, got {count!r}"):
        many.holdout(count)


def test_holdout_leaves_training_images(many):
    assert len(many.holdout(19).x_train) == 3
    with pytest.raises(ValueError, match="21 training images per class needed, class '0' of many has 20"):
        many.holdout(20)
