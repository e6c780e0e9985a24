"""A learning rate of the pixels for data that no preset knows: a few are tried side by side, briefly."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from .baselines import Recipe
from .checks import check_count, check_number
from .condense import Step, condense_steps, condensed_sets
from .condensed import CondensedSet
from .config import CondenseConfig, TrainConfig
from .cost import estimate
from .data import ImageData
from .evaluate import Result, evaluate_many
from .initialisation import start
from .progress import progress
from .safety import DivergenceError

FACTORS = (0.03, 0.1, 0.3, 1, 3, 10, 30)  # of the configuration's rate
ITERATIONS = 10  # most inner iterations of an outer loop here
HELD_OUT = 100  # most images per class to test on
TOLERANCE = 1.0  # percent: of rates that differ less, the smallest is taken, as long runs suffer more from large ones
EPOCHS = 60


@dataclass(frozen=True)
class RateSearch:
    """What `find_lr` found: the rate `lr`, and a row for every rate tried.

    Columns of `table`: "lr" (0 are the real images that all sets start from), "accuracy" on held-out images, percent,
    mean over the seeds, and "loss", the matching loss of the last outer loop. A rate whose set diverged has neither
    and says so in "note".

    >>> print(RateSearch(0.01, pd.DataFrame({"lr": [0.0, 0.01], "accuracy": [70.25, 75.5]})))
    lr 0.01
      lr  accuracy
       0     70.25
    0.01      75.5
    """

    lr: float
    table: pd.DataFrame

    def __str__(self) -> str:
        return f"lr {self.lr:g}\n{self.table.to_string(index=False, float_format='{:.4g}'.format)}"


def find_lr(
    data: ImageData,
    config: CondenseConfig,
    *,
    recipe: Recipe | None = None,
    rates: Sequence[float] | None = None,
    outer: int = 5,
    train: TrainConfig | None = None,
    device: str | None = None,
    show_progress: bool = True,
) -> RateSearch:
    """Suggest an image learning rate, the `lr` of a `CondenseConfig`, by condensing briefly at several of them.

    A fifth of the training images of every class, 100 at most, is held out. On the rest one set per rate is condensed
    by `recipe` (None: Baseline C) for `outer` loops, all side by side on the same networks and real images, and tested
    on the held-out ones as `train` says. Suggested is the smallest rate within one point of the best: a brief search
    favours rates that are large for a long run. `rates` default to 1/30 to 30 times the configuration's. The search
    depends on the seed of `config` alone; the test images take no part in it.

    What it will cost is printed beforehand. Warns where the largest or the smallest rate is suggested. Raises what
    `condense` raises, and `DivergenceError` where every rate diverges or a test does.

    >>> from mdckit import load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=1, inner=1, width=4, batch_real=4)
    >>> brief = TrainConfig(epochs=1, evaluations=1, width=4, seeds=(0,))
    >>> found = find_lr(load("digits"), config, rates=[1e-3], outer=1, train=brief, show_progress=False)
    >>> found.table["lr"].tolist(), config.replace(lr=found.lr).lr
    ([0.0, 0.001], 0.001)
    """
    check_count("outer", outer)
    rates = _rates(config, rates)
    seen = data.holdout(max(1, min(HELD_OUT, min(map(len, data.class_indices)) // 5)))
    recipe = recipe or Recipe("baseline_c")
    recipes = [replace(recipe, name=repr(rate), lr=rate) for rate in rates]
    brief = config.replace(outer=outer, inner=min(ITERATIONS, config.inner))
    train = train or _protocol(config)
    if show_progress:
        still = [replace(recipe, lr=0.0) for recipe in recipes]  # which costs the same, and cannot diverge
        cost = estimate(seen, still, brief, device=device)
        print(f"{len(rates)} learning rates side by side: {cost}; then {len(rates) + 1} tests")
    first = condensed_sets(start(seen, recipes[:1], brief), seen, recipes[:1], brief)[recipes[0].name]
    sets, lost = _condense(seen, recipes, brief, device, show_progress)
    tested = evaluate_many(
        {"0": first} | sets, seen, train, device=device, label="testing", show_progress=show_progress
    )
    table = _table(rates, recipes, tested, sets, lost)
    return RateSearch(_suggestion(table), table)


def _rates(config: CondenseConfig, rates: Sequence[float] | None) -> list[float]:
    rates = sorted({float(f"{config.lr * f:.3g}") for f in FACTORS} if rates is None else {float(r) for r in rates})
    for rate in rates:
        check_number("a rate", rate)
    if not rates or rates[0] == 0:
        raise ValueError(f"rates {rates} asked: give numbers > 0, or a config whose lr is one")
    return rates


def _protocol(config: CondenseConfig) -> TrainConfig:
    names = ("network", "width", "depth", "norm")
    same = {name: getattr(config, name) for name in names}
    return TrainConfig(
        EPOCHS, evaluations=1, augment=config.net_augment, cutmix=config.net_cutmix, seeds=(0, 1), **same
    )


def _condense(
    data: ImageData, recipes: list[Recipe], config: CondenseConfig, device: str | None, show: bool
) -> tuple[dict[str, CondensedSet], dict[str, str]]:
    """The sets by the recipes' names, and of those that diverged what was said."""
    lost: dict[str, str] = {}
    state = start(data, recipes, config)

    def steps() -> Iterator[Step]:
        nonlocal state
        while len(lost) < len(recipes):
            kept = copy.deepcopy(state)
            left = [recipe for recipe in recipes if recipe.name not in lost]
            try:
                for step in condense_steps(data, left, config, device=device, state=state):
                    kept = copy.deepcopy(state) if step.ends_outer else kept
                    yield step
                return
            except DivergenceError as error:  # the others take up from the end of the loop before
                if not error.recipes:
                    raise
                lost.update(dict.fromkeys(error.recipes, str(error)))
                state = kept
                for name in error.recipes:
                    del state.sets[name]
        raise DivergenceError(f"all of these learning rates diverge, {lost[recipes[0].name]}: give smaller ones")

    for _ in progress(steps(), "condensing", config.outer * config.inner, show=show):
        pass
    return condensed_sets(state, data, [r for r in recipes if r.name not in lost], config), lost


def _table(
    rates: list[float],
    recipes: list[Recipe],
    tested: dict[str, Result],
    sets: dict[str, CondensedSet],
    lost: dict[str, str],
) -> pd.DataFrame:
    rows = [{"lr": 0.0, "accuracy": tested["0"].last_mean, "note": "real images"}]
    for rate, recipe in zip(rates, recipes, strict=True):
        row = {"lr": rate, "note": "diverged" if recipe.name in lost else ""}
        if recipe.name in sets:
            row |= {"accuracy": tested[recipe.name].last_mean, "loss": sets[recipe.name].info["losses"][-1]}
        rows.append(row)
    return pd.DataFrame(rows, columns=["lr", "accuracy", "loss", "note"])


def _suggestion(table: pd.DataFrame) -> float:
    tried = table[(table.lr > 0) & table.accuracy.notna()]
    good = tried[tried.accuracy >= tried.accuracy.max() - TOLERANCE]
    lr = float(good.lr.iloc[0])
    if len(table) > 2 and lr in (table.lr.iloc[1], table.lr.iloc[-1]):
        end = "smallest" if lr == table.lr.iloc[1] else "largest"
        warnings.warn(f"lr {lr:g} is the {end} of the rates tried: try others around it (rates=...)", stacklevel=3)
    return lr
