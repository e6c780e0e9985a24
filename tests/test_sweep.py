"""Batch runs: ids, the grid, one process, a real Dask cluster with a worker killed, and what is collected."""

import ast
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy_notebook
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from records import RESIZED, RUN

import mdckit
from mdckit import files, notebooks
from mdckit.sweep import __main__ as command
from mdckit.sweep import cluster, execution, grid

ROOT = Path(__file__).parents[1]
OWN = {"ipc": 3, "seed": 0, "condense": {"inner": 5}, "results": ""}


@pytest.fixture
def toy(tmp_path):
    return toy_notebook.write(tmp_path / "toy.ipynb")


def lines(folder, name):
    path = Path(folder) / name
    return path.read_text().splitlines() if path.is_file() else []


# -- the grid

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4), st.data())
def test_ids_are_digests_of_the_content(parameters, data):
    there_and_back = yaml.safe_load(yaml.safe_dump(grid.plain("p", parameters)))
    shuffled = dict(data.draw(st.permutations(list(there_and_back.items()))))
    run = grid.Run("toy", parameters, {})
    assert grid.Run("toy", shuffled, {"other": 1}).id == run.id
    assert grid.Run("boy", parameters, {}).id.split("-")[1] != run.id.split("-")[1]
    name = data.draw(st.sampled_from(list(parameters)))
    assert grid.Run("toy", parameters | {name: [parameters[name]]}, {}).id != run.id


def test_ids_stay_what_they_were():
    assert grid.Run("20_run", {"ipc": 3, "seed": 0}, {}).id == "20_run-6b6c1ebc2a66"


def test_the_grid_is_every_combination():
    runs = grid.expand("n", {"condense.outer": [2, 4], "ipc": (1, 2)}, range(2), {"condense": {"lr": 0.5}}, OWN)
    expected = [
        {"condense": {"lr": 0.5, "outer": outer}, "ipc": ipc, "seed": seed}
        for outer, ipc, seed in itertools.product([2, 4], [1, 2], [0, 1])
    ]
    assert [run.parameters for run in runs] == expected
    assert runs[0].varied == {"condense.outer": 2, "ipc": 1, "seed": 0}
    (kept,) = grid.expand("n", {"condense.outer": [2, 2]}, None, {}, OWN)
    assert kept.parameters == {"condense": {"inner": 5, "outer": 2}}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"grid": {}}, r"an empty grid, \{\}: name parameters"),
        ({"grid": ["value"]}, "an empty grid"),
        ({"grid": {"value": []}}, r"value = \[\] in a grid: give a list of one or more"),
        ({"grid": {"fail": "early"}}, "fail = 'early' in a grid: give a list"),
        ({"seeds": []}, r"seeds = \[\] in a grid"),
        ({"seeds": 3}, "seeds = 3 in a grid"),
        ({"seeds": ["a", 1]}, r"seeds = \['a', 1\]: give integers >= 0"),
        ({"grid": {"nested.": [1]}}, "'nested.' in the grid names no entry: write PARAMETER or PARAMETER.ENTRY"),
        ({"grid": {"valeu": [1]}}, "unknown parameter 'valeu' of toy: it has value, seed, "),
        ({"grid": {1: [1]}}, "unknown parameter 1 of toy"),
        ({"parameters": {"step": 1}}, "unknown parameter 'step' of toy"),
        ({"parameters": 3}, "parameters = 3: give a mapping"),
        ({"parameters": {"value": 1}}, "value is in the grid and has a fixed value too"),
        ({"grid": {"seed": [1]}}, "seed is in the grid, and seeds are given"),
        ({"grid": {"nested": [{}], "nested.a": [1]}}, "nested and nested.a are both in the grid"),
        ({"grid": {"value.a": [1]}}, "value.a is in the grid, but value is 0, not a mapping"),
        ({"grid": {"results": ["x"]}}, "results is not yours to give"),
        ({"grid": {"value": [np.int64(1)]}}, r"value = np.int64\(1\) \(int64\) cannot be written into a notebook"),
        ({"grid": {"value": [float("inf")]}}, r"value = inf \(float\) cannot be written"),
        ({"grid": {"nested": [{1: 2}]}}, r"nested = \{1: 2\} \(dict\) cannot be written"),
        ({"parameters": {"nested": {"a": {1, 2}}}}, r"nested.a = \{1, 2\} \(set\) cannot be written"),
        ({"notebook": "99_none"}, "no notebook '99_none': there is no 99_none.ipynb, no notebooks/99_none.ipynb"),
        ({"notebook": "02_gradient_matching"}, "02_gradient_matching.ipynb has no parameter results"),
        ({"notebook": "broken.ipynb"}, "broken.ipynb cannot be read as a notebook"),
        ({"folder": "toy.ipynb/here"}, "cannot write in the folder toy.ipynb/here"),
        ({"retries": -1}, "retries must be an integer >= 0, got -1"),
    ],
)
def test_bad_input_is_told_before_any_run(asked, message, toy, monkeypatch):
    monkeypatch.chdir(toy.parent)
    Path("broken.ipynb").write_text("{")
    whole = {"grid": {"value": [1]}, "seeds": [0], "notebook": toy, "folder": "out"} | asked
    with pytest.raises((ValueError, OSError), match=message):
        mdckit.sweep(**whole)
    assert not list(Path().rglob("out.ipynb"))


