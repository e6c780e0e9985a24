"""Image files as one tensor: plain JPEG by torchvision's decoder, all others by Pillow, large ones on all cores."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CHUNK = 64  # files a thread takes at a time: handing small files over one by one costs more than decoding them
SMALL = 2**16  # bytes of pixels: threads that decode less than that spend their time waiting for each other


def decode_images(paths: Sequence[Path], size: int | None = None, mode: str | None = None) -> Tensor:
    """Image files as one uint8 tensor (M, C, H, W), large ones decoded on all cores.

    `mode` "L" reads all as grey (C = 1), "RGB" all as colour; None takes grey files as grey, all others
    as RGB. Raises ValueError for a file that is no image or has more than 8 bits per channel, and
    naming two files where sizes or channels differ.
    """
    first = _decode(paths[0], size, mode)
    height, width, channels = first.shape
    found = np.empty((len(paths), channels, height, width), np.uint8)

    def fill(begin: int) -> None:
        for i, path in enumerate(paths[begin : begin + CHUNK], start=begin):
            image = _decode(path, size, mode)
            if image.shape != first.shape:
                raise ValueError(
                    f"images differ: {paths[0]} is {_describe(first)}, {path} is {_describe(image)}; "
                    "make channels alike, and sizes too or load the folder with size=..."
                )
            found[i] = image.transpose(2, 0, 1)

    begins = range(0, len(paths), CHUNK)
    if first.nbytes < SMALL:
        list(map(fill, begins))
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, begins))
    return torch.from_numpy(found)


def _describe(image: np.ndarray) -> str:
    height, width, channels = image.shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"


def _decode(path: Path, size: int | None, mode: str | None) -> np.ndarray:
    try:
        with path.open("rb", buffering=0) as file:  # faster than Path.read_bytes, which counts with small files
            image = _plain_jpeg(file.read(), mode)
        if image is None:
            image = _by_pillow(path, mode)
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a readable image: {error}") from None
    return image if size is None else _resize_and_crop(image, size)


def _by_pillow(path: Path, mode: str | None) -> np.ndarray:
    with Image.open(path) as image:
        found = image.mode
        image = image.convert(mode or ("L" if found in ("1", "L") else "RGB"))
    if found[0] in "IF":
        raise ValueError(f"{path} has more than 8 bits per pixel (mode {found}): convert it to 8 bits")
    return np.asarray(image).reshape(image.height, image.width, -1)


def _plain_jpeg(content: bytes, mode: str | None) -> np.ndarray | None:
    """The pixels (H, W, C) of a JPEG file of the wanted mode and a usual size, the same as Pillow's, in a third of the
    time; None for all others, damaged ones too, which are left to Pillow and its errors.
    """
    from torchvision.io import decode_jpeg

    pixels = _jpeg_pixels(content)
    if pixels is None or pixels > Image.MAX_IMAGE_PIXELS:
        return None
    try:
        image = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8)).permute(1, 2, 0).numpy()
    except RuntimeError:
        return None
    return image if {1: "L", 3: "RGB"}.get(image.shape[2], "other") in ((mode,) if mode else ("L", "RGB")) else None


def _jpeg_pixels(content: bytes) -> int | None:
    """Height times width as the frame header of a JPEG file claims them; None where there is none."""
    if content[:2] != b"\xff\xd8":
        return None
    position = 2
    while content[position : position + 1] == b"\xff" and position + 9 <= len(content):
        marker = content[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame headers, whatever the coding
            height, width = content[position + 5 : position + 7], content[position + 7 : position + 9]
            return int.from_bytes(height) * int.from_bytes(width)
        position += 2 + int.from_bytes(content[position + 2 : position + 4])
    return None


def _resize_and_crop(image: np.ndarray, size: int) -> np.ndarray:
    from torchvision.transforms import functional

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    picture = functional.center_crop(functional.resize(picture, size), size)
    return np.asarray(picture).reshape(size, size, -1)
