"""ImageData: real images in memory, checked once, selected by indexing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from .config import check_count
from .rng import generator


@dataclass(frozen=True, eq=False)
class ImageData:
    """Real images as uint8 tensors with labels; mean and std are those of the pixels in [0, 1].

    `x_train`, `x_test` are (M, C, H, W) uint8, `y_train`, `y_test` are (M,) int64 in 0..K-1.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...] = field(repr=False)
    std: tuple[float, ...] = field(repr=False)
    name: str = "arrays"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return tuple(self.x_train.shape[1:])

    @cached_property
    def class_indices(self) -> tuple[Tensor, ...]:
        """For every class, the positions of its training images in dataset order."""
        return tuple((self.y_train == c).nonzero().flatten() for c in range(len(self.classes)))

    def first_images(self, count: int, start: int = 0) -> Tensor:
        """Training images number `start` to `start + count - 1` of every class, (K, count, C, H, W) in [0, 1].

        Raises ValueError naming the first class that has fewer.
        """
        self.require(start + count)
        picked = torch.stack([index[start : start + count] for index in self.class_indices])
        return to_float(self.x_train[picked])  # (K, count, C, H, W)

    def require(self, count: int) -> None:
        """Raise ValueError if a class has fewer than `count` training images."""
        for name, index in zip(self.classes, self.class_indices, strict=True):
            if len(index) < count:
                raise ValueError(
                    f"{count} training images per class needed, class {name!r} of {self.name} has {len(index)}"
                )

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


def to_float(images: Tensor) -> Tensor:
    """uint8 pixels as floats in [0, 1]."""
    return images.to(torch.get_default_dtype()) / 255


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels in [0, 1] to zero mean and unit variance per channel; images are (..., C, H, W)."""
    shift = images.new_tensor(mean)[:, None, None]
    return (images - shift) / images.new_tensor(std)[:, None, None]


def from_arrays(
    x_train,
    y_train,
    x_test,
    y_test,
    *,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    name: str = "arrays",
) -> ImageData:
    """ImageData of arrays or tensors: images (M, H, W), (M, H, W, C) or (M, C, H, W), C being 1 or 3.

    Pixels are integers 0..255 or floats 0..1; floats are rounded to 8 bits. Labels are 0..K-1 and
    every class has training images. Mean and std default to those of the training pixels. Raises
    ValueError for anything else.

    >>> x = np.zeros((4, 8, 8)); y = [0, 0, 1, 1]
    >>> from_arrays(x, y, x, y).shape
    (1, 8, 8)
    """
    x_train, x_test = _images(x_train, "x_train"), _images(x_test, "x_test")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(
            f"training images are {_shape(x_train)}, test images {_shape(x_test)} (C x H x W): they must be equal"
        )
    y_train, y_test = _labels(y_train, x_train, "y_train"), _labels(y_test, x_test, "y_test")
    count = int(y_train.max()) + 1 if classes is None else len(classes)
    missing = sorted(set(range(count)) - set(y_train.tolist()))
    if missing or count < 2:
        raise ValueError(f"labels must be 0..K-1 with training images for each of K >= 2 classes: none for {missing}")
    if max(y_train.max(), y_test.max()) >= count:
        raise ValueError(f"labels must be below {count}, got {max(int(y_train.max()), int(y_test.max()))}")
    classes = tuple(classes) if classes is not None else tuple(map(str, range(count)))
    if mean is None or std is None:
        mean, std = _moments(x_train)
    return ImageData(x_train, y_train, x_test, y_test, classes, tuple(mean), tuple(std), name)


def _moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.unbind(1)]).double()
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * levels).sum(1) / counts.sum(1)
    variance = (counts * levels**2).sum(1) / counts.sum(1) - mean**2
    std = variance.clamp(min=1e-6).sqrt()
    return tuple(round(v, 4) for v in mean.tolist()), tuple(round(v, 4) for v in std.tolist())


def _shape(images: Tensor) -> str:
    return "x".join(map(str, images.shape[1:]))


def _images(images, name: str) -> Tensor:
    images = torch.as_tensor(np.asarray(images))
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.permute(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"{name} has shape {tuple(images.shape)}: expected (M, H, W), (M, H, W, C) or (M, C, H, W), C = 1 or 3"
        )
    high = 1 if images.is_floating_point() else 255
    if not bool(torch.isfinite(images).all()):
        raise ValueError(f"{name} holds NaN or infinite pixels")
    if images.dtype != torch.uint8 and (images.min() < 0 or images.max() > high):
        found = f"{images.min().item():g}..{images.max().item():g}"
        raise ValueError(f"{name} holds pixels in {found}: expected integers 0..255 or floats 0..1")
    if images.is_floating_point():
        images = (images * 255).round()
    return images.to(torch.uint8).contiguous()


def _labels(labels, images: Tensor, name: str) -> Tensor:
    labels = torch.as_tensor(np.asarray(labels))
    if labels.shape != (len(images),) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"{name} must be {len(images)} integers, one per image, got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    labels = labels.long()
    if labels.min() < 0:
        raise ValueError(f"{name} holds the label {int(labels.min())}: labels start at 0")
    return labels
