"""Augmentation of normalised images: draw the parameters first, then apply them.

Images are (B, P, C, H, W): B rows with one draw each, P images that share it. Siamese augmentation
is one row (the real and the synthetic images of a class share its draw); per-sample augmentation has
P = 1. A strategy names operations joined by ``_``: flip and color are applied if named, then exactly one of the
named {crop, scale, rotate}, then cutout. Zero is the mean colour, since images are normalised.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Draw = dict[str, Tensor]


def draw(strategy: str, rows: int, size: int, random: torch.Generator) -> Draw:
    """Parameters of every operation of `strategy` for `rows` rows of images with `size` pixels a side.

    >>> random = torch.Generator().manual_seed(0)
    >>> sorted(draw("color_crop", 2, 32, random))
    ['color', 'crop']
    """

    def uniform(count: int, low: float, high: float) -> Tensor:
        return torch.empty(rows, count).uniform_(low, high, generator=random)

    def integers(low: int, high: int) -> Tensor:  # both ends included
        return torch.randint(low, high + 1, (rows, 2), generator=random)

    names = strategy.split("_")
    warps = [name for name in ("crop", "scale", "rotate") if name in names]
    warp = warps[int(torch.randint(len(warps), (), generator=random))] if warps else None
    params: Draw = {}
    if "flip" in names:
        params["flip"] = torch.rand(rows, generator=random) < 0.5
    if "color" in names:
        params["color"] = uniform(3, 0, 1)  # brightness, saturation, contrast
    if warp == "crop":
        most = int(0.125 * size + 0.5)
        params["crop"] = integers(-most, most)
    elif warp == "scale":
        params["scale"] = uniform(2, 1 / 1.2, 1.2)
    elif warp == "rotate":
        params["rotate"] = uniform(1, -15, 15)
    if "cutout" in names:
        side = int(0.5 * size + 0.5)
        params["cutout"] = integers(0, size - side % 2)  # centre; the far edge counts when the side is even
    return params


def rows(params: Draw, chosen: Sequence[int]) -> Draw:
    """The draws of some rows, as draws of their own."""
    return {name: value[list(chosen)] for name, value in params.items()}


def apply(images: Tensor, params: Draw) -> Tensor:
    """Augment images (B, P, C, H, W), one row of `params` for each of the B rows."""
    for name, operation in OPERATIONS.items():
        if name in params:
            images = operation(images, params[name])
    return images


def one_of(strategy: str, random: torch.Generator) -> str:
    """One operation of `strategy`, each as likely: DSA takes one where the other methods here take several."""
    names = strategy.split("_")
    return names[int(torch.randint(len(names), (), generator=random))]


def per_sample(images: Tensor, strategy: str, random: torch.Generator) -> Tensor:
    """Augment images (P, C, H, W), each with a draw of its own."""
    return apply(images[:, None], draw(strategy, len(images), images.shape[-1], random))[:, 0]


def _flip(images: Tensor, flipped: Tensor) -> Tensor:
    return torch.where(_column(flipped, images), images.flip(-1), images)


def _color(images: Tensor, uniform: Tensor) -> Tensor:
    brightness, saturation, contrast = (_column(u, images).to(images.dtype) for u in uniform.unbind(1))
    images = images + (brightness - 0.5)
    grey = images.mean(2, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    level = images.mean((2, 3, 4), keepdim=True)
    return (images - level) * (contrast + 0.5) + level


def _crop(images: Tensor, shift: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    most = int(shift.abs().max())
    padded = F.pad(images, (most, most, most, most))
    corners = (shift + most).tolist()
    return torch.stack(
        [image[..., y : y + height, x : x + width] for image, (y, x) in zip(padded, corners, strict=True)]
    )


def _scale(images: Tensor, factor: Tensor) -> Tensor:
    theta = factor.new_zeros(len(factor), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = factor.unbind(1)
    return _warp(images, theta)


def _rotate(images: Tensor, degrees: Tensor) -> Tensor:
    angle = degrees[:, 0] * (math.pi / 180)
    theta = degrees.new_zeros(len(degrees), 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = angle.cos(), angle.sin().neg()
    theta[:, 1, 0], theta[:, 1, 1] = angle.sin(), angle.cos()
    return _warp(images, theta)


def _warp(images: Tensor, theta: Tensor) -> Tensor:
    flat = images.flatten(1, 2)  # (B, P C, H, W)
    grid = F.affine_grid(theta.to(flat), list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, align_corners=False).view_as(images)


def _cutout(images: Tensor, centre: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    side = int(0.5 * height + 0.5)
    top, left = (centre.to(images.device)[:, :, None] - side // 2).unbind(1)  # (B, 1)
    rows, columns = torch.arange(height, device=top.device), torch.arange(width, device=top.device)
    inside_y = (rows >= top) & (rows < top + side)  # (B, H)
    inside_x = (columns >= left) & (columns < left + side)
    hole = inside_y[:, None, None, :, None] & inside_x[:, None, None, None, :]
    return images.masked_fill(hole, 0)


def _column(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device).view(-1, 1, 1, 1, 1)


OPERATIONS = {"flip": _flip, "color": _color, "crop": _crop, "scale": _scale, "rotate": _rotate, "cutout": _cutout}


def cutmix(images: Tensor, chance: float, random: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """With probability `chance` paste one random box of a permuted batch into images (P, C, H, W).

    Returns the images, the permutation (P,) and the share of the pixels kept, so that the loss is
    ``share * CE(y) + (1 - share) * CE(y[permutation])``. The box covers 1 - U(0, 1) of the image before clipping.
    """
    count, _, height, width = images.shape
    order = torch.randperm(count, generator=random)
    coin, mix = torch.rand(2, generator=random).tolist()
    if coin >= chance:
        return images, order.to(images.device), 1.0
    tall, wide = int(height * math.sqrt(1 - mix)), int(width * math.sqrt(1 - mix))
    y = int(torch.randint(height, (), generator=random))
    x = int(torch.randint(width, (), generator=random))
    top, left = max(y - tall // 2, 0), max(x - wide // 2, 0)
    bottom, right = min(y + tall // 2, height), min(x + wide // 2, width)
    mixed = images.clone()
    order = order.to(images.device)
    mixed[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
    return mixed, order, 1 - (bottom - top) * (right - left) / (height * width)
