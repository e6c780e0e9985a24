"""Every operation that changes a file, counted, and death at the n-th: what a kill at that moment would leave."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate")


class Operations:
    """Counts the operations on files in `place`; before number `die_at` the process is killed.

    A file that is about to be synced then is cut in half first, as if it had been killed while it was written.
    """

    def __init__(self, place: Path, die_at: int | None, say: Callable[..., None]):
        self.place, self.die_at, self.say, self.count = str(place), die_at, say, 0
        self._sync = os.fsync

    def watch(self) -> None:
        """From now on, until the process ends."""
        os.fsync = self._synced
        sys.addaudithook(self._audited)

    def _synced(self, handle: int) -> None:
        self._changes("fsync", str(Path(f"/proc/self/fd/{handle}").readlink()))
        self._sync(handle)

    def _audited(self, event: str, details: tuple) -> None:
        if event == "open":
            path, _, flags = details
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in CHANGES:
            path = details[0]
        else:
            return
        if isinstance(path, str | os.PathLike):
            self._changes(event, os.fspath(path), *map(str, details[1:2] if event == "os.rename" else ()))

    def _changes(self, event: str, path: str, *others: str) -> None:
        if not path.startswith(self.place):
            return
        self.count += 1
        if self.count == self.die_at:
            self.die_at = None
            if event == "fsync" and Path(path).is_file():
                os.truncate(path, Path(path).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.die_at is None:
            self.say("operation", self.count, event, *(os.path.relpath(p, self.place) for p in (path, *others)))


def unsafe(operations: list[list[str]]) -> list[str]:
    """Targets of renames that a power failure might undo or leave empty.

    Whatever was written under the old name must be synced before, and the folder around the new one right after.
    """
    found = []
    for at, (event, *paths) in enumerate(operations):
        if event == "os.rename":
            source, target = paths
            before = [
                (kind, path) for kind, path, *_ in operations[:at] if path == source or path.startswith(f"{source}/")
            ]
            written, synced = ({path for kind, path in before if kind == of} for of in ("open", "fsync"))
            after = operations[at + 1] if at + 1 < len(operations) else []
            if not {source, *written} <= synced or after != ["fsync", str(Path(target).parent)]:
                found.append(target)
    return found
