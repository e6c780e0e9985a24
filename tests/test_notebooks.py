"""Every notebook runs headless with quick parameters, and is committed clean."""

import base64
import contextlib
import io
import json
import os
import re
import threading
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import papermill
import psutil
import pytest
import torch
import yaml
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from PIL import Image
from records import RESIZED, RUN

from mdckit import (
    CondenseConfig,
    CondensedSet,
    ExpertConfig,
    KIPConfig,
    MTTConfig,
    TrainConfig,
    baselines,
    files,
    notebooks,
    results,
    shipped,
)
from mdckit.papers import printed
from mdckit.pruning import comparison
from mdckit.subsets import SubsetState

FOLDER = Path(__file__).parents[1] / "notebooks"
ALL = sorted(FOLDER.glob("*.ipynb"))
TINY = {"condense": {"outer": 2, "inner": 2, "period": 1}, "train": {"epochs": 4}, "seeds": [0, 1]}
SHORT = {"train": {"epochs": 4, "evaluations": 1, "width": 8}, "seeds": [0]}  # on the shipped sets
LOGS = SHORT | {"epochs": 10, "lbpe": {"epochs": 6, "top": 2}, "dynamics_seeds": [0]}
QUICK = {
    "00_tour": TINY | {"dataset": "digits", "ipc": 3},
    "01_images_as_parameters": {"dataset": "digits", "steps": 12, "epochs": 4},
    "02_gradient_matching": {"dataset": "digits", "steps": 3},
    "03_multi_formation": {"dataset": "digits", "epochs": 4},
    "04_subset_degradation": TINY | {"dataset": "digits", "ipc": 2},
    "05_most_learnable_subset": TINY | {"dataset": "digits", "ipc": 3},
    "06_freezing_and_ablation": TINY | {"dataset": "digits", "ipc": 3, "every": 1},
    "07_condensed_galleries": TINY | {"dataset": "digits", "ipc": 3, "shown": 2},
    "08_training_dynamics_and_lbpe": SHORT | {"epochs": 6, "early": 4, "top": 2, "looked_at": [1, 4], "sizes": [1]},
    "09_balanced_pruning": LOGS | {"sizes": [1, 2, 5], "ratios": [0.5, 0.9], "real_epochs": {"20": 4}},
    "10_cross_architecture": SHORT | {"networks": ["convnet", "resnet10"], "sizes": [1]},
    "11_mdc_meets_yoco": LOGS | {"sizes": [1, 3]},
    "12_your_own_data": {"ipc": 3, "condense": {"outer": 2, "inner": 2, "width": 8}, "epochs": 10}
    | {"lbpe": {"epochs": 6, "top": 2}, "seeds": [0], "train": {"epochs": 10, "width": 8}},
    "13_beyond_the_paper": TINY
    | {"dataset": "digits", "ipc": 3, "every": 1, "larger": [[2, 3]], "measured": [str(FOLDER / "measured")]},
    "14_other_methods": SHORT | {"dataset": "digits", "ipc": 3, "budget": 0.2},
    "15_share_and_score": SHORT | {"sizes": [1, 2], "full": {"epochs": 1}},
    "16_live": {"dataset": "digits", "ipc": 3, "condense": TINY["condense"], "test": {"epochs": 4, "evaluations": 1}}
    | {"results": "out"},
    "17_explorer": {"size": 2, "epochs": 6, "lbpe": {"epochs": 6, "top": 2}},
    "20_condensers": {"settings": {"ipc": 2, "steps": 4, "kernel": "features", "targets": 8, "width": 8, "depth": 2}},
    "20_over_loops": TINY | {"recipes": ["baseline_c", "mdc"], "ipc": 2, "every": 1},
    "20_run": TINY
    | {"recipes": ["baseline_a", "baseline_b", "baseline_c", "mdc_class_wise", "mdc_gradient"], "ipc": 2},
    "21_compare": {},
    "21_resize": LOGS | {"sizes": [1], "methods": ["lbpe_balanced", "ssp", "ccs"]},
    "22_retest": {"train": {"width": 8, "epochs": 4}, "sizes": [1], "seeds": [0]},
    "23_scaling": {"classes": 20, "images": 1000, "size": 64, "condense": {"width": 16}, "repeats": 1},
    "24_sweep": {"grid": {"condense.outer": [1, 2]}, "seeds": [0], "results": "out"}
    | {"shared": TINY | {"condense": {"inner": 1}, "dataset": "digits", "ipc": 2, "sizes": [1]}},
}
UNITS = (
    "00_tour",
    "20_condensers",
    "20_over_loops",
    "20_run",
    "21_resize",
    "22_retest",
)  # of batch runs: they leave a folder of results


