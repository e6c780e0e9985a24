"""Files and folders that are whole or absent, whatever ends the process that writes them."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_ASKING = threading.Lock()
TEMPORARY = ".mdckit-part-"  # how the names of temporary files and folders begin


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
            _sync_whole(entry)
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
    _sync_whole(path.parent)


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


def _sync_whole(path: Path) -> None:
    """Sync a file, or a folder where the file system can."""
    with suppress(OSError) if path.is_dir() else nullcontext():
        _sync(path)


def _sync(path: Path) -> None:
    handle = _open(path)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    with _ASKING:  # it can only be asked for by changing it
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
