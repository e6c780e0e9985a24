"""CondensedSet: the images, and all that is needed to use them again."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from . import files, formation
from .checks import check_count
from .data import normalize
from .forms import CONDENSED, check_form
from .patch_dataset import PatchDataset


@dataclass(frozen=True, eq=False, repr=False)
class CondensedSet:
    """A condensed set whose first n images per class are a set of their own (`take`).

    `images` is (K, N, C, H, W) with pixels near [0, 1], never normalised; each holds `factor` x `factor` cells
    that `decode` turns into full-size patches. Labels are hard: class c is row c. `info` tells how the set was made
    (recipe, config, MLS trace, versions), `data_name` from which real images.

    A set that was selected from another (`select`) may use only its first ``counts[c]`` patches of class c, also none;
    the cells beyond are grey and never decoded. `counts` None means that all are used. Raises ValueError for NaN
    pixels, integers or a shape that does not fit.

    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> images, labels = made.take(2).tensors()
    >>> images.shape, labels.tolist()
    (torch.Size([4, 1, 8, 8]), [0, 0, 1, 1])
    """

    images: Tensor
    factor: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    data_name: str = "arrays"
    info: dict = field(default_factory=dict)
    counts: tuple[int, ...] | None = None

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
        sane = all(map(math.isfinite, (*self.mean, *self.std))) and all(s > 0 for s in self.std)
        if not sane or not len(self.mean) == len(self.std) == self.images.shape[2]:
            raise ValueError(f"mean {self.mean} and std {self.std} given for {self.images.shape[2]} channels")
        formation.cell_sides(self.images.shape[-1], self.factor)
        if self.counts is not None:
            self._check_counts()
            needed = max(formation.images_in_use(self.counts, self.factor))
            whole = set(self.counts) == {needed * self.factor**2}
            object.__setattr__(self, "images", self.images[:, :needed])
            object.__setattr__(self, "counts", None if whole else tuple(self.counts))

    def _check_counts(self):
        most = self.ipc * self.factor**2
        for count in self.counts:
            check_count("patches of a class", count, 0)
        if len(self.counts) != len(self.classes) or max(self.counts) > most or not any(self.counts):
            raise ValueError(
                f"patches per class {list(self.counts)} given for {len(self.classes)} classes of up to {most} patches"
            )

    def __repr__(self) -> str:
        images = f"{len(self.classes)} classes x {self.ipc} images of {' x '.join(map(str, self.images.shape[2:]))}"
        return f"CondensedSet({self.data_name}: {images}, factor {self.factor}, {self.patches} patches)"

    @property
    def ipc(self) -> int:
        """Stored images per class (of a selection with unequal classes: of the largest)."""
        return self.images.shape[1]

    @property
    def patches_per_class(self) -> tuple[int, ...]:
        """Decoded images of every class."""
        return self.counts or (self.ipc * self.factor**2,) * len(self.classes)

    @property
    def patches(self) -> int:
        """Decoded images in all."""
        return sum(self.patches_per_class)

    @property
    def digest(self) -> str:
        """A hash of what the set decodes to: its pixels, factor and class counts."""
        described = repr((tuple(self.images.shape[2:]), self.factor, self.patches_per_class)).encode()
        pixels = self._cells().detach().cpu().float().contiguous().numpy().tobytes()
        return hashlib.blake2b(described + pixels, digest_size=16).hexdigest()

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
        counts = tuple(min(count, n * self.factor**2) for count in self.patches_per_class)
        info = dict(self.info)
        if "selected" in info:
            numbers = torch.tensor(info["selected"]["patches"]).split(self.patches_per_class)
            info["selected"] = info["selected"] | {"patches": formation.pack(numbers, counts).tolist()}
        return replace(self, images=self.images[:, :n], counts=counts, info=info)

    def select(self, index: Tensor, **how) -> Self:
        """The patches with these numbers (in the order of `decode`) as a set of their own; rules: `mdckit.selection`.

        The order of `index` is kept within each class, so `take` of the new set gives those selected first. Cells of
        different stored images meet in one: k f^2 patches of every class fill exactly k stored images per class. Pixels
        do not change, except where f does not divide the side: a cell that moves to the last row or column loses its
        last line there. ``info["selected"]`` keeps the numbers, the digest of this set and `how` they were chosen.
        Raises ValueError for numbers that are not there or there twice.

        >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 2, (0.5,), (0.5,), ("a", "b"))
        >>> s.select(torch.tensor([3, 0, 12])).patches_per_class
        (2, 1)
        """
        formation.check_numbers(index, self.patches)
        index = index.long()  # bytes would be taken as a mask
        index = index[self.labels[index].argsort(stable=True)]  # class by class
        counts = torch.bincount(self.labels[index], minlength=len(self.classes)).tolist()
        width = max(formation.images_in_use(counts, self.factor)) * self.factor**2
        cells = formation.unpack(self._cells()[index], counts, width)  # (K, width, C, h, w)
        images = formation.join(cells, self.factor, self.images.shape[-2:])
        info = {key: value for key, value in self.info.items() if key != "mls_trace"}  # of the order before
        info["selected"] = {"patches": index.tolist(), "of": self.digest, **how}
        return replace(self, images=images, counts=tuple(counts), info=info)

    @property
    def labels(self) -> Tensor:
        """The class of every patch, in the order of `decode`."""
        return torch.arange(len(self.classes)).repeat_interleave(torch.tensor(self.patches_per_class))

    def _cells(self) -> Tensor:
        """The cells in use, in the order of `decode`, not upsampled."""
        return formation.pack(formation.split(self.images, self.factor), self.patches_per_class)

    def decode(self) -> tuple[Tensor, Tensor]:
        """All patches (P, C, H, W), pixels as stored, and their labels (P,): class by class, image-major within each.

        >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 2, (0.5,), (0.5,), ("a", "b"))
        >>> patches, labels = s.decode()
        >>> patches.shape, labels.tolist() == [0] * 12 + [1] * 12
        (torch.Size([24, 1, 8, 8]), True)
        """
        return formation.pack(formation.decode(self.images, self.factor), self.patches_per_class), self.labels

    def tensors(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Normalised patches and labels, ready to train on."""
        patches, labels = self.decode()
        return normalize(patches, self.mean, self.std).to(device), labels.to(device)

    def dataset(
        self, ipc: int | None = None, augment: str = "", transform: Callable[[Tensor], Tensor] | None = None
    ) -> PatchDataset:
        """The first `ipc` images of every class (all by default) as a torch Dataset, ready for a DataLoader.

        Its items are (normalised patch (C, H, W), label). `augment` names operations as in `mdckit.augment`, such as
        the papers', ``TrainConfig.preset("cifar10").augment``; `transform` is any function of one patch, applied last.
        Raises ValueError as `take`.

        >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 2, (0.5,), (0.5,), ("a", "b"))
        >>> s.dataset(ipc=2)
        PatchDataset(16 images of 1 x 8 x 8, 2 classes)
        """
        images, labels = (self if ipc is None else self.take(ipc)).tensors()
        return PatchDataset(images, labels, self.classes, augment, transform)

    def parts(self) -> tuple[Tensor, dict]:
        """What a file of the set holds: the stored images in use and, as JSON-able values, all else."""
        info = {
            **self.info,
            "kind": "condensed set",
            "dataset": self.data_name,
            "factor": self.factor,
            "mean": self.mean,
            "std": self.std,
            "classes": self.classes,
            "pixels": "0..1, not normalised, not clamped after the last step",
            "labels": "hard: row c holds class c",
            "order": "image-major: the first n images of every class are S[n]",
        }
        if self.counts is None:
            return self.images, info
        packed = formation.pack(self.images, formation.images_in_use(self.counts, self.factor))
        return packed, info | {"counts": self.counts}

    @classmethod
    def from_parts(cls, images: Tensor, info: Mapping, path: str | Path) -> Self:
        """The set of these `parts`, read from `path`; raises ValueError naming it where they are damaged."""
        info = {name: value for name, value in info.items() if name not in ("kind", "pixels", "labels", "order")}
        try:
            check_form(info, CONDENSED)
            counts = info.pop("counts", None)
            made = cls(
                images=images if counts is None else formation.unpack_images(images, counts, info["factor"]),
                factor=info.pop("factor"),
                mean=tuple(info.pop("mean")),
                std=tuple(info.pop("std")),
                classes=tuple(info.pop("classes")),
                data_name=info.pop("dataset"),
                info=info,
                counts=counts,
            )
            if len(info.get("selected", {}).get("patches", range(made.patches))) != made.patches:
                raise ValueError(f"it tells {len(info['selected']['patches'])} numbers of {made.patches} patches")
            return made
        except KeyError as error:
            raise ValueError(f"{path} holds no {error}, so it is not a whole mdckit condensed set") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} holds a set that cannot be used: {files.brief(error)}") from None

    def save(self, path: str | Path) -> Path:
        """Write the set as one safetensors file, atomically; raises OSError naming the path."""
        images, info = self.parts()
        return files.save_tensors(path, {"images": images}, info)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a set written by `save`.

        Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file (pickles are not opened).
        """
        tensors, info = files.load_tensors(path, "condensed set")
        if "images" not in tensors:
            raise ValueError(f"{path} holds no 'images', so it is not a whole mdckit condensed set")
        return cls.from_parts(tensors["images"], info, path)


def union(sets: Sequence[CondensedSet]) -> CondensedSet:
    """One set with the images of several, in their order (Baseline B); they must share all but their images.

    >>> one = CondensedSet(torch.rand(2, 1, 1, 8, 8), 2, (0.5,), (0.5,), ("a", "b"))
    >>> union([one, one]).ipc
    2
    """
    if not sets:
        raise ValueError("no sets to unite: give at least one")
    first = sets[0]
    if any(s.counts is not None for s in sets):
        raise ValueError("a set that uses only some of its cells cannot be united: unite whole sets and select then")
    if len({(s.factor, s.classes, s.mean, s.std, s.images.shape[2:]) for s in sets}) > 1:
        raise ValueError("the sets differ in classes, mean, std, factor or image shape: only like sets can be united")
    info = {name: value for name, value in first.info.items() if name != "selected"}  # which patches: of one set alone
    return replace(first, images=torch.cat([s.images for s in sets], dim=1), info=info)
