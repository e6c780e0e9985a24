"""Ways to make a condensed set smaller, side by side: every method, size, dynamics run and evaluation seed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from .. import results
from ..condensed import CondensedSet
from ..config import TrainConfig
from ..data import ImageData
from ..evaluate import evaluate_many
from ..machine import versions
from .dynamics import Dynamics
from .selection import METHODS, check_size, resize

PAPER_METHODS = {  # the columns of YOCO Table 1, each by its own defaults
    "lbpe_balanced": {"name": "lbpe"},
    **{name: {"name": name} for name in ("random", "ssp", "entropy", "aum", "forgetting", "el2n", "ccs")},
}
VARIANTS = {  # one rule turned round: YOCO Tables 2, 4 and 5
    "lbpe": {"name": "lbpe", "balanced": False},
    **{f"{name}_easy": {"name": name, "keep": "easy"} for name in ("aum", "forgetting", "el2n")},
    **{
        f"{name}_balanced": {"name": name, "balanced": True}
        for name in ("random", "ssp", "entropy", "aum", "forgetting", "el2n")
    },
}


def plan(condensed: CondensedSet, names: Sequence[str], sizes: Sequence[int], lbpe: Mapping | None = None) -> dict:
    """`PAPER_METHODS` and `VARIANTS` by name (without names: all of the first), and E and K of LBPE as "epochs", "top".

    Raises ValueError for an unknown name and for sizes that the set cannot be made smaller to, before long work.
    """
    for ipc in sizes:
        check_size(condensed, ipc)
    known = PAPER_METHODS | VARIANTS
    for name in names:
        if name not in known:
            raise ValueError(f"unknown method {name!r}: choose from {', '.join(known)}")
    chosen = {name: known[name] for name in names or PAPER_METHODS}
    return {name: how | dict(lbpe or {}) if how["name"] == "lbpe" else how for name, how in chosen.items()}


def resized(
    condensed: CondensedSet, dynamics: Sequence[Dynamics], methods: Mapping[str, Mapping], sizes: Sequence[int]
) -> dict[tuple[str, int, int], CondensedSet]:
    """The set made smaller by every method to every size, once per dynamics run.

    `methods` maps a label to the arguments of `resize`: its name and options. Keys are (label, images per class, number
    of the dynamics run); that number is also the seed of the methods that draw. Raises as `resize`.
    """
    return {
        (label, ipc, run): resize(condensed=condensed, dynamics=log, ipc=ipc, **_seeded(how, run))
        for label, how in methods.items()
        for ipc in sizes
        for run, log in enumerate(dynamics)
    }


def _seeded(how: Mapping, run: int) -> Mapping:
    return {**how, "seed": run} if "seed" in METHODS[how["name"]] else how


def compare(
    sets: Mapping[tuple[str, int, int], CondensedSet], data: ImageData, config: TrainConfig, **options
) -> pd.DataFrame:
    """The test accuracy of every set (keys as in `resized`) for every evaluation seed.

    Returns columns method, ipc, run, seed, accuracy (percent, best of the evaluations). Sets with equal content are
    trained on once. `options` are those of `evaluate_many`.
    """
    digests = {key: s.digest for key, s in sets.items()}
    found = evaluate_many({digests[key]: s for key, s in sets.items()}, data, config, **options)
    rows = [
        (*key, seed, accuracy)
        for key, digest in digests.items()
        for seed, accuracy in zip(config.seeds, found[digest].best, strict=True)
    ]
    return pd.DataFrame(rows, columns=["method", "ipc", "run", "seed", "accuracy"])


def gains(rows: pd.DataFrame, pairs: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Points by which the first method of each pair beats the second, as rows like those of `compare`.

    Paired: the same network and, where both have several, the same dynamics run; a method with one run, such as a
    prefix, is paired with every run of the other.
    """
    found = []
    for label, names in pairs.items():
        one, other = (rows[rows["method"] == name] for name in names)
        both = one["run"].nunique() > 1 and other["run"].nunique() > 1
        paired = one.merge(other, on=["ipc", "seed", *(["run"] if both else [])], suffixes=("", "_of"))
        run = paired["run"] if both or one["run"].nunique() > 1 else paired["run_of"]
        found.append(
            paired.assign(method=label, run=run, accuracy=paired["accuracy"] - paired["accuracy_of"])[rows.columns]
        )
    return pd.concat(found, ignore_index=True)


