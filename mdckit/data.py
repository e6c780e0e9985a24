"""ImageData: real images in memory, checked once, selected by indexing."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from .checks import check_colours, check_count
from .leakage import warn_of_shared_images
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
    warn_shared: bool = True,
) -> ImageData:
    """ImageData of arrays or tensors: images (M, H, W), (M, H, W, C) or (M, C, H, W), C being 1 or 3.

    Pixels are integers 0..255 or floats 0..1; floats are rounded to 8 bits. Labels are 0..K-1 and
    every class has training images. Mean and std, one number per channel, default to those of the
    training pixels. Raises ValueError for anything else, and warns of test images that are training images too, unless
    told not to (`warn_shared`).

    >>> x = np.linspace(0, 1, 8 * 8 * 8).reshape(8, 8, 8); y = [0, 0, 1, 1]
    >>> from_arrays(x[:4], y, x[4:], y).shape
    (1, 8, 8)
    """
    x_train, x_test = _images(x_train, "x_train"), _images(x_test, "x_test")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(
            f"training images are {_shape(x_train)}, test images {_shape(x_test)} (C x H x W): they must be equal"
        )
    y_train, y_test = _labels(y_train, x_train, "y_train"), _labels(y_test, x_test, "y_test")
    count = int(y_train.max()) + 1 if classes is None else len(classes)
    _check_classes(y_train, y_test, count)
    classes = tuple(classes) if classes is not None else tuple(map(str, range(count)))
    if mean is None and std is None:
        mean, std = _moments(x_train)
    _check_moments(mean, std, x_train.shape[1])
    if warn_shared:
        warn_of_shared_images(x_train, x_test, name)
    return ImageData(x_train, y_train, x_test, y_test, classes, tuple(map(float, mean)), tuple(map(float, std)), name)


def _check_classes(y_train: Tensor, y_test: Tensor, count: int) -> None:
    if count < 2:
        raise ValueError(f"labels of {count} class given: at least 2 classes are needed")
    highest = max(int(y_train.max()), int(y_test.max()))
    if highest >= count:
        raise ValueError(f"labels must be below {count}, got {highest}")
    present = set(y_train.tolist())
    missing = next((c for c in range(count) if c not in present), None)
    if missing is not None:
        raise ValueError(f"labels must be 0..{count - 1} with training images of each: there are none of {missing}")


def _check_moments(mean: Sequence[float] | None, std: Sequence[float] | None, channels: int) -> None:
    if mean is None or std is None:
        raise ValueError(f"mean {mean} and std {std} asked: give both, or neither")
    if len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise ValueError(f"mean {mean} and std {std} asked of {channels}-channel images: one each, std > 0")


def _moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.unbind(1)]).double()
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * levels).sum(1) / counts.sum(1)
    variance = (counts * levels**2).sum(1) / counts.sum(1) - mean**2
    std = variance.clamp(min=1e-6).sqrt()
    return tuple(round(v, 4) for v in mean.tolist()), tuple(round(v, 4) for v in std.tolist())


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()[:16]


def _shape(images: Tensor) -> str:
    return "x".join(map(str, images.shape[1:]))


def _array(values, name: str) -> np.ndarray:
    try:
        return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except ValueError:  # of NumPy, which speaks of inhomogeneous parts
        sizes = " and ".join(sorted({str(tuple(value.shape)) for value in values if hasattr(value, "shape")}))
        raise ValueError(f"{name} holds items of unequal size {sizes}: bring them to one size") from None


def _images(images, name: str) -> Tensor:
    images = _array(images, name)
    shape = images.shape
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise ValueError(f"{name} has shape {shape}: expected (M, H, W), (M, H, W, C) or (M, C, H, W), C = 1 or 3")
    _check_pixels(images, name)
    if images.dtype.kind == "f":
        images = (images * 255).round()
    return torch.from_numpy(np.require(images, np.uint8, "CW"))


def _check_pixels(images: np.ndarray, name: str) -> None:
    if images.dtype.kind not in "uif":
        raise ValueError(f"{name} holds {images.dtype} pixels: expected integers 0..255 or floats 0..1")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise ValueError(f"{name} holds NaN or infinite pixels")
    low, high = images.min(), images.max()
    if low < 0 or high > (1 if images.dtype.kind == "f" else 255):
        raise ValueError(f"{name} holds pixels in {low:g}..{high:g}: expected integers 0..255 or floats 0..1")


def _labels(labels, images: Tensor, name: str) -> Tensor:
    labels = _array(labels, name)
    if labels.shape != (len(images),) or labels.dtype.kind not in "ui":
        raise ValueError(
            f"{name} must be {len(images)} integers, one per image, got {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0:
        raise ValueError(f"{name} holds the label {labels.min()}: labels start at 0")
    return torch.from_numpy(labels.astype(np.int64))
