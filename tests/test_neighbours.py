"""Nearest real images, against a loop over all of them."""

import numpy as np
import pytest
import torch

from mdckit import from_arrays
from mdckit.interactive import neighbours
from mdckit.interactive.neighbours import nearest_real


@pytest.fixture(scope="module")
def real():
    random = np.random.default_rng(1)
    x = random.integers(0, 256, (60, 6, 6, 3))
    x[7] = x[1]  # twice the same, of one class
    return from_arrays(x, np.arange(60) % 3, x[:3], [0, 1, 2])


@pytest.mark.parametrize("at_once", [1, 5 * 108, 2**26])
def test_as_a_loop_over_the_class(real, at_once, monkeypatch):
    monkeypatch.setattr(neighbours, "AT_ONCE", at_once)
    patches = torch.rand(30, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    labels = torch.arange(30) * 7 % 3
    distances, numbers = nearest_real(patches, labels, real)
    for patch, c, distance, number in zip(patches, labels, distances, numbers, strict=True):
        gaps = [float((patch - r.double() / 255).square().mean() ** 0.5) for r in real.x_train[real.y_train == c]]
        assert number == int(np.argmin(gaps))
        assert distance == pytest.approx(min(gaps), abs=1e-6)


def test_an_image_is_its_own_neighbour_and_of_equals_the_first(real):
    images = real.x_train[real.y_train == 1].float() / 255
    distances, numbers = nearest_real(images, torch.ones(20, dtype=torch.int64), real)
    assert distances.max() == 0
    assert numbers.tolist() == [0, 1, 0, *range(3, 20)]  # number 2 is image 7, which equals image 1


def test_patches_of_another_shape_are_refused(real):
    with pytest.raises(ValueError, match=r"patches of \(1, 6, 6\) given for the images of arrays, \(3, 6, 6\)"):
        nearest_real(torch.zeros(1, 1, 6, 6), torch.zeros(1, dtype=torch.int64), real)
