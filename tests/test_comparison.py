"""Methods side by side, the shipped sets they run on, and their figures."""

import numpy as np
import pandas as pd
import pytest
import torch

import mdckit
from mdckit import CondensedSet, TrainConfig, shipped
from mdckit.pruning import comparison, pruning_plots
from mdckit.shipped import FOLDER, measured

SHORT = TrainConfig.preset("digits", "quick", epochs=10, evaluations=1, seeds=(0, 1), width=4)
LBPE = {"epochs": 6, "top": 2}


@pytest.fixture(scope="module")
def digits():
    return mdckit.load("digits")


@pytest.fixture(scope="module")
def condensed(digits):
    return CondensedSet(digits.first_images(3), 1, digits.mean, digits.std, digits.classes, "digits")


@pytest.fixture(scope="module")
def logs(condensed):
    return [mdckit.record_dynamics(condensed, SHORT, seed, show_progress=False) for seed in (0, 1)]


def test_every_method_size_and_run_is_compared_by_the_same_seeds(digits, condensed, logs):
    methods = comparison.plan(condensed, [], [1, 2], LBPE) | {"ccs": {"name": "ccs", "cutoff": 0.1}}
    sets = comparison.resized(condensed, logs, methods, [1, 2])
    rows = comparison.compare(sets, digits, SHORT, show_progress=False)
    assert len(rows) == 8 * 2 * 2 * 2
    assert set(rows["run"]) == {0, 1}
    alone = mdckit.evaluate(mdckit.resize("lbpe", condensed, logs[1], 2, **LBPE), digits, SHORT)
    found = rows.query("method == 'lbpe_balanced' and ipc == 2 and run == 1")
    assert tuple(found["accuracy"]) == alone.best
    record = comparison.record(condensed, "baseline_c", rows, SHORT, logs, methods, digits)
    assert len(record["accuracy"]["random"]["1"]) == len(record["seeds"]) == 4
    assert record["config"]["methods"]["lbpe_balanced"] == {"name": "lbpe"} | LBPE
    assert record["config"]["recording"]["epochs"] == 10
    assert "mean of 2 dynamics runs x 2 seeds ± standard error over the runs" in comparison.summary(record)
    pd.testing.assert_frame_equal(comparison.accuracies(record), rows, atol=0.01)


