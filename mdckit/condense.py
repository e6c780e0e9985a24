"""Condensation of many sets side by side on one network trajectory.

The network trains on real images only, so its path and the real gradients do not depend on any condensed set:
they are computed once, and each set is matched against them by itself. Adding a set never changes another.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import augment, formation, matching
from .baselines import Recipe
from .checkpoint import RunState, SetState, load_checkpoint, save_checkpoint
from .condensed import CondensedSet
from .config import CondenseConfig
from .data import ImageData
from .machine import pick_device, versions
from .networks import fresh_convnet
from .progress import progress
from .rng import generator
from .streams import RealImages
from .training import train_step


@dataclass(frozen=True)
class Step:
    """One inner iteration of all sets, as `condense_steps` yields it.

    `loss` maps a recipe's name to its matching loss summed over the classes (a 0-d tensor); `mls` and `frozen` to
    images per class (one number per class if class-wise). `state` is the run's live state: see `condensed_sets`.
    """

    outer: int  # t, 1-based
    inner: int  # e, 1-based
    ends_outer: bool
    loss: dict[str, Tensor]
    mls: dict[str, list[int | None]]
    frozen: dict[str, list[int]]
    state: RunState


def condense(
    data: ImageData,
    recipes: Sequence[Recipe],
    config: CondenseConfig,
    *,
    device: str | None = None,
    checkpoint: str | Path | None = None,
    show_progress: bool = True,
) -> dict[str, CondensedSet]:
    """Condense `data` by every recipe, side by side, and return the sets by recipe name.

    With `checkpoint` the run's state is written there after every outer loop, and a run that finds its own
    checkpoint goes on from it, bit for bit. Raises ValueError for settings, data or a checkpoint that do not go
    together, before any work.

    >>> from mdckit import baselines, load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=2, outer=1, inner=1, width=8)
    >>> sets = condense(load("digits"), [baselines.mdc()], config, show_progress=False)
    >>> sets["mdc"].images.shape
    torch.Size([10, 2, 1, 8, 8])
    """
    state = None
    if checkpoint is not None and Path(checkpoint).is_file():
        state = load_checkpoint(checkpoint, data, recipes, config)
    state = state or start(data, recipes, config)
    steps = condense_steps(data, recipes, config, device=device, state=state)
    done, total = state.outer * config.inner, config.outer * config.inner
    for step in progress(steps, "condensing", total, done, show_progress):
        if step.ends_outer and checkpoint is not None:
            save_checkpoint(checkpoint, step.state, data, recipes, config)
    return condensed_sets(state, data, recipes, config)


def start(data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig) -> RunState:
    """The state before the first outer loop: every set holds its real images (mix initialisation)."""
    _check(data, recipes, config)
    sets = {}
    for recipe in recipes:
        per_image = config.factor**2
        count = (recipe.ipc or config.ipc) * per_image
        images = formation.compose(data.first_images(count, recipe.start * per_image), config.factor)
        histories = len(data.classes) if recipe.class_wise else 1
        subsets = (recipe.subset_state(config.period),) * histories
        sets[recipe.name] = SetState(images, torch.zeros_like(images), subsets)
    return RunState(0, sets)


def condense_steps(
    data: ImageData,
    recipes: Sequence[Recipe],
    config: CondenseConfig,
    *,
    device: str | None = None,
    state: RunState | None = None,
) -> Iterator[Step]:
    """Condense step by step: yields after every inner iteration, so that a caller can plot, stop or look.

    `state` (from `start` or a checkpoint) is carried on and updated in place; breaking off loses the current outer
    loop at most. Arguments and errors are those of `condense`.
    """
    chosen = pick_device(device)
    state = start(data, recipes, config) if state is None else state
    return _run(data, recipes, config, chosen, state)


def _run(data, recipes, config, device, state) -> Iterator[Step]:
    for s in state.sets.values():
        s.images, s.velocity = s.images.to(device), s.velocity.to(device)
    real = RealImages(data, config, device)
    for t in range(state.outer + 1, config.outer + 1):
        net = fresh_convnet(data.shape, len(data.classes), config, config.seed, "network", t, device=device)
        optimizer = torch.optim.SGD(
            net.parameters(), config.net_lr, momentum=config.net_momentum, weight_decay=config.net_weight_decay
        )
        for images, labels, random in real.pretraining(t):
            train_step(net, optimizer, images, labels, config.net_augment, config.net_cutmix, random)
        for s in state.sets.values():
            s.images.clamp_(0, 1)
        loop = _Loop(recipes)
        for e in range(1, config.inner + 1):
            loss, distances = _match(net, real, recipes, state, config, t, e)
            for images, labels, random in real.network_batches(t, e):
                train_step(net, optimizer, images, labels, config.net_augment, config.net_cutmix, random)
            loop.add(loss, distances)
            mls = {r.name: [h.mls(t) for h in state.sets[r.name].subsets] for r in recipes}
            frozen = {r.name: [h.frozen(t) for h in state.sets[r.name].subsets] for r in recipes}
            if e == config.inner:
                loop.end(state, t)
            yield Step(t, e, e == config.inner, loss, mls, frozen, state)


class _Loop:
    """Sums over the inner iterations of one outer loop."""

    def __init__(self, recipes):
        self.recipes = recipes
        self.count, self.losses, self.distances = 0, {}, {}

    def add(self, losses: dict[str, Tensor], distances: dict[str, Tensor]) -> None:
        self.count += 1
        for sums, new in ((self.losses, losses), (self.distances, distances)):
            for name, value in new.items():
                sums[name] = sums.get(name, 0) + value

    def end(self, state: RunState, t: int) -> None:
        """Enter the loop's means in the state: the loss, and the distances that choose the next MLS."""
        for recipe in self.recipes:
            s = state.sets[recipe.name]
            s.losses.append(self.losses[recipe.name].item() / self.count)
            if recipe.name in self.distances:
                means = self.distances[recipe.name] / self.count  # (K, N-1)
                s.distances.append([t, *means.mean(0).tolist()])
                if recipe.adaptive:
                    rows = means if recipe.class_wise else means.mean(0, keepdim=True)
                    s.subsets = tuple(h.observe(t, row.tolist()) for h, row in zip(s.subsets, rows, strict=True))
        state.outer = t


