"""Condensation of many sets side by side on one network trajectory.

The network trains on real images only, so its path and the real gradients do not depend on any condensed set:
they are computed once, and each set is matched against them by itself. Adding a set never changes another.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from . import files, parallel
from .baselines import METRICS, Recipe
from .checkpoint import RunState, load_checkpoint, save_checkpoint
from .condensed import CondensedSet
from .config import CondenseConfig
from .data import ImageData
from .evaluate import subset_accuracies
from .initialisation import start
from .lockstep import Passes, match_sets
from .machine import pick_device, versions
from .memory import require_memory
from .progress import progress
from .ranks import ALONE, Ranks
from .streams import RealImages
from .trajectory import trajectories
from .watch import Watch, keeping, of_recipe


@dataclass(frozen=True)
class Step:
    """One inner iteration of all sets, as `condense_steps` yields it.

    `loss` maps a recipe's name to its matching loss summed over the classes (a 0-d tensor); `mls` and `frozen` to
    images per class (one number per class if class-wise). `state` is the run's live state: see `condensed_sets`.

    >>> from mdckit import baselines, load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=2, outer=1, inner=2, width=8)
    >>> steps = condense_steps(load("digits"), [baselines.mdc()], config)
    >>> [(step.outer, step.inner, step.ends_outer) for step in steps]
    [(1, 1, False), (1, 2, True)]
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
    after_outer: Callable[[Step], None] | None = None,
    show_progress: bool = True,
) -> dict[str, CondensedSet]:
    """Condense `data` by every recipe, side by side, and return the sets by recipe name.

    With `checkpoint` the run's state is written there after every outer loop, and a run that finds its own
    checkpoint goes on from it: on a CPU with as many threads, bit for bit. `after_outer` is called with the last step
    of every outer loop, before its checkpoint is written: what it keeps of the sets is there whenever the run goes on.
    Raises ValueError for settings, data or a checkpoint that do not go together, OSError where the checkpoint cannot be
    written and MemoryError where the run would not fit, before any work; and `DivergenceError`, with the checkpoint
    kept as it was, where a set diverges.

    >>> from mdckit import baselines, load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=2, outer=1, inner=1, width=8)
    >>> sets = condense(load("digits"), [baselines.mdc()], config, show_progress=False)
    >>> sets["mdc"].images.shape
    torch.Size([10, 2, 1, 8, 8])
    """
    state = None
    if checkpoint is not None:
        files.check_writable(Path(checkpoint).parent)
    if checkpoint is not None and Path(checkpoint).exists():
        state = load_checkpoint(checkpoint, data, recipes, config)
    state = state or start(data, recipes, config)
    steps = condense_steps(data, recipes, config, device=device, state=state)
    done, total = state.outer * config.inner, config.outer * config.inner
    with keeping(checkpoint, state):
        for step in progress(steps, "condensing", total, done, show_progress):
            if step.ends_outer and after_outer is not None:
                after_outer(step)
            if step.ends_outer and checkpoint is not None:
                save_checkpoint(checkpoint, step.state, data, recipes, config)
    return condensed_sets(state, data, recipes, config)


def condense_steps(
    data: ImageData,
    recipes: Sequence[Recipe],
    config: CondenseConfig,
    *,
    device: str | None = None,
    state: RunState | None = None,
    stopped: Callable[[], bool] = parallel.never,
    ranks: Ranks = ALONE,
) -> Iterator[Step]:
    """Condense step by step: yields after every inner iteration, so that a caller can plot, stop or look.

    `state` (from `start` or a checkpoint) is carried on and updated in place. To go on exactly, break off where a step
    ``ends_outer`` or take the last checkpoint. `stopped` is asked, in several threads, between classes and between
    batches: once it is true, `parallel.Stopped` is raised, and the state is one within an outer loop. One of several
    `ranks` has the state of its own classes: see `mdckit.distributed`. The other arguments and errors are those of
    `condense`.

    >>> from mdckit import baselines, load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=2, outer=1, inner=2, width=8)
    >>> for step in condense_steps(load("digits"), [baselines.mdc(), baselines.baseline_c()], config):
    ...     print(step.inner, list(step.loss))
    1 ['mdc', 'baseline_c']
    2 ['mdc', 'baseline_c']
    """
    chosen = pick_device(device)
    state = start(data, recipes, config) if state is None else state
    require_memory(data, recipes, config, chosen, ranks)
    return _run(data, recipes, config, chosen, state, stopped, ranks)


