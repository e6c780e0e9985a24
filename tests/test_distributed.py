"""Several processes, started by torchrun, against one: the same sets, MLS and losses, and the end of a rank."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import papermill
import psutil
import pytest
import torch
import yaml
from click.testing import CliRunner
from rank_cases import CASES, asked, kept

import mdckit
from mdckit import distributed
from mdckit.batch import Parameters
from mdckit.checkpoint import load_checkpoint
from mdckit.ranks import Ranks

PATIENCE = 600  # seconds that a machine may take for what takes a few
PARAMETERS = {"dataset": "digits", "recipes": ["mdc"], "ipc": 2, "scale": "quick"}
CONDENSE = {"inner": 2, "period": 1, "width": 4, "net_images": 16, "net_batch": 16, "batch_real": 4}


@contextlib.contextmanager
def threads(count):
    """PyTorch computes in so many threads."""
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(1)


def torchrun(ranks, *command):
    """Processes started by torchrun, one thread in each."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MDCKIT_HEADLESS": "1"}
    return subprocess.Popen([*launcher, *map(str, command)], env=environment, stderr=subprocess.PIPE, text=True)


def finished(process):
    """What a process says at its end."""
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return errors


def told(sets):
    """All that is told of the making of sets."""
    return {name: json.loads(json.dumps(condensed.info)) for name, condensed in sets.items()}


def assert_same(some, others):
    """Sets are equal in every bit, their losses, distances and MLS among them."""
    assert difference(some, others) == 0
    assert told(some) == told(others)


