"""A grid of parameters as runs whose ids say what is in them (pure)."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One configuration of a notebook: its name, the parameters it is given, and which of them the grid varies.

    >>> Run("20_run", {"ipc": 3, "seed": 0}, {}).id == Run("20_run", {"seed": 0, "ipc": 3}, {}).id
    True
    """

    notebook: str  # its name, without folder and ending
    parameters: Mapping
    varied: Mapping  # a part of them, for people to read

    @property
    def id(self) -> str:
        """The notebook's name and a digest of the parameters: the same wherever, whenever and in whatever grid."""
        content = json.dumps([self.notebook, self.parameters], sort_keys=True, separators=(",", ":"))
        return f"{self.notebook}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    @property
    def label(self) -> str:
        """The varied parameters in words.

        >>> Run("20_run", {}, {"condense.outer": 20, "recipes": ["mdc"]}).label
        'condense.outer=20, recipes=["mdc"]'
        """
        return ", ".join(f"{name}={text(value)}" for name, value in self.varied.items())


def text(value: object) -> str:
    """A parameter's value in one line: as it is, or as JSON if it is a list or a mapping."""
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def expand(
    notebook: str, grid: Mapping, seeds: Sequence[int] | None, parameters: Mapping, defaults: Mapping
) -> list[Run]:
    """Every combination of the grid's values, the first key slowest, the seed fastest; equal ones once.

    A key "condense.outer" varies one entry of the parameter `condense`, on top of the value in `parameters` or of the
    notebook's own in `defaults` (its parameters and their values). Raises ValueError for a grid without values, for
    names that the notebook does not have, for one that is given twice, and for values that no notebook can be given.

    >>> [run.label for run in expand("20_run", {"ipc": [1, 2]}, [0, 1], {}, {"ipc": 3, "seed": 0})]
    ['ipc=1, seed=0', 'ipc=1, seed=1', 'ipc=2, seed=0', 'ipc=2, seed=1']
    """
    axes = _axes(grid, seeds)
    if not isinstance(parameters, Mapping):
        raise ValueError(f"parameters = {parameters!r}: give a mapping of names to values")
    fixed = {name: plain(name, value) for name, value in parameters.items()}
    _check_names(notebook, axes, fixed, defaults)
    runs = {}
    for values in itertools.product(*axes.values()):
        varied = dict(zip(axes, values, strict=True))
        run = Run(notebook, _merged(varied, fixed, defaults), varied)
        runs.setdefault(run.id, run)
    return list(runs.values())


def _axes(grid: Mapping, seeds: Sequence[int] | None) -> dict[str, list]:
    if not isinstance(grid, Mapping) or not grid:
        raise ValueError(f"an empty grid, {grid!r}: name parameters and their values, such as {{'ipc': [1, 10]}}")
    axes = dict(grid)
    if seeds is not None:
        if "seed" in axes:
            raise ValueError("seed is in the grid, and seeds are given: leave one of them out")
        axes["seed"] = seeds
    for name, values in axes.items():
        where = "seeds" if name == "seed" and seeds is not None else name
        if isinstance(values, str | Mapping) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"{where} = {values!r} in a grid: give a list of one or more values")
        axes[name] = [plain(name, value) for value in values]
        if where == "seeds" and any(type(seed) is not int or seed < 0 for seed in values):
            raise ValueError(f"seeds = {values!r}: give integers >= 0")
    return axes


def _check_names(notebook: str, axes: Mapping, fixed: Mapping, defaults: Mapping) -> None:
    for name in (*axes, *fixed):
        base = str(name).split(".")[0] if name in axes else name
        if name in axes and not all(str(name).split(".")):
            raise ValueError(f"{name!r} in the grid names no entry: write PARAMETER or PARAMETER.ENTRY")
        if base not in defaults:
            raise ValueError(f"unknown parameter {name!r} of {notebook}: it has {', '.join(defaults)}")
        if base == "results":
            raise ValueError("results is not yours to give: every run gets a folder of its own in the sweep's folder")
        if name in axes and name in fixed:
            raise ValueError(f"{name} is in the grid and has a fixed value too: leave one of them out")
        if name != base and base in axes:
            raise ValueError(f"{base} and {name} are both in the grid: leave one of them out")


def _merged(varied: Mapping, fixed: Mapping, defaults: Mapping) -> dict:
    merged = dict(fixed)
    for name, value in varied.items():
        base, *path = name.split(".")
        merged[base] = _put(name, merged.get(base, defaults[base]), path, value)
    return merged


def _put(name: str, into: object, path: Sequence[str], value: object) -> object:
    """`into` with `value` at `path`, a new mapping wherever one is changed."""
    if not path:
        return value
    if not isinstance(into, Mapping):
        raise ValueError(f"{name} is in the grid, but {name.split('.')[0]} is {into!r}, not a mapping")
    return {**into, path[0]: _put(name, into.get(path[0], {}), path[1:], value)}


def plain(name: str, value: object) -> object:
    """`value` as papermill writes it into a notebook and YAML into a file, tuples as lists.

    Raises ValueError for anything but text, finite numbers, True, False, None, and lists and mappings of them.
    """
    if isinstance(value, list | tuple):
        return [plain(name, entry) for entry in value]
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {key: plain(f"{name}.{key}", entry) for key, entry in value.items()}
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    raise ValueError(
        f"{name} = {value!r} ({type(value).__name__}) cannot be written into a notebook: "
        "give text, finite numbers, true, false, or lists and mappings (with text as keys) of them"
    )


def flat(parameters: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Names and values of all parameters, entries of a mapping by names with dots.

    >>> dict(flat({"ipc": 3, "condense": {"outer": 2}, "train": {}}))
    {'ipc': 3, 'condense.outer': 2}
    """
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
