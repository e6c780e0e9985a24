"""What an explorer tells of one condensed set: its sizes, accuracies and subsets, and the strips of its images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..condensed import CondensedSet
from ..data import ImageData, to_float
from ..plots import seeds
from ..subsets import SubsetState, histories
from .mosaic import Strip, thumbnails, tiled
from .neighbours import nearest_real


class Line(NamedTuple):
    """A method's name and colour, and its accuracies, mean and std in percent by images per class, of so many seeds."""

    label: str
    colour: str
    accuracy: Mapping[int, tuple[float, float]]
    seeds: str = ""

    @classmethod
    def of(cls, label: str, colour: str, rows: pd.DataFrame) -> Self:
        """The line of a method's rows of `results.accuracies`."""
        sizes = rows.groupby("ipc")["accuracy"]
        found = {int(n): (float(values.mean()), float(values.std(ddof=0))) for n, values in sizes}
        return cls(label, colour, found, seeds(rows) if found else "")

    def at(self, n: int) -> str:
        """The accuracy of `n` images per class in words."""
        if n not in self.accuracy:
            return "accuracy not measured" if self.accuracy else "no accuracies given"
        return f"{self.accuracy[n][0]:.1f} ± {self.accuracy[n][1]:.1f} % ({self.seeds})"


@dataclass(frozen=True, eq=False)
class Explored:
    """One set under its name, and the line of its accuracies."""

    name: str
    line: Line
    condensed: CondensedSet
    data: ImageData | None = None
    found: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)  # nearest real images, by class

    def used(self, c: int) -> int:
        """Stored images of class `c`; the last may have grey cells."""
        return -(-self.condensed.patches_per_class[c] // self.condensed.factor**2)

    def size(self, n: int) -> str:
        """How many images and bytes the first `n` images per class are, in words; at most all."""
        part = self.condensed.take(min(n, self.condensed.ipc))
        factor = part.factor
        images = sum(-(-count // factor**2) for count in part.patches_per_class)
        kilobytes = images * part.images[0, 0].numel() / 1000
        patches = f" ({part.patches} patches)" if factor > 1 else ""
        uneven = "up to " if len(set(part.patches_per_class)) > 1 else ""
        size = f"{kilobytes:.0f}" if kilobytes >= 10 else f"{kilobytes:.1f}"
        return f"{uneven}{part.ipc} image{'s' * (part.ipc > 1)} per class = {images} images{patches}, {size} kB"

    @cached_property
    def histories(self) -> tuple[SubsetState, ...]:
        """The choices of subsets, one for every class; none where none were made."""
        found = histories(self.condensed.info)
        if not any(history.choices for history in found):
            return ()
        return found if len(found) > 1 else found * len(self.condensed.classes)

    @property
    def class_wise(self) -> bool:
        """Whether the classes chose for themselves."""
        return len(set(self.histories)) > 1

    @property
    def outer(self) -> int:
        """Outer loops that made the set."""
        return self.condensed.info.get("outer") or max((t for h in self.histories for t, _ in h.choices), default=1)

    def subsets(self, t: int) -> list[tuple[int, int]]:
        """For every class the MLS and what is frozen in loop t, at most the last; 0 for none, empty without choices."""
        t = min(t, self.outer)
        found = {history: (history.mls(t) or 0, history.frozen(t)) for history in set(self.histories)}
        return [found[history] for history in self.histories]

    @cached_property
    def _patches(self) -> tuple[Tensor, ...]:
        patches, _ = self.condensed.decode()
        return patches.split(list(self.condensed.patches_per_class))

    def stored(self, c: int, tall: int, wide: int) -> Strip:
        """The images of class `c` as they are stored."""
        return Strip(thumbnails(self.condensed.images[c, : self.used(c)], tall, wide), self._titles(c))

    def decoded(self, c: int, tall: int, wide: int) -> Strip:
        """The same as f x f patches, as networks see them."""
        return Strip(self._tiled(self._patches[c], tall, wide), self._titles(c))

    def nearest(self, c: int, tall: int, wide: int) -> Strip:
        """The training images nearest to the patches of class `c`, where those lie."""
        distances, numbers = self._nearest(c)
        real = to_float(self.data.x_train[self.data.class_indices[c][numbers]])
        said = [f"number {i} ({d:.3f})" for i, d in zip(numbers.tolist(), distances.tolist(), strict=True)]
        cells = self.condensed.factor**2
        of_image = [", ".join(said[i * cells : (i + 1) * cells]) for i in range(self.used(c))]
        titles = [f"nearest to image {i}: real {text} of the class" for i, text in enumerate(of_image, start=1)]
        return Strip(self._tiled(real, tall, wide), titles)

    def distance(self, n: int, classes: list[int]) -> float | None:
        """Mean distance of the first `n` images of these classes to their nearest real images; None if unknown yet."""
        cells = n * self.condensed.factor**2
        known = [self._nearest(c)[0][:cells] for c in classes]
        return float(torch.cat(known).mean()) if sum(map(len, known)) else None

    def _nearest(self, c: int) -> tuple[Tensor, Tensor]:
        if c not in self.found:
            patches = self._patches[c]
            self.found[c] = nearest_real(patches, torch.full((len(patches),), c), self.data)
        return self.found[c]

    def _tiled(self, patches: Tensor, tall: int, wide: int) -> np.ndarray:
        missing = -len(patches) % self.condensed.factor**2
        white = patches.new_ones(missing, *patches.shape[1:])
        return tiled(torch.cat([patches, white]), self.condensed.factor, tall, wide)

    def _titles(self, c: int) -> list[str]:
        count = self.used(c)
        return [f"{self.condensed.classes[c]}, image {n} of {count} ({self.line.label})" for n in range(1, count + 1)]
