"""Multi-formation: a stored image holds f x f cells, each of which decodes to a full-size patch."""

from collections.abc import Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_count
from .config import Formation


def cell_sides(size: int, factor: int) -> list[int]:
    """Side of each row of cells: the first ``size % factor`` rows have one pixel more.

    >>> cell_sides(224, 3)
    [75, 75, 74]
    """
    if factor > size:
        raise ValueError(f"factor {factor} asked of images with {size} pixels a side: use {size} at most")
    return [size // factor + (row < size % factor) for row in range(factor)]


def compose(images: Tensor, factor: int) -> Tensor:
    """Shrink real images into the cells of stored images ("mix" initialisation).

    `images` is (K, n f^2, C, H, W); image m goes to cell ``m % f^2`` (row-major) of stored image
    ``m // f^2``, by nearest-neighbour sampling. Returns (K, n, C, H, W).
    """
    if factor == 1:
        return images.clone()
    size = images.shape[-1]
    sides = cell_sides(size, factor)
    cells = images.unflatten(1, (-1, factor, factor))  # (K, n, row, column, C, H, W)
    stored = images.new_empty(*cells.shape[:2], *cells.shape[4:])
    starts = [sum(sides[:row]) for row in range(factor)]
    for row, (top, tall) in enumerate(zip(starts, sides, strict=True)):
        for column, (left, wide) in enumerate(zip(starts, sides, strict=True)):
            small = F.interpolate(cells[:, :, row, column].flatten(0, 1), (tall, wide), mode="nearest")
            stored[..., top : top + tall, left : left + wide] = small.unflatten(0, stored.shape[:2])
    return stored


def decode(stored: Tensor, factor: int) -> Tensor:
    """Every cell of stored images (..., n, C, H, W) as a patch of full size, (..., n f^2, C, H, W).

    Patches are image-major: patch ``i f^2 + k`` is cell k (row-major) of image i, so a prefix of images
    is a prefix of patches. An image whose side f does not divide is padded with 0.5 at the right and bottom.
    Upsampling is bilinear.

    >>> import torch
    >>> decode(torch.zeros(10, 5, 3, 32, 32), factor=2).shape
    torch.Size([10, 20, 3, 32, 32])
    """
    if factor == 1:
        return stored
    cells = split(stored, factor)  # (..., n f^2, C, h, w)
    patches = F.interpolate(cells.flatten(0, -4), stored.shape[-2:], mode="bilinear", align_corners=False)
    return patches.unflatten(0, cells.shape[:-3])


def plan(ipc: int, factor: int, formation: Formation = "single", most: int = 128) -> list[tuple[int, ...]]:
    """The factors that each of `ipc` stored images is decoded with while it is condensed.

    "single" decodes every image with `factor`, "multi" with all of 1, 2, ..., `factor`, and "bound" with the largest
    factors that leave at most `most` patches of a class, the first images first (IDC).

    >>> plan(20, 3, "bound", most=128).count((3,))
    12
    """
    if formation == "single":
        return [(factor,)] * ipc
    if formation == "multi":
        return [tuple(range(1, factor + 1))] * ipc
    chosen: list[tuple[int, ...]] = []
    for g in range(factor, 0, -1):
        used, left = sum(patch_counts(chosen)), ipc - len(chosen)
        fitting = (most - used - left) // g**2 if g > 1 else left
        chosen += [(g,)] * max(0, min(fitting, left))
    return chosen


def patch_counts(factors: Sequence[tuple[int, ...]]) -> list[int]:
    """Patches of every stored image of a `plan`.

    >>> patch_counts([(1, 2), (3,)])
    [5, 9]
    """
    return [sum(g**2 for g in of_image) for of_image in factors]


def decode_by(stored: Tensor, factors: Sequence[tuple[int, ...]]) -> Tensor:
    """Stored images (..., n, C, H, W) decoded each with its own factors of a `plan`, (..., P, C, H, W), image-major.

    >>> import torch
    >>> decode_by(torch.zeros(10, 2, 3, 32, 32), [(1, 2), (1,)]).shape
    torch.Size([10, 6, 3, 32, 32])
    """
    parts, first = [], 0
    for of_image, alike in groupby(factors):
        images = stored[..., first : (first := first + len(list(alike))), :, :, :]
        decoded = [decode(images, g).unflatten(-4, (images.shape[-4], g**2)) for g in of_image]
        parts.append(torch.cat(decoded, -4).flatten(-5, -4))
    return torch.cat(parts, -4) if len(parts) > 1 else parts[0]


def split(stored: Tensor, factor: int) -> Tensor:
    """The cells of stored images (..., n, C, H, W) as they are, (..., n f^2, C, h, w), image-major.

    Where f does not divide the side, the last row and column of cells are padded with 0.5.
    """
    height, width = stored.shape[-2:]
    flat = stored.flatten(0, -4)  # (B, C, H, W)
    flat = F.pad(flat, (0, -width % factor, 0, -height % factor), value=0.5)
    cells = flat.unflatten(3, (factor, -1)).unflatten(2, (factor, -1))  # (B, C, row, h, column, w)
    cells = cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, f^2, C, h, w)
    return cells.reshape(*stored.shape[:-4], -1, *cells.shape[2:])


