"""A condensation watched and controlled on the screen, as the notebook 16_live shows it."""

import re
import time

import numpy as np
import pytest

from mdckit import CondensedSet
from mdckit.files import load_tensors

from .tab import PATIENCE

SMALL = {"inner": 4, "period": 10, "width": 8, "net_images": 32, "batch_real": 8}
TEST = {"epochs": 5, "evaluations": 1, "seeds": [0]}
CELLS = range(5)  # up to the one that starts the run
GALLERY, LOSS = 0, 2
AT = r"(before|in|after) outer loop (\d+) of \d+(?:, inner iteration (\d+) of 4)?"


@pytest.fixture
def live(tab):
    """The notebook's widget, while a run without end is under way; `tab.folder` has its results."""

    def live(outer=100_000, ipc=3, test=TEST):
        tab.open("16_live", {"dataset": "digits", "ipc": ipc, "condense": SMALL | {"outer": outer}, "test": test})
        begin()

    def begin():
        for number in [*CELLS, len(CELLS)]:  # one more: the cell of the injected parameters
            tab.run_cell(number)

    live.begin = begin
    return live


def place(text):
    """Inner iterations done, from the words on the screen."""
    where, loop, inner = re.search(AT, text).groups()
    return 4 * (int(loop) - (where != "after")) + int(inner or 0)


def shown(tab, state, beyond=-1):
    """Wait until the screen tells a state, and a place in the run beyond another; returns the place."""
    end = time.monotonic() + PATIENCE / 1000
    while (there := place(tab.wait_for_text(f"{state} {AT}"))) <= beyond:
        assert time.monotonic() < end, f"{state} at {there}, not beyond {beyond}"
        tab.page.wait_for_timeout(100)
    return there


def drawn(tab):
    """Wait until the pictures are those of the moment at which the run keeps still."""
    while tab.ask("run.on_step.__self__._drawn['loss'] == run.moment.done") != "True":
        tab.page.wait_for_timeout(100)
    tab.page.wait_for_timeout(500)


def top(tab):
    tab.button("Pause").evaluate("e => e.scrollIntoView({block: 'start'})")


def test_the_pictures_and_the_numbers_grow(tab, live):
    live(outer=400, ipc=10, test=TEST | {"epochs": 40})
    first, loss = shown(tab, "running"), tab.picture(tab.image(LOSS))
    gallery = tab.picture(tab.image(GALLERY))
    tab.wait_for_change(tab.image(LOSS), loss)
    tab.wait_for_change(tab.image(GALLERY), gallery)
    tab.wait_for_text(r"\d+:\d\d:\d\d left")
    tab.page.wait_for_function("() => document.querySelectorAll('img.widget-image').length == 4")
    for number in range(4):  # the images, the subset, the loss and the accuracy by size
        tab.picture(tab.image(number))
    shown(tab, "running", beyond=first + 24)
    top(tab)
    tab.screenshot("live_running")


def test_pause_freezes_what_is_shown_and_resume_goes_on(tab, live):
    live()
    shown(tab, "running")
    tab.press("Pause")
    held = shown(tab, "paused")
    drawn(tab)
    before = [tab.picture(tab.image(number)) for number in (GALLERY, LOSS)]
    tab.page.wait_for_timeout(2000)
    for number, picture in zip((GALLERY, LOSS), before, strict=True):
        assert np.array_equal(tab.picture(tab.image(number)), picture)
    assert shown(tab, "paused") == held == int(tab.ask("run.moment.done"))
    assert tab.button("Pause").is_disabled()
    top(tab)
    tab.screenshot("live_paused")
    tab.press("Resume")
    shown(tab, "running")
    tab.wait_for_change(tab.image(LOSS), before[1])
    shown(tab, "running", beyond=held)


def test_stop_answers_within_half_a_second_and_leaves_a_checkpoint(tab, live):
    live()
    answers = []
    for _ in range(3):  # a machine that does other work at the same time may be late now and then
        shown(tab, "running")
        tab.press("Stop")
        kept = shown(tab, "stopped")
        said = tab.wait_for_text(r"answered in [\d.]+ s; checkpoint \S+safetensors")
        answered, path = re.match(r"answered in ([\d.]+) s; checkpoint (\S+)", said).groups()
        assert float(tab.ask("run.answered")) == pytest.approx(float(answered), abs=0.01)
        answers.append(float(answered))
        if len(answers) < 3:
            tab.press("Resume")
    assert min(answers) < 0.5
    assert tab.ask("run.wait(30)") == "True"
    _, info = load_tensors(tab.folder / path, "checkpoint")
    assert 4 * info["outer"] == kept
    assert tab.button("Stop").is_disabled()
    top(tab)
    tab.screenshot("live_stopped")


def test_a_reloaded_page_shows_the_run_that_goes_on(tab, live):
    live()
    first = shown(tab, "running")
    tab.reload()
    second = shown(tab, "running", beyond=first)
    loss = tab.picture(tab.image(LOSS))
    tab.wait_for_change(tab.image(LOSS), loss)
    tab.press("Pause")
    assert shown(tab, "paused") >= second
    top(tab)
    tab.screenshot("live_reloaded")


def test_a_fresh_kernel_resumes_from_the_checkpoint_and_finishes(tab, live):
    live(outer=24)
    shown(tab, "running", beyond=4)
    tab.press("Stop")
    kept = shown(tab, "stopped")
    assert 4 <= kept < 96
    tab.restart()
    live.begin()
    tab.wait_for_text("finished after outer loop 24 of 24", within=600)
    assert int(tab.ask("run.iterations")) == 96 - kept
    same = "mdckit.condense(data, recipes, config, show_progress=False)['mdc'].images.equal(run.sets['mdc'].images)"
    assert tab.ask(same) == "True"  # as the unbroken run
    assert tab.button("Resume").is_disabled()
    top(tab)
    tab.screenshot("live_finished")


def test_save_now_writes_the_file_that_is_named_on_the_screen(tab, live):
    live()
    shown(tab, "running")
    tab.press("Save now")
    said = tab.wait_for_text(r"saved \S+mdc\S+safetensors, \S+baseline_c\S+safetensors")
    paths = [tab.folder / path for path in said.removeprefix("saved ").split(", ")]
    for path in paths:
        made = CondensedSet.load(path)
        assert made.ipc == 3
        assert path.stem.endswith(f"_{made.info['outer']:04d}_{made.info['inner']:03d}")
    top(tab)
    tab.screenshot("live_saved")
    shown(tab, "running", beyond=4 * made.info["outer"] + made.info["inner"])


def test_the_other_set_can_be_looked_at_and_a_second_run_of_the_cell_ends_the_first(tab, live):
    live()
    shown(tab, "running", beyond=8)  # MDC goes a way of its own from the second outer loop on
    tab.press("Pause")
    shown(tab, "paused")
    drawn(tab)
    mdc = tab.picture(tab.image(GALLERY))
    tab.press("Baseline C")
    tab.wait_for_change(tab.image(GALLERY), mdc)
    tab.screenshot("live_baseline_c")
    tab.ask("globals().update(first=run)")
    tab.run_cell(len(CELLS))
    shown(tab, "running")
    assert tab.ask("(first.state, run.state in ('running', 'testing'))") == "('stopped', True)"
