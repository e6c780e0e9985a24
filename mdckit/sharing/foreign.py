"""The files of other projects' condensed sets: images and labels as they are, without running any code they bring."""

import io
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import sources
from ..decoding import decode_images, image_files
from ..files import brief
from .archives import NeedsCodeError, load_arrays, load_torch, most_bytes

LAYOUTS = {
    "idc": "an IDC, MDC or DREAM file",
    "dsa": "a DC or DSA file",
    "mtt": "an MTT pair",
    "kip": "a KIP file",
    "npz": "an npz file",
    "parquet": "a parquet file",
    "folder": "an image folder",
}
KNOWN = "[data, targets] .pt, res_*.pt, images_best.pt with labels_best.pt, .npz, .parquet or a folder of class folders"


@dataclass(frozen=True)
class Target:
    """What the images are to be: the dataset's name, statistics and class names."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]


@dataclass
class Found:
    """What a file holds: images (M, C, H, W), labels (M,) or (M, K), and what must be said about it."""

    layout: str
    images: Tensor
    labels: Tensor
    info: dict = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    classes: tuple[str, ...] | None = None


def read(path: Path, target: Target, experiment: int) -> Found:
    """What the file or folder holds, by its layout; ValueError for anything else, without the file's name."""
    pair = path / "images_best.pt", path / "labels_best.pt"
    if path.is_dir():
        found = _read_pair(*pair) if any(p.exists() for p in pair) else _read_folder(path, target)
    elif path.suffix in (".pt", ".pth"):
        found = _read_pt(path, experiment)
    elif path.suffix == ".npz":
        found = _read_npz(path, target)
    elif path.suffix == ".parquet":
        found = _read_parquet(path, len(target.mean))
    else:
        raise ValueError(f"its file name extension {path.suffix!r} is unknown: expected {KNOWN}")
    if experiment and found.layout != "dsa":
        raise ValueError(f"experiment {experiment} asked, but {LAYOUTS[found.layout]} holds one set: leave it out")
    return found


def _read_pt(path: Path, experiment: int) -> Found:
    match _load_pt(path):
        case [Tensor() as images, Tensor() as labels]:
            return Found("idc", images, labels)
        case {"data": [*experiments]}:
            if experiment >= len(experiments):
                raise ValueError(f"experiment {experiment} asked, it holds {len(experiments)}, counted from 0")
            match experiments[experiment]:
                case [Tensor() as images, Tensor() as labels]:
                    return Found("dsa", images, labels, {"experiment": experiment, "experiments": len(experiments)})
        case Tensor() if "images" in path.name or "labels" in path.name:
            both = [path.name.replace("labels", "images"), path.name.replace("images", "labels")]
            return _read_pair(*map(path.with_name, both))
    raise ValueError(f"its content has an unknown layout: expected {KNOWN}")


def _read_pair(images: Path, labels: Path) -> Found:
    for path in (images, labels):
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}: an MTT set needs both {images.name} and {labels.name}")
    tensors = [_load_pt(path) for path in (images, labels)]
    if not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise ValueError(f"{images.name} and {labels.name} hold no tensors, one each: expected {KNOWN}")
    return Found("mtt", *tensors)


def _load_pt(path: Path) -> object:
    try:
        return load_torch(path)
    except NeedsCodeError as error:
        why = f"needs code to be opened ({error}), which mdckit does not run"
    except ValueError:  # torch's own words advise to open the file all the same, so they are not passed on
        why = "is truncated or damaged"
    raise ValueError(f"{path.name} {why}: ask for a file of torch.save that holds only tensors")


def _read_npz(path: Path, target: Target) -> Found:
    arrays = load_arrays(path)
    if not {"images", "labels"} <= set(arrays):
        raise ValueError(f"it holds {', '.join(arrays) or 'nothing'}: expected the arrays images and labels")
    images, labels = _tensor("images", arrays["images"]), _tensor("labels", arrays["labels"])
    channels, matrix = len(target.mean), labels.shape[1:] == (len(target.classes),)
    if images.ndim == 4 and images.shape[1] != channels and images.shape[3] == channels:
        images = images.permute(0, 3, 1, 2)
    if not matrix:
        return Found("npz", images, labels)
    if not bool(torch.isfinite(labels).all()):
        raise ValueError("its labels hold NaN or infinite numbers: take another file")
    layout = "kip" if images.is_floating_point() else "npz"
    return Found(layout, images, labels.argmax(1), {"labels": "one-hot, centred or learned: the largest of each row"})


