"""Files and folders that are whole or absent: safetensors and JSON, written atomically."""

import hashlib
import json
import os
import re
import reprlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

TEMPORARY = ".mdckit-part-"  # how the names of temporary files and folders begin
LARGEST_TEXT = 2**24  # letters of JSON that are parsed: a hundred times what this kit writes
DEEPEST = 50  # lists and entries within each other; the kit writes six


def write_atomically(path: str | Path, content: bytes) -> Path:
    """Write `content` to `path` so that a reader sees the old file or the whole new one, whatever ends the process.

    Missing parent folders are made. Raises OSError, naming the path, and leaves no partial file.
    """
    path = Path(path)
    with _becoming(path, _new_file, 0o666) as temporary:
        temporary.write_bytes(content)
    return path


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder to be filled, which becomes `path` once the block ends, and is gone if it fails.

    Missing parent folders are made. `path` must not be there yet, or be an empty folder: FileExistsError. Any OSError
    names `path`.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        found = "a folder with files in it" if path.is_dir() else "a file"
        raise FileExistsError(17, f"{path} is {found}: give a new folder, or remove it first")
    with _becoming(path, _new_folder, 0o777) as temporary:
        yield temporary


@contextmanager
def _becoming(path: Path, make: Callable[[Path], Path], mode: int) -> Iterator[Path]:
    """A temporary file or folder beside `path`, to be filled, that takes its place once the block ends.

    Its lock tells it from what killed processes have left, and goes with its process. Synced before and after, it
    outlives a power failure.
    """
    temporary = lock = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(path.parent)
        temporary, lock = _locked(path.parent, make)
        yield temporary
        for entry in [temporary, *temporary.rglob("*")]:
            _sync(entry)
        temporary.chmod(mode & ~_umask())
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            _remove(temporary)
        if isinstance(error, OSError):
            why = os.strerror(error.errno) if error.errno else error
            raise OSError(error.errno, f"cannot write {path}: {why}") from error
        raise
    finally:
        if lock is not None:
            os.close(lock)
    with suppress(OSError):  # not every file system can, and the file is in its place
        _sync(path.parent)


def remove_left_over(folder: Path) -> None:
    """Remove what processes that were killed while writing have left in `folder`; files being written stay."""
    for left in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):  # its writer lives, or somebody else has removed it
            lock = _lock(left)
            try:
                _remove(left)
            finally:
                os.close(lock)


def _locked(folder: Path, make: Callable[[Path], Path]) -> tuple[Path, int | None]:
    """A new temporary file or folder with a lock on it, if the file system has locks."""
    while True:
        temporary = make(folder)
        try:
            lock = _lock(temporary)
        except (BlockingIOError, FileNotFoundError):  # taken for left over before it was locked
            continue
        except OSError:  # then nobody can take it for left over
            return temporary, None
        if temporary.exists():
            return temporary, lock
        os.close(lock)


def _lock(path: Path) -> int:
    """The lock of a temporary file or folder, an open handle; OSError while another holds it."""
    if fcntl is None:
        raise OSError("no locks on this system")
    handle = _open(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _new_file(folder: Path) -> Path:
    handle, name = tempfile.mkstemp(dir=folder, prefix=TEMPORARY)
    os.close(handle)
    return Path(name)


def _new_folder(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder, prefix=TEMPORARY))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)


def _sync(path: Path) -> None:
    handle = _open(path)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_writable(folder: str | Path) -> Path:
    """Make `folder`, rid it of what killed processes left, and prove that it can be written in, before long work."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_left_over(folder)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
    except OSError as error:
        message = f"cannot write in the folder {folder}: {error.strerror}"
        raise OSError(error.errno, message) from error
    return folder


def inside(folder: str | Path, name: str) -> Path:
    """The place of a file of this name in or below `folder`; raises ValueError for a name that leads out of it."""
    path = Path(folder) / name
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"the name {name!r} leads out of the folder {folder}: choose another")
    return path


def require_file(path: str | Path, what: str) -> Path:
    """The path, if it is a file with bytes in it: no folder, nor a pipe or device, whose reading would never end.

    Raises FileNotFoundError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: expected {what}")
    return path


