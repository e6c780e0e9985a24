"""A condensation to watch while it grows, with buttons to pause, stop and resume it."""

import html
import io
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from weakref import WeakValueDictionary

import ipywidgets
from IPython.display import display
from PIL import Image

from .. import plots, progress
from ..baselines import Recipe
from ..checks import check_choice
from ..config import CondenseConfig, TrainConfig
from ..data import ImageData
from . import live_plots, panels
from .run import Run

INTERVAL = 0.5  # seconds between two redraws, at least
SHARE = 4  # redraws take at most one second in so many
SETTLED = ("paused", "stopped", "finished", "failed")  # nothing changes until somebody acts
BUTTONS = {  # method of the run -> label, icon, what it does, states in which it can be pressed
    "pause": ("Pause", "pause", "Hold on after this iteration, with everything in memory", ("running", "testing")),
    "resume": ("Resume", "play", "Go on", ("pausing", "paused", "stopped", "failed")),
    "stop": (
        "Stop",
        "stop",
        "End at once and go back to the last checkpoint",
        ("running", "testing", "pausing", "paused"),
    ),
    "save": ("Save now", "save", "Write the sets as they are now into files", None),
    "start_over": ("Start over", "fast-backward", "Begin anew; the checkpoint is kept as *.old", SETTLED[1:]),
}

_SHOWN: "WeakValueDictionary[Path, View]" = WeakValueDictionary()  # by checkpoint, so that a newer one can close it


def condense(
    data: ImageData,
    recipes: Sequence[Recipe],
    config: CondenseConfig,
    *,
    checkpoint: str | Path,
    evaluation: TrainConfig | None = None,
    every: int | None = None,
    sizes: Sequence[int] | None = None,
    device: str | None = None,
    headless: bool | None = None,
) -> Run:
    """Condense in the background under a widget that shows how it grows; headless, in this thread with a progress bar.

    `headless` None asks the environment variable ``MDCKIT_HEADLESS``. The run goes on from its checkpoint, if there is
    one; running the same cell again stops the run that it started before and closes its widget. The other arguments
    and the errors are those of `Run`, which is returned: its `sets` are those of now, its `words` say how far it is.

    >>> from tempfile import TemporaryDirectory
    >>> from mdckit import baselines, load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=2, outer=1, inner=1, width=8)
    >>> with TemporaryDirectory() as folder:
    ...     run = condense(load("digits"), [baselines.mdc()], config, checkpoint=f"{folder}/run", headless=True)
    finished after outer loop 1 of 1; checkpoint .../run
    """
    check_choice("headless", headless, (None, True, False))
    run = Run(
        data, recipes, config, checkpoint=checkpoint, evaluation=evaluation, every=every, sizes=sizes, device=device
    )
    if progress.headless() if headless is None else headless:
        try:
            run.work()
        finally:
            print(f"{run.words}; checkpoint {_short(run.checkpoint)}")
    else:
        if older := _SHOWN.pop(run.checkpoint, None):
            older.close()
        view = _SHOWN[run.checkpoint] = View(run)
        display(view.box)
        run.start()
    return run


