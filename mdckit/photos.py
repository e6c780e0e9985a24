"""Augmentation of photographs as ImageNet is trained on; images are normalised by ImageNet's moments.

Drawn and applied as in `mdckit.augment`, one row of parameters for each row of images (B, P, C, H, W).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)
EIGENVALUES = (0.2175, 0.0188, 0.0045)  # of the colours of ImageNet's pixels (Krizhevsky et al. 2012)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
TRIES = 10


def draw_crop(rows: int, random: torch.Generator) -> Tensor:
    """Boxes (rows, 4) of half to all of the area, of ratio 3/4 to 4/3: the first of ten that fits, or the whole.

    A box is its centre x, y from -1 to 1 and its width and height from 0 to 1.

    >>> boxes = draw_crop(100, torch.Generator().manual_seed(0))
    >>> bool((boxes[:, :2].abs() + boxes[:, 2:] <= 1).all()), bool((boxes[:, 2:].prod(1) >= 0.5).all())
    (True, True)
    """
    area = torch.empty(rows, TRIES).uniform_(0.5, 1, generator=random)
    ratio = torch.empty(rows, TRIES).uniform_(math.log(3 / 4), math.log(4 / 3), generator=random).exp()
    place = torch.empty(rows, 2).uniform_(-1, 1, generator=random)
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], -1)  # (rows, TRIES, 2)
    fits = (sides <= 1).all(-1)
    first = sides[torch.arange(rows), fits.int().argmax(1)]
    chosen = torch.where(fits.any(1, keepdim=True), first, torch.ones(rows, 2))
    return torch.cat([place * (1 - chosen), chosen], 1)


def crop(images: Tensor, boxes: Tensor) -> Tensor:
    """Enlarge the boxes to whole images, bilinear."""
    flat = images.flatten(1, 2)  # (B, P C, H, W)
    theta = flat.new_zeros(len(flat), 2, 3)
    centre, sides = boxes.to(flat).split(2, 1)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = sides[:, 0], sides[:, 1], centre
    grid = F.affine_grid(theta, list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).view_as(images)


def draw_jitter(rows: int, random: torch.Generator) -> Tensor:
    """For every row the strengths 0.6..1.4 of brightness, contrast and saturation, and the order they come in."""
    strength = torch.empty(rows, 3).uniform_(0.6, 1.4, generator=random)
    return torch.cat([strength, torch.rand(rows, 3, generator=random).argsort(1)], 1)


def jitter(images: Tensor, drawn: Tensor) -> Tensor:
    """Blend every row with black, its mean grey and its greys, in its own order."""
    mean, std, luma = (images.new_tensor(values)[:, None, None] for values in (MEAN, STD, LUMA))

    def greys(x: Tensor) -> Tensor:
        return (x * luma).sum(-3, keepdim=True)

    towards = (torch.zeros_like, lambda x: greys(x).mean((-1, -2), keepdim=True), greys)
    rows = []
    for row, values in zip(images * std + mean, drawn.tolist(), strict=True):
        for which in map(int, values[3:]):
            row = torch.lerp(towards[which](row).expand_as(row), row, values[which])
        rows.append(row)
    return (torch.stack(rows) - mean) / std


def draw_lighting(rows: int, random: torch.Generator) -> Tensor:
    """Shifts (rows, 3) of red, green and blue along the main axes of colour, with a standard deviation of 0.1."""
    along = torch.randn(rows, 3, generator=random) * 0.1 * torch.tensor(EIGENVALUES)
    return along @ torch.tensor(EIGENVECTORS).T


def lighting(images: Tensor, shifts: Tensor) -> Tensor:
    """Shift the colours of every row."""
    shifts = shifts.to(images) / images.new_tensor(STD)
    return images + shifts[:, None, :, None, None]
