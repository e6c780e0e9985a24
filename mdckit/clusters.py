"""k-means on the device, and the points that stand for its clusters (DREAM)."""

import torch
from torch import Tensor

ROUNDS = 100  # at most
SETTLED = 1e-4  # summed squared shift of the centres at which they are taken to stand still


def representatives(points: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Positions (count,) of the points (M, D) nearest to the centres of `count` clusters; one may be there twice.

    >>> points = torch.tensor([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]])
    >>> sorted(representatives(points, 2, torch.Generator().manual_seed(1)).tolist())
    [1, 4]
    """
    return _squared_distances(kmeans(points, count, random), points).argmin(1)


def kmeans(points: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Centres (count, D) of points (M, D) by Lloyd's algorithm, from points drawn with replacement.

    As in DREAM's released code the centre of a cluster that loses all its points is zero.
    """
    centres = points[torch.randint(len(points), (count,), generator=random).to(points.device)]
    for _ in range(ROUNDS):
        nearest = _squared_distances(points, centres).argmin(1)  # (M,)
        sizes = torch.bincount(nearest, minlength=count).clamp(min=1)[:, None]
        moved = torch.zeros_like(centres).index_add_(0, nearest, points) / sizes
        shift, centres = (moved - centres).square().sum(), moved
        if shift <= SETTLED:
            break
    return centres


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Up to a constant for each row of `a`: that of |a|^2."""
    return b.square().sum(1) - 2 * a @ b.T