@pytest.mark.parametrize(
    ("names", "sizes", "message"),
    [
        (["lpbe"], [1], r"^unknown method 'lpbe': choose from lbpe_balanced, random, ssp.*, el2n_balanced$"),
        ([], [1, 4], r"^4 images per class asked of a set with 3: a set can only be made smaller$"),
        ([], [0], r"^ipc must be an integer >= 1, got 0$"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(condensed, names, sizes, message):
    with pytest.raises(ValueError, match=message):
        comparison.plan(condensed, names, sizes)


def test_a_rule_turned_round_is_a_method(condensed, logs):
    chosen = comparison.plan(condensed, list(comparison.VARIANTS), [1], LBPE)
    assert chosen["lbpe"] == {"name": "lbpe", "balanced": False} | LBPE
    sets = comparison.resized(condensed, logs[:1], chosen, [1])
    assert sets["aum_easy", 1, 0].info["selected"]["keep"] == "easy"
    assert set(sets["forgetting_balanced", 1, 0].patches_per_class) == {1}


def test_drawn_methods_differ_from_run_to_run(condensed, logs):
    sets = comparison.resized(condensed, [logs[0], logs[0]], {"random": {"name": "random"}}, [1])
    assert sets["random", 1, 0].digest != sets["random", 1, 1].digest


def test_equal_sets_are_trained_on_once(digits, condensed, monkeypatch):
    counted = []
    monkeypatch.setattr(comparison, "evaluate_many", lambda sets, *_: counted.append(len(sets)) or _results(sets))
    rows = comparison.compare({("a", 1, 0): condensed.take(1), ("b", 1, 0): condensed.take(1)}, digits, SHORT)
    assert counted == [1]
    assert list(rows["method"]) == ["a", "a", "b", "b"]


def _results(sets):
    return {key: mdckit.Result((50.0, 60.0), (50.0, 60.0), 10, 1.0, SHORT) for key in sets}


def test_the_table_shows_standard_errors_over_runs():
    rows = pd.DataFrame({"method": "m", "ipc": 1, "run": [0, 0, 1, 1], "seed": [0, 1, 0, 1]})
    rows["accuracy"] = [40.0, 42.0, 45.0, 47.0]  # means 41 and 46: standard error 2.5
    assert comparison.table(rows).loc["m", 1] == "43.5 ± 2.5"
    one_run = rows.assign(run=0, seed=range(4))  # standard error of the four: 1.6
    assert comparison.table(one_run).loc["m", 1] == "43.5 ± 1.6"
    assert comparison.table(rows[:1]).loc["m"].tolist() == ["40.0", "40.0"]
    larger = rows.assign(ipc=2, accuracy=[50.0, 52.0, 53.0, 55.0])  # means over the sizes 46 and 50
    both = pd.concat([rows, larger, one_run.assign(method="other")])
    assert comparison.table(both).loc["m"].tolist() == ["43.5 ± 2.5", "52.5 ± 1.5", "48.0 ± 2.0"]
    assert comparison.table(both).loc["other"].tolist() == ["43.5 ± 1.6", "", "43.5 ± 1.6"]


def rows_of(method, accuracies):
    """Rows for size 1; accuracies[run][seed]."""
    return pd.DataFrame(
        [(method, 1, run, seed, a) for run, row in enumerate(accuracies) for seed, a in enumerate(row)],
        columns=["method", "ipc", "run", "seed", "accuracy"],
    )


def test_gains_are_paired_by_run_and_seed():
    rows = pd.concat(
        [rows_of("a", [[50, 60], [70, 80]]), rows_of("b", [[1, 2], [3, 4]]), rows_of("prefix", [[10, 30]])]
    )
    found = comparison.gains(rows, {"a - b": ("a", "b"), "a - prefix": ("a", "prefix"), "prefix - a": ("prefix", "a")})
    assert list(found.columns) == list(rows.columns)
    by_label = {label: g.set_index(["run", "seed"])["accuracy"].to_dict() for label, g in found.groupby("method")}
    assert by_label["a - b"] == {(0, 0): 49, (0, 1): 58, (1, 0): 67, (1, 1): 76}
    assert by_label["a - prefix"] == {(0, 0): 40, (0, 1): 30, (1, 0): 60, (1, 1): 50}
    assert by_label["prefix - a"] == {(0, 0): -40, (0, 1): -30, (1, 0): -60, (1, 1): -50}
    assert comparison.table(found, signed=True).loc["a - prefix", 1] == "+45.0 ± 10.0"


@pytest.mark.parametrize("name", ["cifar10_baseline_c", "cifar10_mdc", "mnist5k_baseline_c", "mnist5k_mdc"])
def test_shipped_sets_are_small_and_say_how_they_were_made(name):
    dataset, method = name.split("_", 1)
    condensed = shipped(dataset, method)
    assert (condensed.ipc, len(condensed.classes), condensed.data_name) == (10, 10, dataset)
    assert condensed.info["command"] == f"python -m mdckit.shipped {dataset}"
    assert condensed.info["recipe"]["name"] == method
    assert bool(condensed.mls_trace) == (method == "mdc")
    assert (FOLDER / f"{name}.safetensors").stat().st_size <= 1_500_000


def test_an_unknown_shipped_set_names_those_there_are():
    with pytest.raises(ValueError, match="no file and no shipped set svhn_mdc: there are cifar10_baseline_c, "):
        shipped("svhn", "mdc")
    with pytest.raises(ValueError, match="no accuracies of shipped sets of svhn: there are those of "):
        measured("svhn")


def test_accuracies_of_shipped_sets_are_those_of_an_evaluation():
    found, protocol = measured("mnist5k"), TrainConfig.preset("mnist5k", "quick", seeds=(0,))
    assert list(found["accuracy"]) == ["baseline_c", "mdc"]
    assert all(list(sizes) == [str(n) for n in range(1, 11)] for sizes in found["accuracy"].values())
    again = mdckit.evaluate(shipped("mnist5k", "mdc").take(1), mdckit.load("mnist5k"), protocol)
    assert again.mean == pytest.approx(found["accuracy"]["mdc"]["1"][0], abs=2)  # machines round differently


@pytest.mark.parametrize("factor", [1, 2])
def test_kept_cells_are_outlined_and_the_others_dimmed(factor):
    dark = CondensedSet(torch.zeros(2, 2, 1, 8, 8), factor, (0.5,), (0.5,), ("a", "b"))
    picture = pruning_plots.kept_cells(dark, dark.select(torch.tensor([0])), zoom=1)
    outline = (picture == (np.array(pruning_plots.OUTLINE) * 255).round()).all(-1)
    side = 8 // factor
    assert outline[:side, :side].sum() == outline.sum() == 4 * (side - 1)
    assert (picture[1 : side - 1, 1 : side - 1] == 0).all()  # inside the outline as it is
    assert (picture[4, 12] == 204).all()  # dimmed


def test_cells_of_another_set_are_refused():
    one, other = (CondensedSet(torch.full((2, 2, 1, 8, 8), v), 1, (0.5,), (0.5,), ("a", "b")) for v in (0.1, 0.2))
    with pytest.raises(ValueError, match="was not selected from the first"):
        pruning_plots.kept_cells(one, other.select(torch.tensor([0])))


def test_class_counts_and_sorted_scores_draw_every_class(condensed, logs):
    uneven = condensed.select(torch.tensor([0, 1, 5]))
    bars = [bar.get_height() for bar in pruning_plots.class_counts({"uneven": uneven}).axes[0].patches]
    assert bars == list(uneven.patches_per_class)
    errors = mdckit.scores.error_norms(logs[0])
    axes = pruning_plots.sorted_scores({"last": errors[-1]}, condensed.labels, condensed.classes).axes
    assert sum(ax.get_visible() for ax in axes) == 10
    few = pruning_plots.sorted_scores({"last": errors[-1]}, condensed.labels, condensed.classes[:7]).axes
    assert sum(ax.get_visible() for ax in few) == 7
    heights = axes[0].lines[0].get_ydata()
    assert list(heights) == sorted(errors[-1, :3].tolist())