# -- in this process


def test_failures_are_told_and_stop_nothing_and_what_is_finished_is_skipped(toy, monkeypatch, capsys):
    monkeypatch.chdir(toy.parent)
    monkeypatch.setenv("MDCKIT_HEADLESS", "1")
    asked = {"notebook": "toy", "folder": "out", "seeds": [1]}
    made = mdckit.sweep({"fail": ["early", "late", "kernel", ""], "value": [2]}, **asked)
    assert made.counts == {"done": 1, "failed": 3, "skipped": 0}
    early, late, dead = (made.failed[run.id] for run in made.runs[:3])
    assert str(early).startswith('cell [5] `if fail == "early" or (fail == "once"')
    assert (early.error, early.message) == ("RuntimeError", "no luck")
    assert (late.cell, late.message) == ('cell [7] `if fail == "late":`', "no figure")
    assert dead.error == "DeadKernelError"
    assert dead.cell.startswith('cell [5] `if fail == "early"')
    assert all(Path(failure.notebook).is_file() for failure in (early, late, dead))
    printed, shown = capsys.readouterr().err, str(made)
    assert "runs: 4/4" in printed
    assert "0 running, 1 done, 3 failed, 0 skipped" in printed
    assert "4 runs in out: 1 done, 3 failed, 0 skipped" in shown
    assert f"failed: {made.runs[1].id} (fail=late, value=2, seed=1): cell [7]" in shown
    assert f"failed: {made.runs[1].id} (fail=late" in printed

    good = Path("out") / made.runs[3].id
    assert {"out.ipynb", "params.yaml", "result.json"} <= {path.name for path in good.iterdir()}
    assert yaml.safe_load((good / "params.yaml").read_text()) == {"fail": "", "value": 2, "seed": 1}
    assert not (good / "checkpoint").exists()
    assert (good.parent / made.runs[0].id / "checkpoint").exists()
    assert list(Path("out").glob("*/*.json")) == [good / "result.json"]  # none where a later cell failed
    assert (Path("out") / made.runs[1].id / "result.json.failed").exists()

    again = mdckit.sweep({"value": [2]}, parameters={"fail": ""}, show_progress=False, **asked)
    assert again.counts == {"done": 0, "failed": 0, "skipped": 1}
    (good / "result.json").write_text("{")  # not whole
    again = mdckit.sweep({"value": [2]}, parameters={"fail": ""}, show_progress=False, **asked)
    assert again.counts == {"done": 1, "failed": 0, "skipped": 0}
    assert len(lines(good, "published")) == 2
    assert capsys.readouterr().err == ""


def test_a_run_that_fails_is_tried_again_from_its_checkpoint(toy, tmp_path):
    asked = {"notebook": toy, "parameters": {"fail": "once", "steps": 3}, "show_progress": False}
    made = mdckit.sweep({"value": [1]}, folder=tmp_path / "one", retries=1, **asked)
    assert made.counts == {"done": 1, "failed": 0, "skipped": 0}
    folder = tmp_path / "one" / made.runs[0].id
    assert len(lines(folder, "starts")) == 2
    assert len(lines(folder, "steps")) == 3


def test_a_notebook_that_leaves_no_result_has_failed(toy, tmp_path):
    run = grid.Run("toy", {}, {})
    nb = json.loads(toy.read_text())
    nb["cells"] = nb["cells"][:1]
    toy.write_text(json.dumps(nb))
    job = execution.Job(run, str(toy), str(tmp_path / "out"), str(tmp_path))
    with pytest.raises(execution.RunFailed) as raised:
        execution.execute(job)
    assert "left no readable result.json" in str(raised.value.args[0])


