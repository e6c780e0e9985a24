"""The state of a condensation between two outer loops, and its file."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from . import files
from .baselines import Recipe
from .config import CondenseConfig
from .data import ImageData
from .forms import COUNT, FLOAT, PAIR, check_form
from .subsets import SubsetState

HISTORY = {"subsets": [{"distances": [FLOAT], "choices": [PAIR]}], "losses": [FLOAT], "distances": [[FLOAT]]}


@dataclass
class SetState:
    """One set while it is condensed: all classes of it, or those of one rank."""

    images: Tensor  # (K, n, C, H, W)
    velocity: Tensor  # the same, momentum of the pixels
    subsets: tuple[SubsetState, ...]  # one history, or one per class
    losses: list[float] = field(default_factory=list)  # mean matching loss of each outer loop
    distances: list = field(default_factory=list)  # [t, F(1)..F(N-1)] of each measured loop, mean over classes
    first: int = 0  # the class of the first row

    def rows(self, classes: range) -> Tensor:
        """The images of some consecutive classes."""
        return self.images[classes.start - self.first : classes.stop - self.first]


@dataclass
class RunState:
    """All sets after `outer` outer loops: with (data, recipes, config) all that the rest of the run depends on."""

    outer: int
    sets: dict[str, SetState]


def save_checkpoint(
    path: str | Path, state: RunState, data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig
) -> Path:
    """Write the state atomically; raises OSError that names the last checkpoint, which stays as it was."""
    tensors, histories = {}, {}
    for name, s in state.sets.items():
        tensors |= {f"{name}/images": s.images, f"{name}/velocity": s.velocity}
        subsets = [{"distances": h.distances, "choices": h.choices} for h in s.subsets]
        histories[name] = {"subsets": subsets, "losses": s.losses, "distances": s.distances}
    info = {"kind": "checkpoint", "outer": state.outer, "sets": histories, "run": describe(data, recipes, config)}
    try:
        return files.save_tensors(path, tensors, info)
    except OSError as error:
        kept = f"; the checkpoint of an earlier outer loop is kept in {path}" if Path(path).is_file() else ""
        raise OSError(error.errno, f"{error.strerror}{kept}") from error


def load_checkpoint(path: str | Path, data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig) -> RunState:
    """The state in a checkpoint file of the same run; more outer loops than before may be asked.

    Raises ValueError naming the first difference if the file belongs to another run, or naming the damaged file.
    """
    tensors, info = files.load_tensors(path, "checkpoint")
    now = describe(data, recipes, config)
    try:
        check_form(info, {"run": {}, "outer": COUNT, "sets": {"*": HISTORY}}, "its description")
    except ValueError as error:
        raise ValueError(f"{path} holds a checkpoint that cannot be used: {error}") from None
    if info["run"] != now:
        raise ValueError(
            f"{path} belongs to another run ({files.brief(difference(info['run'], now))}): move it or use its settings"
        )
    if info["outer"] > config.outer:
        raise ValueError(f"{path} is at outer loop {info['outer']}, but only {config.outer} are asked")
    sets = {}
    for recipe in recipes:
        ipc, classes = recipe.ipc or config.ipc, len(data.classes)
        parts = [tensors.get(f"{recipe.name}/{part}") for part in ("images", "velocity")]
        saved = info["sets"].get(recipe.name)
        if saved is None or not _fit(parts, (classes, ipc, *data.shape)):
            raise ValueError(f"{path} holds no usable images of {recipe.name!r}: remove it to start anew")
        if not _tells(saved, info["outer"], ipc, classes if recipe.class_wise else 1):
            raise ValueError(f"{path} tells of {recipe.name!r} what cannot have been: remove it to start anew")
        fresh = recipe.subset_state(config.period)
        subsets = tuple(
            dataclasses.replace(fresh, distances=tuple(h["distances"]), choices=tuple(map(tuple, h["choices"])))
            for h in saved["subsets"]
        )
        sets[recipe.name] = SetState(*parts, subsets, saved["losses"], saved["distances"])
    return RunState(info["outer"], sets)


def _fit(parts: Sequence[Tensor | None], shape: tuple[int, ...]) -> bool:
    """Whether images and velocity are those of a set of this shape (K, n, C, H, W), and finite."""
    alike = all(part is not None and part.shape == shape and part.is_floating_point() for part in parts)
    return alike and parts[0].dtype == parts[1].dtype and all(bool(torch.isfinite(part).all()) for part in parts)


def _tells(saved: dict, outer: int, ipc: int, histories: int) -> bool:
    """Whether a saved history can be that of so many outer loops of a set of `ipc` images per class."""
    subsets, measured = saved["subsets"], saved["distances"]
    choices = [(t, n) for h in subsets for t, n in h["choices"]]
    return (
        len(subsets) == histories
        and len(saved["losses"]) == outer
        and all(len(h["distances"]) == (ipc - 1 if h["choices"] else 0) for h in subsets)
        and all(1 <= t <= outer and 1 <= n < ipc for t, n in choices)
        and all([t for t, _ in h["choices"]] == sorted({t for t, _ in h["choices"]}) for h in subsets)
        and all(len(row) == ipc and 1 <= row[0] <= outer for row in measured)
    )


def describe(data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig) -> dict:
    """What a run depends on, as JSON: settings, recipes and a digest of the images; not the number of outer loops."""
    settings = dataclasses.asdict(config)
    del settings["outer"]
    return {
        **data.identity,
        **settings,
        **{f"recipe {r.name}": _settings(r) for r in recipes},
    }


def _settings(recipe: Recipe) -> dict:
    """Those of a recipe, without a learning rate of its own where it has none, as in earlier versions."""
    return {name: value for name, value in dataclasses.asdict(recipe).items() if (name, value) != ("lr", None)}


def difference(saved: dict, now: dict) -> str:
    """The first entry in which two descriptions of runs differ, in words.

    >>> difference({"width": 32, "seed": 0}, {"width": 64, "seed": 1})
    'width: 32 there, 64 here'
    """
    names = [name for name in {**saved, **now} if saved.get(name) != now.get(name)]
    return f"{names[0]}: {saved.get(names[0])} there, {now.get(names[0])} here"
