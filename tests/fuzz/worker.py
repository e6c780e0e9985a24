"""A process that reads damaged files, one for every line on its standard input, and says how it went.

    python -m tests.fuzz.worker FOLDER SEED

Every case is a function of (seed, number) alone. Answers are lines of JSON: what was done, "read", "refused" or what
went wrong, seconds of a core and the memory that reading took. A crash, a hang and too much memory are for the parent
to see.
"""

import ctypes
import json
import os
import resource
import shutil
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch

from tests.fuzz import damage
from tests.fuzz.readers import READERS, Reader

FOLDER_OF_CASE, CANARY = "case", "canary"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
STARTS = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "pty.spawn",
)
STARTS += ("socket.connect", "socket.bind", "webbrowser.open")
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod")
LONGEST = 1500  # letters of an error: it names the file, it does not repeat it


@dataclass
class Watch:
    """What Python does while a file is read: programs that start, and changes outside the folder of the case."""

    inside: Path
    on: bool = False
    seen: list = None

    def __call__(self, event: str, args: tuple) -> None:
        if not self.on:
            return
        if event in STARTS:
            self.seen.append(f"{event} {args!r:.200}")
        elif event == "open" and isinstance(args[0], str | bytes | os.PathLike) and args[2] & WRITING:
            self._expect_inside(event, args[0])
        elif event in CHANGES:
            for path in args[:2] if event in ("os.rename", "os.link", "os.symlink") else args[:1]:
                self._expect_inside(event, path)

    def _expect_inside(self, event: str, path) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (links may stay what they are)
        if not place.startswith(f"{self.inside}{os.sep}") and place != os.devnull:
            self.seen.append(f"{event} {place}")


class Worker:
    """Samples of all readers under `folder`, and the cases made of them."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.seed = folder.resolve(), seed
        self.case, self.canary = self.folder / FOLDER_OF_CASE, self.folder / CANARY
        self.watch = Watch(self.case, seen=[])
        self.samples: dict[str, dict[str, Path]] = {}
        self.sound: dict[tuple[str, str], object] = {}  # what the undamaged samples read as
        for name, reader in READERS.items():
            shutil.rmtree(self.case, ignore_errors=True)
            self.case.mkdir(parents=True)
            self.samples[name] = reader.make(self.case)
            shutil.rmtree(self._kept(name), ignore_errors=True)
            shutil.copytree(self.case, self._kept(name))
        for name, reader in READERS.items():
            for sample, file in self.samples[name].items():
                self._lay(name)
                self.sound[name, sample] = reader.examine(reader.read(self.case / sample, file), self.case / "written")
        sys.addaudithook(self.watch)

    def _kept(self, name: str) -> Path:
        return self.folder / "samples" / name

    def _lay(self, name: str) -> None:
        shutil.rmtree(self.case)
        shutil.copytree(self._kept(name), self.case)

    def run(self, number: int, verbose: bool = False) -> dict:
        """One case."""
        random = Random(f"{self.seed}/{number}")
        name = list(READERS)[number % len(READERS)]
        sample = random.choice(list(self.samples[name]))
        reader, file = READERS[name], self.samples[name][sample]
        self._lay(name)
        how, forged = self._damage(reader, file, random)
        before = sorted(self.folder.iterdir())
        torch.manual_seed(number)
        held = forget_peak()
        self.watch.on, begin = True, time.process_time()
        outcome, why = self._read(reader, name, sample, file, forged, verbose)
        self.watch.on, seconds = False, time.process_time() - begin
        if self.watch.seen or self.canary.exists() or sorted(self.folder.iterdir()) != before:
            outcome, why = "escaped", "; ".join(self.watch.seen) or f"{self.canary} or a neighbour was made"
            self.watch.seen.clear()
            shutil.rmtree(self.canary, ignore_errors=True)
        found = {"number": number, "reader": name, "sample": sample, "how": how, "outcome": outcome, "why": why}
        return found | {"seconds": round(seconds, 4), "memory": peak() - held}

    def _damage(self, reader: Reader, file: Path, random: Random) -> tuple[str, bool]:
        """Damage the file; returns how, and whether the new content was made by someone who knows the format."""
        content = file.read_bytes()
        kind = random.choices(("bytes", "two", "forged", "place"), (45, 8, 40, 7))[0]
        if kind == "place":
            change = random.choice(damage.PLACES)
            file.unlink()
            change(file)
            return change.__name__, True
        if kind == "two":
            other = random.choice([f for files in self.samples.values() for f in files.values()])
            kept = next(path for name in READERS if (path := self._kept(name) / other.relative_to(self.case)).is_file())
            change = random.choice((damage.spliced, damage.foreign))
            content = change(content, kept.read_bytes(), random)
        elif kind == "bytes":
            change = random.choice(damage.ONE)
            content = change(content, random)
        else:
            change = random.choice(reader.forgers)
            content = change(content, random, self.canary)
        stat = file.stat()
        file.write_bytes(content)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        return change.__name__, kind in ("forged", "two")

    def _read(self, reader: Reader, name: str, sample: str, file: Path, forged: bool, verbose: bool) -> tuple[str, str]:
        try:
            value = reader.read(self.case / sample, file)
        except (ValueError, OSError) as error:
            if verbose:
                traceback.print_exc()
            text, names = str(error), [file.name, *([str(self.case / sample)] if reader.whole else [])]
            if reader.heals or not any(part in text for part in names):
                return "unnamed", f"{type(error).__name__}: {text[:300]}"
            return ("refused", text[:300]) if len(text) <= LONGEST else ("wordy", text[:300])
        except BaseException as error:
            if verbose:
                traceback.print_exc()
            return "raised", "".join(traceback.format_exception(error)[-3:])[-600:]
        try:
            found = reader.examine(value, self.case / "written")
        except BaseException as error:
            if verbose:
                traceback.print_exc()
            return "unusable", "".join(traceback.format_exception(error)[-3:])[-600:]
        if (reader.heals or reader.sealed) and not forged and found != self.sound[name, sample]:
            return "wrong", "read, but not as it was written"
        return "read", ""


def forget_peak() -> int:
    """Give back what is free, and begin to watch the peak of memory anew; returns the MB in use."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """Most MB in memory since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    torch.set_num_threads(1)
    folder, seed, *numbers = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    worker = Worker(Path(folder), int(seed))
    claimed = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (claimed + 16 * 2**30,) * 2)  # the machine's last line of defence
    print(json.dumps({"ready": forget_peak()}), file=answers, flush=True)
    for number in map(int, numbers or sys.stdin):
        print(json.dumps(worker.run(number, verbose=bool(numbers))), file=answers, flush=True)


if __name__ == "__main__":
    main()
