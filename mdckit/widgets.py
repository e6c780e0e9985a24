"""Interactive views over values that are already there: no network is trained here."""

import functools
import io
import threading
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
from PIL import Image

from . import plots, pruning_plots, results, scores, selection
from .condensed import CondensedSet
from .dynamics import Dynamics
from .scores import Score


def ipc_slider(draw: Callable[[int], bytes], maximum: int, describe: Callable[[int], str]) -> ipywidgets.VBox:
    """A slider over images per class that shows the PNG ``draw(n)`` and the line of text ``describe(n)``."""
    slider = _slider(maximum)
    return _live([slider], lambda: (draw(slider.value), describe(slider.value)))


def _slider(maximum: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(
        value=1,
        min=1,
        max=maximum,
        description="images per class",
        style={"description_width": "initial"},
        layout={"width": "480px"},
    )


def _live(controls: Sequence[ipywidgets.Widget], show: Callable[[], tuple[bytes, str]]) -> ipywidgets.VBox:
    """Controls above the text and the PNG that ``show()`` returns, called again when any control changes.

    Figures are drawn one at a time, whichever thread the kernel runs the callback on.
    """
    lock = threading.Lock()
    picture = ipywidgets.Image(format="png", layout={"width": "fit-content", "max_width": "100%"})
    text = ipywidgets.Label()

    def redraw(_=None):
        with lock:
            picture.value, text.value = show()

    for control in controls:
        control.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([*controls, text, picture])


def ipc_explorer(condensed: CondensedSet, found: Mapping, method: str) -> ipywidgets.VBox:
    """The set's gallery, its first n images per class in full, beside its accuracy curve; n is the slider.

    `found` is the run's record (see `results.record`), from which the accuracies are read.
    """
    rows = results.accuracies(found)
    by_size = rows[rows["method"] == method].groupby("ipc")["accuracy"]
    mean, std = by_size.mean(), by_size.std(ddof=0)

    def describe(n: int) -> str:
        images = n * len(condensed.classes)
        kilobytes = condensed.take(n).images.numel() / 1000
        return (
            f"{n} of {condensed.ipc} images per class = {images} images, {kilobytes:.0f} kB as 8-bit pixels: "
            f"{mean[n]:.1f} ± {std[n]:.1f} % test accuracy"
        )

    def draw(n: int) -> bytes:
        left = Image.fromarray(plots.tile(condensed.images, keep=n, zoom=_zoom(condensed)))
        fig = plots.accuracy(rows, mark=n, size=(6.0, 3.9))
        right = Image.open(io.BytesIO(plots.png(fig)))
        return _beside(left, right)

    return ipc_slider(draw, condensed.ipc, describe)


def pruning_explorer(condensed: CondensedSet, log: Dynamics, lbpe: Mapping | None = None) -> ipywidgets.VBox:
    """Make a set smaller by hand: target size, score, balance and direction, and see which cells are kept.

    `log` are training dynamics of `condensed`, `lbpe` the E and K of that score as in `scores.by_name`. Kept cells are
    outlined, beside them the patches kept of each class; a choice that cannot be had is told in the text.
    """
    size = _slider(condensed.ipc)
    score = ipywidgets.Dropdown(options=list(scores.SCORES), value="lbpe", description="score")
    balanced = ipywidgets.Checkbox(value=True, description="balanced: equally many of every class", indent=False)
    keep = ipywidgets.ToggleButtons(options=["easy", "hard"], description="keep")
    log.check(condensed)

    @functools.cache
    def scored(name: str) -> Score:
        return scores.by_name(name, condensed, log, **((lbpe or {}) if name == "lbpe" else {}))

    def show() -> tuple[bytes, str]:
        options = {"balanced": balanced.value, "keep": keep.value}
        try:
            chosen = selection.by_score(condensed, scored(score.value), size.value, **options)
        except ValueError as error:
            return _beside(Image.fromarray(plots.tile(condensed.images, keep=0, zoom=_zoom(condensed)))), str(error)
        left = Image.fromarray(pruning_plots.kept_cells(condensed, chosen, max(2, _zoom(condensed))))
        right = Image.open(io.BytesIO(plots.png(pruning_plots.class_counts({"kept": chosen}, size=(5.4, 3.6)))))
        counts = chosen.patches_per_class
        missing = sum(count == 0 for count in counts)
        text = f"{chosen.patches} of {condensed.patches} patches kept, {min(counts)} to {max(counts)} of a class"
        return _beside(left, right), f"{text}, {missing} classes without any" if missing else text

    return _live([size, score, balanced, keep], show)


def _zoom(condensed: CondensedSet) -> int:
    """The largest whole zoom at which the gallery stays within 620 pixels each way."""
    classes, ipc, _, height, width = condensed.images.shape
    return max(1, min(620 // (classes * (height + 2)), 620 // (ipc * (width + 2))))


def _beside(*pictures: Image.Image) -> bytes:
    height = max(picture.height for picture in pictures)
    canvas = Image.new("RGB", (sum(picture.width + 16 for picture in pictures) - 16, height), "white")
    left = 0
    for picture in pictures:
        canvas.paste(picture.convert("RGB"), (left, (height - picture.height) // 2))
        left += picture.width + 16
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()
