"""A run under control: exact whatever interrupts it, quick to answer, and shown as it is."""

import gc
import io
import os
import subprocess
import sys
import threading
import time
import traceback
from itertools import pairwise
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from mdckit import CondenseConfig, CondensedSet, TrainConfig, baselines, condense, files, load, plots, start
from mdckit.checkpoint import RunState, SetState
from mdckit.interactive import live, live_plots, run
from mdckit.interactive.control import Controlled
from mdckit.interactive.moment import Moment, still
from mdckit.interactive.run import Run
from mdckit.streams import RealImages

RECIPES = [baselines.mdc(), baselines.mdc(name="class_wise", class_wise=True), baselines.baseline_c()]
TEST = TrainConfig(epochs=2, evaluations=1, seeds=(0, 1), width=4, depth=2)
LIMIT = 60  # seconds until a thread counts as hanging


@pytest.fixture(autouse=True)
def no_threads_left():
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("work on ")]
    assert not left


@pytest.fixture
def make(grey, tiny, tmp_path):
    """A run of the tiny data, stopped at the end of the test."""
    made = []

    def make(recipes=RECIPES, config=tiny, **options):
        made.append(Run(grey, recipes, config, **({"checkpoint": tmp_path / "run.safetensors"} | options)))
        return made[-1]

    yield make
    for one in made:
        one.stop()
        assert one.wait(LIMIT)


@pytest.fixture(scope="module")
def whole(grey, tiny):
    """The sets of the unbroken run."""
    return condense(grey, RECIPES, tiny, device="cpu", show_progress=False)


def assert_identical(found, wanted):
    assert list(found) == list(wanted)
    for name, one in wanted.items():
        assert torch.equal(found[name].images, one.images), name
        for key in ("mls_trace", "losses", "feature_distances", "outer"):
            assert found[name].info[key] == one.info[key], (name, key)


def at(one, iteration, act):
    """Act after so many iterations, in the thread that works."""
    one.on_step = lambda: act() if one.iterations == iteration else None


def finished(one):
    assert one.wait(LIMIT)
    assert (one.state, one.error) == ("finished", None)
    return one.sets


# --- exact, whatever happens


@pytest.mark.parametrize("background", [True, False])
def test_a_run_with_tests_on_the_way_gives_the_sets_of_condense(make, whole, background):
    one = make(evaluation=TEST, sizes=[1, 3])
    one.start() if background else one.work(show_progress=False)
    assert_identical(finished(one), whole)
    assert [t for t, _ in one.moment.tests] == [0, 1, 2, 3]
    assert set(one.seconds) == {"condensing", "testing"}
    assert one.iterations == 6


def test_a_run_uses_as_many_cores_as_the_thread_that_starts_it(make, grey, tiny):
    torch.set_num_threads(2)
    try:
        wanted = condense(grey, RECIPES, tiny, device="cpu", show_progress=False)
        one = make()
        one.start()
        assert_identical(finished(one), wanted)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("same_object", [True, False])
@pytest.mark.parametrize("iteration", [1, 2, 3, 4, 5, 6])
def test_a_stopped_run_goes_on_bit_for_bit(make, whole, iteration, same_object):
    """It stops after any iteration, and is back at the end of the outer loop before."""
    one = make()
    at(one, iteration, one.stop)
    one.start()
    assert one.wait(LIMIT)
    loops = iteration // 2
    assert (one.state, one.moment.state.outer, one.moment.inner) == ("stopped", loops, 0)
    assert one.checkpoint.is_file()
    one.on_step = lambda: None
    other = one if same_object else make()
    assert_identical_state(other.moment, one.moment)
    other.resume()
    assert_identical(finished(other), whole)
    assert other.iterations == 6 - 2 * loops + (iteration if same_object else 0)


def assert_identical_state(found, wanted):
    for name, s in wanted.state.sets.items():
        assert torch.equal(found.state.sets[name].images, s.images)
        assert found.state.sets[name].losses == s.losses