def _tensor(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "uif" or array.dtype.itemsize > 8:
        raise ValueError(f"its {name} are {array.dtype}: expected numbers")
    return torch.from_numpy(array.astype(np.float64 if array.dtype.kind == "f" else np.int64))


class _Row(io.BytesIO):
    """The image file in one row of a table; its name is what errors of `decode_images` say."""

    def __init__(self, row: int, cell: object, column: str):
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        self.name = f"row {row} of its column {column}"
        if not isinstance(content, bytes):
            raise ValueError(f"{self.name} holds no bytes: expected an image file in each row")
        super().__init__(content)

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        """As that of a `Path`."""
        return self.getvalue()


def _read_parquet(path: Path, channels: int) -> Found:
    try:
        from pyarrow import parquet
    except ImportError:
        raise ImportError(f"{path} needs pyarrow to be read: pip install 'mdckit[hub]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            _check_size(file.metadata, path)
            count, names = file.metadata.num_rows, file.schema_arrow.names
            image = next((name for name in ("image", "img") if name in names), None)  # img: the Hub's CIFAR
            label = next((name for name in ("label", "fine_label") if name in names), None)
            cells, labels = _read_rows(file, image, label, most_bytes(path)) if image and label else ([], [])
    except Exception as error:  # pyarrow has its own errors for damaged files
        raise ValueError(f"it is truncated or no parquet file ({brief(error)})") from None
    if not cells:
        columns = ", ".join(names)
        raise ValueError(f"it holds {count} rows of the columns {columns}: expected image and label")
    rows = [_Row(row, cell, image) for row, cell in enumerate(cells)]
    images = decode_images(rows, mode="L" if channels == 1 else "RGB")
    return Found("parquet", images, _tensor("labels", np.concatenate(labels)))


def _read_rows(file, image: str, label: str, most: int) -> tuple[list, list[np.ndarray]]:
    """The cells and labels of a parquet file, few rows at a time: one picture may be written once and stand in all."""
    cells, labels, size = [], [], 0
    for batch in file.iter_batches(batch_size=4, columns=[image, label]):
        size += batch.nbytes
        if size > most:
            raise ValueError(f"its first {len(cells) + len(batch)} rows are {size:,} bytes")
        cells += batch.column(image).to_pylist()
        labels.append(batch.column(label).to_numpy(zero_copy_only=False))
    return cells, labels


def _check_size(metadata, path: Path) -> None:
    """Raise ValueError where a parquet file claims to unpack to more than a file of its size may."""
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if size > most_bytes(path) or metadata.num_rows > path.stat().st_size:
        raise ValueError(f"it claims {metadata.num_rows:,} rows of {size:,} bytes in all")


def _read_folder(path: Path, target: Target) -> Found:
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    names = [p.name for p in folders]
    listing = [image_files(folder) for folder in folders]
    for folder, images in zip(folders, listing, strict=True):
        if not images:
            raise ValueError(f"its class folder {folder.name} holds no images: fill it or remove it")
    if not folders:
        raise ValueError(f"it holds neither class folders nor images_best.pt: expected {KNOWN}")
    numbers, said, classes = _class_numbers(names, target)
    images = decode_images([p for part in listing for p in part], mode="L" if len(target.mean) == 1 else "RGB")
    labels = torch.tensor(numbers).repeat_interleave(torch.tensor([len(part) for part in listing]))
    return Found("folder", images, labels, said=said, classes=classes)


def _class_numbers(names: list[str], target: Target) -> tuple[list[int], list[str], tuple[str, ...] | None]:
    """The label of each folder name, what must be said about it, and the classes' names if the folders give them."""
    wnids = tuple(sources.IMAGENET10) if target.name == "imagenet10" else ()
    for known in (target.classes, wnids):
        if set(names) <= set(known):
            return [known.index(name) for name in names], [], None
    if all(re.match(r"\d+(_|$)", name) for name in names):  # "3", or "03_cat" as `mdckit.export` names them
        return [int(name.split("_")[0]) for name in names], [], None
    if target.classes == tuple(map(str, range(len(names)))):  # only the folders tell the classes' names
        return list(range(len(names))), [f"labels follow the sorted folder names {', '.join(names)}"], tuple(names)
    asked = ", ".join(target.classes)
    raise ValueError(f"its class folders {', '.join(names)} are not those of {target.name}: expected {asked}")
