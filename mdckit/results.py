"""What a run found, as one plain record: saved as JSON, shown as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from . import files
from .baselines import METRICS
from .condensed import CondensedSet
from .config import CondenseConfig, TrainConfig
from .data import ImageData
from .evaluate import Result
from .machine import versions
from .records import check


def record(
    data: ImageData,
    config: CondenseConfig | Mapping | None,
    train: TrainConfig,
    sets: Mapping[str, CondensedSet],
    results: Mapping[str, Mapping[int, Result]],
    seconds: Mapping[str, float],
) -> dict:
    """All numbers of a run as JSON-able values.

    `config` is that of the condensation, also as a set's ``info["config"]`` has it; a set of another project has none.
    `results` maps a method to its `Result` for each size. "accuracy" holds for every method and size the best-of-k
    test accuracies in percent, one per evaluation seed (the papers' protocol), "accuracy_last" those after the
    last epoch. Raises ValueError for sets of several condensers.
    """
    settings = asdict(config) if isinstance(config, CondenseConfig) else dict(config or {})
    return {
        "dataset": data.name,
        "test_images": len(data.y_test),
        "ipc": max([settings.get("ipc", 1), *(s.ipc for s in sets.values())]),
        "condenser": one_condenser(sets),
        "seeds": list(train.seeds),
        "accuracy": _per_size(results, "best"),
        "accuracy_last": _per_size(results, "last"),
        "mls_trace": {name: s.mls_trace for name, s in sets.items() if s.mls_trace},
        **{key: {name: s.info[key] for name, s in sets.items() if key in s.info} for key in METRICS.values()},
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "config": {"condense": settings or None, "train": asdict(train)},
        "versions": versions(),
    }


def one_condenser(sets: Mapping[str, CondensedSet]) -> str | None:
    """The `condenser` of all `sets`, as one record needs. Raises ValueError naming them if there are several.

    >>> one_condenser({})
    """
    found = {condenser(s.info): name for name, s in sets.items()}
    if len(found) > 1:
        said = ", ".join(f"{name} by {by or 'an unknown method'}" for by, name in found.items())
        raise ValueError(f"sets condensed in different ways in one result: {said}; test them in runs of their own")
    return next(iter(found), None)


def condenser(info: Mapping) -> str | None:
    """The method that made a set, by its `info`: "idc", "dream", "mtt" ...; None if a file of another kind held it.

    >>> condenser({"recipe": {"name": "mtt"}}), condenser({"import": {"layout": "folder"}})
    ('mtt', None)
    """
    if "import" in info:
        layout = info["import"].get("layout")
        return layout if layout in ("idc", "dsa", "mtt", "kip") else None
    recipe = (info.get("recipe") or {}).get("name")
    config = info.get("config")
    return recipe if recipe in ("mtt", "kip") else config.get("method", "idc") if config else None


def _per_size(results: Mapping[str, Mapping[int, Result]], which: str) -> dict:
    return {
        method: {str(n): [round(a, 2) for a in getattr(result, which)] for n, result in sizes.items()}
        for method, sizes in results.items()
    }


def save(
    folder: str | Path,
    found: dict,
    sets: Mapping[str, CondensedSet],
    checkpoint: str | Path | None = None,
    cache: str | Path | None = None,
) -> Path:
    """Write one safetensors file per set and then ``result.json`` into `folder`; returns the path of ``result.json``.

    The run's `cache` of tests and its `checkpoint` are removed once all is written; if writing fails, the OSError says
    that the checkpoint is kept. A run can go on from them, so call this when nothing else is left to do. Raises
    ValueError for a name of a set that leads out of the folder.
    """
    try:
        save_sets(folder, sets)
        path = files.save_json(Path(folder) / "result.json", found)
    except OSError as error:
        kept = f"; the run's checkpoint is kept in {checkpoint}" if checkpoint and Path(checkpoint).is_file() else ""
        raise OSError(error.errno, f"{error.strerror}{kept}") from error
    for done in (cache, checkpoint):
        if done is not None:
            Path(done).unlink(missing_ok=True)
    return path


def save_sets(folder: str | Path, sets: Mapping[str, CondensedSet]) -> None:
    """Write one safetensors file per set into the folder ``sets`` of `folder`."""
    for name, condensed in sets.items():
        condensed.save(files.inside(Path(folder) / "sets", f"{name}.safetensors"))


def load(path: str | Path) -> dict:
    """Read a ``result.json`` back; raises FileNotFoundError, or ValueError for a file that holds no such record."""
    found = files.load_json(path)
    try:
        check(found)
    except ValueError as error:
        raise ValueError(f"{path} is no result of mdckit: {error}") from None
    return found


def load_sets(folder: str | Path) -> dict[str, CondensedSet]:
    """The sets that `save` left in a folder's ``sets``, by their names, such as "mdc" or "baseline_a/3".

    Raises ValueError if there is none.
    """
    paths = sorted(Path(folder).rglob("*.safetensors"))
    if not paths:
        raise ValueError(f"no condensed sets in {folder}: give the folder `sets` of a finished run")
    return {path.relative_to(folder).with_suffix("").as_posix(): CondensedSet.load(path) for path in paths}


def accuracies(found: Mapping, which: str = "accuracy") -> pd.DataFrame:
    """Accuracies in long form: columns method, ipc, seed, accuracy (percent); `which` may be "accuracy_last".

    >>> found = {"seeds": [0, 1], "accuracy": {"mdc": {"1": [50.0, 52.0]}}}
    >>> accuracies(found)["accuracy"].tolist()
    [50.0, 52.0]
    """
    rows = [
        (method, int(n), seed, value)
        for method, sizes in found[which].items()
        for n, values in sizes.items()
        for seed, value in zip(found["seeds"], values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["method", "ipc", "seed", "accuracy"])


def by_loop(results: Mapping[str, Mapping[tuple[int, int], Result]]) -> dict:
    """What a record holds as "accuracy_by_loop": the best accuracies of each method by outer loop and size.

    `results` maps a method to its `Result` for each (outer loop, images per class).

    >>> by_loop({"mdc": {(5, 1): Result((50.0, 52.0), (50.0, 51.0), 10, 1.0, TrainConfig())}})
    {'mdc': {'5': {'1': [50.0, 52.0]}}}
    """
    found = {}
    for method, tested in results.items():
        for (loop, n), result in tested.items():
            found.setdefault(method, {}).setdefault(str(loop), {})[str(n)] = [round(a, 2) for a in result.best]
    return found


def over_loops(found: Mapping) -> pd.DataFrame:
    """A record's "accuracy_by_loop" in long form: columns method, loop, ipc, seed, accuracy (percent).

    Raises ValueError for a record without.

    >>> over_loops({"seeds": [0], "accuracy_by_loop": {"mdc": {"5": {"1": [50.0]}}}}).values.tolist()
    [['mdc', 5, 1, 0, 50.0]]
    """
    if "accuracy_by_loop" not in found:
        raise ValueError("no accuracies by outer loop in the result: give a result.json of 20_over_loops")
    rows = [
        accuracies({"seeds": found["seeds"], "accuracy": {method: sizes}}).assign(loop=int(loop))
        for method, loops in found["accuracy_by_loop"].items()
        for loop, sizes in loops.items()
    ]
    return pd.concat(rows, ignore_index=True)[["method", "loop", "ipc", "seed", "accuracy"]]


def table(found: Mapping, which: str = "accuracy") -> pd.DataFrame:
    """Mean ± population std over the evaluation seeds, methods by images per class, and the mean over the sizes.

    >>> table({"seeds": [0, 1], "accuracy": {"mdc": {"1": [50.0, 52.0], "2": [60.0, 60.0]}}}).loc["mdc"].tolist()
    ['51.0 ± 1.0', '60.0 ± 0.0', '55.5']
    """
    grouped = accuracies(found, which).groupby(["method", "ipc"], sort=False)["accuracy"]
    mean, std = grouped.mean().unstack(), grouped.std(ddof=0).unstack()
    cells = mean.map("{:.1f}".format) + " ± " + std.map("{:.1f}".format)
    shown = cells.loc[list(found[which])]
    shown["mean"] = mean.mean(axis=1).map("{:.1f}".format)
    return shown.rename_axis(index=None, columns="images per class")


def spread(values: Sequence[float], signed: bool = False) -> str:
    """Mean ± population standard deviation with one decimal.

    >>> spread([50.0, 52.0], signed=True)
    '+51.0 ± 1.0'
    """
    mean = f"{np.mean(values):+.1f}" if signed else f"{np.mean(values):.1f}"
    return f"{mean} ± {np.std(values):.1f}"


def summary(found: Mapping) -> str:
    """The accuracy table as text, with what its numbers are."""
    train = found["config"]["train"]
    seeds = f"{len(found['seeds'])} evaluation seeds, best of {train['evaluations']} tests in {train['epochs']} epochs"
    head = f"{found['dataset']}: test accuracy in %, mean ± std of {seeds}, by images per class"
    return f"{head}\n{table(found).to_string()}"