def test_a_paused_run_keeps_still_and_goes_on_bit_for_bit(make, whole):
    one, states = make(), []
    one.on_state = lambda: states.append(one.state)
    at(one, 3, one.pause)
    one.start()
    wait_for(one, "paused")
    before = one.moment
    assert (before.state.outer, before.inner) == (1, 1)
    assert one.words == "paused in outer loop 2 of 3, inner iteration 1 of 2"
    time.sleep(0.3)
    assert one.moment is before
    one.pause()  # twice is once
    one.start()  # under way already
    assert one.state == "paused"
    one.resume()
    assert_identical(finished(one), whole)
    assert states == ["running", "pausing", "paused", "running", "finished"]


LEAVING = """
import mdckit
from mdckit import baselines
from mdckit.interactive.run import Run

config = mdckit.CondenseConfig.preset("digits", "quick", ipc=2, outer=1000, inner=2, period=1, width=8)
running, paused = (
    Run(mdckit.load("digits"), [baselines.mdc()], config, checkpoint=f"{name}.safetensors", device="cpu")
    for name in ("running", "paused")
)
paused.on_step = lambda: paused.pause() if paused.iterations == 3 else None
paused.start()
running.start()
while paused.state != "paused" or running.moment.state.outer < 2:
    running.wait(0.05)
"""


