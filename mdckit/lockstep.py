"""One matching step of many sets side by side: shared real gradients, a pixel gradient for each set."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from . import augment, formation, matching
from .baselines import Recipe
from .checkpoint import RunState, SetState
from .config import CondenseConfig
from .parallel import Pool
from .rng import generator
from .streams import RealImages

BLOCK = 16  # most classes whose real gradients a worker keeps at a time


@dataclass(frozen=True)
class Match:
    """What matching B classes of one set gives."""

    pixels: Tensor  # (B, n, C, H, W), gradient of the losses by the stored images
    losses: Tensor  # (B,)
    distances: Tensor  # (B, N-1), feature distance of every proper prefix


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
    draws = augment.draw(config.augment, classes, size, generator(config.seed, "siamese", t, e))

    def match_block(block: range) -> dict[str, Match]:
        replica = copy.deepcopy(net).requires_grad_(False)  # only pixels are moved here
        targets = _real_targets(replica, real, config, draws, block, t, e)
        return {
            recipe.name: _match_set(replica, real, recipe, state.sets[recipe.name], config, draws, block, t, targets)
            for recipe in recipes
        }

    found = list(pool.map(match_block, _blocks(classes, pool.size)))
    losses, distances = {}, {}
    for recipe in recipes:
        s, matches = state.sets[recipe.name], [of_block[recipe.name] for of_block in found]
        gradient = torch.cat([match.pixels for match in matches])
        image_step(s.images, s.velocity, gradient, config.image_lr(s.images.shape[1], size), config.momentum)
        losses[recipe.name] = torch.cat([match.losses for match in matches]).sum()
        distances[recipe.name] = torch.cat([match.distances for match in matches])
    return losses, distances


def largest_pass(device: torch.device) -> int:
    """Numbers in the first feature map of a pass of several classes, at most.

    On a CPU more drop out of a core's caches; an accelerator takes 256 MiB in float32, and some dozen such maps.
    """
    return 1_700_000 if device.type == "cpu" else 2**26


def _blocks(classes: int, workers: int) -> list[range]:
    """Consecutive classes, in as many blocks of at most `BLOCK` as keep all workers equally busy."""
    rounds = -(-classes // (workers * BLOCK))
    return _parts(range(classes), -(-classes // (workers * rounds)))


def _parts(items: range, most: int) -> list[range]:
    return [items[first : first + most] for first in range(0, len(items), most)]


def _passes(block: range, images: int, real: RealImages, config: CondenseConfig) -> list[range]:
    """The classes of a block, as many in each pass as the device likes, of so many images each."""
    return _parts(block, max(1, largest_pass(real.device) // (images * config.width * real.data.shape[-1] ** 2)))


Targets = tuple[list[Tensor], Tensor]  # of a block's classes: mean gradients (B, out, in, 3, 3), mean features (B, D)


def _real_targets(net, real: RealImages, config, draws, block: range, t: int, e: int) -> Targets:
    """What the classes of a block are matched against, computed once for all sets."""
    found = []
    for classes in _passes(block, config.batch_real, real, config):
        batches = [augment.apply(real.class_batch(c, t, e)[None], augment.rows(draws, [c]))[0] for c in classes]
        found.append(matching.real_gradients(net, batches, classes))
    gradients, features = zip(*found, strict=True)
    return [torch.cat(layer) for layer in zip(*gradients, strict=True)], torch.cat(features)


def _match_set(net, real, recipe, s: SetState, config, draws, block: range, t: int, targets: Targets) -> Match:
    patches = s.images.shape[1] * config.factor**2
    matches = []
    for classes in _passes(block, patches, real, config):
        here = slice(classes.start - block.start, classes.stop - block.start)
        target = [layer[here] for layer in targets[0]], targets[1][here]
        matches.append(_match_classes(net, real, recipe, s, config, draws, classes, t, target))
    return Match(*(torch.cat([getattr(m, f.name) for m in matches]) for f in fields(Match)))


def _match_classes(net, real, recipe, s: SetState, config, draws, classes: range, t: int, target: Targets) -> Match:
    stored = s.images[classes.start : classes.stop].detach().requires_grad_()  # (B, n, C, H, W)
    ipc = stored.shape[1]
    patches = augment.apply(real.normalize(formation.decode(stored, config.factor)), augment.rows(draws, classes))
    histories = [s.subsets[c if recipe.class_wise else 0] for c in classes]
    weights = [recipe.weights(ipc, history.mls(t) if recipe.adaptive else None) for history in histories]
    sizes = [matching.group_sizes(list(of_class), config.factor**2) for of_class in weights]
    weights = patches.new_tensor([list(of_class.values()) for of_class in weights])  # (B, G)
    labels = matching.image_labels(classes, [patches.shape[1]] * len(classes), stored.device)
    done = matching.match_prefixes(net, patches.flatten(0, 1), labels, weights, target[0], sizes, config.distance)
    (pixels,) = torch.autograd.grad(patches, stored, done.by_images.view_as(patches))
    for of_class, history in zip(pixels, histories, strict=True):
        of_class[: history.frozen(t)] = 0
    features = done.features.unflatten(0, (len(classes), -1))
    return Match(pixels, done.losses, matching.feature_distances(features, target[1], ipc))


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
