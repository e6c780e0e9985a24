"""The parameters of a run, as `20_run` and the files of notebooks/params have them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Self

import yaml

from . import files, sources
from .baselines import Recipe, recipes_by_name
from .checks import check_choice
from .config import CondenseConfig, TrainConfig
from .data import ImageData
from .parameters import parse, read_parameters


@dataclass(frozen=True)
class Parameters:
    """What `20_run` is asked for, by the same names and with the same defaults; its notebook says what each means.

    Raises ValueError for settings that cannot be run.

    >>> Parameters(recipes=["mdc"], condense={"outer": 5}).condense_config().outer
    5
    """

    dataset: str = "digits"
    preset: str = ""
    scale: str = "quick"
    recipes: Sequence[str] = ("baseline_c", "mdc")
    ipc: int = 3
    seed: int = 0
    seeds: Sequence[int] = (0, 1, 2)
    sizes: Sequence[int] = ()
    condense: Mapping = field(default_factory=dict)
    train: Mapping = field(default_factory=dict)
    holdout: int = 0
    device: str = ""
    results: str = "results/run"

    def __post_init__(self):
        for name in ("recipes", "seeds", "sizes"):
            if not isinstance(getattr(self, name), list | tuple):
                raise ValueError(f"{name} {getattr(self, name)!r} asked: give a list")
        for name, own in (("condense", {"ipc", "seed"}), ("train", {"seeds"})):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} {getattr(self, name)!r} asked: give settings by their names")
            for twice in sorted((own | {"dataset", "scale"}) & set(getattr(self, name))):
                raise ValueError(f"{twice} asked in {name}: it is a parameter of its own")
        self.condense_config()
        TrainConfig.preset(self.preset or self.dataset, self.scale, seeds=self.seeds, **self.train)
        self.methods()
        if not set(self.sizes) <= set(range(1, self.ipc + 1)):
            raise ValueError(
                f"sizes {list(self.sizes)} asked of {self.ipc} images per class: give numbers from 1 to {self.ipc}"
            )

    @classmethod
    def read(cls, paths: Iterable[str | Path], pairs: Iterable[tuple[str, str]] = (), **changes) -> Self:
        """Those of YAML files, with (name, YAML value) `pairs` and `changes` on top; an unknown name is an error."""
        found = {}
        for path in paths:
            found |= read_parameters(path)
        found |= {name: parse(name, value) for name, value in pairs} | changes
        for name in found:
            check_choice("parameter", name, [f.name for f in fields(cls)])
        return cls(**found)

    def write(self, path: str | Path) -> Path:
        """Write them as YAML, for `read` and for `20_run`."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return files.write_atomically(path, yaml.safe_dump(plain, sort_keys=False).encode())

    def condense_config(self) -> CondenseConfig:
        """How the sets are condensed."""
        dataset = self.preset or self.dataset
        return CondenseConfig.preset(dataset, self.scale, ipc=self.ipc, seed=self.seed, **self.condense)

    def methods(self) -> list[Recipe]:
        """The recipes."""
        return recipes_by_name(list(self.recipes), self.ipc, list(self.sizes))

    def load(self) -> ImageData:
        """The real images."""
        data = sources.load(self.dataset)
        return data.holdout(self.holdout) if self.holdout else data
