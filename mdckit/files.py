"""Files and folders that are whole or absent: safetensors and JSON, written atomically."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor


def write_atomically(path: str | Path, content: bytes) -> Path:
    """Write `content` to `path` so that a reader sees the old file or the whole new one.

    Missing parent folders are made. Raises OSError, naming the path, and leaves no partial file.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
        raise
    return path


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder to be filled, which becomes `path` once the block ends, and is gone if it fails.

    Missing parent folders are made. `path` must not be there yet, or be an empty folder: FileExistsError. Any OSError
    names `path`.
    """
    path, temporary = Path(path), None
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        found = "a folder with files in it" if path.is_dir() else "a file"
        raise FileExistsError(17, f"{path} is {found}: give a new folder, or remove it first")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        yield temporary
        for entry in [temporary, *temporary.rglob("*")]:
            _sync(entry)
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            why = os.strerror(error.errno) if error.errno else error
            raise OSError(error.errno, f"cannot write {path}: {why}") from error
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_writable(folder: str | Path) -> Path:
    """Make `folder` and prove that a file can be written in it, before any long work."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
    except OSError as error:
        message = f"cannot write in the folder {folder}: {error.strerror}"
        raise OSError(error.errno, message) from error
    return folder


def save_json(path: str | Path, value: object) -> Path:
    """Write `value` as indented JSON, atomically."""
    return write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], info: Mapping) -> Path:
    """Write tensors and a JSON-able `info` as one safetensors file, atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return write_atomically(path, safetensors.torch.save(plain, {"mdckit": json.dumps(info)}))


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read a file of `save_tensors` back; its info must say that it is of this `kind`.

    Raises FileNotFoundError, or ValueError for a file that is truncated, foreign or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: expected a mdckit {kind} (safetensors)")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            info = json.loads((file.metadata() or {}).get("mdckit", "null"))
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is {_describe(path)}, not a mdckit {kind}: {error}") from None
    if not isinstance(info, dict) or info.get("kind") != kind:
        found = info.get("kind") if isinstance(info, dict) else "a safetensors file of another program"
        raise ValueError(f"{path} holds {found}, not a mdckit {kind}")
    return tensors, info


def _describe(path: Path) -> str:
    head = path.read_bytes()[:4]
    if head[:1] == b"\x80" or head == b"PK\x03\x04":
        return "a pickle or zip archive (which mdckit does not open)"
    return "truncated or not a safetensors file"
