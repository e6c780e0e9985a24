"""The real images that lie nearest to given ones: what condensed images began as, or came to look like."""

import torch
from torch import Tensor

from ..data import ImageData, to_float

AT_ONCE = 2**26  # pixels of real images as floats at a time
CANDIDATES = 8


@torch.no_grad()
def nearest_real(patches: Tensor, labels: Tensor, data: ImageData) -> tuple[Tensor, Tensor]:
    """For every patch (P, C, H, W) in [0, 1] the nearest training image of its own class.

    Returns the distances (P,), the root of the mean squared difference of pixels from 0 to 1, and the images' numbers
    within the class (P,): image i of class c is ``data.x_train[data.class_indices[c][i]]``. The first of several
    equally near ones is taken. Raises ValueError for patches of another shape than the data.

    >>> from mdckit import load
    >>> digits = load("digits")
    >>> distances, numbers = nearest_real(digits.first_images(2)[:, 1], torch.arange(10), digits)
    >>> distances.max().item(), numbers.tolist()
    (0.0, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    """
    if tuple(patches.shape[1:]) != data.shape:
        raise ValueError(f"patches of {tuple(patches.shape[1:])} given for the images of {data.name}, {data.shape}")
    distances = patches.new_zeros(len(patches))
    numbers = torch.zeros(len(patches), dtype=torch.int64)
    for c in labels.unique().tolist():
        wanted = labels == c
        distances[wanted], numbers[wanted] = _within_class(patches[wanted], data, data.class_indices[c])
    return distances, numbers


def _within_class(patches: Tensor, data: ImageData, index: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix products find candidates fast but round; their distances are then taken to the last digit."""
    flat = patches.flatten(1) - 0.5  # nearer to zero, which rounds less
    chunks = index.split(max(1, AT_ONCE // patches[0].numel()))
    rough = torch.cat([_squares(flat, _flat(data, chunk)) for chunk in chunks], dim=1)  # (P, images)
    few = rough.topk(min(CANDIDATES, len(index)), largest=False).indices.sort().values  # (P, candidates)
    exact = torch.stack([(_flat(data, index[row]) - own).square().mean(1) for row, own in zip(few, flat, strict=True)])
    best = exact.argmin(1, keepdim=True)
    return exact.gather(1, best).sqrt().squeeze(1), few.gather(1, best).squeeze(1)


def _flat(data: ImageData, index: Tensor) -> Tensor:
    return to_float(data.x_train[index]).flatten(1) - 0.5


def _squares(patches: Tensor, real: Tensor) -> Tensor:
    """|r|^2 - 2 p r: the squared distances but for what all images have in common."""
    return real.square().sum(1) - 2 * patches @ real.T
