"""Figures show what they are given, results make tables, and widgets redraw."""

import inspect
import io
import re

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mdckit import CondenseConfig, CondensedSet, TrainConfig, plots, results
from mdckit.evaluate import Result
from mdckit.interactive import widgets
from mdckit.papers import paper_plots
from mdckit.pruning import pruning_plots

RECORD = {
    "dataset": "digits",
    "seeds": [0, 1],
    "accuracy": {
        "baseline_c": {"1": [30.0, 32.0], "2": [50.0, 50.0]},
        "mdc": {"1": [40.0, 44.0], "2": [49.0, 51.0]},
    },
    "config": {"train": {"epochs": 100, "evaluations": 4}},
}


@pytest.fixture
def condensed():
    images = torch.rand(2, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return CondensedSet(images, 1, (0.5,), (0.5,), ("zero", "one"))


def test_accuracy_draws_the_mean_of_every_method():
    fig = plots.accuracy(results.accuracies(RECORD), mark=2, title="t")
    (ax,) = fig.axes
    drawn = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in ax.lines}
    assert drawn["MDC"] == [42.0, 50.0]
    assert drawn["Baseline C (one condensation)"] == [31.0, 50.0]
    assert "2 seeds" in ax.get_ylabel()
    assert fig.canvas.manager is None  # not one of pyplot's


def test_accuracy_is_drawn_against_any_column():
    rows = results.accuracies(RECORD).assign(lr=lambda rows: rows["ipc"] * 10)
    (ax,) = plots.accuracy(rows, by="lr").axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert drawn["MDC"] == [[10, 42.0], [20, 50.0]]
    assert ax.get_xlabel() == "lr"


def test_gap_lies_between_two_methods():
    rows = results.accuracies(RECORD)
    fig = plots.accuracy(rows, gap={"lead": ("mdc", "baseline_c")})
    (gap,) = [area for area in fig.axes[0].collections if area.get_label() == "lead"]
    corners = {tuple(corner) for corner in gap.get_paths()[0].vertices.round(6).tolist()}
    assert corners == {(1, 42), (1, 31), (2, 50)}


def test_figures_show_as_pictures_in_a_notebook(condensed):
    fig = plots.gallery(condensed)
    assert isinstance(fig, matplotlib.figure.Figure)
    assert fig._repr_png_()[:4] == b"\x89PNG"
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["zero", "one"]


@pytest.mark.parametrize("columns", [1, 3, 8, 20])
@pytest.mark.parametrize("dpi", [90, 100, 150])
def test_long_class_names_stay_inside_the_figure(columns, dpi):
    fig = plots.image_grid(torch.zeros(10, columns, 3, 32, 32), ["automobile"] * 10)
    picture = np.asarray(Image.open(io.BytesIO(plots.png(fig, dpi=dpi))).convert("L"))
    assert (picture[:, :2] == 255).all()  # a margin at the left, at the bottom and at the right
    assert (picture[-2:] == 255).all()
    assert (picture[:, -2:] == 255).all()


def test_tile_places_dims_and_zooms():
    images = torch.zeros(2, 3, 3, 14, 14)
    images[1, 0, 0] = 1.0
    picture = plots.tile(images, keep=1, zoom=2)
    assert picture.shape == (2 * 30 - 2, 3 * 30 - 2, 3)
    assert picture[30, 0].tolist() == [255, 0, 0]
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[0, 28].tolist() == [255, 255, 255]  # the gap
    assert picture[0, 30].tolist() == [209, 209, 209]  # beyond `keep`: dimmed


def test_mls_trace_steps_from_the_loop_after_the_choice():
    fig = plots.mls_trace([[1, 1], [4, 3]], outer=8, frozen=[0] * 5 + [1] * 3)
    line = fig.axes[0].lines[0]
    assert line.get_xdata().tolist() == [2, 5, 9]
    assert line.get_ydata().tolist() == [1, 3, 3]


