"""One matching step of many sets side by side: shared real gradients, a pixel gradient for each set."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import augment, formation, matching
from .baselines import Recipe
from .checkpoint import RunState, SetState
from .config import CondenseConfig
from .parallel import Pool
from .rng import generator
from .streams import RealImages


@dataclass(frozen=True)
class ClassMatch:
    """What matching one class of one set gives."""

    pixels: Tensor  # (n, C, H, W), gradient of the loss by the stored images
    loss: Tensor  # 0-d
    distances: Tensor  # (N-1,), feature distance of every proper prefix


def match_sets(
    net: nn.Module,
    real: RealImages,
    recipes: Sequence[Recipe],
    state: RunState,
    config: CondenseConfig,
    t: int,
    e: int,
    pool: Pool,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Match every set against the same real images and network in iteration e of loop t, and step its pixels.

    Returns by recipe name the loss summed over the classes, and the feature distances (K, N-1). Classes do not depend
    on each other, so the workers of `pool` share them out, each with a copy of the network.
    """
    classes, size = len(real.data.classes), real.data.shape[-1]
    workers = min(pool.size, classes)
    draws = augment.draw(config.augment, classes, size, generator(config.seed, "siamese", t, e))

    def match_share(replica: nn.Module, first: int) -> list[dict[str, ClassMatch]]:
        return [
            _match_class(replica, real, recipes, state, config, augment.row(draws, c), c, t, e)
            for c in range(first, classes, workers)
        ]

    replicas = [copy.deepcopy(net).requires_grad_(False) for _ in range(workers)]  # only pixels are moved here
    shares = list(pool.map(match_share, replicas, range(workers)))
    by_class = [shares[c % workers][c // workers] for c in range(classes)]
    for recipe in recipes:
        s = state.sets[recipe.name]
        gradient = torch.stack([found[recipe.name].pixels for found in by_class])
        image_step(s.images, s.velocity, gradient, config.image_lr(s.images.shape[1], size), config.momentum)
    losses = {r.name: torch.stack([found[r.name].loss for found in by_class]).sum() for r in recipes}
    return losses, {r.name: torch.stack([found[r.name].distances for found in by_class]) for r in recipes}


def _match_class(net, real, recipes, state, config, siamese, c, t, e) -> dict[str, ClassMatch]:
    """Match class c of every set; the real gradients are computed once."""
    images = augment.apply(real.class_batch(c, t, e)[None], siamese)[0]
    target, target_features = matching.real_gradients(net, images, c)
    matched = {}
    for recipe in recipes:
        s = state.sets[recipe.name]
        matched[recipe.name] = _match_set(net, real, recipe, config, s, siamese, c, t, target, target_features)
    return matched


def _match_set(net, real, recipe, config, s: SetState, siamese, c, t, target, target_features) -> ClassMatch:
    history = s.subsets[c if recipe.class_wise else 0]
    stored = s.images[c].detach().requires_grad_()  # (n, C, H, W)
    frozen = history.frozen(t)
    visible = torch.cat([stored[:frozen].detach(), stored[frozen:]]) if frozen else stored
    patches = real.normalize(formation.decode(visible, config.factor))
    patches = augment.apply(patches[None], siamese)[0]
    weights = recipe.weights(len(stored), history.mls(t) if recipe.adaptive else None)
    sizes = matching.group_sizes(list(weights), config.factor**2)
    done = matching.class_pass(net, patches, c, sizes, create_graph=True)
    loss = matching.prefix_loss(done.gradients, sizes, list(weights.values()), target, config.distance)
    (pixels,) = torch.autograd.grad(loss, stored)
    return ClassMatch(pixels, loss.detach(), matching.feature_distances(done.features, target_features, len(stored)))


@torch.no_grad()
def image_step(images: Tensor, velocity: Tensor, gradient: Tensor, lr: float, momentum: float) -> None:
    """Update images (K, ...) in place as K steps of one SGD, one class after the other, would.

    The released optimiser has one momentum buffer for all classes and steps once per class. The K steps of an inner
    iteration are, in closed form, one step with learning rate ``lr (1 - mu^K) / (1 - mu)`` and carry-over ``mu^K``.
    (The released clamp between outer loops meets steps still under way; here they are complete.)

    >>> x, v = torch.zeros(2, 1), torch.zeros(2, 1)
    >>> image_step(x, v, torch.ones(2, 1), lr=1.0, momentum=0.5)
    >>> x[0].item()
    -1.5
    """
    classes = len(images)
    carry = momentum**classes
    scale = classes if momentum == 1 else (1 - carry) / (1 - momentum)
    velocity.mul_(carry).add_(gradient)
    images.sub_(velocity, alpha=lr * scale)
