"""Damaged, forged and misplaced files for every reader of files: each is read rightly, or refused by name.

    make fuzz
    python -m tests.fuzz --cases 2000 --seed 0
    python -m tests.fuzz --seed 0 --case 123      # one of them again, with its traceback; its files stay

The readers are in `readers`, the damage in `damage` and `forged`. The cases run in another process (`worker`), which is
watched from here: a case that crashes it, takes more than `SECONDS` of a core or more than `MEGABYTES` on top of what
the process holds, starts a program or changes anything outside its folder has failed, as has one that raises another
error than ValueError or OSError with the file's name, or that reads what was not written.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

SECONDS, MEGABYTES = 5, 512
WAIT = 30  # seconds on the clock for a case, with the forging of its file, on a busy machine
ROOM = 3000  # MB at which a process is ended at once
START = 300  # seconds that a process may take to make its samples, on a busy machine
FINE = ("read", "refused")


class Process:
    """A worker on files below `folder`, started anew after each that ended."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.seed = folder, seed
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Wait until its samples are made and read."""
        self.stop()
        self.log = (self.folder / "log").open("w+")
        command = [sys.executable, "-B", "-m", "tests.fuzz.worker", str(self.folder / "files"), str(self.seed)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=_environment()
        )
        if "ready" not in (answer := self._answer(START, ROOM)):
            raise RuntimeError(f"the samples could not be made and read: {answer['why']}\n{self._said()}")

    def stop(self) -> None:
        """End it, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.log.close()
            self.process = None

    def run(self, number: int) -> dict:
        """What became of a case. One without an answer is tried a second time: other work may have been in its way."""
        found = self._run(number)
        if found["outcome"] == "hung":
            found = self._run(number)
        if found.get("seconds", 0) > SECONDS:
            found |= {"outcome": "slow", "why": f"{found['outcome']} after {found['seconds']} s"}
        if found.get("memory", 0) > MEGABYTES:
            found |= {"outcome": "large", "why": f"{found['outcome']} with {found['memory']} MB"}
        return found

    def _run(self, number: int) -> dict:
        if self.process is None:
            self.start()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
        found = self._answer(WAIT, ROOM)
        if "reader" not in found:
            found |= {"number": number, "said": self._said()}
            self.stop()
        return found

    def _answer(self, seconds: float, megabytes: int) -> dict:
        """The next line of the worker, or why there is none."""
        watched, end = psutil.Process(self.process.pid), time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while time.monotonic() < end:
                if selector.select(0.1):
                    line = self.process.stdout.readline()
                    return json.loads(line) if line else {"outcome": "crashed", "why": f"exit {self.process.wait()}"}
                with contextlib.suppress(psutil.Error):
                    if watched.memory_info().rss > megabytes * 2**20:
                        return {"outcome": "large", "why": f"more than {megabytes} MB"}
        return {"outcome": "hung", "why": f"no answer within {seconds} s"}

    def _said(self) -> str:
        self.log.flush()
        return Path(self.log.name).read_text()[-2000:]


def _environment() -> dict[str, str]:
    faults = {"PYTHONFAULTHANDLER": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return os.environ | faults | {"PYTHONPATH": str(Path(__file__).parents[2])}


def cases(count: int, seed: int, first: int = 0) -> Iterator[dict]:
    """What became of each of `count` cases."""
    with tempfile.TemporaryDirectory(prefix="fuzz", ignore_cleanup_errors=True) as folder:
        process = Process(Path(folder), seed)
        try:
            for number in range(first, first + count):
                yield process.run(number)
        finally:
            process.stop()


def run(count: int = 2000, seed: int = 0, first: int = 0, tell: Callable[[dict], None] = lambda case: None) -> dict:
    """Run so many cases, going through the readers in turn; the counts of each reader, and the cases that failed.

    `tell` is called with each that fails, at once.

    >>> from tests import fuzz  # doctest: +SKIP
    >>> fuzz.run(21, seed=0)["failed"]  # doctest: +SKIP
    []
    """
    readers, failed = {}, []
    for case in cases(count, seed, first):
        if case["outcome"] not in FINE:
            failed.append(case)
            tell(case)
        row = readers.setdefault(
            case.get("reader", "(crashed or hung)"), {"cases": 0, "read": 0, "refused": 0, "seconds": 0.0, "memory": 0}
        )
        row["cases"] += 1
        for outcome in FINE:
            row[outcome] += case["outcome"] == outcome
        row["seconds"] = max(row["seconds"], case.get("seconds", 0.0))
        row["memory"] = max(row["memory"], case.get("memory", 0))
    total = {key: sum(row[key] for row in readers.values()) for key in ("cases", "read", "refused")}
    return {"seed": seed, **total, "failed": failed, "readers": readers}