class View:
    """What is on the screen of a `Run`: `box` is the widget, `error` what went wrong in drawing it.

    Pictures are drawn in the thread that condenses, between iterations: at most two times a second, and never more than
    a quarter of the time.
    """

    def __init__(self, run: Run):
        self.run, self.error = run, None
        self.seconds, self._next, self._drawn = 0.0, 0.0, {}
        self._telling, self._drawing = threading.Lock(), threading.Lock()
        self.buttons = {name: self._button(name, *what) for name, what in BUTTONS.items()}
        total = run.config.outer * run.config.inner
        self.bar = ipywidgets.IntProgress(
            max=total, layout={"width": "240px", "flex": "0 0 auto"}, tooltip="inner iterations done"
        )
        self.text, self.spent, self.message = _line(), _line(), _line()
        names = [recipe.name for recipe in run.recipes]
        labels = [plots.style(name)["label"].split(" (")[0] for name in names]
        self.shown = ipywidgets.ToggleButtons(
            options=list(zip(labels, names, strict=True)), style={"button_width": "auto"}
        )
        self.shown.layout.display = None if len(names) > 1 else "none"
        self.shown.observe(lambda _: self._draw(), names="value")
        self.pictures = {name: _picture() for name in ("gallery", "mls", "loss", "accuracy")}
        self.box = self._layout()
        self._draw()
        self._tell()
        run.on_step, run.on_state = self._step, self._state

    def _button(self, method: str, label: str, icon: str, tooltip: str, _) -> ipywidgets.Button:
        button = ipywidgets.Button(description=label, icon=icon, tooltip=tooltip, layout={"width": "110px"})
        button.on_click(lambda _: self._act(method))
        return button

    def close(self) -> None:
        """Take the widget off the screen and let go of the run: ipywidgets keeps whatever is not closed."""
        self.run.on_step = self.run.on_state = lambda: None
        panels.close(self.box)

    def _layout(self) -> ipywidgets.VBox:
        left = ipywidgets.VBox([self.shown, self.pictures["gallery"], self.pictures["mls"]])
        right = ipywidgets.VBox([self.pictures["loss"], self.pictures["accuracy"]])
        side_by_side = {"flex_flow": "row wrap", "align_items": "flex-start"}
        return ipywidgets.VBox(
            [
                ipywidgets.HBox(list(self.buttons.values())),
                ipywidgets.HBox([self.bar, self.text], layout={"align_items": "center"}),
                self.spent,
                self.message,
                ipywidgets.Box([left, right], layout=side_by_side),
            ]
        )

    # --- what happens

    def _act(self, method: str) -> None:
        """A button was pressed."""
        self._say("")
        try:
            found = getattr(self.run, method)()
        except Exception as error:
            self._say(f"{type(error).__name__}: {error}")
        else:
            if found:
                self._say(f"saved {', '.join(map(_short, found))}")

    def _step(self) -> None:
        if time.perf_counter() >= self._next:
            self._draw()
            self._tell()

    def _state(self) -> None:
        self._tell()
        if self.run.state == "stopped" and self.run.answered is not None:
            self._say(f"answered in {self.run.answered:.2f} s; checkpoint {_short(self.run.checkpoint)}")
        if self.run.state in SETTLED:
            time.sleep(max(0.0, min(INTERVAL, self._next - time.perf_counter())))
            self._draw()
            self._tell()

    # --- what is shown

    def _tell(self) -> None:
        """Text, bar and buttons, as the state is."""
        with self._telling:
            state = self.run.state
            self.bar.value = self.run.moment.done
            self.bar.bar_style = {"finished": "success", "failed": "danger"}.get(state, "")
            self.text.value, self.spent.value = _status(self._words()), html.escape(self._spent())
            for name, (_, _, _, states) in BUTTONS.items():
                self.buttons[name].disabled = states is not None and state not in states

    def _words(self) -> str:
        left = self.run.left if self.run.state in ("running", "testing") else None
        return self.run.words + (f", {_clock(left)} left" if left is not None else "")

    def _spent(self) -> str:
        seconds = self.run.seconds | {"drawing": self.seconds}
        return "time spent: " + ", ".join(f"{what} {_clock(taken)}" for what, taken in seconds.items())

    def _say(self, message: str) -> None:
        self.message.value = _status(message)

    def _draw(self) -> None:
        """Draw anew what has changed."""
        with self._drawing:
            begin = time.perf_counter()
            try:
                views = self._views()
                for name, picture in self.pictures.items():
                    key, draw = views.get(name, (None, None))
                    if draw is not None and self._drawn.get(name) != key:
                        picture.value = draw()
                    self._drawn[name] = key
                    picture.layout.display = None if draw else "none"
            except Exception as error:  # the run goes on all the same
                self.error = error
                self._say(f"a picture could not be drawn, {type(error).__name__}: {error}")
            taken = time.perf_counter() - begin
            self.seconds += taken
            self._next = begin + max(INTERVAL, SHARE * taken)

    def _views(self) -> dict[str, tuple[object, Callable[[], bytes]]]:
        """What can be drawn now: the name of the picture, what it depends on, and how it is drawn."""
        moment, name = self.run.moment, self.shown.value
        (recipe,) = (recipe for recipe in self.run.recipes if recipe.name == name)
        views = {
            "gallery": ((moment.done, name), lambda: _png(live_plots.gallery(moment, name))),
            "loss": (moment.done, lambda: plots.png(live_plots.losses(moment))),
        }
        if recipe.adaptive:
            views["mls"] = ((moment.state.outer, name), lambda: plots.png(live_plots.choices(moment, name)))
        if moment.tests:
            tested = [t for t, _ in moment.tests]
            views["accuracy"] = (tested, lambda: plots.png(live_plots.accuracies(moment, self.run.evaluation)))
        return views


def _picture() -> ipywidgets.Image:
    return ipywidgets.Image(format="png", layout={"width": "fit-content", "max_width": "100%", "display": "none"})


def _line() -> ipywidgets.HTML:
    return ipywidgets.HTML(layout={"flex": "1 1 auto"})


def _status(text: str) -> str:
    """Text that a screen reader reads out when it changes."""
    return f'<span role="status">{html.escape(text)}</span>'


def _short(path: Path) -> str:
    """A path as one would write it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
