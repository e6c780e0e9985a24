"""Condensed sets of other projects as sets of this kit."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .. import formation, sources
from ..checks import check_count
from ..condensed import CondensedSet
from ..data import ImageData, to_float
from .foreign import KNOWN, LAYOUTS, Found, Target, read

NORMALIZED = ("dsa", "mtt", "kip")  # condensed in normalised space, and without cells: their factor is 1
# Unclamped pixels of real IDC and MDC runs end within -0.21..1.19. Normalised pixels of every data set below reach
# at least 2.0 where a pixel is white, so one bound between the two tells the spaces apart.
OVERSHOOT = 0.5
# Sets of normalised space were never clamped and may start from noise; floats of 0..255 still end far outside.
OVERSHOOT_NORMALIZED = 3.0
# The DC code base, which MTT shares, normalises CIFAR-100 by its own statistics, IDC and mdckit by CIFAR-10's.
DC_CIFAR100_STATISTICS = {"mean": (0.5071, 0.4866, 0.4409), "std": (0.2673, 0.2564, 0.2762)}
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS = tuple("0123456789")
DATASETS = {  # name: statistics, and classes in label order: their names where the data are not needed to know them
    "cifar10": (sources.CIFAR_STATISTICS, CIFAR10_CLASSES),
    "cifar100": (sources.CIFAR_STATISTICS, tuple(map(str, range(100)))),
    "svhn": (sources.SVHN_STATISTICS, DIGITS),
    "mnist": (sources.MNIST_STATISTICS, DIGITS),
    "mnist5k": (sources.MNIST_STATISTICS, DIGITS),
    "fashion-mnist": (sources.FASHION_STATISTICS, DIGITS),
    "imagenet10": (sources.IMAGENET_STATISTICS, tuple(sources.IMAGENET10.values())),
}


def import_set(
    path: str | Path,
    dataset: str | ImageData,
    *,
    factor: int | None = None,
    normalized: bool | None = None,
    experiment: int = 0,
    classes: Sequence[str] | None = None,
) -> CondensedSet:
    """A condensed set of another project as a CondensedSet, its pixels near 0..1 and grouped by class.

    `path` is an IDC, MDC or DREAM file (``[data, targets]``), a DC or DSA file (``res_*.pt``, of which `experiment`
    is taken), an MTT pair (``images_best.pt`` and ``labels_best.pt``, or their folder), a KIP or plain npz file
    (`images` and `labels`), a parquet file (columns image or img, label or fine_label) or an image folder
    ``DIR/<class>/*``.

    `dataset` is what the set was condensed from, by name or as ImageData. A `factor` left out is that of the layout or
    a guess. `normalized` None goes by the layout, and the pixels must agree; True and False overrule it. Normalised
    pixels are brought back with the dataset's mean and std. Guesses and changes are warned of and kept in
    ``info["import"]``. The order within a class stays; unequal classes give a set with `counts`.

    Pickles that need code of their own are refused. Raises FileNotFoundError, ImportError where parquet cannot be
    read, and ValueError for whatever cannot be a set of this dataset.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     torch.save([torch.rand(20, 3, 32, 32), torch.arange(10).repeat(2)], f"{folder}/data_best.pt")
    ...     import_set(f"{folder}/data_best.pt", "cifar10", factor=2).images.shape
    torch.Size([10, 2, 3, 32, 32])
    """
    path = Path(path).expanduser()
    target = _target(dataset, classes)
    check_count("experiment", experiment, 0)
    if factor is not None:
        check_count("factor", factor)
    if not path.is_dir() and not path.is_file():  # a pipe would be waited for without end
        raise FileNotFoundError(f"no file {path}: expected {KNOWN}")
    try:
        found = read(path, target, experiment)
        imported = _assemble(found, target, factor, normalized, path.name)
    except ValueError as error:
        raise ValueError(f"{path} cannot be imported: {error}") from None
    for sentence in found.said:
        warnings.warn(f"{path.name}: {sentence}", stacklevel=2)
    return imported


def _target(dataset: str | ImageData, classes: Sequence[str] | None) -> Target:
    if isinstance(dataset, ImageData):
        return Target(dataset.name, dataset.mean, dataset.std, tuple(classes or dataset.classes))
    if dataset not in DATASETS:
        raise ValueError(f"unknown data set {dataset!r}: give ImageData, or one of {', '.join(DATASETS)}")
    statistics, names = DATASETS[dataset]
    return Target(dataset, **statistics, classes=tuple(classes or names))


def _assemble(found: Found, target: Target, factor: int | None, normalized: bool | None, name: str) -> CondensedSet:
    info = {"file": name, "layout": found.layout, **found.info}
    images = _pixels(found, target, normalized, info)
    labels = _labels(found.labels, len(images), len(target.classes))
    info["factor_guessed"] = factor is None and found.layout not in NORMALIZED
    if factor is None:
        factor = _guess_factor(found, images.shape[-1])
    count = torch.bincount(labels, minlength=len(target.classes)).tolist()
    return CondensedSet(
        images=formation.unpack(images[labels.argsort(stable=True)], count, max(count)),
        factor=factor,
        mean=target.mean,
        std=target.std,
        classes=found.classes or target.classes,
        data_name=target.name,
        info={"import": info},
        counts=tuple(n * factor**2 for n in count),
    )


def _guess_factor(found: Found, side: int) -> int:
    factor = 1 if found.layout != "idc" else 3 if side >= 224 else 2
    if found.layout not in NORMALIZED:
        why = f"IDC's for {side} pixels" if found.layout == "idc" else "whole images, which the file does not tell"
        found.said.append(f"factor {factor} is a guess ({why}): give the factor that the set was condensed with")
    return factor


def _pixels(found: Found, target: Target, normalized: bool | None, info: dict) -> Tensor:
    """The images as floats near 0..1; `info` learns whether and how they were normalised."""
    images, what = found.images.detach(), LAYOUTS[found.layout]
    _check_shape(images, target)
    low, high = images.min().item(), images.max().item()
    seen = f"{what} with pixels in {low:.4g}..{high:.4g}"
    info["normalized"] = found.layout in NORMALIZED if normalized is None else normalized
    if not images.is_floating_point():
        if low < 0 or high > 255 or info["normalized"]:
            raise ValueError(f"{seen} of {images.dtype}: integers must be 0..255 and are never normalised")
        return to_float(images)
    images = images.to(torch.get_default_dtype())
    plain = low >= -OVERSHOOT and high <= 1 + OVERSHOOT
    if not info["normalized"]:
        if not plain:
            raise ValueError(f"{seen}, not in 0..1: give normalized=True if they are normalised, else scale them")
        return images
    if plain and normalized is None:
        raise ValueError(f"{seen}, but such sets are normalised and these look plain: give normalized=True or False")
    statistics = {"mean": target.mean, "std": target.std}
    if target.name.startswith("cifar100") and found.layout in ("dsa", "mtt"):
        statistics = DC_CIFAR100_STATISTICS
    mean, std = (images.new_tensor(values)[:, None, None] for values in statistics.values())
    images = images * std + mean
    if images.min() < -OVERSHOOT_NORMALIZED or images.max() > 1 + OVERSHOOT_NORMALIZED:
        raise ValueError(f"{seen} does not fit the normalisation of {target.name}: check the data set, or scale them")
    info["undone"] = {name: list(values) for name, values in statistics.items()}
    back = f"normalised pixels were brought back as x * {statistics['std']} + {statistics['mean']}"
    zca = "; from ZCA space this does not give true pixels" if found.layout != "dsa" else ""
    found.said.append(back + zca)
    return images


def _check_shape(images: Tensor, target: Target) -> None:
    shape, channels = tuple(images.shape), len(target.mean)
    if len(shape) != 4 or 0 in shape or shape[2] != shape[3]:
        raise ValueError(f"its images have shape {shape}: expected square ones, (M, {channels}, H, H)")
    if shape[1] != channels:
        raise ValueError(f"its images have {shape[1]} channels, {target.name} has {channels}: check the data set")
    if images.dtype == torch.bool or images.is_complex():
        raise ValueError(f"its images are {images.dtype}: expected floats, or integers 0..255")
    if not bool(torch.isfinite(images).all()):
        raise ValueError("its images hold NaN or infinite pixels: take another file")


def _labels(labels: Tensor, images: int, classes: int) -> Tensor:
    """The labels as int64, one of 0..K-1 for each image and an image for each class."""
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        seen = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"its labels are {seen}: expected one integer per image, 0..{classes - 1}")
    if len(labels) != images:
        raise ValueError(f"it holds {len(labels)} labels for {images} images: expected one for each")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(f"it holds labels {int(labels.min())}..{int(labels.max())}: expected 0..{classes - 1}")
    missing = sorted(set(range(classes)) - set(labels.tolist()))
    if missing:
        raise ValueError(f"it holds no image of class {missing[0]} of 0..{classes - 1}: check data set and classes")
    return labels.long()