def test_every_subset_has_its_line_over_the_outer_loops():
    rising, falling = [[1, 30.0, 40.0], [5, 35.0, 50.0]], [[1, 4.0, 2.0], [5, 3.0, 1.0]]
    (ax,) = plots.over_loops(rising, "test accuracy, %").axes
    assert {line.get_label(): line.get_xydata().tolist() for line in ax.lines} == {
        "S[1]": [[1, 30], [5, 35]],
        "S[2]": [[1, 40], [5, 50]],
    }
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["S[2]", "S[1]"]  # as the lines lie
    (ax,) = plots.over_loops(rising, "test accuracy, %", sizes=[1, 10]).axes
    assert [line.get_label() for line in ax.lines] == ["S[1]", "S[10]"]
    (ax,) = plots.feature_distances(falling).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["S[1]", "S[2]"]
    assert ax.get_yscale() == "log"


def test_accuracy_over_time_marks_when_the_reference_is_reached():
    times = {"baseline_c": {1.0: 40.0, 2.0: 50.0}, "mdc": {1.5: 45.0, 3.0: 51.0, 4.5: 60.0}, "real": {0.0: 30.0}}
    rows = [(name, ipc, t, a + ipc) for name, line in times.items() for t, a in line.items() for ipc in (-1, 1)]
    rows = pd.DataFrame(rows, columns=["method", "ipc", "hours", "accuracy"])
    (ax,) = paper_plots.accuracy_over_time(rows, "hours", reference="baseline_c").axes
    drawn = {line.get_label(): dict(line.get_xydata().tolist()) for line in ax.lines}
    assert [drawn[label] for label in ("Baseline C (one condensation)", "MDC", "real images")] == list(times.values())
    assert [text.get_text().strip() for text in ax.texts] == ["3 hours"]  # MDC's; real images never reach it
    assert ax.get_xlabel() == "time of condensation, hours"


