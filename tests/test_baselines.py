"""Recipes: what they refuse, and what every prefix counts in their losses."""

import pytest

from mdckit.baselines import Recipe, ablation, all_prefixes, baseline_c, learning_progress, mdc, recipes_by_name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subsets": "some"}, "unknown subset rule 'some': choose one of none, rate, largest, all"),
        ({"freeze": "never"}, "unknown freeze 'never': choose one of released, paper, none"),
        ({"start": -1}, "start must be an integer >= 0, got -1"),
        ({"ipc": 0}, "ipc must be an integer >= 1, got 0"),
        ({"metric": "loss"}, "unknown metric 'loss': choose one of feature, gradient, accuracy"),
        ({"decay": float("inf")}, "decay inf asked: give a finite number"),
        ({"decay": "fast"}, "decay 'fast' asked"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_recipe_without_meaning_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe("wrong", **changes)


def test_unknown_names_of_recipes_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown recipe 'mcd': choose one of all_prefixes, baseline_a"):
        recipes_by_name(["mdc", "mcd"], 10)


@pytest.mark.parametrize("recipe", [baseline_c(), mdc(), *ablation()], ids=lambda recipe: recipe.name)
def test_one_subset_counts_as_much_as_the_whole_set(recipe):
    assert recipe.weights(10, mls=None) == {10: 1.0}
    assert recipe.weights(10, mls=3) == {3: 1.0, 10: 1.0}


@pytest.mark.parametrize("decay", [-1, 0, 0.5, 1, 2])
def test_all_proper_prefixes_together_count_as_much_as_the_whole_set(decay):
    weights = all_prefixes(decay=decay).weights(10, mls=None)
    assert list(weights) == list(range(1, 11))
    assert weights.pop(10) == 1.0
    assert sum(weights.values()) == pytest.approx(1)
    for n, weight in weights.items():
        assert weight == pytest.approx(weights[1] / n**decay)


def test_prefixes_count_by_what_changed_last():
    recipe, rows = learning_progress(), [[1, 9.0, 9.0, 9.0], [5, 4.0, 3.0, 2.0], [10, 2.0, 4.0, 1.0]]
    assert recipe.weights(4, None) == recipe.weights(4, None, rows[:1]) == all_prefixes().weights(4, None)
    third = 1 / 3  # half of it, and half of the shares 2, 1 and 1 of the changes
    expected = {1: (third + 0.5) / 2, 2: (third + 0.25) / 2, 3: (third + 0.25) / 2, 4: 1.0}
    assert recipe.weights(4, None, rows) == pytest.approx(expected)
    assert recipe.weights(4, None, [rows[0], [5, *rows[0][1:]]]) == all_prefixes().weights(4, None)  # nothing changed
    falling = learning_progress(decay=1).weights(4, None, rows)
    assert falling == pytest.approx({1: (6 / 11 + 0.5) / 2, 2: (3 / 11 + 0.25) / 2, 3: (2 / 11 + 0.25) / 2, 4: 1.0})
    assert recipe.weights(1, None, [[1], [5]]) == {1: 1.0}


def test_gradient_distances_of_all_prefixes_are_measured_without_counting():
    assert mdc(metric="gradient").weights(4, mls=2) == {1: 0.0, 2: 1.0, 3: 0.0, 4: 1.0}
    assert list(mdc(metric="gradient").weights(4, mls=2)) == [1, 2, 3, 4]


def test_the_whole_set_stands_alone_where_it_is_one_image():
    assert all_prefixes().weights(1, mls=None) == {1: 1.0}
