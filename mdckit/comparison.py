"""Ways to make a condensed set smaller, side by side: every method, size, dynamics run and evaluation seed.

python -m mdckit.comparison results/yoco/result.json
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from . import results
from .condensed import CondensedSet
from .config import TrainConfig
from .data import ImageData
from .dynamics import Dynamics
from .evaluate import evaluate_many
from .machine import versions
from .selection import resize

PAPER_METHODS = {  # the columns of YOCO Table 1, each by its own defaults
    "lbpe_balanced": {"name": "lbpe"},
    "random": {"name": "random"},
    "ssp": {"name": "ssp"},
    "entropy": {"name": "entropy"},
    "aum": {"name": "aum"},
    "forgetting": {"name": "forgetting"},
    "el2n": {"name": "el2n"},
    "ccs": {"name": "ccs"},
}
SEEDED = ("random", "ssp", "ccs")


def resized(
    condensed: CondensedSet, dynamics: Sequence[Dynamics], methods: Mapping[str, Mapping], sizes: Sequence[int]
) -> dict[tuple[str, int, int], CondensedSet]:
    """The set made smaller by every method to every size, once per dynamics run.

    `methods` maps a label to the arguments of `resize`: its name and options. Keys are (label, images per class, number
    of the dynamics run); that number is also the seed of the methods that draw. Raises as `resize`.
    """
    return {
        (label, ipc, run): resize(
            condensed=condensed, dynamics=log, ipc=ipc, **({"seed": run} if how["name"] in SEEDED else {}), **how
        )
        for label, how in methods.items()
        for ipc in sizes
        for run, log in enumerate(dynamics)
    }


def compare(
    sets: Mapping[tuple[str, int, int], CondensedSet], data: ImageData, config: TrainConfig, **options
) -> pd.DataFrame:
    """The test accuracy of every set (keys as in `resized`) for every evaluation seed.

    Returns columns method, ipc, run, seed, accuracy (percent, best of the evaluations). Sets with equal content are
    trained on once. `options` are those of `evaluate_many`.
    """
    digests = {key: s.digest for key, s in sets.items()}
    results = evaluate_many({digests[key]: s for key, s in sets.items()}, data, config, **options)
    rows = [
        (*key, seed, accuracy)
        for key, digest in digests.items()
        for seed, accuracy in zip(config.seeds, results[digest].best, strict=True)
    ]
    return pd.DataFrame(rows, columns=["method", "ipc", "run", "seed", "accuracy"])


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean ± standard error of the dynamics runs' means, methods by images per class, and the mean over the sizes.

    With one run the spread is the standard error over the evaluation seeds.

    >>> rows = pd.DataFrame({"method": "random", "ipc": 1, "run": [0, 0, 1, 1], "accuracy": [40.0, 42, 43, 45]})
    >>> table(rows.assign(seed=[0, 1, 0, 1])).loc["random"].tolist()
    ['42.5 ± 1.5', '42.5']
    """
    unit = "run" if rows["run"].nunique() > 1 else "seed"
    means = rows.groupby(["method", "ipc", unit], sort=False)["accuracy"].mean()
    grouped = means.groupby(["method", "ipc"], sort=False)
    mean, error = grouped.mean().unstack(), grouped.sem().fillna(0).unstack()
    cells = mean.map("{:.1f}".format) + " ± " + error.map("{:.1f}".format)
    shown = cells.where(mean.notna(), "").loc[list(rows["method"].unique())]
    shown["mean"] = mean.mean(axis=1).map("{:.1f}".format)
    return shown.rename_axis(index=None, columns="images per class")


def record(condensed: CondensedSet, source: str, rows: pd.DataFrame, config: TrainConfig) -> dict:
    """The rows as one JSON-able result: accuracy[method][ipc] is a list over ``seeds``, [dynamics run, seed] each."""
    accuracy = {}
    for (method, ipc), group in rows.groupby(["method", "ipc"], sort=False):
        accuracy.setdefault(method, {})[str(ipc)] = [round(a, 2) for a in group["accuracy"]]
    runs = rows["run"].unique().tolist()
    return {
        "dataset": condensed.dataset,
        "source": source,
        "ipc": condensed.ipc,
        "digest": condensed.digest,
        "seeds": [[run, seed] for run in runs for seed in config.seeds],
        "accuracy": accuracy,
        "config": {"train": asdict(config)},
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
        f"{found['dataset']}, {found['ipc']} images per class made smaller: test accuracy in %, mean of {runs} "
        f"dynamics\nruns x {seeds} seeds ± standard error over the {'runs' if runs > 1 else 'seeds'}; best of "
        f"{train['evaluations']} tests in {train['epochs']} epochs\n{table(accuracies(found)).to_string()}"
    )


if __name__ == "__main__":
    print(summary(results.load(sys.argv[1])))