def test_choices_of_every_class_are_written_out():
    fig = paper_plots.mls_choices({"zero": [[1, 1], [4, 3]], "mdc_gradient": [[1, 1], [4, 7]]})
    (ax,) = fig.axes
    assert [text.get_text() for text in ax.texts] == ["1", "3", "1", "7"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "4"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["zero", "MDC by gradient distance"]
    picture = np.asarray(Image.open(io.BytesIO(plots.png(fig))).convert("L"))
    assert all((edge == 255).all() for edge in (picture[-2:], picture[:, :2], picture[:, -2:]))  # nothing is cut off


def test_easy_against_hard_shades_who_is_better():
    accuracy = pd.DataFrame({"easy": [70.0, 68.0, 64.0], "hard": [74.0, 68.0, 58.0]}, index=[0.2, 0.5, 0.8])
    fig = pruning_plots.easy_against_hard({"condensed": accuracy, "real": accuracy + 1})
    above, _, below, _ = fig.axes
    assert [line.get_ydata().tolist() for line in above.lines] == [accuracy["easy"].tolist(), accuracy["hard"].tolist()]
    assert below.lines[0].get_ydata().tolist() == [-4, 0, 6]
    grey, blue = (np.concatenate([path.vertices for path in area.get_paths()])[:, 1] for area in below.collections)
    assert (grey.min(), grey.max(), blue.min(), blue.max()) == (0, 6, -4, 0)
    assert [ax.get_title() for ax in fig.axes[:2]] == ["condensed", "real"]


def test_every_figure_of_the_papers_that_is_data_has_a_function():
    views = [value for module in (plots, pruning_plots, paper_plots) for value in vars(module).values()]
    text = " ".join(" ".join(view.__doc__.split()) for view in views if inspect.isfunction(view) and view.__doc__)
    text = re.sub(r"(\d+) to (\d+)", lambda m: ", ".join(map(str, range(int(m[1]), int(m[2]) + 1))), text)
    for name, figures in {"MDC": "2c 4 5 6 7 8 9 10 11 12 13 14 15", "YOCO": "2 3 5 6 7"}.items():
        named = re.findall(rf"{name} Fig\. ((?:\d+c?(?:, (?=\d))?)+)", text)
        assert set(", ".join(named).split(", ")) == set(figures.split())


def test_table_has_mean_spread_and_average():
    table = results.table(RECORD)
    assert table.loc["mdc"].tolist() == ["42.0 ± 2.0", "50.0 ± 1.0", "46.0"]
    assert list(table.index) == ["baseline_c", "mdc"]
    assert "best of 4 tests in 100 epochs" in results.summary(RECORD)


def test_record_round_trip(tmp_path, condensed):
    from mdckit import load

    done = {"mdc": {1: Result((50.123, 60.0), (40.0, 50.0), 10, 1.0, TrainConfig(seeds=(3, 4)))}}
    named = {"mdc": CondensedSet(condensed.images, 1, (0.5,), (0.5,), ("a", "b"), info={"feature_distances": []})}
    made = results.record(load("digits"), CondenseConfig(ipc=2), TrainConfig(seeds=(3, 4)), named, done, {"all": 1.26})
    path = results.save(tmp_path, made, named)
    again = results.load(path)
    assert again["accuracy"] == {"mdc": {"1": [50.12, 60.0]}}
    assert again["accuracy_last"] == {"mdc": {"1": [40.0, 50.0]}}
    assert again["seconds"] == {"all": 1.3}
    assert again["seeds"] == [3, 4]
    assert (again["test_images"], again["ipc"]) == (350, 2)
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["mdc.safetensors", "result.json"]


def test_a_set_of_another_project_is_recorded_without_settings(condensed):
    from mdckit import load

    foreign = CondensedSet(condensed.images, 1, (0.5,), (0.5,), ("a", "b"), info={"import": {"layout": "mtt"}})
    made = results.record(load("digits"), None, TrainConfig(), {"mtt": foreign}, {}, {})
    assert (made["condenser"], made["ipc"], made["config"]["condense"]) == ("mtt", foreign.ipc, None)
    both = {"mtt": foreign, "mdc": CondensedSet(condensed.images, 1, (0.5,), (0.5,), ("a", "b"))}
    with pytest.raises(ValueError, match="in one result: mtt by mtt, mdc by an unknown method; test them in runs of"):
        results.record(load("digits"), None, TrainConfig(), both, {}, {})


def test_accuracies_by_loop_are_asked_of_a_record_that_has_them():
    with pytest.raises(ValueError, match=r"no accuracies by outer loop .* give a result\.json of 20_over_loops"):
        results.over_loops({"seeds": [0], "accuracy": {}})


def test_failed_save_names_the_checkpoint_that_is_kept(tmp_path, condensed):
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(b"kept")
    (tmp_path / "result.json").mkdir()  # no file can be put there
    with pytest.raises(OSError, match=r"cannot write .*result\.json.*checkpoint is kept in .*checkpoint\.safetensors"):
        results.save(tmp_path, {}, {"mdc": condensed}, checkpoint)
    assert checkpoint.read_bytes() == b"kept"
    assert not list(tmp_path.glob(".*"))


def test_a_slider_redraws_picture_and_text():
    box = widgets.ipc_slider(lambda n: b"picture %d" % n, 3, lambda n: f"{n} of 3")
    controls, text, picture = box.children
    slider, typed = controls.children
    assert (picture.value, text.value) == (b"picture 1", "1 of 3")
    slider.value = 3
    assert (picture.value, text.value, typed.value) == (b"picture 3", "3 of 3", 3)


def test_methods_keep_their_colours_when_some_are_left_out():
    rows = pd.DataFrame({"method": ["x", "y", "z"], "ipc": 1, "seed": 0, "accuracy": 50.0})
    whole = plots.accuracy(rows).axes[0].lines
    (left,) = plots.accuracy(rows[2:], order=["x", "y", "z"]).axes[0].lines
    assert left.get_color() == whole[2].get_color() != whole[0].get_color()


def test_numbers_on_a_logarithmic_axis_are_plain():
    fig = plots.curves({"a": [8.0, 6.5, 5.0]}, "step", "distance", log=True)
    fig.draw_without_rendering()
    (ax,) = fig.axes
    assert {"5", "6", "8"} <= {label.get_text() for label in ax.get_yticklabels(which="both")}
