"""One matching step of many sets side by side: shared real gradients, a pixel gradient for each set."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from . import augment, formation, matching, training
from .baselines import Recipe
from .checkpoint import RunState, SetState
from .compiled import Compiled
from .config import CondenseConfig, stem_pooling
from .parallel import Pool
from .ranks import Ranks
from .rng import generator
from .streams import RealImages

BLOCK = 16  # most classes whose real gradients a worker keeps at a time


@dataclass(frozen=True)
class Passes:
    """The functions that run the network while sets are condensed, as they are or compiled."""

    group_pass: Callable = matching.group_pass
    match_prefixes: Callable = matching.match_prefixes
    loss_gradients: Callable = training.loss_gradients

    @classmethod
    def of(cls, config: CondenseConfig) -> Self:
        """Those that the configuration asks for."""
        wrap = Compiled if config.compile else lambda function: function
        return cls(**{f.name: partial(wrap(f.default), precision=config.precision) for f in fields(cls)})


@dataclass(frozen=True)
class Match:
    """What matching B classes of one set gives."""

    pixels: Tensor  # (B, n, C, H, W), gradient of the losses by the stored images
    losses: Tensor  # (B,)
    distances: Tensor  # (B, N-1), of every proper prefix, by the recipe's metric

    @classmethod
    def of_none(cls, recipe: Recipe, s: SetState) -> Self:
        """What a rank without classes finds."""
        ipc = s.images.shape[1]
        measured = len(recipe.weights(ipc, None)) if recipe.metric == "gradient" else ipc
        return cls(torch.zeros_like(s.images), s.images.new_empty(0), s.images.new_empty(0, measured - 1))


def match_sets(
    net: nn.Module,
    real: RealImages,
    recipes: Sequence[Recipe],
    state: RunState,
    config: CondenseConfig,
    t: int,
    e: int,
    pool: Pool,
    passes: Passes,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Match sets against the same real images and network in iteration e of loop t, and step their pixels.

    Returns by recipe name the loss summed over the classes, and the distances (K, N-1) that choose the MLS. Classes do
    not depend on each other, so the workers of `pool` share them out, each with a copy of the network. Several ranks
    each step the pixels of their own classes and return what all of them found.
    """
    classes, size = len(real.data.classes), real.data.shape[-1]
    draws = augment.draw(config.augment, classes, size, generator(config.seed, "siamese", t, e))

    def match_block(block: range) -> dict[str, Match]:
        replica = copy.deepcopy(net).requires_grad_(False)  # only pixels are moved here
        matching_of_block = _Block(replica, real, config, draws, t, e, passes, block, pool.check)
        return matching_of_block.match([(recipe, state.sets[recipe.name]) for recipe in recipes])

    found = list(pool.map(match_block, pool.share(_blocks(classes, pool.workers))))
    losses, distances = {}, {}
    for recipe in recipes:
        s = state.sets[recipe.name]
        matches = [of_block[recipe.name] for of_block in found] or [Match.of_none(recipe, s)]
        _step(s, torch.cat([match.pixels for match in matches]), real, config.replace(lr=recipe.rate(config)))
        losses[recipe.name] = pool.ranks.join(torch.cat([match.losses for match in matches])).sum()
        distances[recipe.name] = pool.ranks.join(torch.cat([match.distances for match in matches]))
    return losses, distances


def _step(s: SetState, gradient: Tensor, real: RealImages, config: CondenseConfig) -> None:
    """Move the pixels of a set down the gradient, as the method does."""
    lr = config.image_lr(s.images.shape[1], s.images.shape[-1])
    if config.how.joint:  # a step of pixels that are normalised, told for pixels as they are
        gradient = gradient * gradient.new_tensor(real.data.std)[:, None, None] ** 2
    classes = 1 if config.how.joint else len(real.data.classes)
    image_step(s.images, s.velocity, gradient, lr, config.momentum, classes)


def largest_pass(device: torch.device) -> int:
    """Numbers in the first feature map of a pass of several classes, at most.

    On a CPU more drop out of a core's caches; an accelerator takes 256 MiB in float32, and some dozen such maps.
    """
    return 1_700_000 if device.type == "cpu" else 2**26


def map_numbers(config: CondenseConfig, side: int) -> float:
    """Numbers in the first feature map of an image of `side` pixels.

    ResNet10-AP, which has more maps of that size, counts as the ConvNet that has as many numbers in all.
    """
    more = 1 + 5 / stem_pooling(side) ** 2 if config.network == "resnet10_ap" else 1
    return more * config.width * side**2


