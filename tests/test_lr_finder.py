"""The search for a learning rate: repeatable, blind to the test images, and not thrown by rates that diverge."""

import sys
from dataclasses import replace

import pandas as pd
import pytest
import torch

from mdckit import DivergenceError, Recipe, TrainConfig, baselines, condense, find_lr
from mdckit.lr_finder import _suggestion

BRIEF = TrainConfig(epochs=2, evaluations=1, seeds=(0,), width=4, depth=2)
QUIET = {"show_progress": False, "device": "cpu"}


@pytest.fixture
def find(grey, tiny):
    def find(data=grey, config=tiny, **options):
        return find_lr(data, config, **({"outer": 2, "train": BRIEF, "rates": [0.01, 0.1, 1.0]} | QUIET | options))

    return find


def test_a_recipe_with_a_rate_of_its_own_is_a_run_at_that_rate(grey, tiny):
    both = [baselines.mdc(name="slow", lr=0.2), baselines.mdc(name="usual")]
    found = condense(grey, both, tiny, **QUIET)
    for name, lr in {"slow": 0.2, "usual": tiny.lr}.items():
        alone = condense(grey, [baselines.mdc()], tiny.replace(lr=lr), **QUIET)["mdc"]
        assert torch.equal(found[name].images, alone.images)
    with pytest.raises(ValueError, match=r"lr must be a number >= 0, got -1"):
        Recipe("bad", lr=-1)


@pytest.mark.filterwarnings("ignore:lr .* of the rates tried")
def test_the_search_is_repeatable_and_does_not_see_the_test_images(find, grey):
    other = replace(grey, x_test=255 - grey.x_test)
    found = find()
    pd.testing.assert_frame_equal(find(data=other).table, found.table)
    assert list(found.table.columns) == ["lr", "accuracy", "loss", "note"]
    assert found.table["lr"].tolist() == [0, 0.01, 0.1, 1]
    assert found.table["note"].tolist() == ["real images", "", "", ""]
    assert found.table["accuracy"].between(0, 100).all()
    assert found.lr in (0.01, 0.1, 1)
    assert str(found).startswith(f"lr {found.lr:g}\n")


def test_a_network_that_diverges_on_a_prefix_costs_its_rate(find, monkeypatch):
    def fail(*_):
        raise DivergenceError("a network gave NaN")

    monkeypatch.setattr(sys.modules["mdckit.condense"], "subset_accuracies", fail)
    with pytest.raises(DivergenceError, match=r"^all of these .* diverge, recipe '0\.01': a network gave NaN: give"):
        find(recipe=baselines.mdc(metric="accuracy"))


@pytest.mark.filterwarnings("ignore:lr .* of the rates tried")
def test_rates_that_diverge_are_left_out_and_the_others_are_as_without_them(find):
    table = find(rates=[0.01, 1e9, 0.1, 1e12, 1.0], show_progress=True).table
    assert table["note"].tolist() == ["real images", "", "", "", "diverged", "diverged"]
    assert table["accuracy"][4:].isna().all()
    pd.testing.assert_frame_equal(table[:4], find().table)


def test_all_rates_may_diverge(find):
    with pytest.raises(DivergenceError, match=r"^all of these learning rates diverge, .*outer loop 1.*: give smaller"):
        find(rates=[1e9, 1e10])


@pytest.mark.filterwarnings("ignore:lr .* of the rates tried")
def test_the_rates_are_around_that_of_the_configuration(find, tiny, capsys):
    config = tiny.replace(lr=0.002, inner=1)
    found = find(config=config, rates=None, outer=1, show_progress=True)
    assert found.table["lr"].tolist() == [0, 6e-05, 0.0002, 0.0006, 0.002, 0.006, 0.02, 0.06]
    assert capsys.readouterr().out.startswith("7 learning rates side by side: about 0:00:")


def test_the_smallest_rate_within_a_point_of_the_best_is_suggested():
    table = pd.DataFrame({"lr": [0, 0.1, 1, 10, 100], "accuracy": [95, 80, 89.5, 90, float("nan")]})
    assert _suggestion(table) == 1
    with pytest.warns(UserWarning, match=r"lr 0\.1 is the smallest of the rates tried: try others around it"):
        assert _suggestion(table.assign(accuracy=[95, 89, 89, 90, 10])) == 0.1
    with pytest.warns(UserWarning, match="lr 100 is the largest"):
        assert _suggestion(table.assign(accuracy=[0, 1, 1, 1, 10])) == 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": []}, r"rates \[\] asked: give numbers > 0"),
        ({"rates": [0.0, 1.0]}, r"rates \[0.0, 1.0\] asked: give numbers > 0"),
        ({"rates": [-1.0]}, "a rate must be a number >= 0, got -1.0"),
        ({"outer": 0}, "outer must be an integer >= 1, got 0"),
    ],
)
def test_bad_arguments_are_named(find, options, message):
    with pytest.raises(ValueError, match=message):
        find(**options)
