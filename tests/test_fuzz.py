"""Damaged files for every reader: 200 of the cases of `make fuzz`, and proof that the judge sees what it should."""

import os
import sys
from random import Random

import pytest

from tests import fuzz
from tests.fuzz import damage

CASES = 210  # ten for each of the readers


@pytest.fixture(scope="module")
def found():
    return fuzz.run(CASES, seed=2)


def test_every_damaged_file_is_read_or_refused_by_name(found):
    again = [f"python -m tests.fuzz --seed 2 --case {case['number']}: {case}" for case in found["failed"]]
    assert again == []
    assert found["cases"] == found["read"] + found["refused"] == CASES


def test_every_reader_takes_part_and_most_damage_is_noticed(found):
    assert len(found["readers"]) == 21
    assert {row["cases"] for row in found["readers"].values()} == {10}
    assert 20 < found["read"] < CASES / 2
    assert max(row["seconds"] for row in found["readers"].values()) < fuzz.SECONDS


def test_damage_is_a_function_of_content_and_random():
    content = bytes(range(256)) * 4
    for change in damage.ONE:
        assert change(content, Random(1)) == change(content, Random(1))
        assert change(content, Random(1)) != content


class Stub(fuzz.Process):
    """A worker that does something else than to read files."""

    def start(self):
        self.log = (self.folder / "log").open("w+")
        self.process = fuzz.subprocess.Popen(
            [sys.executable, "-c", self.code], **{"stdin": -1, "stdout": -1, "stderr": self.log, "text": True}
        )


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("import os; input(); os.kill(os.getpid(), 11)", "crashed"),
        ("import time; input(); time.sleep(60)", "hung"),
        ("import time; input(); x = b'x' * 3 * 10**8; time.sleep(60)", "large"),
    ],
)
def test_crashes_hangs_and_greed_are_seen(tmp_path, monkeypatch, code, outcome):
    monkeypatch.setattr(fuzz, "WAIT", 2 if outcome == "hung" else 60)
    monkeypatch.setattr(fuzz, "ROOM", 100)
    process = Stub(tmp_path, 0)
    process.code = code
    found = process.run(5)
    assert (found["number"], found["outcome"]) == (5, outcome)
    assert process.process is None


def test_what_is_done_outside_the_folder_of_the_case_is_seen(tmp_path):
    from tests.fuzz.worker import Watch

    watch = Watch(tmp_path / "case", seen=[], on=True)
    watch("open", (tmp_path / "case" / "x", "w", os.O_WRONLY))
    watch("open", (tmp_path / "y", "r", os.O_RDONLY))
    assert watch.seen == []
    watch("open", (tmp_path / "case" / ".." / "y", "w", os.O_WRONLY))
    watch("os.symlink", (tmp_path / "case" / "x", tmp_path / "z"))
    watch("subprocess.Popen", ("sh", ["sh"], None, None))
    assert [line.split()[0] for line in watch.seen] == ["open", "os.symlink", "subprocess.Popen"]