def difference(some, others):
    """Largest difference of the pixels of sets by the same names."""
    assert sorted(some) == sorted(others)
    return max(float((some[name].images - others[name].images).abs().max()) for name in some)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    finished(torchrun(2, Path(__file__).parent / "rank_cases.py", "two", folder))
    return folder


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The folder of a run by two ranks, one of which was killed; and how many outer loops are done there."""
    folder = tmp_path_factory.mktemp("broken")
    long = PARAMETERS | {"condense": CONDENSE | {"outer": 100_000}, "results": str(folder)}
    (folder / "params.yaml").write_text(yaml.safe_dump(long))
    process = torchrun(2, "-m", "mdckit.distributed", folder / "params.yaml")
    deadline = time.monotonic() + PATIENCE
    while not (folder / "checkpoint.safetensors").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ranks = psutil.Process(process.pid).children(recursive=True)
    (last,) = [rank for rank in ranks if rank.is_running() and rank.environ().get("RANK") == "1"]
    last.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "Signal 9 (SIGKILL)" in errors
    assert psutil.wait_procs(ranks, timeout=PATIENCE)[1] == []
    return folder


@pytest.fixture(scope="module")
def three_ranks(broken, tmp_path_factory):
    """The folder of what three ranks made; they also took up the broken run, for two more outer loops."""
    folder = tmp_path_factory.mktemp("three")
    shutil.copytree(broken, folder / "broken")
    shutil.copytree(broken, folder / "alone")
    asked = Parameters.read([broken / "params.yaml"])
    outer = load_checkpoint(broken / "checkpoint.safetensors", *arguments(asked)).outer + 2
    longer = PARAMETERS | {"condense": CONDENSE | {"outer": outer}}
    (folder / "params.yaml").write_text(yaml.safe_dump(longer))
    finished(torchrun(3, Path(__file__).parent / "rank_cases.py", "three", folder))
    return folder


def arguments(parameters):
    return parameters.load(), parameters.methods(), parameters.condense_config()


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_are_two_threads_bit_for_bit(two_ranks, name):
    with threads(2):
        alone = mdckit.condense(*asked(name, 3), device="cpu", show_progress=False)
    assert_same(kept(two_ranks / f"{name}-1"), alone)


def test_the_threads_of_ranks_add_up(two_ranks):
    with threads(4):
        alone = mdckit.condense(*asked("idc", 3), device="cpu", show_progress=False)
    assert_same(kept(two_ranks / "idc-2"), alone)


def test_all_ranks_are_told_of_what_one_rank_finds(two_ranks):
    errors = [json.loads((two_ranks / f"errors-{rank}.json").read_text()) for rank in range(2)]
    assert errors[0] == errors[1]
    assert errors[0]["width"] == "rank 1 is asked for something else than rank 0 (width: 5 there, 4 here)"
    assert "cannot write in the folder" in errors[0]["folder"]


def test_a_rank_without_a_class_changes_nothing(three_ranks, float64):
    with threads(3):
        alone = mdckit.condense(*asked("idc", 4), device="cpu", show_progress=False)
    assert_same(kept(three_ranks / "idc"), alone)
    one = mdckit.condense(*asked("idc", 4), device="cpu", show_progress=False)
    assert 0 < difference(kept(three_ranks / "idc"), one) < 1e-6
    for name, of_ranks in told(kept(three_ranks / "idc")).items():
        assert of_ranks["mls_trace"] == one[name].info["mls_trace"]
        assert of_ranks["losses"] == pytest.approx(one[name].info["losses"], rel=1e-6)


def test_a_silent_rank_is_an_error_of_the_connection(monkeypatch):
    def silent(*args):
        raise RuntimeError("Timed out waiting 1800000ms")

    monkeypatch.setattr(torch.distributed, "all_gather_object", silent)
    with pytest.raises(ConnectionError, match=r"another rank died or did not answer in time, .*: Timed out waiting"):
        Ranks(count=2).tell("hello")


def test_more_ranks_than_classes_are_refused(three_ranks):
    for rank in range(3):
        errors = json.loads((three_ranks / f"errors-{rank}.json").read_text())
        assert errors == {"classes": "3 ranks asked to share 2 classes: start 2 at most"}


def test_a_run_that_lost_a_rank_is_taken_up_as_if_unbroken(broken, three_ranks):
    parameters = Parameters.read([three_ranks / "params.yaml"])
    asked, checkpoint = arguments(parameters), three_ranks / "alone" / "checkpoint.safetensors"
    with threads(2):
        resumed = mdckit.condense(*asked, checkpoint=checkpoint, show_progress=False)
        assert_same(resumed, mdckit.condense(*asked, show_progress=False))


def test_three_ranks_take_up_what_two_left(broken, three_ranks):
    asked = arguments(Parameters.read([three_ranks / "params.yaml"]))
    shutil.copy(broken / "checkpoint.safetensors", three_ranks / "alone" / "again.safetensors")
    with threads(3):
        resumed = mdckit.condense(*asked, checkpoint=three_ranks / "alone" / "again.safetensors", show_progress=False)
    assert_same(kept(three_ranks / "broken" / "sets"), resumed)


def test_a_finished_run_is_taken_up_without_work(three_ranks, monkeypatch):
    parameters = Parameters.read([three_ranks / "broken" / "params.yaml"])
    assert parameters.results == str(three_ranks / "broken")
    monkeypatch.setattr(sys.modules["mdckit.condense"], "match_sets", None)
    found = mdckit.condense(*arguments(parameters), checkpoint=Path(parameters.results) / "checkpoint.safetensors")
    assert_same(kept(three_ranks / "broken" / "sets"), found)


def test_the_parameters_are_those_of_the_notebook():
    known = papermill.inspect_notebook(str(Path(__file__).parents[1] / "notebooks" / "20_run.ipynb"))
    defaults = {name: yaml.safe_load(entry["default"].replace("'", '"')) for name, entry in known.items()}
    ours = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(Parameters()).items()}
    assert ours == defaults


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["-p", "epochs", "3"], "unknown parameter 'epochs': choose one of dataset, preset"),
        (["-p", "condense", "{ipc: 3}"], "ipc asked in condense: it is a parameter of its own"),
        (["-p", "sizes", "[4]"], "sizes [4] asked of 3 images per class"),
        (["-p", "recipes", "[mcd]"], "unknown recipe 'mcd'"),
        (["-p", "train", "{epochs: 0}"], "epochs must be an integer >= 1"),
        (["-p", "train", "{seeds: [0]}"], "seeds asked in train: it is a parameter of its own"),
        (["-p", "condense", "{scale: full}"], "scale asked in condense: it is a parameter of its own"),
        (["-p", "condense", "5"], "condense 5 asked: give settings by their names"),
        (["-p", "sizes", "3"], "sizes 3 asked: give a list"),
        (["-p", "recipes", "mdc"], "recipes 'mdc' asked: give a list"),
        (["-p", "ipc", "[1"], "ipc = '[1' is no YAML value"),
        ([], "RANK is not set: start with torchrun"),
    ],
)
def test_what_cannot_be_run_is_refused_before_work(asked, said):
    done = CliRunner().invoke(distributed.main, asked)
    assert done.exit_code == 1
    assert said in done.output


def test_every_rank_has_a_gpu_of_its_own(monkeypatch):
    from mdckit import machine

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert [str(machine.device_of_rank(name, 1)) for name in (None, "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]
    assert chosen == [torch.device("cuda:1")] * 2
    assert machine.backend(chosen[0]) == "cpu:gloo,cuda:nccl"
    with pytest.raises(ValueError, match="3 ranks or more on a machine with 2 CUDA devices: start 2 at most"):
        machine.device_of_rank(None, 2)
    with pytest.raises(ValueError, match="'cuda:1' asked of every rank: leave the number out"):
        machine.device_of_rank("cuda:1", 0)
