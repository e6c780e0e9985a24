"""The pruning explorer, driven as by a user: what it outlines and counts is what the selection keeps."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from screens import dimmed, filled, outlined, said, tree, words

import mdckit
from mdckit import CondensedSet, TrainConfig, scores
from mdckit.interactive import mosaic
from mdckit.interactive.pruning_explorer import KEPT, score_edges
from mdckit.pruning import selection

SHORT = TrainConfig(epochs=8, width=4, depth=1)
LBPE = {"epochs": 6, "top": 2}


@pytest.fixture(scope="module")
def condensed():
    images = torch.rand(3, 4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return CondensedSet(images, 2, (0.5,), (0.5,), ("a", "b", "c"))


@pytest.fixture(scope="module")
def log(condensed):
    return mdckit.record_dynamics(condensed, SHORT, show_progress=False)


@pytest.fixture
def explorer(condensed, log):
    return mdckit.explore_pruning(condensed, log, LBPE)


def cells(view):
    """The box of every cell, in the order of the patches."""
    grid = mosaic.Grid.fit(["a", "b", "c"], ["x"], 4, (16, 16), right=60)
    half = grid.wide / 2
    assert (grid.lines, grid.tall) == (1, grid.wide)
    return [
        (grid.x(i) + right * half, grid.y(c, 0, 0) + down * half, half, half)
        for c in range(3)
        for i in range(4)
        for down in (0, 1)
        for right in (0, 1)
    ]


@pytest.mark.parametrize("keep", ["easy", "hard"])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("name", ["lbpe", "aum", "herding"])
def test_the_selections_cells_are_outlined_and_all_others_dimmed(explorer, condensed, log, name, balanced, keep):
    explorer.ipc.value, explorer.score.value = 2, name
    explorer.balanced.value, explorer.keep.value = balanced, keep
    score = scores.by_name(name, condensed, log, **(LBPE if name == "lbpe" else {}))
    chosen = selection.by_score(condensed, score, 2, balanced=balanced, keep=keep)
    kept = sorted(chosen.info["selected"]["patches"])
    assert len(kept) == 24
    inner = [(x + 1, y + 1, w - 2, h - 2) for x, y, w, h in np.array(cells(explorer))[kept]]
    assert outlined(explorer._gallery, KEPT) == inner
    assert dimmed(explorer._gallery) == [cells(explorer)[i] for i in range(48) if i not in kept]
    counts = chosen.patches_per_class
    assert words(explorer._gallery) == [f"{count} kept" for count in counts]
    assert said(explorer)[0].startswith(f"24 of 48 patches kept, {min(counts)} to {max(counts)} of a class")
    assert (said(explorer)[0].endswith("without any")) == (0 in counts)


def test_the_bars_are_as_high_as_what_is_kept(explorer, condensed, log):
    explorer.ipc.value, explorer.balanced.value, explorer.score.value = 3, False, "aum"
    kept = explorer.kept()
    chart = explorer._totals
    per_patch = chart.y(0) - chart.y(1)
    bars = filled(explorer._counts, KEPT)
    expected = [int(part.sum()) for part in kept.split(16)]
    assert [round(h / per_patch, 1) for *_, h in bars] == pytest.approx(expected, abs=0.1)
    assert [chart.x(c - 0.4) for c in range(3)] == [x for x, *_ in bars]
    score = scores.by_name("aum", condensed, log)
    edges = score_edges(score)
    found = [sum(1 for v in score.values[kept].tolist() if a <= v < b) for a, b in pairwise(edges)]
    found[-1] += sum(v == edges[-1] for v in score.values[kept].tolist())
    spread = explorer._spread("aum")
    heights = [h / (spread.y(0) - spread.y(1)) for *_, h in filled(explorer._values, KEPT)]
    assert heights == pytest.approx([n for n in found if n], abs=0.1)


def test_a_choice_that_cannot_be_had_is_told(condensed):
    uneven = condensed.select(torch.arange(46))
    log = mdckit.record_dynamics(uneven, SHORT, show_progress=False)
    view = mdckit.explore_pruning(uneven, log, LBPE)
    assert said(view)[0] == "12 of 46 patches kept, 4 to 4 of a class"
    view.ipc.value = 4
    assert said(view)[0] == "16 patches of every class asked, but class c has 14: select unbalanced or fewer"
    assert outlined(view._gallery, KEPT) == []
    assert len(dimmed(view._gallery)) == 46
    view.balanced.value = False
    assert said(view)[0] == "46 of 46 patches kept, 14 to 16 of a class"
    assert dimmed(view._gallery) == []


def test_a_score_that_was_not_recorded_long_enough_is_told(condensed, log):
    view = mdckit.explore_pruning(condensed, log)
    told = "the first 100 epochs asked of dynamics with 8: record more or ask fewer"
    assert said(view)[0] == told
    assert told in view._values.picture.value
    view.score.value = "aum"
    assert said(view)[0].startswith("12 of 48 patches kept")
    assert "Histogram of aum" in view._values.picture.value


def test_accuracies_are_told_where_the_choice_was_measured(condensed, log):
    record = {
        "digest": condensed.digest,
        "seeds": [[0, 0], [0, 1], [1, 0], [1, 1]],
        "accuracy": {"lbpe_balanced": {"1": [50.0, 52.0, 54.0, 56.0]}, "aum": {"2": [30.0, 30.0, 32.0, 32.0]}},
        "config": {"methods": {"lbpe_balanced": {"name": "lbpe"} | LBPE, "aum": {"name": "aum"}}},
    }
    view = mdckit.explore_pruning(condensed, log, LBPE, record)
    assert said(view)[1] == "test accuracy, mean ± std: 53.0 ± 2.2 % (2 runs x 2 seeds)"
    view.balanced.value = False
    assert len(said(view)) == 2  # nothing but the legend
    view.score.value, view.ipc.value, view.keep.value = "aum", 2, "hard"
    assert said(view)[1] == "test accuracy, mean ± std: 31.0 ± 1.0 % (2 runs x 2 seeds)"
    view.ipc.value = 3
    assert said(view)[1] == "test accuracy, mean ± std: accuracy not measured"
    other = mdckit.explore_pruning(condensed, log, {"epochs": 5, "top": 2}, record)
    assert len(said(other)) == 2
    with pytest.raises(ValueError, match="accuracies are of selections of another set"):
        mdckit.explore_pruning(condensed, log, LBPE, record | {"digest": "x"})


def test_dynamics_of_another_set_are_refused(condensed, log):
    with pytest.raises(ValueError, match="training dynamics are of another set"):
        mdckit.explore_pruning(condensed.take(2), log)


def test_classes_are_chosen_as_in_the_explorer(explorer):
    explorer.find.value = "b"
    assert words(explorer._gallery, "picture") == ["b"]
    assert words(explorer._gallery) == ["4 kept"]
    assert len(outlined(explorer._gallery, KEPT)) == 4
    explorer.find.value = "x"
    assert said(explorer)[0].startswith("no class is called 'x': a part of a name")
    root = tree(explorer._gallery.picture.value)
    assert (root.get("role"), root.get("aria-label")) == ("img", "Images of the classes b, up to 4 each.")
