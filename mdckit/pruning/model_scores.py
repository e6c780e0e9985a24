"""Scores that train several networks of their own: GraNd and Memorization."""

from collections.abc import Iterator
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import check_count
from ..condensed import CondensedSet
from ..config import TrainConfig
from ..machine import pick_device
from ..networks import fresh_network
from ..rng import generator
from ..training import train_epochs
from .dynamics import trained_outputs
from .scores import Score


def grand(
    condensed: CondensedSet,
    config: TrainConfig,
    epochs: int = 10,
    models: int = 10,
    seed: int = 0,
    *,
    device: str | None = None,
) -> Score:
    """GraNd (Paul et al. 2021): a patch's loss gradient by all weights, its length, mean over `models` young networks.

    Each network trains for the first `epochs` epochs of the config's schedule; one backward pass per patch and network.
    Low is easy; keeps the hard.
    """
    check_count("models", models)
    check_count("epochs", epochs)
    if epochs > config.epochs:
        raise ValueError(f"the first {epochs} epochs asked of a schedule of {config.epochs}: ask for fewer")
    images, labels = condensed.tensors(pick_device(device))
    total = torch.zeros(condensed.patches, dtype=torch.float64)
    for m in range(models):
        net = _trained(condensed, images, labels, config, epochs, seed, f"grand {m}")
        total += torch.tensor(list(_gradient_norms(net, images, labels)), dtype=torch.float64)
    return Score("grand", total / models, keep="hard", digest=condensed.digest)


def _gradient_norms(net: nn.Module, images: Tensor, labels: Tensor) -> Iterator[float]:
    net.eval()
    for image, label in zip(images, labels, strict=True):
        gradients = torch.autograd.grad(F.cross_entropy(net(image[None]), label[None]), list(net.parameters()))
        yield torch.cat([g.flatten() for g in gradients]).norm().item()


def memorization(
    condensed: CondensedSet,
    config: TrainConfig,
    models: int = 20,
    share: float = 0.7,
    seed: int = 0,
    *,
    device: str | None = None,
) -> Score:
    """Memorization (Feldman and Zhang 2020): P[right | trained with the patch] - P[right | trained without it].

    Estimated from `models` networks, each trained on a random `share` of the patches (at least one in, one out); a
    patch that was always in or always out scores 0. Low is easy; keeps the hard.
    """
    check_count("models", models, 2)
    if not 0 < share < 1:
        raise ValueError(f"share {share} asked: every network trains on a part between 0 and 1 of the patches")
    images, labels = condensed.tensors(pick_device(device))
    count = min(max(1, round(share * condensed.patches)), condensed.patches - 1)
    right = torch.zeros(2, condensed.patches, dtype=torch.float64)  # when out, when in
    seen = torch.zeros_like(right)
    for m in range(models):
        order = torch.randperm(condensed.patches, generator=generator(seed, "memorization", m))
        inside = torch.zeros(condensed.patches, dtype=torch.bool)
        inside[order[:count]] = True
        net = _trained(condensed, images[inside], labels[inside], config, config.epochs, seed, f"memorization {m}")
        _, outputs = trained_outputs(net, images)
        correct = (outputs.argmax(1) == condensed.labels).double()
        for row, members in enumerate((~inside, inside)):
            right[row] += correct * members
            seen[row] += members
    out, within = right / seen.clamp(min=1)
    values = torch.where((seen > 0).all(0), within - out, 0.0)
    return Score("memorization", values, keep="hard", digest=condensed.digest)


def _trained(
    condensed: CondensedSet, images: Tensor, labels: Tensor, config: TrainConfig, epochs: int, seed: int, purpose: str
) -> nn.Module:
    """A network for the set, trained on some of its images for the first `epochs` epochs of the config's schedule."""
    shape = tuple(condensed.images.shape[2:])
    net = fresh_network(shape, len(condensed.classes), config, seed, purpose, device=images.device)
    for _ in islice(train_epochs(net, images, labels, config, seed, purpose), epochs):
        pass
    return net