def test_a_process_that_ends_leaves_runs_that_another_goes_on_with(tmp_path):
    """Without hanging and without a word, whether they are running or paused."""
    path = os.pathsep.join([str(Path(run.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([sys.executable, "-c", LEAVING], env=os.environ | {"PYTHONPATH": path}, **options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    digits, mdc = load("digits"), [baselines.mdc()]
    config = CondenseConfig.preset("digits", "quick", ipc=2, inner=2, period=1, width=8)
    for name in ("running", "paused"):
        checkpoint = tmp_path / f"{name}.safetensors"
        loops = files.load_tensors(checkpoint, "checkpoint")[1]["outer"]
        assert loops == 1 if name == "paused" else loops >= 2
        longer = config.replace(outer=loops + 1)
        again = Run(digits, mdc, longer, checkpoint=checkpoint, device="cpu")
        again.work(show_progress=False)
        assert again.iterations == 2
        assert_identical(again.sets, condense(digits, mdc, longer, device="cpu", show_progress=False))


# --- answers


def wait_for(one, state):
    end = time.monotonic() + LIMIT
    while one.state != state:
        assert time.monotonic() < end, f"{one.state}, not {state}"
        time.sleep(0.01)


def test_stop_does_not_wait_for_the_iteration(make, monkeypatch):
    """Here the network learns from batches without end."""
    batches = RealImages.network_batches

    def endless(self, t, e):
        reached.set()
        while True:
            yield from batches(self, t, e)

    reached = threading.Event()
    monkeypatch.setattr(RealImages, "network_batches", endless)
    one = make()
    one.start()
    assert reached.wait(LIMIT)
    one.stop()
    assert one.wait(LIMIT)
    assert (one.state, one.words) == ("stopped", "stopped before outer loop 1 of 3")
    assert one.answered < 0.5


@pytest.mark.parametrize("act", ["stop", "pause"])
def test_a_test_on_the_way_is_given_up_too(make, monkeypatch, whole, act):
    begun, asked = threading.Event(), []
    evaluate_many = run.evaluate_many

    def slow(sets, data, config, **options):
        asked.append(len(sets))
        begun.set()
        while len(asked) == 1 and not options["stopped"]():
            time.sleep(0.01)
        return evaluate_many(sets, data, config, **options)

    monkeypatch.setattr(run, "evaluate_many", slow)
    one = make(evaluation=TEST, sizes=[1], every=3)
    one.start()
    assert begun.wait(LIMIT)
    assert one.state == "testing"
    getattr(one, act)()
    wait_for(one, {"stop": "stopped", "pause": "paused"}[act])
    assert one.moment.tests == ()
    one.resume()
    assert_identical(finished(one), whole)
    assert [t for t, _ in one.moment.tests] == [0, 3]
    assert asked == [3, 3, 3]


def test_an_interrupt_in_this_thread_stops_with_a_checkpoint(make, whole):
    def interrupt():
        raise KeyboardInterrupt

    one = make()
    at(one, 3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        one.work(show_progress=False)
    assert one.words == "stopped after outer loop 1 of 3"
    other = make()
    other.work(show_progress=False)
    assert other.iterations == 4
    assert_identical(other.sets, whole)


def test_an_error_in_the_background_is_kept_and_the_run_can_go_on(make, monkeypatch, whole):
    save, calls = run.save_checkpoint, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 3:  # at the start, after loop 1, after loop 2
            raise OSError(28, "No space left on device")
        return save(*arguments)

    monkeypatch.setattr(run, "save_checkpoint", full)
    one = make()
    view = live.View(one)
    one.start()
    assert one.wait(LIMIT)
    assert one.state == "failed"
    assert one.words == "failed after outer loop 1 of 3: OSError: [Errno 28] No space left on device"
    assert "in full" in "".join(traceback.format_exception(one.error))
    assert one.words in view.text.value
    assert view.bar.bar_style == "danger"
    view.buttons["resume"].click()
    assert_identical(finished(one), whole)
    calls[:] = [None, None]
    other = make(checkpoint=one.checkpoint.with_name("other"))
    with pytest.raises(OSError, match="No space"):
        other.work(show_progress=False)


def test_a_run_on_the_same_checkpoint_stops_the_one_before(make, tiny, whole):
    """As when a cell is run again, and when Resume is pressed in the widget of the older one."""
    older = make(config=tiny.replace(outer=1000))
    older.start()
    newer = make(config=tiny.replace(outer=1001))
    assert (older.state, older.wait(0)) == ("stopped", True)
    newer.start()
    older.resume()
    assert (newer.state, newer.wait(0)) == ("stopped", True)
    other = make(checkpoint=older.checkpoint.with_name("other"))
    other.start()
    assert_identical(finished(other), whole)
    assert older.state == "running"


def test_fifty_starts_and_stops_leave_no_thread(make, tiny):
    one, before = make(config=tiny.replace(outer=10**6)), threading.active_count()
    for n in range(50):
        one.start()
        if n % 2:
            one.pause()
        one.stop()
        assert one.wait(LIMIT)
        assert one.state == "stopped"
    assert threading.active_count() == before


def test_start_over_keeps_the_checkpoint_beside_the_new_one(make, whole):
    one = make()
    one.start()
    finished(one)
    before = one.checkpoint.read_bytes()
    one.start_over()
    assert_identical(finished(one), whole)
    assert one.iterations == 6
    assert one.checkpoint.with_name("run.safetensors.old").read_bytes() == before


# --- what there is on the way


def test_saved_sets_are_those_of_the_moment(make, whole):
    one = make()
    at(one, 3, one.pause)
    one.start()
    wait_for(one, "paused")
    paths = one.save()
    assert [path.name for path in paths] == [f"{recipe.name}_0001_001.safetensors" for recipe in RECIPES]
    now = {path.name.split("_0001")[0]: CondensedSet.load(path) for path in paths}
    for name, made in one.sets.items():
        assert torch.equal(now[name].images, made.images)
        assert not torch.equal(made.images, whole[name].images)
        assert (now[name].info["outer"], now[name].info["inner"]) == (1, 1)
        assert now[name].info["recipe"]["name"] == name
    assert not list(one.checkpoint.parent.rglob(".*"))


def test_the_time_left_is_that_of_the_pace_so_far(make):
    one = make(evaluation=TEST, every=2)
    assert one.left is None
    one.iterations, one.seconds = 4, {"condensing": 20.0, "testing": 3.0}
    state = still(one.moment.state)
    state.outer = 1
    one.moment = Moment(one.config, state, inner=1, tests=((0, {}),))
    assert one.left == (3 * 2 - 3) * 5 + 2 * 3  # iterations of 5 s, and tests after loops 2 and 3
    assert one.words == "ready in outer loop 2 of 3, inner iteration 1 of 2"


def test_accuracies_are_told_for_every_test_size_and_seed(make):
    one = make(evaluation=TEST, sizes=[1, 3], every=3)
    one.work(show_progress=False)
    rows = one.moment.accuracies
    assert list(rows.columns) == ["outer", "method", "ipc", "seed", "accuracy"]
    assert len(rows) == 2 * 3 * 2 * 2
    assert rows.outer.tolist() == [0] * 12 + [3] * 12
    (_, first), _ = one.moment.tests
    assert rows.query("outer == 0 and method == 'mdc' and ipc == 3").accuracy.tolist() == list(first["mdc", 3].last)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": [4], "evaluation": TEST}, r"sizes \[4\] asked of 3 images per class: give numbers from 1 to 3"),
        ({"sizes": []}, r"sizes \[\] asked"),
        ({"sizes": [0]}, "a size must be an integer >= 1, got 0"),
        ({"every": 0}, "every must be an integer >= 1, got 0"),
        ({"recipes": []}, "give one or more"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"evaluation": TrainConfig(augment="jitter")}, "grey"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(make, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
    assert not list(tmp_path.iterdir())


def test_sizes_are_a_few_up_to_the_largest(make, tiny):
    assert make().sizes == [1, 2, 3]
    assert make(config=tiny.replace(ipc=2)).sizes == [1, 2]
    assert make(config=tiny.replace(ipc=10, factor=1, batch_syn_max=40)).sizes == [1, 2, 5, 10]


def test_the_checkpoint_of_another_run_is_refused(make, tiny):
    make().work(show_progress=False)
    with pytest.raises(ValueError, match="belongs to another run \\(seed: 0 there, 1 here\\)"):
        make(config=tiny.replace(seed=1))


# --- the widget


def colours(picture):
    return len(np.unique(np.asarray(Image.open(io.BytesIO(picture.value)).convert("RGB")).reshape(-1, 3), axis=0))


class Watched:
    """When each picture of a view was redrawn."""

    def __init__(self, view):
        self.times = {name: [] for name in view.pictures}
        for name, picture in view.pictures.items():
            picture.observe(lambda _, name=name: self.times[name].append(time.perf_counter()), names="value")


def test_pictures_are_redrawn_at_most_twice_a_second_and_end_with_the_last_state(make, tiny):
    one = make(config=tiny.replace(outer=10**6), evaluation=TEST.replace(epochs=1, seeds=(0,)), sizes=[1], every=100)
    view = live.View(one)
    first, watched = {name: picture.value for name, picture in view.pictures.items()}, Watched(view)
    one.start()
    times = watched.times["gallery"]
    wait_until(lambda: len(times) >= 3 and watched.times["accuracy"])
    one.stop()
    assert one.wait(LIMIT)
    assert view.error is None
    assert one.iterations > len(times)
    assert min(after - before for before, after in pairwise(times)) >= live.INTERVAL - 0.01
    assert len(watched.times["accuracy"]) <= 1 + one.moment.state.outer // 100
    assert view.pictures["gallery"].value == live._png(live_plots.gallery(one.moment, "mdc"))
    assert all(picture.value != first[name] for name, picture in view.pictures.items())
    assert all(colours(picture) > 5 for picture in view.pictures.values())


def test_buttons_do_what_they_say_and_only_what_is_possible(make):
    one = make()
    view = live.View(one)
    at(one, 3, view.buttons["pause"].click)

    def possible():
        return [name for name, button in view.buttons.items() if not button.disabled]

    one.start()
    wait_for(one, "paused")
    wait_until(lambda: "paused in outer loop 2 of 3, inner iteration 1 of 2" in view.text.value)
    wait_until(lambda: possible() == ["resume", "stop", "save"])
    assert view.bar.value == 3
    view.buttons["save"].click()
    assert str(one.checkpoint.parent / "saved" / "mdc_0001_001.safetensors") in view.message.value
    view.buttons["stop"].click()
    assert one.wait(LIMIT)
    assert "stopped after outer loop 1 of 3" in view.text.value
    assert f"checkpoint {one.checkpoint}" in view.message.value
    assert possible() == ["resume", "save", "start_over"]
    assert view.bar.value == 2
    view.buttons["resume"].click()
    finished(one)
    assert "finished after outer loop 3 of 3" in view.text.value
    assert possible() == ["save", "start_over"]
    assert all(button.tooltip for button in view.buttons.values())


def wait_until(true):
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_set_to_look_at_can_be_chosen(make):
    one = make()
    view = live.View(one)
    one.start()
    finished(one)
    shown = view.pictures["gallery"].value
    view.shown.value = "baseline_c"
    assert view.pictures["gallery"].value != shown
    assert view.pictures["mls"].layout.display == "none"  # it has none
    assert view.pictures["accuracy"].layout.display == "none"  # nothing was tested
    view.shown.value = "mdc"
    assert view.pictures["gallery"].value == shown
    assert view.pictures["mls"].layout.display is None


def test_a_picture_that_cannot_be_drawn_does_not_end_the_run(make, monkeypatch, whole):
    one = make()
    view = live.View(one)
    monkeypatch.setattr(live_plots, "losses", lambda moment: 1 / 0)
    one.start()
    assert_identical(finished(one), whole)
    assert isinstance(view.error, ZeroDivisionError)
    assert "a picture could not be drawn, ZeroDivisionError: division by zero" in view.message.value


def test_what_a_button_cannot_do_is_told(make):
    one = make()
    view = live.View(one)
    (one.checkpoint.parent / "saved").write_text("in the way")
    view.buttons["save"].click()
    assert "Error" in view.message.value
    assert "saved" in view.message.value
    assert "&" not in view.message.value.replace("&#x27;", "")


def test_the_widget_of_the_run_before_is_closed_with_all_its_parts(grey, tiny, tmp_path, monkeypatch):
    boxes, alive = [], []
    monkeypatch.setattr(live, "display", boxes.append)
    monkeypatch.setattr(Controlled, "_run", lambda self, steps: None)
    for _ in range(3):
        assert live.condense(grey, RECIPES, tiny, checkpoint=tmp_path / "run", headless=False).wait(LIMIT)
        gc.collect()
        widgets = [one for one in gc.get_objects() if issubclass(type(one), ipywidgets.Widget)]
        alive.append(sum(widget.comm is not None for widget in widgets))
    assert alive[0] == alive[1] == alive[2] > 10
    assert [box.comm is not None for box in boxes] == [False, False, True]


@pytest.mark.parametrize(
    ("argument", "variable", "background"),
    [(None, "", True), (None, "1", False), (True, "", False), (False, "1", True)],
)
def test_headless_is_chosen_by_argument_or_variable(
    grey, tiny, tmp_path, monkeypatch, capsys, argument, variable, background
):
    shown, workers = [], []
    monkeypatch.setenv("MDCKIT_HEADLESS", variable)
    monkeypatch.setattr(live, "display", shown.append)
    monkeypatch.setattr(Controlled, "_run", lambda self, steps: workers.append(threading.current_thread()))
    made = live.condense(grey, RECIPES, tiny, checkpoint=tmp_path / "run.safetensors", headless=argument)
    assert made.wait(LIMIT)
    assert (workers[0] is threading.main_thread()) == (not background)
    assert len(shown) == background
    assert ("checkpoint" in capsys.readouterr().out) == (not background)


def test_headless_is_yes_or_no(grey, tiny, tmp_path):
    with pytest.raises(ValueError, match="unknown headless 'yes'"):
        live.condense(grey, RECIPES, tiny, checkpoint=tmp_path / "run.safetensors", headless="yes")


# --- its pictures


@pytest.fixture(scope="module")
def seen(grey, tiny, tmp_path_factory):
    """The last moment of a run."""
    options = {"checkpoint": tmp_path_factory.mktemp("seen") / "run", "evaluation": TEST, "sizes": [1, 3], "every": 3}
    one = Run(grey, RECIPES, tiny, **options)
    one.work(show_progress=False)
    return one.moment


def test_losses_are_means_of_loops_and_single_iterations(seen):
    (ax,) = live_plots.losses(seen).axes
    lines = [line.get_xydata().tolist() for line in ax.lines]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "MDC",
        "class_wise",
        "Baseline C (one condensation)",
    ]
    means, dots = lines[:3], lines[3:]
    for s, of_loops, of_iterations in zip(seen.state.sets.values(), means, dots, strict=True):
        assert of_loops == [[t, loss] for t, loss in enumerate(s.losses, start=1)]
        assert [x for x, _ in of_iterations] == [0.5, 1, 1.5, 2, 2.5, 3]
        assert np.mean([y for _, y in of_iterations[:2]]) == pytest.approx(s.losses[0])
    assert ax.get_xlim() == (0, 3)


def test_accuracies_are_the_last_ones_over_dotted_first_ones(seen):
    (ax,) = live_plots.accuracies(seen, TEST).axes
    rows = seen.accuracies.groupby(["outer", "method", "ipc"], sort=False)["accuracy"].mean()
    for line, (t, name) in zip(ax.lines, [(t, recipe.name) for t in (3, 0) for recipe in RECIPES], strict=True):
        assert line.get_ydata().tolist() == pytest.approx(rows[t, name].tolist())
        assert line.get_linestyle() == ("-" if t else ":")
    assert ax.get_title(loc="left") == "after outer loop 3; dotted: real images, before the first loop"
    assert ax.get_ylabel() == "test accuracy, %\n(2 epochs, 2 seeds)"


@pytest.mark.parametrize("name", ["mdc", "class_wise"])
def test_choices_are_drawn_as_the_mean_over_the_classes(seen, name):
    (ax,) = live_plots.choices(seen, name).axes
    histories = seen.state.sets[name].subsets
    wanted = np.mean([[n for _, n in history.trace] for history in histories], axis=0)
    assert ax.lines[0].get_ydata().tolist()[:3] == wanted.tolist()
    assert ax.lines[0].get_xdata().tolist() == [2, 3, 4, 4]


def test_before_the_first_loop_there_are_axes(grey, tiny):
    moment = Moment(tiny.replace(outer=50), still(start(grey, RECIPES, tiny)))
    (loss,), (mls,) = live_plots.losses(moment).axes, live_plots.choices(moment, "mdc").axes
    assert loss.get_xlim() == (0, 20)  # room for the first loops
    assert mls.get_xlim() == (1, 21)
    assert plots.png(loss.figure)[:4] == plots.png(mls.figure)[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((10, 10, 1, 8, 8), (267, 267)),
        ((10, 10, 1, 28, 28), (298, 298)),
        ((10, 1, 1, 28, 28), (28, 298)),
        ((100, 50, 3, 32, 32), (300, 300)),
        ((10, 10, 3, 224, 224), (300, 300)),
    ],
)
def test_galleries_of_all_sizes_fit(grey, tiny, shape, size):
    state = RunState(0, {"mdc": SetState(torch.rand(shape), torch.empty(0), ())})
    assert live_plots.gallery(Moment(tiny, state), "mdc").size == size
