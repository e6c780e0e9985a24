"""Runs that are killed lose next to nothing, and runs without end hold no more than the first: in short.

`make chaos` does the same at length.
"""

import json
import random
import shutil

import pytest

from tests.chaos import kernel, soak
from tests.chaos.killing import CHECKPOINT, TESTS, Killer, Story, contents
from tests.chaos.nursery import Nursery
from tests.chaos.operations import unsafe

AT = {  # operations on files at which a run is killed: kind, name of the file, which one of these
    "cache": ("fsync", "data/decoded/.mdckit-part-", 0),
    "checkpoint": ("os.rename", CHECKPOINT, 2),
    "tests": ("os.rename", TESTS, 3),
    "result": ("os.rename", "run/result.json", 0),
    "removal": ("os.remove", CHECKPOINT, 0),
    "export": ("fsync", "exported/.mdckit-part-", 9),
}


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="module")
def killer(nursery, tmp_path_factory):
    return Killer(tmp_path_factory.mktemp("chaos"), nursery)


def test_kills_at_random_moments_cost_at_most_an_outer_loop_and_no_file(killer):
    before = killer.tally.resumed
    killer.at_random_moments(random.Random(1))
    check(killer, 1 + before)


@pytest.mark.parametrize("what", AT)
def test_kills_between_operations_on_files_cost_no_file(killer, what):
    kind, name, which = AT[what]
    found = [n for n, (of, *paths) in enumerate(killer.operations, 1) if of == kind and paths[-1].startswith(name)]
    before, killed = killer.tally.resumed, sum(killer.tally.kills.values())
    killer.at_operation(found[which])
    assert sum(killer.tally.kills.values()) == killed + 1
    check(killer, before + 1)


def check(killer, resumed):
    """Limits that hold for all kills so far."""
    tally = killer.tally
    assert tally.damaged == []
    assert max(tally.loops) <= 1
    assert max(tally.tests) <= 1
    assert (tally.resumed, tally.identical) == (resumed, resumed)
    assert tally.left_over == []


def test_what_is_renamed_was_synced_and_so_is_the_folder_around_it(killer):
    renamed = [paths[1] for kind, *paths in killer.operations if kind == "os.rename"]
    assert {CHECKPOINT, TESTS, "run/result.json", "exported/hub", "exported/set.npz"} <= set(renamed)
    assert unsafe(killer.operations) == []


def test_renames_that_are_not_safe_are_found():
    written, synced = ["open", "a/.x"], ["fsync", "a/.x"]
    rename, after = ["os.rename", "a/.x", "a/b"], ["fsync", "a"]
    inside = ["open", "a/.x/part"]
    assert unsafe([written, synced, rename, after]) == []
    assert unsafe([written, rename, after]) == ["a/b"]
    assert unsafe([written, synced, rename]) == ["a/b"]
    assert unsafe([written, synced, rename, written, after]) == ["a/b"]
    assert unsafe([inside, synced, rename, after]) == ["a/b"]
    assert unsafe([inside, ["fsync", "a/.x/part"], synced, rename, after]) == []


def test_damage_would_be_noticed(killer, tmp_path):
    place, journal = shutil.copytree(killer.folder / "place1", tmp_path / "place"), killer.folder / "journal1"
    assert list(killer.damaged(place, Story.read(journal))) == []
    (place / "run/sets/mdc.safetensors").unlink()
    for name in ("run/result.json", "exported/set.npz"):
        (place / name).write_bytes((place / name).read_bytes()[:-9])
    (place / CHECKPOINT).write_bytes(b"half")
    assert sorted(killer.damaged(place, Story.read(journal))) == [
        "lost: run/sets/mdc.safetensors",
        "not whole: exported/set.npz",
        f"not whole: {CHECKPOINT}",
        "not whole: run/result.json",
    ]
    assert contents(place) != killer.whole


def test_ten_runs_in_one_process_hold_no_more_than_three(nursery, tmp_path):
    nursery.start("soak", tmp_path, 10)
    assert nursery.wait() == 0
    held = json.loads((tmp_path / "soak.json").read_text())
    assert len(held["memory"]) == 10
    assert soak.growth(held["memory"], 3) < 10
    assert soak.growth(held["objects"], 3) < 100
    assert soak.growth(held["handles"], 3) <= 0
    assert soak.growth(held["threads"], 3) <= 0


def test_growth_is_that_of_the_least():
    assert soak.growth([9, 9, 1, 5, 2, 2, 2, 2, 8, 4], 2) == 3
    assert soak.growth([5, 1, 1, 1, 1], 1) == 0


def test_a_kernel_that_condenses_live_leaks_nothing(tmp_path):
    first, last = kernel.rounds(1, tmp_path)
    for what in ("threads", "handles", "widgets"):
        assert last[what] <= first[what], what
