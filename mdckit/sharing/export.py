"""Condensed sets for other programs: an image folder, npz, parquet for the Hugging Face Hub, DD-Ranking; and back.

What is exported are the decoded patches, on which networks train: a set of factor f has f x f of them per stored image.
They are ordered class by class, within a class image by image, and each keeps its rank: the number of the stored image
it comes from, counted from 0 in its class, so that ``rank < n`` is S[n]. Pictures have 8 bits; beside them lies the set
itself, in full precision, which `load_set` reads.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import files
from ..condensed import CondensedSet
from ..data import normalize
from . import archives, card, loading
from .class_names import class_folders, distinct
from .rounding import Measured, to_bytes

WHOLE = "condensed.safetensors"  # the set itself
PARQUET = "data/train-00000-of-00001.parquet"


def ranks(condensed: CondensedSet) -> Tensor:
    """The number of the stored image within its class, from 0, that every patch comes from, in the order of `decode`.

    >>> s = CondensedSet(torch.rand(2, 2, 1, 8, 8), 2, (0.5,), (0.5,), ("a", "b"))
    >>> ranks(s).tolist()
    [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]
    """
    return torch.cat([torch.arange(count) // condensed.factor**2 for count in condensed.patches_per_class])


def to_npz(condensed: CondensedSet, path: str | Path) -> Path:
    """One NumPy file in full precision: images (P, C, H, W) near 0..1, labels, rank, mean, std, classes, info.

    Images are neither normalised nor clipped: train on ``(images - mean) / std``. `info` is JSON: how the set was made.
    Where the factor is not 1, `stored` are the images before decoding. Replaces an earlier file at once; raises OSError
    naming the path.

    >>> from tempfile import TemporaryDirectory
    >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> with TemporaryDirectory() as folder, np.load(to_npz(s, f"{folder}/set.npz")) as file:
    ...     file["images"][file["rank"] < 2].shape
    (4, 1, 8, 8)
    """
    patches, labels = condensed.decode()
    stored, info = condensed.parts()
    arrays = {
        "images": patches.detach().cpu().float().numpy(),
        "labels": labels.numpy(),
        "rank": ranks(condensed).numpy(),
        "mean": np.array(condensed.mean)[:, None, None],
        "std": np.array(condensed.std)[:, None, None],
        "classes": np.array(condensed.classes),
        "info": np.array(json.dumps(info)),
    }
    if condensed.factor > 1:
        arrays["stored"] = stored.detach().cpu().float().numpy()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return files.write_atomically(path, buffer.getvalue())


def to_image_folder(condensed: CondensedSet, folder: str | Path, measured: Measured | None = None) -> Path:
    """PNG files ``folder/<number>_<class>/<rank>.png`` for torchvision's ImageFolder, with a README.md.

    Class folders are numbered with leading zeros, so that sorted names keep the order of the labels; what a file
    system might not take is left out of their names (`class_folders`), and README.md has them whole. A set of factor
    f names its files ``<rank>_<cell>.png``. `measured` accuracies are written into README.md.

    The folder must be new or empty, and is whole or absent. Raises FileExistsError, OSError naming the folder, and
    ValueError for images that are neither grey nor RGB.

    >>> from tempfile import TemporaryDirectory
    >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 1, (0.5,), (0.5,), ("cat", "a/b"))
    >>> with TemporaryDirectory() as place:
    ...     written = to_image_folder(s, f"{place}/set")
    ...     sorted(str(p.relative_to(written)) for p in written.rglob("*.png"))[2:4]
    ['0_cat/0002.png', '1_a-b/0000.png']
    """
    pictures = _pictures(condensed)
    text = card.describe(condensed, loading.with_torchvision(condensed, _name(folder)), measured)
    with files.whole_folder(folder) as new:
        _write_pictures(condensed, pictures, new, class_folders(condensed.classes))
        _write_set(condensed, text, new)
    return Path(folder)


def to_parquet(condensed: CondensedSet, folder: str | Path, license: str, measured: Measured | None = None) -> Path:
    """A dataset repository of the Hugging Face Hub: a parquet file of image, label, rank and a dataset card, README.md.

    `license` is the Hub's identifier, such as "cc-by-4.0"; mind that of the real images. `measured`, from
    `rounding.measure`, fills in the accuracies by size and what the 8 bits of the pictures cost. The card names the
    command that publishes the folder; nothing is sent anywhere.

    The folder must be new or empty, and is whole or absent. Raises ImportError without the package `datasets`,
    FileExistsError, OSError naming the folder, and ValueError for images that are neither grey nor RGB.

    >>> from tempfile import TemporaryDirectory
    >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> with TemporaryDirectory() as place:
    ...     sorted(path.name for path in to_parquet(s, f"{place}/hub", "cc-by-4.0").iterdir())
    ['README.md', 'condensed.safetensors', 'data']
    """
    card.check_license(license)
    datasets = _datasets()
    pictures = _pictures(condensed)
    text = card.hub_card(condensed, _name(folder), license, measured)
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=distinct(condensed.classes))}
    columns = {
        "image": [{"bytes": _png(picture), "path": None} for picture in pictures],
        "label": condensed.labels.tolist(),
        "rank": ranks(condensed).tolist(),
    }
    table = datasets.Dataset.from_dict(columns, datasets.Features(features | {"rank": datasets.Value("int32")}))
    with files.whole_folder(folder) as new:
        (new / PARQUET).parent.mkdir()
        table.to_parquet(str(new / PARQUET))
        _write_set(condensed, text, new)
    return Path(folder)


def to_ddranking(condensed: CondensedSet, folder: str | Path) -> Path:
    """What DD-Ranking reads: images.pt, labels.pt, and the same as 8-bit pictures in images/<class number>/.

    images.pt is `image_tensor`, float32 (P, 3, H, W), normalised with the set's mean and std, class by class, and
    labels.pt is `hard_labels`, int64 (P,); both are plain tensors that ``torch.load(..., weights_only=True)`` reads.
    Grey images get three equal channels. README.md tells how to call the evaluator.

    The folder must be new or empty, and is whole or absent. Raises FileExistsError, OSError naming the folder, and
    ValueError for images that are neither grey nor RGB.

    >>> from tempfile import TemporaryDirectory
    >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> with TemporaryDirectory() as place:
    ...     torch.load(to_ddranking(s, f"{place}/set") / "images.pt").shape
    torch.Size([6, 3, 8, 8])
    """
    pictures = _pictures(condensed).expand(-1, 3, -1, -1)
    patches, labels = condensed.decode()
    images = normalize(patches, condensed.mean, condensed.std).detach().cpu().float().expand(-1, 3, -1, -1)
    text = card.describe(condensed, loading.with_ddranking(condensed, _name(folder)))
    with files.whole_folder(folder) as new:
        (new / "images.pt").write_bytes(_saved(images.contiguous()))
        (new / "labels.pt").write_bytes(_saved(labels))
        _write_pictures(condensed, pictures, new / "images", [f"{c:05d}" for c in range(len(condensed.classes))])
        _write_set(condensed, text, new)
    return Path(folder)


def load_set(path: str | Path) -> CondensedSet:
    """A set that this kit wrote: a file of `CondensedSet.save`, an npz file, or a folder that an export made.

    Of a folder the set itself is read, in full precision. Sets of other projects are read by `import_set`. Raises
    FileNotFoundError, and ValueError for a file that holds something else.

    >>> from tempfile import TemporaryDirectory
    >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 2, (0.5,), (0.5,), ("a", "b"))
    >>> with TemporaryDirectory() as place:
    ...     load_set(to_image_folder(s, f"{place}/set")).dataset(ipc=1)
    PatchDataset(8 images of 1 x 8 x 8, 2 classes)
    """
    path = Path(path).expanduser()
    if path.is_dir():
        if not (path / WHOLE).is_file():
            raise FileNotFoundError(
                f"no {WHOLE} in the folder {path}: read foreign sets with import_set(path, dataset)"
            )
        return CondensedSet.load(path / WHOLE)
    return _load_npz(path) if path.suffix == ".npz" and path.is_file() else CondensedSet.load(path)


def _load_npz(path: Path) -> CondensedSet:
    try:
        arrays = archives.load_arrays(path)
        info = files.parse_json(str(arrays["info"]))
        stored = torch.from_numpy(arrays["stored" if info["factor"] > 1 else "images"])
        if info.get("counts") is None:
            stored = stored.reshape(len(info["classes"]), -1, *stored.shape[-3:])  # (K, N, C, H, W)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{path} is no npz file of mdckit: read foreign sets with import_set ({files.brief(error)})"
        ) from None
    return CondensedSet.from_parts(stored, info, path)


def _pictures(condensed: CondensedSet) -> Tensor:
    """The patches as uint8 (P, C, H, W); ValueError if a PNG file cannot hold them."""
    channels = condensed.images.shape[2]
    if channels not in (1, 3):
        raise ValueError(f"images with {channels} channels asked as pictures, which have 1 or 3: use to_npz")
    return to_bytes(condensed.decode()[0]).cpu()


def _png(picture: Tensor) -> bytes:
    pixels = picture.permute(1, 2, 0).squeeze(2).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _saved(tensor: Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return buffer.getvalue()


def _write_pictures(condensed: CondensedSet, pictures: Tensor, folder: Path, names: Sequence[str]) -> None:
    cells, digits = condensed.factor**2, max(4, len(str(condensed.ipc - 1)))
    for name, of_class in zip(names, pictures.split(condensed.patches_per_class), strict=True):
        (folder / name).mkdir(parents=True)
        for i, picture in enumerate(of_class):
            cell = f"_{i % cells:0{len(str(cells - 1))}d}" if cells > 1 else ""
            (folder / name / f"{i // cells:0{digits}d}{cell}.png").write_bytes(_png(picture))


def _write_set(condensed: CondensedSet, text: str, folder: Path) -> None:
    condensed.save(folder / WHOLE)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _name(folder: str | Path) -> str:
    return Path(folder).resolve().name


def _datasets():
    try:
        import datasets
    except ImportError:
        raise ImportError("parquet files are written by the package datasets: pip install 'mdckit[hub]'") from None
    return datasets