def join(cells: Tensor, factor: int, sides: Sequence[int]) -> Tensor:
    """Put cells (..., n f^2, C, h, w) back into stored images (..., n, C, H, W) with these `sides`: undoes `split`.

    Where f does not divide the side, a cell in the last row or column loses its last line there.

    >>> import torch
    >>> images = torch.rand(2, 3, 1, 8, 8)
    >>> torch.equal(join(split(images, 2), 2, (8, 8)), images)
    True
    """
    grid = cells.unflatten(-4, (-1, factor, factor))  # (..., n, row, column, C, h, w)
    rows = torch.cat(grid.unbind(-4), dim=-1)  # (..., n, row, C, h, W)
    return torch.cat(rows.unbind(-4), dim=-2)[..., : sides[0], : sides[1]]


def pack(rows: Tensor | Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """The first ``counts[c]`` entries of every row of (K, n, ...), row after row, (sum of counts, ...)."""
    return torch.cat([row[:count] for row, count in zip(rows, counts, strict=True)])


def unpack(values: Tensor, counts: Sequence[int], width: int, fill: float = 0.5) -> Tensor:
    """The rows (K, width, ...) whose first ``counts[c]`` entries `values` holds, row after row: undoes `pack`.

    >>> import torch
    >>> unpack(torch.tensor([1.0, 2.0, 3.0]), [2, 0, 1], 2).tolist()
    [[1.0, 2.0], [0.5, 0.5], [3.0, 0.5]]
    """
    rows = values.new_full((len(counts), width, *values.shape[1:]), fill)
    for row, part in zip(rows, values.split(list(counts)), strict=True):
        row[: len(part)] = part
    return rows


def images_in_use(counts: Sequence[int], factor: int) -> list[int]:
    """How many stored images of every class hold so many patches.

    >>> images_in_use([8, 5, 0], factor=2)
    [2, 2, 0]
    """
    return [-(-count // factor**2) for count in counts]


def unpack_images(packed: Tensor, counts: Sequence[int], factor: int) -> Tensor:
    """Stored images (K, N, C, H, W) from those in use (I, C, H, W), the others grey.

    Raises ValueError where images, `counts` of patches and `factor` do not go together.
    """
    check_count("factor", factor)
    if not isinstance(counts, list) or any(type(count) is not int or count < 0 for count in counts):
        raise ValueError(f"patches per class {counts!r} given: expected an integer for every class")
    used = images_in_use(counts, factor)
    if packed.ndim != 4 or len(packed) != sum(used) or not any(used):
        raise ValueError(f"images of shape {tuple(packed.shape)} for {sum(used)} images in use")
    return unpack(packed, used, max(used))


def check_numbers(index: Tensor, patches: int) -> None:
    """Raise ValueError unless `index` are numbers of some of so many patches, each once."""
    if index.ndim != 1 or not len(index) or index.is_floating_point() or index.dtype == torch.bool:
        raise ValueError(
            f"index of shape {tuple(index.shape)} and {index.dtype} given: expected patch numbers, at least one"
        )
    if int(index.min()) < 0 or int(index.max()) >= patches:
        raise ValueError(
            f"patches {int(index.min())} to {int(index.max())} asked of a set with {patches}: 0..{patches - 1}"
        )
    if len(index.unique()) < len(index):
        raise ValueError(f"{len(index)} patches asked, only {len(index.unique())} of them different: give each once")
