"""A warm process that has everything imported, and forks one job after the other: a start costs milliseconds."""

import json
import os
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]


class Nursery:
    """Starts jobs one at a time, each in a process group of its own."""

    def __enter__(self) -> Self:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MDCKIT_HEADLESS": "1"}
        command = [sys.executable, "-m", "tests.chaos.nursery"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=environment)
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        assert self._process.wait(60) == 0
        self._process.stdout.close()

    def start(self, job: str, *arguments) -> int:
        """Set ``main(*arguments)`` of a module going; returns the number of its process, and of its group."""
        print(json.dumps([job, *map(_plain, arguments)]), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def wait(self) -> int:
        """The exit code of the job once it has ended, negative for a signal."""
        return int(self._process.stdout.readline())


def _plain(argument):
    return str(argument) if isinstance(argument, Path) else argument


def main() -> None:
    """Read orders, fork, and answer with the process's number and its exit code."""
    from tests.chaos import road, soak  # noqa: F401 - so that jobs have them already

    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            _do(*json.loads(line))
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
    os._exit(0)  # nothing is to be put in order: seconds saved


def _do(job: str, *arguments) -> None:
    os.setsid()
    code = 1
    try:
        import_module(f"tests.chaos.{job}").main(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