def _blocks(classes: int, workers: int) -> list[range]:
    """Consecutive classes, in as many blocks of at most `BLOCK` as keep all workers equally busy."""
    rounds = -(-classes // (workers * BLOCK))
    return _parts(range(classes), -(-classes // (workers * rounds)))


def classes_by_rank(classes: int, threads: int, count: int) -> tuple[range, ...]:
    """The classes of each of `count` ranks of so many threads: those that as many threads of one process would share.

    >>> classes_by_rank(10, threads=1, count=3)
    (range(0, 4), range(4, 8), range(8, 10))
    """
    blocks = _blocks(classes, threads * count)
    shares = [Ranks(rank, count).share(blocks, threads) for rank in range(count)]
    return tuple(range(own[0].start, own[-1].stop) if own else range(classes, classes) for own in shares)


def _parts(items: range, most: int) -> list[range]:
    return [items[first : first + most] for first in range(0, len(items), most)]


Targets = tuple[list[Tensor], Tensor]  # of some classes: mean gradients (B, out, in, 3, 3), mean features (B, D)


@dataclass(frozen=True)
class _Block:
    """The matching of a block of classes in one inner iteration, by one worker."""

    net: nn.Module
    real: RealImages
    config: CondenseConfig
    draws: augment.Draw
    t: int
    e: int
    passes: Passes
    classes: range
    check: Callable[[], None]  # called before every pass: raises once the results are not wanted any more

    def match(self, sets: Sequence[tuple[Recipe, SetState]]) -> dict[str, Match]:
        """Match every set against the same real images."""
        gradients, features = self._targets()
        first, matched = self.classes.start, {}
        for recipe, s in sets:
            parts = []
            for classes in self._shared_passes(sum(self._patch_counts(s))):
                self.check()
                here = slice(classes.start - first, classes.stop - first)
                parts.append(self._match_classes(recipe, s, classes, ([g[here] for g in gradients], features[here])))
            matched[recipe.name] = Match(*(torch.cat([getattr(m, f.name) for m in parts]) for f in fields(Match)))
        return matched

    def _shared_passes(self, images: int) -> list[range]:
        """The classes, as many in each pass as the device likes, of so many images each."""
        numbers = images * map_numbers(self.config, self.real.data.shape[-1])
        return _parts(self.classes, max(1, int(largest_pass(self.real.device) / numbers)))

    def _targets(self) -> Targets:
        """What the classes are matched against, computed once for all sets."""
        found = []
        for classes in self._shared_passes(self.config.batch_real):
            self.check()
            batches = [self._augmented(c, self.real.class_batch(c, self.t, self.e, self.net)) for c in classes]
            found.append(
                matching.real_gradients(self.net, batches, classes, self.config.distance, self.passes.group_pass)
            )
        gradients, features = zip(*found, strict=True)
        return [torch.cat(layer) for layer in zip(*gradients, strict=True)], torch.cat(features)

    def _augmented(self, c: int, images: Tensor) -> Tensor:
        """Images (P, C, H, W) of class c, by the draw of that class."""
        return augment.apply(images[None], augment.rows(self.draws, [c]))[0]

    def _match_classes(self, recipe: Recipe, s: SetState, classes: range, target: Targets) -> Match:
        stored = s.rows(classes).detach().requires_grad_()  # (B, n, C, H, W)
        ipc, per_image = stored.shape[1], self._patch_counts(s)
        decoded = self.real.normalize(formation.decode_by(stored, self._plan(s)))
        patches = augment.apply(decoded, augment.rows(self.draws, classes))  # (B, n f^2, C, H, W)
        histories = [s.subsets[c if recipe.class_wise else 0] for c in classes]
        chosen = [h.mls(self.t) if recipe.adaptive else None for h in histories]
        known = (s.distances,) if recipe.subsets == "progress" else ()  # recipes of others' own need not take them
        weights = [recipe.weights(ipc, n, *known) for n in chosen]
        done = self.passes.match_prefixes(
            self.net,
            patches.flatten(0, 1),
            matching.image_labels(classes, [patches.shape[1]] * len(classes), stored.device),
            patches.new_tensor([list(of_class.values()) for of_class in weights]),  # (B, G)
            target[0],
            sizes=[matching.group_sizes(list(of_class), per_image) for of_class in weights],
            distance=self.config.distance,
        )
        (pixels,) = torch.autograd.grad(patches, stored, done.by_images.view_as(patches))
        for of_class, history in zip(pixels, histories, strict=True):
            of_class[: history.frozen(self.t)] = 0
        if recipe.metric == "gradient":
            return Match(pixels, done.losses, done.distances[:, :-1])
        features = done.features.unflatten(0, (len(classes), -1))
        return Match(pixels, done.losses, matching.feature_distances(features, target[1], per_image))

    def _plan(self, s: SetState) -> list[tuple[int, ...]]:
        """The factors that each stored image is decoded with."""
        return formation.plan(s.images.shape[1], self.config.factor, self.config.formation, self.config.batch_syn_max)

    def _patch_counts(self, s: SetState) -> list[int]:
        return formation.patch_counts(self._plan(s))


@torch.no_grad()
def image_step(
    images: Tensor, velocity: Tensor, gradient: Tensor, lr: float, momentum: float, classes: int | None = None
) -> None:
    """Update images (K, ...) in place as `classes` steps of one SGD would: K, one class after the other, unless told.

    The released optimiser has one momentum buffer for all classes and steps once per class. The K steps of an inner
    iteration are, in closed form, one step with learning rate ``lr (1 - mu^K) / (1 - mu)`` and carry-over ``mu^K``.
    (The released clamp between outer loops meets steps still under way; here they are complete.)

    >>> x, v = torch.zeros(2, 1), torch.zeros(2, 1)
    >>> image_step(x, v, torch.ones(2, 1), lr=1.0, momentum=0.5)
    >>> x[0].item()
    -1.5
    """
    classes = classes or len(images)
    carry = momentum**classes
    scale = classes if momentum == 1 else (1 - carry) / (1 - momentum)
    velocity.mul_(carry).add_(gradient)
    images.sub_(velocity, alpha=lr * scale)
