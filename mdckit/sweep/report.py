"""What became of the runs of a sweep."""

from dataclasses import dataclass, field
from pathlib import Path

from .grid import Run


@dataclass(frozen=True)
class Failure:
    """Why a run failed, and where to look.

    >>> print(Failure("ValueError", "unknown device 'gpu'", "cell [3] `device = pick(name)`"))
    cell [3] `device = pick(name)`: ValueError: unknown device 'gpu'
    """

    error: str  # name of the exception
    message: str
    cell: str = ""  # its number in the executed notebook and its first line, where a cell failed
    notebook: str = ""  # path of the executed notebook, where there is one

    def __str__(self) -> str:
        where = f"{self.cell}: " if self.cell else ""
        return f"{where}{self.error}: {self.message}" + (f" (see {self.notebook})" if self.notebook else "")


@dataclass
class Report:
    """The runs of a sweep and, by their ids, what became of them; printed, it tells the counts and the failures."""

    folder: Path
    runs: list[Run]  # in the order of the grid
    skipped: list[str]  # were finished before
    done: list[str] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many runs were done, failed and skipped."""
        return {state: len(getattr(self, state)) for state in ("done", "failed", "skipped")}

    def told(self, run: Run) -> str:
        """A failed run in words."""
        return f"failed: {run.id} ({run.label}): {self.failed[run.id]}"

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in self.counts.items())
        failed = [self.told(run) for run in self.runs if run.id in self.failed]
        return "\n".join([f"{len(self.runs)} runs in {self.folder}: {counts}", *failed])

    __repr__ = __str__