def _match(net, real, recipes, state, config, t, e) -> tuple[dict, dict]:
    """One matching step of every set: the losses, and the feature distances (K, N-1) where they are due."""
    device, size = real.device, real.data.shape[-1]
    draws = augment.draw(config.augment, len(real.data.classes), size, generator(config.seed, "siamese", t, e))
    gradients = {r.name: torch.zeros_like(state.sets[r.name].images) for r in recipes}
    losses = {r.name: torch.zeros((), device=device) for r in recipes}
    distances = {name: [] for name, s in state.sets.items() if s.images.shape[1] > 1 and s.subsets[0].measures(t)}
    for c in range(len(real.data.classes)):
        siamese = augment.row(draws, c)
        images = augment.apply(real.class_batch(c, t, e)[None], siamese)[0]
        target, target_features = matching.real_gradients(net, images, c)
        for recipe in recipes:
            s = state.sets[recipe.name]
            history = s.subsets[c if recipe.class_wise else 0]
            found = _match_class(net, real, recipe, config, s.images[c], history, c, t, siamese, target)
            gradients[recipe.name][c] = found.pixels
            losses[recipe.name] += found.loss
            if recipe.name in distances:
                distance = matching.feature_distances(found.features, target_features, len(s.images[c]))
                distances[recipe.name].append(distance)
    for recipe in recipes:
        s = state.sets[recipe.name]
        lr = config.image_lr(s.images.shape[1], size)
        image_step(s.images, s.velocity, gradients[recipe.name], lr, config.momentum)
    return losses, {name: torch.stack(rows) for name, rows in distances.items()}


@dataclass(frozen=True)
class _Match:
    pixels: Tensor  # (n, C, H, W), gradient of the loss by the stored images
    loss: Tensor
    features: Tensor


def _match_class(net, real, recipe, config, images, history, c, t, siamese, target) -> _Match:
    """Matching loss of one class of one set, and its gradient by the stored images (n, C, H, W)."""
    stored = images.detach().requires_grad_()
    frozen = history.frozen(t)
    visible = torch.cat([stored[:frozen].detach(), stored[frozen:]]) if frozen else stored
    patches = real.normalize(formation.decode(visible, config.factor))
    patches = augment.apply(patches[None], siamese)[0]
    weights = recipe.weights(len(images), history.mls(t) if recipe.adaptive else None)
    sizes = matching.group_sizes(list(weights), config.factor**2)
    done = matching.class_pass(net, patches, c, sizes, create_graph=True)
    loss = matching.prefix_loss(done.gradients, sizes, list(weights.values()), target, config.distance)
    (pixels,) = torch.autograd.grad(loss, stored)
    return _Match(pixels, loss.detach(), done.features)


@torch.no_grad()
def image_step(images: Tensor, velocity: Tensor, gradient: Tensor, lr: float, momentum: float) -> None:
    """Update images (K, ...) in place as K steps of one SGD, one class after the other, would.

    The released optimiser has one momentum buffer for all classes and steps once per class. The K steps of an inner
    iteration are, in closed form, one step with learning rate ``lr (1 - mu^K) / (1 - mu)`` and carry-over ``mu^K``.

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


def condensed_sets(
    state: RunState, data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig
) -> dict[str, CondensedSet]:
    """The sets of a run as they are now, by recipe name, with their provenance."""
    sets = {}
    for recipe in recipes:
        s = state.sets[recipe.name]
        traces = [history.trace for history in s.subsets] if recipe.adaptive else []
        info = {
            "recipe": asdict(recipe),
            "config": asdict(config),
            "outer": state.outer,
            "mls_trace": traces if recipe.class_wise else traces[0] if traces else [],
            "losses": s.losses,
            "feature_distances": s.distances,
            "versions": versions(),
        }
        images = s.images.detach().cpu().clone()
        sets[recipe.name] = CondensedSet(
            images, config.factor, data.mean, data.std, data.classes, data.name, copy.deepcopy(info)
        )
    return sets


def _check(data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig) -> None:
    names = [recipe.name for recipe in recipes]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"recipes {names} asked: give one or more, each with a name of its own")
    formation.cell_sides(data.shape[-1], config.factor)
    per_image = config.factor**2
    for recipe in recipes:
        ipc = recipe.ipc or config.ipc
        config.replace(ipc=ipc)
        if recipe.adaptive and ipc < 2:
            raise ValueError(
                f"recipe {recipe.name!r} chooses among subsets of {ipc} image per class: it needs ipc >= 2"
            )
        data.require((recipe.start + ipc) * per_image)
    fresh_convnet(data.shape, len(data.classes), config, config.seed)
