"""Figures show what they are given, results make tables, and widgets redraw."""

import io

import matplotlib.figure
import numpy as np
import pytest
import torch
from PIL import Image

from mdckit import CondenseConfig, CondensedSet, TrainConfig, plots, results, widgets
from mdckit.evaluate import Result

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
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["mdc.safetensors", "result.json"]


def test_failed_save_names_the_checkpoint_that_is_kept(tmp_path, condensed):
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(b"kept")
    (tmp_path / "result.json").mkdir()  # no file can be put there
    with pytest.raises(OSError, match=r"cannot write .*result\.json.*checkpoint is kept in .*checkpoint\.safetensors"):
        results.save(tmp_path, {}, {"mdc": condensed}, checkpoint)
    assert checkpoint.read_bytes() == b"kept"
    assert not list(tmp_path.glob(".*"))


def test_slider_redraws_picture_and_text(condensed):
    box = widgets.ipc_explorer(condensed, RECORD, "mdc")
    slider, text, picture = box.children
    before = picture.value
    slider.value = 2
    assert picture.value != before
    assert "2 of 2 images per class = 4 images" in text.value
    assert "50.0 ± 1.0 %" in text.value
    shown = np.asarray(Image.open(io.BytesIO(picture.value)))
    assert len(np.unique(shown)) > 50