FIGURES = {
    "00_tour": {"accuracy.png"},
    "20_over_loops": {"over_loops.png", "over_loops_mdc.png"},
    "20_run": {"accuracy.png", "gallery.png"},
}
MEMORY = 1.5e9  # bytes: what Binder leaves to a kernel


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Kernels reach nothing beyond this machine."""
    folders = [str(Path(__file__).parent / "offline"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))


@pytest.fixture
def peak():
    """Bytes in use by the processes that this one starts from now on, at most so far; looked at ten times a second.

    Files that they have mapped, such as PyTorch's libraries, count once, as they do for a container. CUDA's do not
    count: Binder has a build of PyTorch without them.
    """
    highest, done, others = [0, 0], threading.Event(), set(psutil.Process().children())

    def look():
        while not done.wait(0.1):
            with contextlib.suppress(psutil.Error):
                new = set(psutil.Process().children()) - others
                family = [*new, *(child for process in new for child in process.children(recursive=True))]
                found = [process.memory_info() for process in family]
                mapped = max((memory.shared for memory in found), default=0)
                total = mapped + sum(memory.rss - memory.shared for memory in found)
                if total > highest[0]:
                    highest[:] = total, max(highest[1], total - cuda(family))

    thread = threading.Thread(target=look)
    thread.start()
    yield lambda: highest[1]
    done.set()
    thread.join()


def cuda(family):
    """Bytes of CUDA's libraries among the processes' memory; what they map unchanged counts once."""
    maps = [[m for m in process.memory_maps() if re.search("/nvidia/|cuda", m.path)] for process in family]
    changed = sum(m.private_dirty for found in maps for m in found)
    return changed + max((sum(m.rss - m.private_dirty for m in found) for found in maps), default=0)


@contextlib.contextmanager
def one_kernel():
    """All notebooks that are run meanwhile share a kernel: PyTorch takes seconds to import."""
    kernel = AsyncKernelManager(kernel_name="python3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(papermill, "execute_notebook", partial(papermill.execute_notebook, km=kernel))
        try:
            yield
        finally:
            run_sync(kernel.shutdown_kernel)(now=True)


def pictures(nb):
    data = [o.get("data", {}) for cell in nb.cells for o in cell.get("outputs", [])]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(d["image/png"])))) for d in data if "image/png" in d]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_runs_headless_and_draws(path, tmp_path, monkeypatch, peak):
    monkeypatch.chdir(tmp_path)
    parameters = QUICK[path.stem] | ({"results": "out"} if path.stem in UNITS else {})
    nb = notebooks.run(path, "out/executed.ipynb", parameters)
    assert 1e8 < peak() < MEMORY
    drawn = pictures(nb)
    assert drawn
    assert all(len(np.unique(picture)) > 10 for picture in drawn)
    if path.stem == "21_resize":
        check_resized(Path("out"), parameters)
    elif path.stem == "20_condensers":
        assert CondensedSet.load("out/sets/kip.safetensors").ipc == 2
    elif path.stem == "22_retest":
        assert list(json.loads(Path("out/result.json").read_text())["accuracy"]) == ["baseline_c", "mdc"]
    elif path.stem in FIGURES:
        check_results(Path("out"), parameters, FIGURES[path.stem])


def test_the_papers_tables_stand_beside_ones_own_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    looks = {
        "feature_distances": {"baseline_c": [[1, *range(19, 10, -1)], [30, *[7.5] * 9]]},
        "seconds": {"condense": 9.0},
    }
    looks |= {"accuracy_by_loop": {"mdc": {"15": {"1": [31.5, 32.5], "2": [41.5, 42.5]}}}}
    for name, found in {"run": RUN | looks, "resized": RESIZED, "other_data": RUN | {"dataset": "mnist5k"}}.items():
        files.save_json(Path("own") / name / "result.json", found)
    nb = notebooks.run(FOLDER / "21_compare.ipynb", "out.ipynb", {"results": "own"})
    shown = "\n".join(str(output) for cell in nb.cells for output in cell.get("outputs", []))
    assert "<b>40.00 ± 1.0</b>" in shown  # MDC Table 1
    assert "<b>23.00 ± 2.2</b>" in shown  # YOCO Table 1
    assert "49.66" in shown
    assert re.search(r"difference +11\.5 +10\.5 +9\.5 +8\.5 ", shown)  # Table 7
    assert re.search(r"15 +32\.0 +42\.0 +37\.0", shown)  # Tables 10 and 11
    assert "mean of these" in shown
    assert "none: the result is of mnist5k from 10 images per class" in shown
    assert "run: Of 11 printed orderings" in shown
    assert len(pictures(nb)) == 2


def check_resized(folder, parameters):
    found = json.loads((folder / "result.json").read_text())
    assert {"dataset", "source", "accuracy", "seeds", "config", "digest", "versions"} <= set(found)
    assert (found["dataset"], found["source"], found["seeds"]) == ("mnist5k", "baseline_c", [[0, 0]])
    assert list(found["accuracy"]) == parameters["methods"]
    assert all(list(sizes) == ["1"] and len(sizes["1"]) == 1 for sizes in found["accuracy"].values())
    assert found["config"]["methods"]["lbpe_balanced"] == {"name": "lbpe"} | parameters["lbpe"]
    assert found["config"]["recording"]["epochs"] == parameters["epochs"]
    assert (folder / "figures" / "accuracy.png").is_file()


def check_results(folder, parameters, figures):
    found = json.loads((folder / "result.json").read_text())
    methods = parameters.get("recipes", ["baseline_c", "mdc", "all_prefixes"])
    sizes = [str(n) for n in range(1, parameters["ipc"] + 1)]
    assert {"dataset", "ipc", "seeds", "accuracy", "mls_trace", "seconds", "config", "versions"} <= set(found)
    assert found["dataset"] == "digits"
    assert found["ipc"] == parameters["ipc"]
    assert list(found["accuracy"]) == methods
    for by_size in found["accuracy"].values():
        assert list(by_size) == sizes
        assert all(len(values) == 2 and all(0 <= a <= 100 for a in values) for values in by_size.values())
    assert CondensedSet.load(folder / "sets" / f"{methods[-1]}.safetensors").ipc == parameters["ipc"]
    assert {path.name for path in (folder / "figures").iterdir()} >= figures
    assert not list(folder.rglob("checkpoint*"))
    assert not list(folder.rglob(".*"))


def test_the_sets_of_a_run_are_tested_again_without_condensing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = TINY | {"recipes": ["baseline_a", "baseline_b", "mdc"], "ipc": 2, "seeds": [0]}
    again = {"dataset": "digits", "sets": "run/sets", "methods": run["recipes"], "sizes": [1, 2], "seeds": [0]}
    with one_kernel():
        notebooks.run(FOLDER / "20_run.ipynb", "run.ipynb", run | {"results": "run"})
        for folder, train in {"same": {"epochs": 4}, "other": {"epochs": 4, "width": 8}}.items():
            notebooks.run(FOLDER / "22_retest.ipynb", "out.ipynb", again | {"train": train, "results": folder})
    first, same, other = (json.loads(Path(f, "result.json").read_text()) for f in ("run", "same", "other"))
    assert same["accuracy"] == first["accuracy"]
    assert {**same["config"], "train": None} == {**first["config"], "train": None} == {**other["config"], "train": None}
    assert other["config"]["train"]["width"] == 8
    assert other["mls_trace"] == first["mls_trace"]


def test_sets_are_tested_as_they_were_after_every_few_loops(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = TINY | {"recipes": ["mdc", "baseline_b"], "ipc": 2, "every": 1, "results": "loops"}
    again = {"dataset": "digits", "sets": "loops/loops/1/sets", "methods": asked["recipes"], "sizes": [1, 2]}
    with one_kernel():
        notebooks.run(FOLDER / "20_over_loops.ipynb", "out.ipynb", asked)
        notebooks.run(FOLDER / "22_retest.ipynb", "one.ipynb", again | {k: TINY[k] for k in ("train", "seeds")})
    found, first = results.load("loops/result.json"), results.load("results/retest/result.json")
    by_loop = found["accuracy_by_loop"]
    assert list(by_loop) == asked["recipes"]
    assert all(list(loops) == ["1", "2"] for loops in by_loop.values())
    assert {name: loops["1"] for name, loops in by_loop.items()} == first["accuracy"]
    assert {name: loops["2"] for name, loops in by_loop.items()} == found["accuracy"]
    assert by_loop["mdc"]["1"] != by_loop["mdc"]["2"]
    assert not list(Path("loops").glob("*.safetensors"))


def test_a_run_over_loops_goes_on_only_with_what_it_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = TINY | {"recipes": ["mdc"], "ipc": 2, "sizes": [1], "results": "loops"}
    Path("loops/result.json").mkdir(parents=True)  # no file can be put there
    Path("loops/loops/7").mkdir(parents=True)  # of an earlier run
    with one_kernel():
        for every, message in {2: "checkpoint is kept in loops/", 1: r"has no sets of loops \[1\]"}.items():
            with pytest.raises(papermill.PapermillExecutionError, match=message):
                notebooks.run(FOLDER / "20_over_loops.ipynb", "out.ipynb", asked | {"every": every})
        Path("loops/result.json").rmdir()
        notebooks.run(FOLDER / "20_over_loops.ipynb", "out.ipynb", asked | {"every": 2})
    assert list(results.load("loops/result.json")["accuracy_by_loop"]["mdc"]) == ["2"]
    assert [path.name for path in Path("loops/loops").iterdir()] == ["2"]


EXPERTS = {"count": 2, "epochs": 2, "width": 8, "depth": 2, "batch": 256}
TRAJECTORIES = {"ipc": 2, "iterations": 2, "syn_steps": 2, "expert_epochs": 1, "max_start": 1}
SMALLER = {"outer": 1, "inner": 2, "batch_real": 4, "width": 8}
CONDENSERS = {
    "mtt": {"dataset": "digits", "settings": TRAJECTORIES, "experts": EXPERTS},
    "slimmable": {"dataset": "mnist5k", "whole": "baseline_c", "sizes": [1, 2], "settings": SMALLER},
}


@pytest.mark.parametrize("condenser", CONDENSERS)
def test_the_sets_of_other_condensers_are_tested_at_every_size(condenser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = CONDENSERS[condenser] | {"condenser": condenser, "results": "made"}
    again = {"dataset": made["dataset"], "sets": "made/sets", "methods": [condenser], "sizes": [1, 2]}
    with one_kernel():
        notebooks.run(FOLDER / "20_condensers.ipynb", "made.ipynb", made)
        notebooks.run(FOLDER / "22_retest.ipynb", "again.ipynb", again | SHORT | {"results": "again"})
    assert not list(Path("made").glob("*.safetensors"))
    found = json.loads(Path("again/result.json").read_text())
    assert found["condenser"] == {"mtt": "mtt", "slimmable": "idc"}[condenser]
    assert {n: len(accuracies) for n, accuracies in found["accuracy"][condenser].items()} == {"1": 1, "2": 1}


def test_the_map_leads_to_every_notebook_and_only_there():
    text = (FOLDER / "README.md").read_text()
    linked = re.findall(r"\[`(\w+)`\]\((\S+?)\)", text)
    assert all(target == f"{name}.ipynb" for name, target in linked)
    assert {target for _, target in linked} == {path.name for path in ALL}
    timed = text.split("## How long each takes")[1]
    assert all(f"| [`{path.stem}`]({path.name}) | " in timed for path in ALL)


def test_run_that_cannot_be_saved_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parameters = TINY | {"recipes": ["mdc"], "ipc": 2, "sizes": [2]}
    notebooks.run(FOLDER / "20_run.ipynb", "whole.ipynb", parameters | {"results": "whole"})
    Path("broken/result.json").mkdir(parents=True)  # no file can be put there
    kept = r"checkpoint is kept in broken/checkpoint\.safetensors"
    with pytest.raises(papermill.PapermillExecutionError, match=kept):
        notebooks.run(FOLDER / "20_run.ipynb", "broken.ipynb", parameters | {"results": "broken"})
    Path("broken/result.json").rmdir()
    notebooks.run(FOLDER / "20_run.ipynb", "resumed.ipynb", parameters | {"results": "broken"})
    one, two = (CondensedSet.load(f"{folder}/sets/mdc.safetensors") for folder in ("whole", "broken"))
    assert (one.images == two.images).all()
    assert not Path("broken/checkpoint.safetensors").exists()


class TestBadParameters:
    """They end a run before it leaves anything; one kernel serves all, for it imports longer than it checks."""

    @pytest.fixture(scope="class", autouse=True)
    def kernel(self, tmp_path_factory):
        with contextlib.chdir(tmp_path_factory.mktemp("empty")), one_kernel():
            yield

    @pytest.mark.parametrize(
        ("name", "bad", "message"),
        [
            ("20_condensers", {"condenser": "dm"}, "unknown condenser 'dm': choose one of mtt, kip, slimmable"),
            ("20_condensers", {"settings": {"step": 9}}, "unknown KIPConfig setting 'step': choose one of ipc, steps"),
            (
                "20_condensers",
                {"condenser": "mtt", "settings": {"max_start": 9, "expert_epochs": 1}, "experts": {"epochs": 8}},
                "starts up to epoch 8 and 1 epochs from there asked of experts of 8 epochs",
            ),
            ("20_condensers", {"condenser": "slimmable", "sizes": [1]}, "ipc asked in settings: give sizes"),
            (
                "20_condensers",
                {"dataset": "mnist5k", "condenser": "slimmable", "whole": "mdc", "sizes": [10], "settings": {}},
                r"sizes \[10\] asked of a set with 10 images per class: give smaller ones",
            ),
            (
                "20_over_loops",
                {"every": 3},
                "tests after every 3 of 10 outer loops asked: give a number that divides them",
            ),
            ("20_over_loops", {"every": 0}, "every must be an integer >= 1, got 0"),
            ("20_over_loops", {"sizes": [4]}, r"sizes \[4\] asked of 3 images per class"),
            ("20_run", {"train": {"width": 0}}, "width must be an integer >= 1, got 0"),
            ("20_run", {"recipes": ["mcd"]}, "unknown recipe 'mcd'"),
            ("20_run", {"condense": {"outr": 9}}, "unknown CondenseConfig setting 'outr': choose one of ipc, "),
            ("20_run", {"train": {"epoch": 9}}, "unknown TrainConfig setting 'epoch': choose one of epochs, "),
            ("20_run", {"ipc": 2, "sizes": [9]}, r"sizes \[9\] asked of 2 images per class"),
            ("20_run", {"device": "gpu"}, "unknown device 'gpu'"),
            ("20_run", {"dataset": "mnist6k"}, "unknown quick preset 'mnist6k'"),
            ("21_resize", {"methods": ["lpbe"]}, "unknown method 'lpbe'"),
            ("21_resize", {"sizes": [1, 11]}, "11 images per class asked of a set with 10"),
            ("21_resize", {"source": "none.safetensors"}, "no file and no shipped set mnist5k_none.safetensors"),
            ("22_retest", {"methods": ["baseline_a"]}, "no file and no shipped set mnist5k_baseline_a"),
            ("22_retest", {"sets": "."}, r"no condensed sets in \.: give the folder `sets` of a finished run"),
            ("22_retest", {"sizes": [1, 11]}, r"sizes \[11\] asked of baseline_c, which has 1, 2, 3"),
            ("22_retest", {"train": {"network": "vgg"}}, "unknown network 'vgg'"),
        ],
    )
    def test_bad_parameters_leave_no_results(self, name, bad, message, tmp_path):
        with pytest.raises(papermill.PapermillExecutionError, match=message):
            notebooks.run(FOLDER / f"{name}.ipynb", tmp_path / "out.ipynb", {"results": str(tmp_path / "broken")} | bad)
        assert [path.name for path in tmp_path.iterdir()] == ["out.ipynb"]


def test_kernels_under_test_reach_nothing_outside(tmp_path):
    source = "import socket, urllib.request\n"
    source += "with socket.create_server(('127.0.0.1', 0)) as s: socket.create_connection(s.getsockname()).close()\n"
    cell = nbformat.v4.new_code_cell(source + "urllib.request.urlopen('http://1.1.1.1')")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "reach.ipynb")
    with pytest.raises(papermill.PapermillExecutionError, match=r"no network here: '1\.1\.1\.1' asked for"):
        notebooks.run(tmp_path / "reach.ipynb", tmp_path / "out.ipynb")


def test_unknown_parameter_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"unknown parameter 'ipcs'.*it has dataset"):
        notebooks.run(FOLDER / "20_run.ipynb", tmp_path / "out.ipynb", {"ipcs": 3})
    assert not list(tmp_path.iterdir())


PARAMETERS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((FOLDER / "params").glob("*.yaml"))}
RETESTS = {stem: parameters for stem, parameters in PARAMETERS.items() if "_retest" in stem}
MADE = {stem: parameters for stem, parameters in PARAMETERS.items() if "_condense" in stem}
LOOPS = {stem: parameters for stem, parameters in PARAMETERS.items() if "_loops" in stem}
RUNS = {s: parameters for s, parameters in PARAMETERS.items() if not re.search("_resize|_retest|_condense|_loops", s)}
RESIZES = {stem: parameters for stem, parameters in PARAMETERS.items() if "_resize" in stem}
DATASETS = {label: name for name, label in printed.DATASETS.items()}
RUN_TABLES = [("mdc", n) for n in (1, 2, 3, 4, 5, 6, 8, 9, 12)]
RESIZE_TABLES = [("yoco", n) for n in (1, 2, 3, 4, 5, 7)]
TESTED = {name: label for label, name in printed.NETWORKS.items()}


@pytest.mark.parametrize("stem", RESIZES)
def test_parameter_files_of_resizing_are_valid(stem):
    parameters = RESIZES[stem]
    assert set(parameters) <= set(papermill.inspect_notebook(str(FOLDER / "21_resize.ipynb")))
    assert comparison.plan(source_of(parameters), parameters["methods"], parameters["sizes"])
    scale = parameters.get("scale", "quick")
    TrainConfig.preset(parameters["dataset"], scale, seeds=parameters["seeds"], **parameters["train"])
    TrainConfig.preset(parameters["dataset"], scale, epochs=parameters["epochs"])


def source_of(parameters):
    """The set a file starts from: shipped, or one that a file of `20_run` or `20_condensers` makes."""
    if len(Path(parameters["source"]).parts) == 1:
        return shipped(parameters["dataset"], parameters["source"])
    _, run, _, name = Path(parameters["source"]).parts
    if run in MADE:
        assert (MADE[run]["dataset"], MADE[run]["condenser"]) == (parameters["dataset"], Path(name).stem)
        return made_by(MADE[run]["condenser"], MADE[run]["settings"]["ipc"])
    assert RUNS[run]["dataset"] == parameters["dataset"]
    assert Path(name).stem in RUNS[run]["recipes"]
    return made_by(method_of(RUNS[run]), RUNS[run]["ipc"])


def made_by(method, ipc):
    return CondensedSet(torch.zeros(2, ipc, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"), info={"recipe": {"name": method}})


def method_of(run):
    return run.get("condense", {}).get("method", "idc")


def named(method, names):
    """Rows as `printed.ROWS` knows them."""
    return {name if method == "idc" else f"{method} {name}" for name in names}


@pytest.mark.parametrize("stem", RETESTS)
def test_parameter_files_of_tests_of_sets_are_valid(stem):
    parameters = RETESTS[stem]
    assert set(parameters) <= set(papermill.inspect_notebook(str(FOLDER / "22_retest.ipynb")))
    scale = parameters.get("scale", "quick")
    tested = TrainConfig.preset(parameters["dataset"], scale, seeds=parameters["seeds"], **parameters["train"])
    assert tested.width == TrainConfig.preset(parameters["dataset"], scale).width  # the notebook's own is another one
    ipc, names = sets_of(parameters)
    assert names
    assert max(parameters["sizes"]) <= ipc


def sets_of(parameters):
    """Images per class and rows of the sets that a file tests: shipped, or of `20_run` or `20_condensers`."""
    if "sets" not in parameters:
        return 10, {name for name in parameters["methods"] if shipped(parameters["dataset"], name)}
    folder, methods = Path(parameters["sets"]).parts[1], parameters["methods"]
    assert PARAMETERS[folder]["dataset"] == parameters["dataset"]
    if folder in RUNS:
        assert set(methods) <= set(RUNS[folder]["recipes"])
        return RUNS[folder]["ipc"], named(method_of(RUNS[folder]), methods)
    assert methods == [MADE[folder]["condenser"]]
    return max(parameters["sizes"]), {{"mtt": "mtt baseline_c", "slimmable": "dc slimmable"}[m] for m in methods}


@pytest.mark.parametrize("stem", MADE)
def test_parameter_files_of_other_condensers_are_valid(stem):
    parameters = MADE[stem]
    assert set(parameters) <= set(papermill.inspect_notebook(str(FOLDER / "20_condensers.ipynb")))
    if parameters["condenser"] == "slimmable":
        run = RUNS[Path(parameters["whole"]).parts[1]]
        assert (run["dataset"], run["scale"]) == (parameters["dataset"], parameters["scale"])
        assert max(parameters["sizes"]) < run["ipc"]
        for n in parameters["sizes"]:
            config = CondenseConfig.preset(parameters["dataset"], parameters["scale"], ipc=n, **parameters["settings"])
            assert (config.inner, config.batch_real <= run["ipc"]) == (n, True)
    else:
        {"mtt": MTTConfig, "kip": KIPConfig}[parameters["condenser"]]().replace(**parameters["settings"])
        ExpertConfig().replace(**parameters.get("experts", {}))


@pytest.mark.parametrize("stem", RUNS | LOOPS)
def test_parameter_files_are_valid(stem):
    parameters, notebook = PARAMETERS[stem], "20_over_loops" if stem in LOOPS else "20_run"
    assert set(parameters) <= set(papermill.inspect_notebook(str(FOLDER / f"{notebook}.ipynb")))
    name, scale = parameters.get("preset") or parameters["dataset"], parameters["scale"]
    config = CondenseConfig.preset(name, scale, ipc=parameters["ipc"], **parameters.get("condense", {}))
    assert config.outer % parameters.get("every", 1) == 0
    TrainConfig.preset(name, scale, seeds=parameters["seeds"], **parameters.get("train", {}))
    assert set(parameters.get("sizes", [])) <= set(range(1, parameters["ipc"] + 1))
    assert baselines.recipes_by_name(parameters["recipes"], parameters["ipc"], parameters.get("sizes", []))


@pytest.mark.parametrize("scale", ["quick", "paper"])
@pytest.mark.parametrize("at", RUN_TABLES)
def test_every_printed_row_that_can_be_run_has_a_parameter_file(at, scale):
    made = [(p, p["ipc"], named(method_of(p), p["recipes"])) for p in RUNS.values()]
    made += [(p, *sets_of(p)) for p in RETESTS.values()]
    check_covered(at, scale, made)


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_the_tables_over_loops_have_parameter_files(scale):
    asked = [p for p in LOOPS.values() if (p["dataset"], p["ipc"], p["scale"]) == ("cifar10", 10, scale)]
    assert any("mdc" in p["recipes"] for p in asked)
    loops = printed.table("mdc", 10)["metric"].str.extract(r"(\d+)$", expand=False).astype(int)
    assert scale == "quick" or any(set(loops) <= set(range(p["every"], 2001, p["every"])) for p in asked)
    distances = RUNS[f"cifar10_distances_{scale}"]
    config = CondenseConfig.preset("cifar10", scale, **distances["condense"])
    measured = [t for t in range(1, config.outer + 1) if SubsetState(config.period).measures(t)]
    assert {f"feature_distance_t{t}" for t in measured} == set(printed.table("mdc", 7)["metric"][:2])
    assert distances["recipes"] == ["baseline_c"]


@pytest.mark.parametrize("scale", ["quick", "paper"])
@pytest.mark.parametrize("at", RESIZE_TABLES)
def test_every_printed_selection_has_a_parameter_file(at, scale):
    made = []
    for parameters in RESIZES.values():
        source = source_of(parameters)
        by = source.info["recipe"]["name"].replace("baseline_c", "idc")
        made.append((parameters, source.ipc, named(by, parameters["methods"] or comparison.PAPER_METHODS)))
    check_covered(at, scale, made)


def check_covered(at, scale, made):
    """Every row of ours in a table is among what one of the files makes: (parameters, images per class, rows)."""
    for block, rows in printed.blocks(*at).items():
        here = [(p, names) for p, ipc, names in made if ipc == block.ipc_source and belongs(p, block, scale)]
        for name, sizes in rows.dropna(subset="name").groupby("name")["ipc"]:
            wanted = {int(ipc) for ipc in sizes if ipc not in ("avg", str(block.ipc_source))}
            own = [p.get("sizes") or range(1, 51) for p, names in here if name in names]
            assert any(wanted <= set(sizes) for sizes in own), (str(block), name)


def belongs(parameters, block, scale):
    network = parameters.get("train", {}).get("network")
    same = network == TESTED[block.network] if block.network in ("ResNet", "DenseNet") else network is None
    return same and (parameters["dataset"], parameters.get("scale", "quick")) == (DATASETS[block.dataset], scale)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_committed_clean(path):
    text = path.read_text()
    nb = nbformat.read(path, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert len(text) <= 400_000
    assert nb.cells[0].source.startswith("# ")
    assert "**Run time.**" in nb.cells[0].source
    assert "**Papers.**" in nb.cells[0].source
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    assert all(cell.execution_count is None for cell in code)
    assert all(len(cell.source.splitlines()) <= 15 for cell in code)
    assert not re.search(r"cuda|!pip|%pip|/home/|/root/|/tmp/", "\n".join(cell.source for cell in nb.cells))
    assert any(cell.outputs for cell in code), "committed with its outputs"
    assert not any(o.output_type == "error" for cell in code for o in cell.outputs)


def test_clean_is_idempotent_and_keeps_pictures(tmp_path):
    copy = tmp_path / "tour.ipynb"
    copy.write_bytes((FOLDER / "00_tour.ipynb").read_bytes())
    notebooks.clean(copy)
    once = copy.read_bytes()
    notebooks.clean(copy)
    assert copy.read_bytes() == once
    assert pictures(nbformat.read(copy, as_version=4))


def test_clean_keeps_one_of_two_forms_of_a_picture(tmp_path):
    data = {"image/jpeg": "AA==", "image/png": "AAAA", "text/plain": "<Image>"}
    cell = nbformat.v4.new_code_cell("picture", outputs=[nbformat.v4.new_output("execute_result", data=data)])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")
    notebooks.clean(tmp_path / "one.ipynb")
    (output,) = nbformat.read(tmp_path / "one.ipynb", as_version=4).cells[0].outputs
    assert output.data == {"image/png": "AAAA", "text/plain": "<Image>"}
