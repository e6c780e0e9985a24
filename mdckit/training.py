"""One training step of a network, the same while condensing and while evaluating."""

import torch
from torch import Tensor, nn

from . import augment


def train_step(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    strategy: str,
    cutmix: float,
    random: torch.Generator,
) -> None:
    """Update `net` once on normalised images (P, C, H, W), augmented per sample and, by chance, with CutMix."""
    images = augment.per_sample(images, strategy, random)
    images, order, share = augment.cutmix(images, cutmix, random)
    loss = augment.mixed_cross_entropy(net(images), labels, order, share)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
