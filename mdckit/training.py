"""Training of a network, the same while condensing, while evaluating and while recording dynamics."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from . import augment
from .config import TrainConfig
from .rng import ShuffledBatches, generator


def train_step(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    strategy: str,
    cutmix: float,
    random: torch.Generator,
) -> Tensor:
    """Update `net` once on normalised images (P, C, H, W), augmented per sample and, by chance, with CutMix.

    Returns the logits (P, K) of the pass that the update came from.
    """
    images = augment.per_sample(images, strategy, random)
    images, order, share = augment.cutmix(images, cutmix, random)
    logits = net(images)
    loss = augment.mixed_cross_entropy(logits, labels, order, share)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return logits.detach()


def train_epochs(
    net: nn.Module, images: Tensor, labels: Tensor, config: TrainConfig, seed: int, purpose: str
) -> Iterator[Tensor]:
    """Train `net` on normalised images (P, C, H, W) for ``config.epochs`` epochs, by the papers' protocol.

    Yields after every epoch the logits (P, K) that each image got in its training pass, augmented and perhaps mixed
    with another, before the update. `seed` and `purpose` name the randomness.
    """
    optimizer = torch.optim.SGD(net.parameters(), config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    milestones = [max(1, 2 * config.epochs // 3), max(1, 5 * config.epochs // 6)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.2)
    batches = ShuffledBatches(len(images), config.batch, seed, purpose)
    for epoch in range(config.epochs):
        order, logits = [], []
        for b in range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch):
            index, random = batches[b].to(images.device), generator(seed, purpose, "augment", b)
            order.append(index)
            logits.append(
                train_step(net, optimizer, images[index], labels[index], config.augment, config.cutmix, random)
            )
        schedule.step()
        yield torch.cat(logits)[torch.cat(order).argsort()]
