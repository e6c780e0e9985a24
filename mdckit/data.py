"""ImageData: real images in memory, checked once, selected by indexing."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from .checks import check_colours, check_count
from .rng import generator


@dataclass(frozen=True, eq=False, repr=False)
class ImageData:
    """Real images as uint8 tensors with labels; mean and std are those of the pixels in [0, 1].

    `x_train`, `x_test` are (M, C, H, W) uint8, `y_train`, `y_test` are (M,) int64 in 0..K-1.

    >>> from mdckit import load
    >>> load("digits")
    ImageData(digits: 10 classes, 1,447 training and 350 test images of 1 x 8 x 8)
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    name: str = "arrays"

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        images = f"{len(self.x_train):,} training and {len(self.x_test):,} test images of {shape}"
        return f"ImageData({self.name}: {len(self.classes)} classes, {images})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return tuple(self.x_train.shape[1:])

    @cached_property
    def class_indices(self) -> tuple[Tensor, ...]:
        """For every class, the positions of its training images in dataset order."""
        return class_members(self.y_train, len(self.classes))

    @cached_property
    def digest(self) -> str:
        """Fingerprint of the training images and labels, 16 hexadecimal digits."""
        return _digest(self.x_train, self.y_train)

    @cached_property
    def test_digest(self) -> str:
        """Fingerprint of the test images and labels, 16 hexadecimal digits."""
        return _digest(self.x_test, self.y_test)

    @property
    def identity(self) -> dict:
        """What another run must share to go on with these training images, as JSON: the digest stands for pixels."""
        return {
            "dataset": self.name,
            "images": self.digest,
            "classes": list(self.classes),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def first_images(self, count: int, start: int = 0, classes: range | None = None) -> Tensor:
        """Training images number `start` to `start + count - 1` of every class, (K, count, C, H, W) in [0, 1].

        Or of consecutive `classes` alone.

        Raises ValueError naming the first class that has fewer.
        """
        check_count("count", count)
        check_count("start", start, 0)
        self.require(start + count)
        chosen = self.class_indices if classes is None else self.class_indices[classes.start : classes.stop]
        picked = torch.stack([index[start : start + count] for index in chosen])
        return to_float(self.x_train[picked])  # (K, count, C, H, W)

    def require(self, count: int) -> None:
        """Raise ValueError if a class has fewer than `count` training images."""
        for name, index in zip(self.classes, self.class_indices, strict=True):
            if len(index) < count:
                raise ValueError(
                    f"{count} training images per class needed, class {name!r} of {self.name} has {len(index)}"
                )

    def check_colours(self, strategy: str) -> None:
        """Raise ValueError if an augmentation `strategy` changes colours that the images do not have."""
        check_colours(strategy, self.shape[0], self.name)

    def holdout(self, count: int) -> Self:
        """The same data with `count` training images per class as the test part, for choosing settings.

        The true test images are left out altogether. The choice is random and always the same.
        """
        check_count("holdout", count)
        self.require(count + 1)
        keep = torch.ones(len(self.y_train), dtype=torch.bool)
        for c, index in enumerate(self.class_indices):
            order = torch.randperm(len(index), generator=generator(0, "holdout", c))
            keep[index[order[:count]]] = False
        return replace(
            self,
            x_train=self.x_train[keep],
            y_train=self.y_train[keep],
            x_test=self.x_train[~keep],
            y_test=self.y_train[~keep],
            name=f"{self.name}-holdout{count}",
        )

    def fewer_tests(self, count: int) -> Self:
        """The same data with `count` of its test images, drawn at random and always the same; 0 keeps all."""
        check_count("test images", count, 0)
        if count > len(self.y_test):
            raise ValueError(f"{count:,} test images asked of {self.name}, which has {len(self.y_test):,}")
        chosen = torch.randperm(len(self.y_test), generator=generator(0, "tests"))[: count or None]
        return replace(self, x_test=self.x_test[chosen], y_test=self.y_test[chosen]) if count else self


def to_float(images: Tensor) -> Tensor:
    """uint8 pixels as floats in [0, 1]."""
    return images.to(torch.get_default_dtype()) / 255


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels in [0, 1] to zero mean and unit variance per channel; images are (..., C, H, W)."""
    shift = images.new_tensor(mean)[:, None, None]
    return (images - shift) / images.new_tensor(std)[:, None, None]


def denormalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The pixels that `normalize` turned into images (..., C, H, W)."""
    return images * images.new_tensor(std)[:, None, None] + images.new_tensor(mean)[:, None, None]


def class_members(labels: Tensor, classes: int) -> tuple[Tensor, ...]:
    """For every class 0..`classes`-1 the positions of its labels, ascending."""
    return tuple((labels == c).nonzero().flatten() for c in range(classes))


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()[:16]
