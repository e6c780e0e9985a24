"""Image files as one tensor: plain JPEG by torchvision's decoder, all others by Pillow, large ones on all cores."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .files import brief

CHUNK = 64  # files a thread takes at a time: handing small files over one by one costs more than decoding them
LARGEST = 2**28  # bytes of an image file
# A file may claim this many pixels, or so many per byte if it is larger: photos have fewer than 10, and memory is taken
# for what is claimed. JPEGs have one scan, or about ten; each costs as much time as a whole image.
PIXELS, PER_BYTE, SCANS = 2**24, 64, 100
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA", "AVIF", "JPEG2000")  # none runs programs
SMALL = 2**16  # bytes of pixels: threads that decode less than that spend their time waiting for each other


def image_files(folder: Path) -> list[Path]:
    """The files in a folder, sorted, hidden ones and folders left out; ValueError for pipes and links to nothing."""
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    for path in entries:
        if not path.is_file() and not path.is_dir():
            raise ValueError(f"{path} is no image file but a pipe, a device or a link to nothing: remove it")
    return [path for path in entries if path.is_file()]


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
    found = ""
    try:
        content = _content(path)
        image = _plain_jpeg(content, mode)
        if image is None:
            image, found = _by_pillow(content, mode)
        if size is not None:
            image = _resize_and_crop(image, size)
    except Exception as error:  # a damaged file can fail anywhere in Pillow
        raise ValueError(f"{path} is not a readable image: {brief(error)}") from None
    if found[:1] in ("I", "F"):
        raise ValueError(f"{path} has more than 8 bits per pixel (mode {found}): convert it to 8 bits")
    return image


def _content(path: Path) -> bytes:
    if not isinstance(path, Path):  # a row of a table
        return path.read_bytes()
    with path.open("rb", buffering=0) as file:  # faster than Path.read_bytes, which counts with small files
        if os.fstat(file.fileno()).st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST:,} bytes")
        return file.read()


def _check_claim(pixels: int, content: bytes) -> None:
    if pixels > max(PIXELS, PER_BYTE * len(content)):
        raise ValueError(f"it claims {pixels:,} pixels in {len(content):,} bytes")
    by_chance = len(content) // 2**15  # twice as often as the two bytes stand in the film behind a phone's photo
    if content[:2] == b"\xff\xd8" and content.count(b"\xff\xda") > SCANS + by_chance:
        raise ValueError(f"it has more than {SCANS} scans")


def _by_pillow(content: bytes, mode: str | None) -> tuple[np.ndarray, str]:
    """The pixels (H, W, C), and the mode that the file had."""
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # some are optional
    with Image.open(io.BytesIO(content), formats=formats) as image:
        _check_claim(image.width * image.height, content)
        found = image.mode
        image = image.convert(mode or ("L" if found in ("1", "L") else "RGB"))
    return np.asarray(image).reshape(image.height, image.width, -1), found


def _plain_jpeg(content: bytes, mode: str | None) -> np.ndarray | None:
    """The pixels (H, W, C) of a JPEG file of the wanted mode and a usual size, the same as Pillow's, in a third of the
    time; None for all others, damaged ones too, which are left to Pillow and its errors.
    """
    from torchvision.io import decode_jpeg

    pixels = _jpeg_pixels(content)
    if pixels is None or pixels > Image.MAX_IMAGE_PIXELS:
        return None
    _check_claim(pixels, content)
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

    short, long = sorted(image.shape[:2])
    if long * size // short * size > PIXELS * 4:
        raise ValueError(f"it is {long} by {short} pixels, too long and narrow to be resized to {size}")
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    picture = functional.center_crop(functional.resize(picture, size), size)
    return np.asarray(picture).reshape(size, size, -1)