def test_a_sweep_of_20_run_gives_what_20_run_gives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = {"condense": {"outer": 1, "inner": 2, "width": 8}, "train": {"epochs": 4, "width": 8}, "seeds": [0]}
    made = mdckit.sweep({"ipc": [2]}, [5], parameters=tiny, folder="out", show_progress=False)
    notebooks.run(ROOT / "notebooks/20_run.ipynb", "direct.ipynb", tiny | {"ipc": 2, "seed": 5, "results": "direct"})
    ours, direct = (json.loads(Path(f, "result.json").read_text()) for f in (f"out/{made.runs[0].id}", "direct"))
    assert {**ours, "seconds": 0} == {**direct, "seconds": 0}
    sets = [Path(f, "sets/mdc.safetensors").read_bytes() for f in (f"out/{made.runs[0].id}", "direct")]
    assert sets[0] == sets[1]
    rows = mdckit.collect("out")
    assert rows["accuracy"].tolist() == [a for by in direct["accuracy"].values() for (a,) in by.values()]


# -- the lock


def test_who_comes_second_waits_for_all_processes_that_hold_the_lock(tmp_path):
    starts = "import subprocess, sys; print(subprocess.Popen(['sleep', '60'], pass_fds=[int(sys.argv[1])]).pid)"
    with execution.locked(tmp_path / "lock") as lock, (tmp_path / "pid").open("w") as file:
        subprocess.run([sys.executable, "-c", starts, str(lock)], pass_fds=[lock], stdout=file, check=True)
    came = threading.Event()

    def second():
        with execution.locked(tmp_path / "lock"):
            came.set()

    threading.Thread(target=second).start()
    assert not came.wait(0.5)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert came.wait(30)


