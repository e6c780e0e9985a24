"""One run of a sweep: a notebook, executed into the run's folder by one process at a time."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError

from .. import files, notebooks
from .collecting import finished
from .grid import Run
from .report import Failure

FAILED = "result.json.failed"  # what a run that failed later had found: no result


@dataclass(frozen=True)
class Job:
    """All that a process on any machine needs to execute a run; paths are absolute, on a file system that all share."""

    run: Run
    notebook: str
    folder: str  # of the run
    cwd: str  # where the kernel starts: relative paths among the parameters begin there
    gpu: bool = False

    @property
    def output(self) -> Path:
        """The executed notebook."""
        return Path(self.folder) / "out.ipynb"


class RunFailed(Exception):  # noqa: N818 - the error is in it
    """A run failed; its one argument is the `Failure`, so that it travels between processes."""


def run_all(jobs: Sequence[Job], retries: int) -> Iterator[tuple[list[tuple[Job, Failure | None]], int]]:
    """Execute `jobs` in this process; yields those that ended, and how many are running."""
    yield [], min(1, len(jobs))
    for left, job in zip(range(len(jobs) - 1, -1, -1), jobs, strict=True):
        yield [(job, _attempts(job, retries))], min(1, left)


def _attempts(job: Job, retries: int) -> Failure | None:
    for _ in range(1 + retries):
        try:
            execute(job)
            return None
        except RunFailed as error:
            failure = error.args[0]
    return failure


def execute(job: Job) -> None:
    """Execute the run unless it is finished; raises `RunFailed`.

    Whoever has the lock of the run's folder executes; others wait, and find the run finished. An unfinished run goes on
    from what its notebook left in the folder.
    """
    folder = Path(job.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock") as lock:
            if not finished(folder):
                _execute(job, lock)
    except Exception as error:
        raise RunFailed(_failure(job, error)) from None


def _execute(job: Job, lock: int) -> None:
    folder, parameters = Path(job.folder), dict(job.run.parameters)
    files.write_atomically(folder / "params.yaml", yaml.safe_dump(parameters, sort_keys=False).encode())
    try:
        parameters["results"] = job.folder
        notebooks.run(job.notebook, job.output, parameters, kernels=_kernels(lock, job.cwd))
    except BaseException:
        with suppress(OSError):  # a later cell failed: the run has no result
            (folder / "result.json").replace(folder / FAILED)
        raise
    if not finished(folder):
        raise ValueError(f"the notebook came to its end, but left no readable result.json in {folder}")
    (folder / FAILED).unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Wait for the lock, and hold it: yields its file descriptor.

    It belongs to all processes that inherit the descriptor, and is free once none of them lives, however they ended.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def check_locks(folder: Path) -> None:
    """Raise OSError if files in `folder` cannot be locked."""
    path = folder / ".lock"
    try:
        with locked(path):
            path.unlink(missing_ok=True)
    except OSError as error:
        message = f"cannot lock files in {folder} ({error.strerror}): choose a folder on another file system"
        raise OSError(error.errno, message) from error


def _kernels(lock: int, cwd: str) -> type[notebooks.HeadlessKernel]:
    """Kernels that hold the lock too: one outlives the process that started it, if that is killed, for a second."""

    class Holding(notebooks.HeadlessKernel):
        def start_kernel(self, **options):
            return super().start_kernel(**options, pass_fds=(lock,), cwd=cwd)

    return Holding


def _failure(job: Job, error: Exception) -> Failure:
    if isinstance(error, papermill.PapermillExecutionError):
        return Failure(error.ename, error.evalue, _cell(error.exec_count, error.source), str(job.output))
    if isinstance(error, DeadKernelError):
        return Failure("DeadKernelError", "the kernel died, of too little memory?", _last_cell(job), str(job.output))
    return Failure(type(error).__name__, str(error))


def _cell(number: int | None, source: str) -> str:
    lines = [line for line in source.splitlines() if line.strip()] or [""]
    return f"cell [{number or '?'}] `{lines[0].strip()[:80]}`"


def _last_cell(job: Job) -> str:
    """The cell that was executed when the kernel died: the last one that began."""
    try:
        cells = nbformat.read(job.output, as_version=4).cells
    except (OSError, ValueError):
        return ""
    code = [cell for cell in cells if cell.cell_type == "code"]
    begun = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
    return _cell(len(begun), begun[-1].source) if begun else ""
