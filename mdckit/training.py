"""Training of a network, the same while condensing, while evaluating and while recording dynamics."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import augment
from .config import Precision, TrainConfig
from .parallel import Here, Pool
from .precision import reduced
from .rng import ShuffledBatches, generator
from .safety import Epochs


def nothing() -> None:
    """What is called between the parts of work that is never given up."""


def loss_gradients(
    net: nn.Module, images: Tensor, labels: Tensor, pasted: Tensor, weights: Tensor, precision: Precision = "float32"
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Logits (P, K) of images (P, C, H, W), and the gradients of their loss by every parameter.

    The loss is the mean cross-entropy with `labels` times ``weights[0]`` and with `pasted`, the labels of what
    `augment.cutmix` pasted into each image, times ``weights[1]``.
    """
    with reduced(precision, images.device):
        logits = net(images).to(images.dtype)
    loss = torch.stack([F.cross_entropy(logits, labels), F.cross_entropy(logits, pasted)]) @ weights
    return logits.detach(), torch.autograd.grad(loss, list(net.parameters()))


def train_step(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    strategy: str,
    cutmix: float,
    random: torch.Generator,
    pool: Pool | None = None,
    run: Callable = loss_gradients,
) -> Tensor:
    """Update `net` once on normalised images (P, C, H, W), augmented per sample and, by chance, with CutMix.

    The workers of `pool` share the images out, which a network with batch norm does not allow; `run` is
    `loss_gradients`, compiled or not. Returns the logits (P, K) of the pass that the update came from, of those images
    that are this rank's.
    """
    pool = pool or Here
    images = augment.per_sample(images, strategy, random)
    images, order, share = augment.cutmix(images, cutmix, random)
    parts = [values.chunk(pool.workers) for values in (images, labels, labels[order])]
    weights = [images.new_tensor([share, 1 - share]) * (len(part) / len(images)) for part in parts[0]]
    pieces, parameters = list(zip(*parts, weights, strict=True)), list(net.parameters())
    done = list(pool.map(lambda piece: run(net, *piece), pool.share(pieces)))
    gradients = pool.ranks.sum([of_part for _, of_part in done], parameters, len(pieces), pool.size)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    return torch.cat([logits for logits, _ in done]) if done else images.new_empty(0)


def train_epochs(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    seed: int,
    purpose: str,
    check: Callable[[], None] = nothing,
) -> Iterator[Tensor]:
    """Train `net` on normalised images (P, C, H, W) for ``config.epochs`` epochs, by the papers' protocol.

    Yields after every epoch the logits (P, K) that each image got in its training pass, augmented and perhaps mixed
    with another, before the update. `seed` and `purpose` name the randomness. `check` is called before every batch and
    may raise, to give up. Raises `DivergenceError` where the network turns to NaN.
    """
    optimizer = torch.optim.SGD(net.parameters(), config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    milestones = [max(1, 2 * config.epochs // 3), max(1, 5 * config.epochs // 6)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.2)
    batches = ShuffledBatches(len(images), config.batch, seed, purpose)
    what = f"training of a {config.network} (purpose {purpose!r}, seed {seed})"
    watch = Epochs(what, config.lr, config.epochs, images.device)
    for epoch in range(config.epochs):
        order, logits = [], []
        for b in range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch):
            check()
            index, random = batches[b].to(images.device), generator(seed, purpose, "augment", b)
            order.append(index)
            logits.append(
                train_step(net, optimizer, images[index], labels[index], config.augment, config.cutmix, random)
            )
        schedule.step()
        outputs = torch.cat(logits)[torch.cat(order).argsort()]
        watch.look(outputs, net)
        yield outputs
