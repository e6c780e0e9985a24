"""Files of NumPy and PyTorch that others wrote: looked through before any of their content is believed.

Both are zip archives, which may unpack to a thousand times their size, and PyTorch's hold a pickle: a program for a
small machine. `torch.load` runs only harmless instructions of it, but those may still claim memory that is not there,
or nest tuples until a dictionary takes years to look one up. So the program is read first, without running it, and
only what plain tensors are made of is let pass.
"""

import io
import pickletools
import re
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import brief

# The accuracies beside DC's images are numpy numbers: plain data, but torch refuses them unless they are listed, by
# their names in numpy 1 and 2.
_SCALAR = np.float64(0).__reduce__()[0]
_SCALAR_NAMES = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_NUMPY_NUMBERS = [*((_SCALAR, name) for name in _SCALAR_NAMES), np.dtype, np.dtypes.Float64DType]
_GLOBALS = re.compile(  # what plain tensors and numbers are made of
    r"torch\.\w*Storage|torch\.storage\.\w+Storage|torch\._utils\._rebuild_(tensor|tensor_v2|parameter)"
    r"|collections\.OrderedDict|numpy\.(_?core\.multiarray\.scalar|dtype|dtypes\.Float64DType)|_codecs\.encode"
)
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how files of PyTorch before 1.6 begin
_PICKLES = 5  # and how many pickles such a file holds
_MOST_WORK = 10_000  # tuples within a tuple, each counted as often as it is met
ROOM, RATIO = 2**25, 32  # a file of B bytes may hold ROOM + RATIO * B bytes of numbers


class NeedsCodeError(ValueError):
    """A file that only running code of its own could open; the message is the code's name."""


def most_bytes(path: Path) -> int:
    """How many bytes of numbers are believed of a file."""
    return ROOM + RATIO * path.stat().st_size


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file; ValueError, without the file's name, where it is damaged or needs code."""
    try:
        with _open_zip(path) as archive:
            return {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()}
    except PermissionError:
        raise
    except Exception as error:  # zip, zlib and numpy each have their own errors for damaged files
        raise ValueError(f"it is truncated or no npz file of plain arrays ({brief(error)})") from None


def _open_zip(path: Path) -> zipfile.ZipFile:
    """The archive, if it is no more than a file of its size may unpack to, and holds no name twice."""
    archive = zipfile.ZipFile(path)
    size, names = sum(entry.file_size for entry in archive.infolist()), archive.namelist()
    if size > most_bytes(path) or len(set(names)) < len(names):
        archive.close()
        raise ValueError(f"it claims {size:,} bytes in {len(names)} parts")
    return archive


def _array(content: bytes) -> np.ndarray:
    """The array of a .npy file, whose header may not claim more numbers than there are."""
    file = io.BytesIO(content)
    read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    shape, _, dtype = read_header[np.lib.format.read_magic(file)[0]](file)
    claimed, there = int(np.prod(shape, dtype=object)) * dtype.itemsize, len(content) - file.tell()
    if claimed != there and not dtype.hasobject:
        raise ValueError(f"an array of shape {shape} and {dtype} takes {claimed} bytes, there are {there}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def load_torch(path: Path) -> object:
    """What `torch.save` wrote, of tensors, numbers, text, lists and dicts only; large tensors stay in the file.

    Raises NeedsCodeError, or ValueError, without the file's name, where it is damaged or claims more than it holds.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        sizes = _look_through_zip(path) if zipped else _look_through_pickles(path)
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            # Mapped, no storage reaches beyond the file; read, PyTorch believes whatever size the pickle claims.
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        _check_tensors(found, most_bytes(path), sizes)
        return found
    except (PermissionError, NeedsCodeError):
        raise
    except Exception as error:  # a damaged file can fail anywhere in torch's reader
        raise ValueError(str(error)) from None


def _look_through_zip(path: Path) -> set[int]:
    """The sizes of the storages in a file of torch.save, once its check sums fit and its pickle is harmless."""
    with _open_zip(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or archive.testzip():
            raise ValueError("its parts are not as they were written")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                _look_through(io.BytesIO(archive.read(entry)))
    return {entry.file_size for entry in entries}


def _look_through_pickles(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(len(_LEGACY))
        file.seek(0)
        for _ in range(
            _PICKLES if head == _LEGACY else head[:1] == b"\x80"
        ):  # of a bare pickle tell which code it needs
            _look_through(file)
    if head != _LEGACY:
        raise ValueError("it is no file of torch.save")


def _look_through(file: io.IOBase) -> None:
    """Read a pickle to its end without running it; raise for names other than tensors', and for endless nesting.

    The stack holds for every value how much work it is to look it up in a dict: tuples go through all of theirs.
    """
    stack, marks, memo = [], [], {}
    for op, value, _ in pickletools.genops(file):
        if op.name in ("GLOBAL", "INST") and not _GLOBALS.fullmatch(name := value.replace(" ", ".")):
            raise NeedsCodeError(name)
        if op.name == "MARK":
            marks.append(len(stack))
        elif op.name.endswith("GET"):
            stack.append(memo[value])
        elif op.name.endswith("PUT"):
            memo[value] = stack[-1]
        else:
            before = op.stack_before
            marked = pickletools.markobject in before
            first = marks.pop() - before.index(pickletools.markobject) if marked else len(stack) - len(before)
            work = 1 + sum(stack[first:]) if "TUPLE" in op.name else 0
            if work > _MOST_WORK:
                raise ValueError("its tuples are nested without end")
            stack[first:] = [work] * len(op.stack_after)


def _check_tensors(found: object, most: int, sizes: set[int] | None) -> None:
    """Raise ValueError for tensors that are not plain numbers in memory, or are more than the file can hold."""
    waiting, seen, claimed = [found], set(), 0
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
                raise ValueError(f"it holds a tensor of {value.layout} and {value.dtype} on {value.device}")
            if sizes is not None and value.untyped_storage().nbytes() not in sizes | {0}:
                raise ValueError("it holds a tensor of another size than was written")
            claimed += value.numel() * value.element_size()
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
    if claimed > most:
        raise ValueError(f"it claims {claimed:,} bytes of tensors")