def brief(error: object) -> str:
    """What an error of a library says, in a line: of damaged files some repeat half, or add where in C++ they were.

    >>> brief(ValueError("unknown type\\nraised from ..."))
    'unknown type'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def save_json(path: str | Path, value: object) -> Path:
    """Write `value` as indented JSON, atomically."""
    return write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def load_json(path: str | Path) -> object:
    """Read a JSON file; raises FileNotFoundError, or ValueError naming a file that is something else."""
    path = require_file(path, "JSON")
    with path.open("rb") as file:
        text = file.read(LARGEST_TEXT + 1)
    try:
        return parse_json(text.decode())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def parse_json(text: str) -> object:
    """The value of a JSON text; raises ValueError for any that is not the plain writing of one value."""
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"it is longer than {LARGEST_TEXT:,} letters")
    with suppress(RecursionError):
        value = json.loads(text, object_pairs_hook=_entries)
        brackets = re.sub(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^][{}"]+', "", text)
        for _ in range(DEEPEST):
            brackets = brackets.replace("[]", "").replace("{}", "")
        if not brackets:
            return value
    raise ValueError(f"it is nested more than {DEEPEST} deep")


def _entries(pairs: list[tuple[str, object]]) -> dict:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))
        raise ValueError(f"the entry {twice[:40]!r} stands there twice")
    return entries


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], info: Mapping) -> Path:
    """Write tensors and a JSON-able `info` as one safetensors file with a digest of both, atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    info = {**info, "sha256": _digest(plain, info)}
    return write_atomically(path, safetensors.torch.save(plain, {"mdckit": json.dumps(info)}))


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read a file of `save_tensors` back; its info must say that it is of this `kind`.

    Raises FileNotFoundError, or ValueError for a file that is truncated, foreign, of another kind or not as it was
    written. Files of earlier versions have no digest and are not compared with one.
    """
    path = require_file(path, f"a mdckit {kind} (safetensors)")
    try:
        _check_head(path)
        with safetensors.safe_open(path, framework="pt") as file:
            info = parse_json((file.metadata() or {}).get("mdckit", "null"))
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is {_describe(path)}, not a mdckit {kind}: {error}") from None
    if not isinstance(info, dict) or info.get("kind") != kind:
        found = reprlib.repr(info.get("kind")).strip("'") if isinstance(info, dict) else _FOREIGN
        raise ValueError(f"{path} holds {found}, not a mdckit {kind}")
    if "sha256" in info and info.pop("sha256") != _digest(tensors, info):
        raise ValueError(
            f"{path} is damaged: its content is not what was written, so take another copy or make it anew"
        )
    return tensors, info


_FOREIGN = "a safetensors file of another program"


def _digest(tensors: Mapping[str, Tensor], info: Mapping) -> str:
    """SHA-256 of all that a file holds, in an order of its own."""
    digest = hashlib.sha256(_canonical(info))
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _canonical(info: Mapping) -> bytes:
    plain = json.loads(json.dumps(info))  # its keys are text now, which can be sorted
    return json.dumps(plain, sort_keys=True).encode()


def _check_head(path: Path) -> None:
    """Raise ValueError for a header that is longer than the file or than any that this kit writes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        claimed = int.from_bytes(file.read(8), "little")
    if claimed > min(size - 8, 2 * LARGEST_TEXT):
        raise ValueError(f"its header claims {claimed:,} bytes of {size:,}")


def _describe(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if head[:1] == b"\x80" or head == b"PK\x03\x04":
        return "a pickle or zip archive (which mdckit does not open)"
    return "truncated or not a safetensors file"
