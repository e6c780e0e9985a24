"""The results of many runs as one table."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import yaml

from .. import files, results
from . import grid


def finished(folder: Path) -> bool:
    """Whether a run's folder has a readable result.json."""
    try:
        return isinstance(files.load_json(folder / "result.json"), dict)
    except (OSError, ValueError):
        return False


def collect(folder: str | Path) -> pd.DataFrame:
    """All finished runs in a sweep's folder as a tidy table: a row per run, method, size and evaluation seed.

    Columns are run (its id), its seed and the parameters that differ between the runs (entries of a mapping by names
    such as "condense.outer", lists as JSON, empty where a run was not given one), then method, ipc (the size tested),
    seed (of the evaluation), accuracy and accuracy_last in percent; runs of `21_resize` also have dynamics_seed. A
    parameter of the same name as one of these columns is put in as "run_seed" or "run_ipc". Results of another shape
    give a row per run with their numbers and texts. A result.json that cannot be read is told in a warning and left
    out; raises ValueError if none is left.

    >>> from tempfile import TemporaryDirectory
    >>> from mdckit import files
    >>> with TemporaryDirectory() as folder:
    ...     for seed in (0, 1):
    ...         found = {"seeds": [5], "accuracy": {"mdc": {"1": [50.0 + seed]}}}
    ...         path = files.save_json(f"{folder}/run{seed}/result.json", found)
    ...         _ = path.with_name("params.yaml").write_text(f"seed: {seed}\\nipc: 1\\n")
    ...     collect(folder)
        run  run_seed method  ipc  seed  accuracy
    0  run0         0    mdc    1     5      50.0
    1  run1         1    mdc    1     5      51.0
    """
    tables, parameters, unreadable = {}, {}, []
    for path in sorted(Path(folder).glob("*/result.json")):
        try:
            tables[path.parent.name] = _rows(files.load_json(path))
            parameters[path.parent.name] = _parameters(path.with_name("params.yaml"))
        except (OSError, ValueError, LookupError, AttributeError, TypeError, yaml.YAMLError) as error:
            tables.pop(path.parent.name, None)
            unreadable.append(f"{path.parent} ({type(error).__name__}: {' '.join(str(error).split())})")
    if unreadable:
        warnings.warn(f"{len(unreadable)} unreadable results are left out: {'; '.join(unreadable)}", stacklevel=2)
    if not tables:
        raise ValueError(f"no readable result.json in the folders in {folder}: give the folder of a sweep")
    return _joined(tables, parameters)


def _joined(tables: Mapping[str, pd.DataFrame], parameters: Mapping[str, Mapping]) -> pd.DataFrame:
    names = dict.fromkeys(name for given in parameters.values() for name in given)
    values = {name: {json.dumps(given.get(name)) for given in parameters.values()} for name in names}
    differing = [name for name in names if name == "seed" or len(values[name]) > 1]
    taken = {"run", *(column for table in tables.values() for column in table)}
    labels = {name: f"run_{name}" if name in taken else name for name in differing}
    whole = []
    for run in sorted(tables, key=lambda run: [_place(parameters[run].get(name)) for name in differing]):
        table = tables[run]
        given = {labels[name]: _cell(parameters[run].get(name)) for name in differing}
        whole.append(pd.DataFrame({"run": run, **given}, index=table.index).join(table))
    return pd.concat(whole, ignore_index=True)


def _cell(value: object) -> object:
    return grid.text(value) if isinstance(value, list) else value


def _place(value: object) -> tuple:
    """Where a row is sorted to: numbers, then everything else as text, then what was not given."""
    number = isinstance(value, int | float)
    return value is None, not number, value if number else grid.text(value)


def _parameters(path: Path) -> dict:
    return dict(grid.flat(yaml.safe_load(path.read_text()) or {})) if path.is_file() else {}


def _rows(found: Mapping) -> pd.DataFrame:
    """One result as rows: those of `results.accuracies`, or one of its numbers and texts."""
    if not isinstance(found.get("accuracy"), Mapping):
        return pd.DataFrame([{name: v for name, v in found.items() if isinstance(v, int | float | str)}])
    rows = results.accuracies(found)
    if "accuracy_last" in found:
        rows["accuracy_last"] = results.accuracies(found, "accuracy_last")["accuracy"]
    if len(rows) and isinstance(rows["seed"].iloc[0], list):  # `21_resize`: [seed of the dynamics run, of the test]
        pairs = pd.DataFrame(rows["seed"].tolist(), columns=["dynamics_seed", "seed"])
        rows = pd.concat([rows[["method", "ipc"]], pairs, rows.drop(columns=["method", "ipc", "seed"])], axis=1)
    return rows
