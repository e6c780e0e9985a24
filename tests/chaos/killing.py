"""Runs killed at any moment and taken up again: what is lost, and whether the result is that of the unbroken run."""

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self

from mdckit import atomic, files
from tests.chaos import road
from tests.chaos.nursery import Nursery
from tests.chaos.road import PHASES, digest, draw_pictures

LIMIT = 600  # seconds until a run counts as hanging
STATIONS = (*PHASES, "end")
CHECKPOINT, TESTS = f"run/{road.CHECKPOINT}", f"run/{road.TESTS}"


@dataclass
class Story:
    """What a journal tells, all attempts together."""

    rows: list[list]

    @classmethod
    def read(cls, journal: Path) -> Self:
        """The whole lines so far."""
        lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
        return cls([json.loads(line) for line in lines if line.endswith("\n")])

    def told(self, what: str) -> list[list]:
        """The details of every line of a kind."""
        return [details for _, kind, *details in self.rows if kind == what]

    @property
    def phase(self) -> str:
        """The last phase that was begun; before any, the first."""
        return next((details[0] for _, kind, *details in reversed(self.rows) if kind == "phase"), STATIONS[0])

    @property
    def seconds(self) -> dict[str, float]:
        """How long every phase took in a run without a break."""
        begun = [(details[0], at) for at, kind, *details in self.rows if kind == "phase"]
        return {name: after - at for (name, at), (_, after) in pairwise(begun)}


@dataclass
class Tally:
    """What all kills together have cost."""

    kills: Counter = field(default_factory=Counter)  # by phase
    damaged: list[str] = field(default_factory=list)  # finished files that were lost, or are not whole
    loops: list[int] = field(default_factory=list)  # outer loops lost, by kill
    tests: list[int] = field(default_factory=list)  # finished tests lost, by kill
    resumed: int = 0
    different: list[list[str]] = field(default_factory=list)  # files that are not those of the unbroken run, by run
    left_over: list[str] = field(default_factory=list)  # temporary files at the end
    seen: int = 0  # temporary files that kills left on the way

    @property
    def identical(self) -> int:
        """Runs that ended with the files of the unbroken one."""
        return self.different.count([])


class Killer:
    """Runs in `folder`, each in a place of its own, beside one that nobody breaks."""

    def __init__(self, folder: Path, nursery: Nursery):
        self.folder, self.nursery, self.tally, self._number = folder, nursery, Tally(), 0
        self.pictures = draw_pictures(folder / "pictures")
        place, journal = self._new()
        nursery.start("road", place, self.pictures, journal)
        assert nursery.wait() == 0
        self.story, self.whole = Story.read(journal), contents(place)
        self.operations = [details[1:] for details in self.story.told("operation")]

    def _new(self) -> tuple[Path, Path]:
        self._number += 1
        return self.folder / f"place{self._number}", self.folder / f"journal{self._number}"

    def at_random_moments(self, draw: random.Random) -> None:
        """One run killed once in every phase, at a moment drawn within it, and then led to its end."""
        place, journal = self._new()
        for phase in PHASES:
            if not self._kill_within(phase, draw.random(), place, journal):
                break
            self._look(place, journal)
        self._finish(place, journal)

    def at_operation(self, number: int) -> None:
        """One run killed at an operation on a file, counted from 1, and then led to its end."""
        place, journal = self._new()
        self.nursery.start("road", place, self.pictures, journal, number)
        assert self.nursery.wait() == -signal.SIGKILL
        self._look(place, journal)
        self._finish(place, journal)

    def _kill_within(self, phase: str, part: float, place: Path, journal: Path) -> bool:
        """Start a run and kill it in a phase, or later where that is done; False if it has ended before."""
        before = len(Story.read(journal).rows)
        process, end = self.nursery.start("road", place, self.pictures, journal), time.monotonic() + LIMIT
        while STATIONS.index(Story(Story.read(journal).rows[before:]).phase) < PHASES.index(phase):
            assert time.monotonic() < end, f"phase {phase} was not reached"
            time.sleep(0.001)
        time.sleep(part * self.story.seconds[phase])
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        code = self.nursery.wait()
        assert code in (0, -signal.SIGKILL)
        return code != 0

    def _look(self, place: Path, journal: Path) -> None:
        """Count a kill, and what it has cost."""
        story, tally, finished = Story.read(journal), self.tally, (place / "run/result.json").exists()
        tally.kills[story.phase] += 1
        tally.seen += len(left_over(place))
        tally.damaged += self.damaged(place, story)
        done = max((t for (t,) in story.told("outer")), default=0)
        tally.loops.append(0 if finished else done - _kept_loops(place))
        tested = {key for key, _ in story.told("tested")}
        tally.tests.append(0 if finished else len(tested - set(_kept_tests(place))))

    def damaged(self, place: Path, story: Story) -> Iterator[str]:
        """Finished files that are not there any more, and files that are not whole."""
        there = contents(place)
        made = {name for names in story.told("made") for name in names}
        for name in self.whole:
            begun = name.startswith("exported/") and (place / Path(*Path(name).parts[:2])).exists()
            if (begun or name in made) and name not in there:
                yield f"lost: {name}"
        whole = {name: [hashed] for name, hashed in self.whole.items()}
        whole[CHECKPOINT] = [hashed for _, hashed in self.story.told("kept")]
        for name, hashed in there.items():
            if hashed not in whole.get(name, []) and name != TESTS:
                yield f"not whole: {name}"
        if not _kept_tests(place).items() <= dict(self.story.told("tested")).items():
            yield f"not whole: {TESTS}"

    def _finish(self, place: Path, journal: Path) -> None:
        """Lead a run to its end and compare it with the unbroken one."""
        self.nursery.start("road", place, self.pictures, journal)
        assert self.nursery.wait() == 0
        self.tally.resumed += 1
        there = contents(place)
        self.tally.different.append(
            sorted(name for name in {*there, *self.whole} if there.get(name) != self.whole.get(name))
        )
        self.tally.left_over += left_over(place)
        shutil.rmtree(place)


def contents(place: Path) -> dict[str, str]:
    """A hash of every file, without the temporary ones."""
    paths = [path for path in place.rglob("*") if path.is_file() and atomic.TEMPORARY not in str(path)]
    return {str(path.relative_to(place)): digest(path.read_bytes()) for path in sorted(paths)}


def left_over(place: Path) -> list[str]:
    """Temporary files and folders, outermost ones."""
    paths = [path for path in place.rglob(f"{atomic.TEMPORARY}*") if atomic.TEMPORARY not in str(path.parent)]
    return [str(path.relative_to(place)) for path in paths]


def _kept_loops(place: Path) -> int:
    path = place / CHECKPOINT
    return files.load_tensors(path, "checkpoint")[1]["outer"] if path.exists() else 0


def _kept_tests(place: Path) -> dict[str, list[float]]:
    path = place / TESTS
    found = json.loads(path.read_text())["tests"] if path.exists() else {}
    return {key: test["accuracies"] for key, test in found.items()}