def _run(data, recipes, config, device, state, stopped, ranks) -> Iterator[Step]:
    for s in state.sets.values():
        s.images, s.velocity = s.images.to(device), s.velocity.to(device)
    real, passes, watch = RealImages(data, config, device), Passes.of(config), Watch(recipes, config, device, ranks)
    with parallel.cores(device, stopped, ranks) as pool:
        for t in range(state.outer + 1, config.outer + 1):
            paths, loop = trajectories(data, recipes, config, device, t), _Loop(recipes)
            for path in paths:
                path.train(real.pretraining(t), config, pool, passes)
            for s in state.sets.values():
                if not config.how.joint:
                    s.images.clamp_(0, 1)
            for e in range(1, config.inner + 1):
                loss, distances = {}, {}
                for path in paths:
                    found = match_sets(path.net, real, path.recipes, state, config, t, e, pool, passes)
                    loss, distances = loss | found[0], distances | found[1]
                    if e < config.inner:  # nothing is matched on what the network would learn now
                        path.train(path.batches(real, state, t, e, pool), config, pool, passes)
                watch.look(t, e, loss, state, [path.net for path in paths])
                loop.add(loss, distances)
                mls = {r.name: [h.mls(t) for h in state.sets[r.name].subsets] for r in recipes}
                frozen = {r.name: [h.frozen(t) for h in state.sets[r.name].subsets] for r in recipes}
                if e == config.inner:
                    loop.end(state, t, _accuracies(real, recipes, state, t, pool), ranks)
                yield Step(t, e, e == config.inner, loss, mls, frozen, state)


def _accuracies(real, recipes, state, t, pool) -> dict[str, Tensor]:
    """What chooses the next MLS of the recipes that go by accuracy, where one is chosen after loop t."""
    chosen = [r.name for r in recipes if r.metric == "accuracy" and state.sets[r.name].subsets[0].measures(t)]
    found = {}
    for name in chosen:
        with of_recipe(name):
            found[name] = subset_accuracies(real, pool.ranks.join(state.sets[name].images), pool)
    return found


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

    def end(self, state: RunState, t: int, accuracies: dict[str, Tensor], ranks: Ranks) -> None:
        """Enter the loop's means in the state: the loss, and the distances, or accuracies, that choose the next MLS.

        Rank 0 chooses: machines of another make may see other last digits.
        """
        for recipe in self.recipes:
            s = state.sets[recipe.name]
            s.losses.append(self.losses[recipe.name].item() / self.count)
            means = accuracies.get(recipe.name, self.distances[recipe.name] / self.count)  # (K or 1, N-1)
            if s.subsets[0].measures(t) and means.numel():
                s.distances.append([t, *means.mean(0).tolist()])
                if recipe.adaptive:
                    rows = means if recipe.class_wise else means.mean(0, keepdim=True)
                    seen = tuple(h.observe(t, row.tolist()) for h, row in zip(s.subsets, rows, strict=True))
                    s.subsets = ranks.first(seen)
        state.outer = t


def condensed_sets(
    state: RunState, data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig
) -> dict[str, CondensedSet]:
    """The sets of a run as they are now, by recipe name, with their provenance.

    >>> from mdckit import baselines, load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=2, outer=1, inner=2, width=8)
    >>> data, recipes = load("digits"), [baselines.mdc()]
    >>> condensed_sets(start(data, recipes, config), data, recipes, config)["mdc"]
    CondensedSet(digits: 10 classes x 2 images of 1 x 8 x 8, factor 1, 20 patches)
    """
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
            METRICS[recipe.metric]: s.distances,
            "versions": versions(),
        }
        images = s.images.detach().cpu().clone()
        sets[recipe.name] = CondensedSet(
            images, config.factor, data.mean, data.std, data.classes, data.name, copy.deepcopy(info)
        )
    return sets
