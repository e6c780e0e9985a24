"""Tiny data and settings shared by the tests, so that each runs in seconds on one core."""

import shutil

import pytest
import torch

from mdckit.arrays import from_arrays
from mdckit.config import CondenseConfig

torch.set_num_threads(1)
collect_ignore = ["benchmarks", "fuzz", "offline"]  # importing sitecustomize would forbid the network here too


@pytest.fixture
def compiler():
    """What compiled graphs need of the machine."""
    if not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("no C++ compiler here")


@pytest.fixture
def float64():
    """Everything made without a dtype is float64, so that gradients can be compared closely."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def random_images(shape, classes=3, per_class=20, seed=0):
    """Images that are noise around one pattern per class, well inside 0..255."""
    random = torch.Generator().manual_seed(seed)
    patterns = torch.randint(60, 150, (classes, *shape), generator=random)
    labels = torch.arange(classes).repeat(per_class)
    noise = torch.randint(0, 50, (len(labels), *shape), generator=random)
    return (patterns[labels] + noise).to(torch.uint8), labels


@pytest.fixture(scope="session")
def grey():
    """Three classes of 1x8x8 images, 20 each."""
    x, y = random_images((1, 8, 8))
    return from_arrays(x, y, x[:6], y[:6], name="grey")


@pytest.fixture(scope="session")
def rgb():
    """Three classes of 3x16x16 images, 20 each."""
    x, y = random_images((3, 16, 16))
    return from_arrays(x, y, x[:6], y[:6], name="rgb")


@pytest.fixture(scope="session")
def tiny():
    """Three outer loops of two inner iterations: N = 3, f = 2, a choice of the MLS after every outer loop."""
    return CondenseConfig(
        ipc=3,
        factor=2,
        outer=3,
        inner=2,
        period=1,
        lr=1.0,
        reference_size=8,
        width=4,
        depth=2,
        batch_real=4,
        net_images=8,
        net_batch=4,
    )
