"""Kill runs at every moment, run hundreds in one process, start and stop one in a kernel, read thousands of bad files.

    python -m tests.chaos
    python -m tests.chaos --only kills soak --kills 200

Prints a table, writes it with all numbers to results/chaos.json and draws results/chaos/soak.png; fails if a limit is
missed. Sections that are not asked for stay in the file as they were.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mdckit import files, plots
from mdckit.machine import versions
from tests import fuzz
from tests.chaos import kernel, soak
from tests.chaos.killing import Killer, Tally
from tests.chaos.nursery import Nursery

RESULTS = Path("results")
WARM = 20  # runs of the soak before those that count


@dataclass(frozen=True)
class Figure:
    """A number, and what it may be at most, or must be."""

    name: str
    value: float
    most: float | None = None
    least: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is within its limits."""
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    def __str__(self) -> str:
        limits = [f"{sign} {limit:g}" for sign, limit in (("<=", self.most), (">=", self.least)) if limit is not None]
        said = f"{', '.join(limits)}: {'met' if self.met else 'MISSED'}" if limits else ""
        return f"{self.name:<58} {self.value:>9.6g}  {said}"


def kills(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Runs killed at random moments, once in every phase."""
    with Nursery() as nursery:
        killer, draw = Killer(folder, nursery), random.Random(options.seed)
        while sum(killer.tally.kills.values()) < options.kills:
            killer.at_random_moments(draw)
    return _of_kills(killer.tally, options.kills)


def operations(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Runs killed at their every operation on files: before the first, between the first and the second, ..."""
    with Nursery() as nursery:
        killer = Killer(folder, nursery)
        asked = range(1, len(killer.operations) + 1, options.stride)
        for number in asked:
            killer.at_operation(number)
    return [Figure("operations on files in a run", len(killer.operations)), *_of_kills(killer.tally, len(asked))]


def _of_kills(tally: Tally, least: int) -> list[Figure]:
    killed = sum(tally.kills.values())
    return [
        Figure("kills survived", killed, least=least),
        *(Figure(f"    while it was in phase {phase}", number) for phase, number in tally.kills.items()),
        Figure("finished files lost or not whole", len(tally.damaged), most=0),
        Figure("outer loops lost per kill, at most", max(tally.loops), most=1),
        Figure("    by all kills together", sum(tally.loops)),
        Figure("finished tests lost per kill, at most", max(tally.tests), most=1),
        Figure("runs led to their end", tally.resumed),
        Figure("    identical to the unbroken run", tally.identical, least=tally.resumed),
        Figure("temporary files that kills left on the way", tally.seen),
        Figure("    left at the end", len(tally.left_over), most=0),
    ]


def soaking(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Many short runs in one process."""
    with Nursery() as nursery:
        nursery.start("soak", folder, options.runs)
        assert nursery.wait() == 0
    held = json.loads((folder / "soak.json").read_text())
    plots.save(soak.draw(held), RESULTS / "chaos/soak.png")
    grown = {name: soak.growth(values, WARM) for name, values in held.items()}
    return [
        Figure("runs in one process", len(held["memory"])),
        Figure("resident memory at the end, MiB", held["memory"][-1]),
        Figure(f"    growth after run {WARM}, MiB", grown["memory"], most=5),
        Figure("open files: growth", grown["handles"], most=0),
        Figure("threads: growth", grown["threads"], most=0),
    ]


def live(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """A kernel that condenses live, started and stopped."""
    first, *_, last = held = kernel.rounds(options.restarts // 2, folder)
    memory = [one["memory"] / soak.MEBIBYTE for one in held]
    return [
        Figure("cells that condense live in one kernel", 2 * len(held)),
        Figure("    starts and starts over, each ended by a stop", 5 * len(held)),
        *(
            Figure(f"{name} at the end, {first[name]} after the first rounds", last[name], most=first[name])
            for name in ("threads", "handles", "widgets")
        ),
        Figure("resident memory of the kernel at the end, MiB", memory[-1]),
        Figure("    growth in the second half, MiB", soak.growth(memory, len(memory) // 2), most=5),
    ]


def hostile(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Damaged and forged files, given to every reader."""
    found = fuzz.run(options.cases, options.seed)
    seconds, memory = (max(row[most] for row in found["readers"].values()) for most in ("seconds", "memory"))
    return [
        Figure("damaged and forged files", found["cases"], least=options.cases),
        Figure("    read correctly", found["read"]),
        Figure("    refused by name", found["refused"]),
        Figure("    crashed, hung, or read wrongly", len(found["failed"]), most=0),
        Figure("seconds for one, at most", seconds, most=fuzz.SECONDS),
        Figure("memory for one, at most, MB", memory, most=fuzz.MEGABYTES),
    ]


SECTIONS: dict[str, Callable[[argparse.Namespace, Path], list[Figure]]] = {
    "kills": kills,
    "operations": operations,
    "soak": soaking,
    "kernel": live,
    "fuzz": hostile,
}


def main() -> None:
    """Do all sections, or those that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="which (default: all)")
    parser.add_argument("--kills", type=int, default=60, help="at random moments, at least")
    parser.add_argument("--stride", type=int, default=1, help="kill at every so manieth operation on files")
    parser.add_argument("--runs", type=int, default=200, help="in one process")
    parser.add_argument("--restarts", type=int, default=50, help="of a condensation in a kernel")
    parser.add_argument("--cases", type=int, default=2000, help="of damaged and forged files")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments and the damage")
    options, all_met = parser.parse_args(), True
    for name in options.only:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            figures = SECTIONS[name](options, Path(folder))
        seconds = time.perf_counter() - begin
        print(f"{name}, {seconds:.0f} s", *figures, sep="\n    ", flush=True)
        all_met &= all(figure.met for figure in figures)
        _keep(name, figures, seconds)
    sys.exit(0 if all_met else "a limit was missed")


def _keep(name: str, figures: list[Figure], seconds: float) -> None:
    path = RESULTS / "chaos.json"
    kept = json.loads(path.read_text()) if path.exists() else {"sections": {}}
    rows = [asdict(figure) | {"met": figure.met} for figure in figures]
    kept["sections"][name] = {"seconds": round(seconds), "machine": versions(), "figures": rows}
    files.save_json(path, kept)


if __name__ == "__main__":
    main()