def table(rows: pd.DataFrame, signed: bool = False) -> pd.DataFrame:
    """Mean ± standard error, methods by images per class, and the mean over the sizes; `signed` for `gains`.

    The standard error is that of the means of the dynamics runs, all judged by the same evaluation seeds; of a method
    with one run, that of the evaluation seeds; with one of each there is none.

    >>> rows = pd.DataFrame({"method": "random", "ipc": 1, "run": [0, 0, 1, 1], "accuracy": [40.0, 42, 43, 45]})
    >>> table(rows.assign(seed=[0, 1, 0, 1])).loc["random"].tolist()
    ['42.5 ± 1.5', '42.5 ± 1.5']
    """
    shown = {}
    for method, group in rows.groupby("method", sort=False):
        unit = "run" if group["run"].nunique() > 1 else "seed"
        means = group.groupby([unit, "ipc"])["accuracy"].mean().unstack()
        means = means.assign(mean=means.mean(axis=1))
        shown[method] = {size: _cell(values, signed) for size, values in means.items()}
    return pd.DataFrame(shown).T.fillna("").rename_axis(index=None, columns="images per class")


def _cell(values: pd.Series, signed: bool) -> str:
    mean = f"{values.mean():+.1f}" if signed else f"{values.mean():.1f}"
    return f"{mean} ± {values.sem():.1f}" if len(values) > 1 else mean


def record(
    condensed: CondensedSet,
    source: str,
    rows: pd.DataFrame,
    config: TrainConfig,
    dynamics: Sequence[Dynamics],
    methods: Mapping[str, Mapping],
    data: ImageData,
) -> dict:
    """The rows as one JSON-able result, with all that is needed to make them again; `data` is what they were tested on.

    accuracy[method][ipc] is a list over ``seeds``, [seed of the dynamics run, evaluation seed] each. "condenser",
    "recipe" and config["condense"] say how the set was condensed; of one that mdckit did not condense the last two are
    None, and "condenser" is what its file looked like.
    """
    accuracy = {}
    for (method, ipc), group in rows.groupby(["method", "ipc"], sort=False):
        accuracy.setdefault(method, {})[str(ipc)] = [round(a, 2) for a in group["accuracy"]]
    return {
        "dataset": condensed.data_name,
        "test_images": len(data.y_test),
        "source": source,
        "condenser": results.condenser(condensed.info),
        "recipe": condensed.info.get("recipe"),
        "ipc": condensed.ipc,
        "digest": condensed.digest,
        "seeds": [[log.info["seed"], seed] for log in dynamics for seed in config.seeds],
        "accuracy": accuracy,
        "config": {
            "condense": condensed.info.get("config"),
            "train": asdict(config),
            "recording": dynamics[0].info["config"],
            "methods": methods,
        },
        "versions": versions(),
    }


def accuracies(found: Mapping) -> pd.DataFrame:
    """The rows of a `record`, as `compare` returned them."""
    rows = results.accuracies(found)
    runs = pd.DataFrame(rows["seed"].tolist(), columns=["run", "seed"])
    return pd.concat([rows[["method", "ipc"]], runs, rows["accuracy"]], axis=1)


def summary(found: Mapping) -> str:
    """The table of a `record` as text, with what its numbers are."""
    runs, seeds = (len({pair[i] for pair in found["seeds"]}) for i in (0, 1))
    train = found["config"]["train"]
    return (
        f"{found['dataset']}, {found['ipc']} images per class made smaller: test accuracy in %,\n"
        f"mean of {runs} dynamics runs x {seeds} seeds ± standard error over the {'runs' if runs > 1 else 'seeds'}, "
        f"best of {train['evaluations']} tests in {train['epochs']} epochs\n{table(accuracies(found)).to_string()}"
    )
