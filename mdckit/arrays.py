"""Images and labels of a user as `ImageData`, once they are found to be what they should."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .data import ImageData
from .leakage import warn_of_shared_images


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
