"""CondensedSet: the images, and all that is needed to use them again."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from . import files, formation
from .config import check_count
from .data import normalize


@dataclass(frozen=True, eq=False)
class CondensedSet:
    """A condensed set whose first n images per class are a set of their own (`take`).

    `images` is (K, N, C, H, W) with pixels near [0, 1], never normalised; each holds `factor` x `factor` cells
    that `decode` turns into full-size patches. Labels are hard: class c is row c. `info` tells how the set was made
    (recipe, config, MLS trace, versions). Raises ValueError for NaN pixels, integers or a shape that does not fit.
    """

    images: Tensor
    factor: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    dataset: str = "arrays"
    info: dict = field(default_factory=dict, repr=False)

    def __post_init__(self):
        check_count("factor", self.factor)
        if self.images.ndim != 5 or len(self.images) != len(self.classes) or 0 in self.images.shape:
            raise ValueError(
                f"images of shape {tuple(self.images.shape)} for {len(self.classes)} classes: expected (K, N, C, H, W)"
            )
        if not self.images.is_floating_point():
            raise ValueError(f"the condensed images are {self.images.dtype}: expected floats near 0..1")
        if not bool(torch.isfinite(self.images).all()):
            raise ValueError("the condensed images hold NaN or infinite pixels")
        formation.cell_sides(self.images.shape[-1], self.factor)

    @property
    def ipc(self) -> int:
        """Stored images per class."""
        return self.images.shape[1]

    @property
    def mls_trace(self) -> list:
        """[[t, n], ...], the MLS chosen at the end of outer loop t (one such list per class if class-wise)."""
        return self.info.get("mls_trace", [])

    def take(self, n: int) -> Self:
        """The first n images of every class, S[n]; raises ValueError beyond the stored images per class.

        >>> s = CondensedSet(torch.rand(2, 10, 1, 8, 8), 2, (0.5,), (0.5,), ("a", "b"))
        >>> s.take(3).images.shape
        torch.Size([2, 3, 1, 8, 8])
        """
        if type(n) is not int or not 1 <= n <= self.ipc:
            raise ValueError(f"{n!r} images per class asked of a set with {self.ipc}: take 1..{self.ipc}")
        return replace(self, images=self.images[:, :n])

    def decode(self) -> tuple[Tensor, Tensor]:
        """All patches (K n f^2, C, H, W), image-major within each class, pixels as stored, and their labels.

        >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 2, (0.5,), (0.5,), ("a", "b"))
        >>> patches, labels = s.decode()
        >>> patches.shape, labels.tolist() == [0] * 12 + [1] * 12
        (torch.Size([24, 1, 8, 8]), True)
        """
        patches = formation.decode(self.images, self.factor)  # (K, n f^2, C, H, W)
        labels = torch.arange(len(patches)).repeat_interleave(patches.shape[1])
        return patches.flatten(0, 1), labels

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Normalised patches and labels, ready to train on."""
        patches, labels = self.decode()
        return normalize(patches, self.mean, self.std), labels

    def save(self, path: str | Path) -> Path:
        """Write the set as one safetensors file, atomically; raises OSError naming the path."""
        info = {
            **self.info,
            "kind": "condensed set",
            "dataset": self.dataset,
            "factor": self.factor,
            "mean": self.mean,
            "std": self.std,
            "classes": self.classes,
            "pixels": "0..1, not normalised, not clamped after the last step",
            "labels": "hard: row c holds class c",
            "order": "image-major: the first n images of every class are S[n]",
        }
        return files.save_tensors(path, {"images": self.images}, info)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a set written by `save`.

        Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file (pickles are not opened).
        """
        tensors, info = files.load_tensors(path, "condensed set")
        for name in ("kind", "pixels", "labels", "order"):
            info.pop(name, None)
        try:
            return cls(
                images=tensors["images"],
                factor=info.pop("factor"),
                mean=tuple(info.pop("mean")),
                std=tuple(info.pop("std")),
                classes=tuple(info.pop("classes")),
                dataset=info.pop("dataset"),
                info=info,
            )
        except KeyError as error:
            raise ValueError(f"{path} holds no {error}, so it is not a whole mdckit condensed set") from None
        except ValueError as error:
            raise ValueError(f"{path} holds a set that cannot be used: {error}") from None


def union(sets: Sequence[CondensedSet]) -> CondensedSet:
    """One set with the images of several, in their order (Baseline B); they must share all but their images.

    >>> one = CondensedSet(torch.rand(2, 1, 1, 8, 8), 2, (0.5,), (0.5,), ("a", "b"))
    >>> union([one, one]).ipc
    2
    """
    if not sets:
        raise ValueError("no sets to unite: give at least one")
    first = sets[0]
    if len({(s.factor, s.classes, s.mean, s.std, s.images.shape[2:]) for s in sets}) > 1:
        raise ValueError("the sets differ in classes, mean, std, factor or image shape: only like sets can be united")
    return replace(first, images=torch.cat([s.images for s in sets], dim=1), info=dict(first.info))
