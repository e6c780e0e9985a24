"""Test images that are training images too are told of, with an example, and only where a user brought them."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from mdckit import from_arrays, load
from mdckit.leakage import shared_images

LABELS = [0, 0, 1, 1]


def images(count, seed=0, shape=(3, 8, 8)):
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_pairs_are_those_of_a_comparison_of_all_with_all():
    train = torch.cat([images(30, shape=(1, 2, 1)) % 4, images(2, shape=(1, 2, 1))])
    test = images(40, seed=1, shape=(1, 2, 1)) % 5
    equal = (test[:, None] == train[None]).flatten(2).all(2)  # (40, 32)
    wanted = [(j, int(row.nonzero()[0])) for j, row in enumerate(equal) if row.any()]
    assert 0 < len(wanted) < 40
    assert shared_images(train, test) == wanted


def test_equal_hashes_are_not_yet_equal_images(monkeypatch):
    monkeypatch.setattr("mdckit.leakage.hash", lambda content: 0, raising=False)
    train, test = images(2), images(2, seed=1)
    assert shared_images(train, test) == []
    assert shared_images(train, train) == [(0, 0)]


def test_one_pixel_makes_another_image():
    train = images(3)
    test = train.clone()
    test[1:, 0, 0, 0] ^= 1
    assert shared_images(train, test) == [(0, 0)]


def test_arrays_are_warned_of_with_number_and_example():
    train, test = images(4), images(4, seed=1)
    test[2] = train[3]
    with pytest.warns(
        UserWarning, match=r"1 of 4 test images of mine are .*\(x_test\[2\] is x_train\[3\]\).* take"
    ) as w:
        from_arrays(train, LABELS, test, LABELS, name="mine")
    assert w[0].filename == __file__


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_without_need():
    from_arrays(images(4), LABELS, images(4, seed=1), LABELS)
    from_arrays(images(4), LABELS, images(4), LABELS, warn_shared=False)
    load("digits").holdout(3)


def write(folder, pixels):
    for k, image in enumerate(pixels):
        path = folder / "ab"[LABELS[k]] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())).save(path)


def test_a_folder_is_warned_of_by_file_names_and_a_named_set_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("MDCKIT_DATA", str(tmp_path))
    train, test = images(4), images(4, seed=1)
    test[3] = train[1]
    for part, pixels in {"train": train, "test": test}.items():
        write(tmp_path / "cifar10" / part, pixels)
    with pytest.warns(UserWarning, match=r"1 of 4 test images of cifar10 .*/test/b/3.png is /.*/train/a/1.png"):
        load(tmp_path / "cifar10")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("cifar10")