# -- on a cluster


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two workers that declare a GPU, started as README says."""
    from dask.distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=None, protocol="tcp://") as scheduler:
        options = ["--nthreads", "1", "--resources", "GPU=1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]
        start = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler.scheduler_address, *options]
        workers = [subprocess.Popen(start, stderr=subprocess.DEVNULL) for _ in range(2)]
        yield scheduler.scheduler_address
        for worker in workers:
            worker.kill()
            worker.wait()


@pytest.fixture
def client(scheduler):
    with cluster.connect(scheduler) as client:
        client.wait_for_workers(1, timeout=300)
        yield client


def test_the_command_runs_a_file_on_a_cluster(scheduler, client, toy, monkeypatch):
    monkeypatch.chdir(toy.parent)
    text = "{notebook: toy.ipynb, grid: {value: [1, 2], fail: ['', late]}, seeds: [0], parameters: {device: gpu}}"
    Path("asked.yaml").write_text(text)
    ran = CliRunner().invoke(command.main, ["asked.yaml", "--scheduler", scheduler, "--retries", "1"])
    assert ran.exit_code == 1
    assert "4 runs in results/asked: 2 done, 2 failed, 0 skipped" in ran.stdout
    assert ran.stdout.count('cell [7] `if fail == "late":`: RuntimeError: no figure') == 2
    found = mdckit.collect("results/asked")
    assert found[["value", "accuracy"]].to_numpy().tolist() == [[1, 1.0], [2, 2.0]]
    assert list(found)[:3] == ["run", "value", "run_seed"]  # not fail, which is the same in all that are finished
    for path in Path("results/asked").glob("*/params.yaml"):
        tries = len(lines(path.parent, "starts"))
        assert tries == (2 if "fail: late" in path.read_text() else 1)


def test_two_sweeps_at_once_execute_every_run_once(client, toy, tmp_path):
    asked = {"notebook": toy, "folder": tmp_path / "out", "parameters": {"steps": 20}, "show_progress": False}
    counts = []
    sweeps = [
        threading.Thread(target=lambda: counts.append(mdckit.sweep({"value": [1, 2]}, client=client, **asked).counts))
        for _ in range(2)
    ]
    for thread in sweeps:
        thread.start()
    for thread in sweeps:
        thread.join()
    assert counts == [{"done": 2, "failed": 0, "skipped": 0}] * 2
    assert [len(lines(path.parent, "starts")) for path in (tmp_path / "out").glob("*/result.json")] == [1, 1]


def test_a_worker_killed_in_mid_run_costs_no_run_and_doubles_none(client, toy, tmp_path):
    client.wait_for_workers(2, timeout=300)
    folder, steps, killed = tmp_path / "out", 120, []

    def kill():
        while not killed:
            time.sleep(0.02)
            for path in folder.glob("*/steps"):
                if len(lines(path.parent, "steps")) > 3 and not killed:
                    killed.append(path.parent)
                    os.kill(int(lines(path.parent, "starts")[0].split()[1]), signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    shared = {"steps": steps, "wait": 0.05}
    asked = {"notebook": toy, "folder": folder, "parameters": shared, "show_progress": False}
    made = mdckit.sweep({"value": [1, 2, 3]}, [4], client, **asked)
    thread.join()
    assert made.counts == {"done": 3, "failed": 0, "skipped": 0}
    assert mdckit.collect(folder)["accuracy"].tolist() == [1.4, 2.4, 3.4]
    for run in made.runs:
        at = folder / run.id
        starts = [line.split() for line in lines(at, "starts")]
        assert len(lines(at, "published")) == 1
        assert len(starts) == (2 if at == killed[0] else 1)
        turns = [kernel for kernel, _ in itertools.groupby(lines(at, "steps"))]
        assert turns == [kernel for kernel, *_ in starts][: len(turns)]  # in turn, though the orphan lived on
        assert steps <= len(lines(at, "steps")) <= steps + 1  # resumed: at most the step under way was done again
        assert [holds_the_lock for *_, holds_the_lock in starts] == ["True"] * len(starts)


def test_a_cluster_that_cannot_take_the_runs_is_told_before_any(client, toy, tmp_path):
    from dask.distributed import Client, LocalCluster

    asked = {"notebook": toy, "folder": tmp_path / "out"}
    options = {"n_workers": 1, "processes": False, "dashboard_address": ":0"}
    for threads, values, message in (
        (2, {"value": [1]}, r"takes one run at a time, but \S+ has 2 threads: start it with --nthreads 1"),
        (1, {"device": ["cpu", "gpu"]}, "ask for a GPU, which none of 1 workers declares"),
    ):
        with (
            LocalCluster(threads_per_worker=threads, **options) as workers,
            Client(workers) as other,
            pytest.raises(ValueError, match=message),
        ):
            mdckit.sweep(values, client=other, **asked)
    with pytest.raises(ConnectionError, match="the Dask client is closed"):
        mdckit.sweep({"value": [1]}, client=other, **asked)
    with pytest.raises(ConnectionError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"):
        cluster.connect("tcp://127.0.0.1:9", timeout=1).__enter__()
    assert not list((tmp_path / "out").glob("*"))


def test_a_missing_dask_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(ImportError, match=r"need the package dask: pip install 'mdckit\[cluster\]'"):
        cluster.local(1).__enter__()


# -- the package


def test_the_package_loads_what_executes_notebooks_only_when_it_is_asked_to():
    for name in ("__init__", "sweeping", "grid", "report", "collecting"):
        body = ast.parse((ROOT / f"mdckit/sweep/{name}.py").read_text()).body
        names = [[node.module, *(a.name for a in node.names)] for node in body if isinstance(node, ast.ImportFrom)]
        names += [[alias.name for alias in node.names] for node in body if isinstance(node, ast.Import)]
        late = {"papermill", "nbclient", "dask", "fcntl", "notebooks", "execution", "cluster"}
        assert not late & {word for line in names for word in line}, name


# -- the command


def test_the_command_takes_workers_of_this_machine(toy, tmp_path):
    (tmp_path / "asked.yaml").write_text(f"{{notebook: {toy}, grid: {{value: [7]}}}}")
    start = [sys.executable, "-W", "error::RuntimeWarning", "-m", "mdckit.sweep", "asked.yaml", "--workers", "1"]
    ran = subprocess.run([*start, "-r", "out"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=600)
    assert ran.stdout == "1 runs in out: 1 done, 0 failed, 0 skipped\n"
    assert mdckit.collect(tmp_path / "out")["accuracy"].tolist() == [7.0]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("[1", [], "asked.yaml holds no parameters: while parsing"),
        ("3", [], "asked.yaml holds no parameters: it is a int: expected lines of NAME: VALUE"),
        ("seeds: [1]", [], "asked.yaml has no grid"),
        ("{grid: {ipc: [1]}, seed: [1]}", [], "unknown key 'seed' in asked.yaml: choose among notebook, grid, "),
        ("{grid: {ipcs: [1]}}", [], "unknown parameter 'ipcs' of 20_run: it has dataset, "),
        (
            "{grid: {ipc: [2026-01-02]}}",
            [],
            "the value of 'grid' is no text, number, true, false, null, list or mapping",
        ),
        ("{grid: {ipc: [1]}}", ["--workers", "2", "--scheduler", "tcp://a:1"], "choose one of them"),
        ("{grid: {ipc: [1]}}", ["--scheduler", "nowhere"], "no Dask scheduler answers at 'nowhere': start one"),
    ],
)
def test_the_command_tells_what_is_wrong_with_its_file(text, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("asked.yaml").write_text(text)
    ran = CliRunner().invoke(command.main, ["asked.yaml", *options])
    assert ran.exit_code in (1, 2)
    assert message in ran.stderr
    assert not Path("results/asked").exists() or not list(Path("results/asked").iterdir())


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks/sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_committed_sweeps_are_valid(path):
    from mdckit.sweep.sweeping import find, parameters_of

    asked = command.read(path)
    notebook = find(asked.pop("notebook", "20_run"))
    grids = {"parameters": {}, "seeds": None} | asked
    for run in grid.expand(notebook.stem, **grids, defaults=parameters_of(notebook)):
        given = {"scale": "quick", "condense": {}, "train": {}} | run.parameters
        mdckit.CondenseConfig.preset(given["dataset"], given["scale"], ipc=given["ipc"], **given["condense"])
        mdckit.TrainConfig.preset(given["dataset"], given["scale"], **given["train"])


# -- collecting


def put(folder, run, found, parameters):
    files.save_json(folder / run / "result.json", found)
    (folder / run / "params.yaml").write_text(yaml.safe_dump(parameters))


def test_results_are_collected_as_a_tidy_table(tmp_path):
    short = {"seeds": [5, 6], "accuracy": {"mdc": {"1": [10.0, 12.0]}}, "accuracy_last": {"mdc": {"1": [9.0, 11.0]}}}
    put(tmp_path, "b", short, {"ipc": 2, "recipes": ["mdc"], "train": {"epochs": 4, "lr": 0.1}, "scale": "quick"})
    put(tmp_path, "a", short, {"ipc": 10, "recipes": ["mdc", "real"], "train": {"lr": 0.1}, "scale": "quick"})
    found = mdckit.collect(tmp_path)
    columns = ["run", "run_ipc", "recipes", "train.epochs", "method", "ipc", "seed", "accuracy", "accuracy_last"]
    assert list(found.columns) == columns
    assert found["run"].tolist() == ["b", "b", "a", "a"]  # by the parameters
    assert found.iloc[1].drop("train.epochs").tolist() == ["b", 2, '["mdc"]', "mdc", 1, 6, 12.0, 11.0]
    assert found["train.epochs"].isna().tolist() == [False, False, True, True]


def test_results_of_the_kits_other_notebooks_are_collected_too(tmp_path):
    put(tmp_path, "run", RUN, {})
    put(tmp_path, "resized", RESIZED, {})
    found = mdckit.collect(tmp_path)
    resized = found[found["run"] == "resized"].query("method == 'aum'")
    assert resized[["dynamics_seed", "seed", "accuracy"]].to_numpy().tolist() == [
        [0, 0, 20.0],
        [0, 1, 22.0],
        [1, 0, 24.0],
        [1, 1, 26.0],
    ]
    put(tmp_path / "own", "x", {"loss": 0.5, "kind": "a", "curve": [1, 2]}, {"lr": 1})
    expected = pd.DataFrame({"run": ["x"], "loss": [0.5], "kind": ["a"]})
    pd.testing.assert_frame_equal(mdckit.collect(tmp_path / "own"), expected)


def test_unreadable_results_are_told_and_left_out(tmp_path):
    put(tmp_path, "good", {"seeds": [0], "accuracy": {"mdc": {"1": [50.0]}}}, {"ipc": 1})
    put(tmp_path, "short", {"seeds": [0], "accuracy": {"mdc": {"1": [50.0, 51.0]}}}, {})
    for run, text in {"cut": '{"accuracy": {', "list": "[1]"}.items():
        files.write_atomically(tmp_path / run / "result.json", text.encode())
    with pytest.warns(
        UserWarning, match=r"3 unreadable results are left out: \S*/cut \(ValueError: .* is not JSON: .*/list .*/short "
    ):
        found = mdckit.collect(tmp_path)
    assert found["run"].tolist() == ["good"]
    with pytest.raises(ValueError, match=r"no readable result\.json in the folders in .*: give the folder of a sweep"):
        mdckit.collect(tmp_path / "good")
