"""Pictures with marks on them: a picture goes to the browser once, its marks, a little SVG, at every change."""

import base64
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import ipywidgets
from matplotlib.figure import Figure

from .. import plots

WHOLE = {"description_width": "initial"}  # descriptions are never cut off
CSS_DPI = 100  # figures are drawn at twice as many dots, which is sharp on fine screens too
STYLE = """<style>
.mdckit-layer .widget-html-content {line-height: 1.2; width: 100%}
.mdckit-layer svg {display: block; width: 100%; height: auto; background: white; font-family: sans-serif}
.mdckit-marks, .mdckit-marks svg {pointer-events: none; background: none}
.mdckit-text .widget-html-content {line-height: 1.5; white-space: normal}
.mdckit-note {padding: 1em; border: 1px dashed gray}
.mdckit-row > .jupyter-widgets {margin-right: 12px}
.mdckit-row .widget-checkbox {width: auto}
.mdckit-row .widget-checkbox label {display: flex; align-items: center}
.mdckit-row .widget-toggle-buttons {display: flex; flex-flow: row; align-items: center; gap: 4px; padding-right: 10px}
</style>"""


@dataclass(frozen=True, eq=False)
class Canvas:
    """A picture of `width` x `height` CSS pixels, what it shows in words, and SVG that stays on it, such as labels."""

    png: bytes
    width: int
    height: int
    alt: str
    labels: str = ""

    @property
    def svg(self) -> str:
        """The picture for a browser; screen readers say `alt`."""
        data = base64.b64encode(self.png).decode()
        image = f'<image width="{self.width}" height="{self.height}" href="data:image/png;base64,{data}"/>'
        return self.layer(f"{image}{self.labels}", f'role="img" aria-label="{escape(self.alt)}"')

    def layer(self, content: str, attributes: str = 'aria-hidden="true"') -> str:
        """SVG `content` in the picture's own pixels."""
        box = f'viewBox="0 0 {self.width} {self.height}" style="max-width: {self.width}px"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {box} {attributes}>{content}</svg>'


@dataclass(frozen=True, eq=False)
class Chart(Canvas):
    """A drawn figure, and where values of its linear axes lie in it."""

    across: tuple[float, float, float, float] = field(default=(0, 1, 0, 1))  # value, value, pixel, pixel
    up: tuple[float, float, float, float] = field(default=(0, 1, 0, 1))

    @classmethod
    def of(cls, fig: Figure, alt: str) -> "Chart":
        """Draw the figure, once."""
        png = plots.png(fig, dpi=2 * CSS_DPI)
        width, height = (round(inches * CSS_DPI) for inches in fig.get_size_inches())
        (ax,) = fig.axes
        box = ax.get_position()
        across = (*ax.get_xlim(), box.x0 * width, box.x1 * width)
        return cls(png, width, height, alt, "", across, (*ax.get_ylim(), (1 - box.y0) * height, (1 - box.y1) * height))

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return _between(value, *self.across)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return _between(value, *self.up)


def _between(value: float, first: float, last: float, start: float, end: float) -> float:
    return round(start + (value - first) / (last - first) * (end - start), 1)


class Panel(ipywidgets.GridBox):
    """A canvas and the marks above it, which scale together with the room there is."""

    def __init__(self):
        cell = {"grid_area": "1 / 1 / 2 / 2", "width": "auto", "min_width": "0"}
        self.picture, self.marks = ipywidgets.HTML(layout=cell), ipywidgets.HTML(layout=cell)
        self._shown = None
        super().__init__([self.picture, self.marks], layout={"grid_template_columns": "minmax(0, 1fr)"})
        self.picture.add_class("mdckit-layer")
        self.marks.add_class("mdckit-layer").add_class("mdckit-marks")

    def show(self, canvas: Canvas | str, marks: str = "") -> None:
        """Show a canvas, or a note that says why there is none; it is sent only if it is not the one shown."""
        if canvas is not self._shown:
            self._shown = canvas
            note = isinstance(canvas, str)
            self.picture.value = f'<div class="mdckit-note">{escape(canvas)}</div>' if note else canvas.svg
        self.marks.value = "" if isinstance(canvas, str) else canvas.layer(marks)


def number(description: str, maximum: int = 1) -> tuple[ipywidgets.IntSlider, ipywidgets.BoundedIntText]:
    """A slider from 1, and a field with the same number to type, which has a name for screen readers."""
    slider = ipywidgets.IntSlider(
        1, 1, maximum, description=description, readout=False, style=WHOLE, layout={"width": "400px"}
    )
    typed = ipywidgets.BoundedIntText(1, min=1, max=maximum, tooltip=description, layout={"width": "64px"})
    _follow(slider, typed)
    _follow(typed, slider)
    return slider, typed


def _follow(leader: ipywidgets.Widget, follower: ipywidgets.Widget) -> None:
    """Give `follower` every value of `leader`. A link of traitlets raises where two threads move one at a time."""
    leader.observe(lambda _: follower.set_trait("value", leader.value), names="value")


def show(widget: ipywidgets.DOMWidget, there: bool) -> None:
    """Show a control only where it has a use."""
    widget.layout.display = None if there else "none"


def _column(children: Sequence, flex: str, most: str) -> ipywidgets.VBox:
    return ipywidgets.VBox(children, layout={"flex": flex, "max_width": most, "overflow": "visible"})


class View(ipywidgets.VBox):
    """Rows of controls above a text and two columns of panels, which stack where there is little room.

    Whenever a watched control changes, on whichever thread, `redraw` is called; never twice at a time, nor for the
    changes that it makes itself.
    """

    def __init__(self, rows: Sequence[Sequence], left: Sequence, right: Sequence[Sequence]):
        self._lock, self._drawing = threading.RLock(), False
        self.text = ipywidgets.HTML().add_class("mdckit-text")
        wrap = {"flex_flow": "row wrap", "align_items": "flex-start", "overflow": "visible"}
        lines = [ipywidgets.Box(row, layout=wrap | {"align_items": "center"}).add_class("mdckit-row") for row in rows]
        columns = [
            _column(left, "1 1 380px", "640px"),
            ipywidgets.Box(
                [_column(part, "1 1 300px", "540px") for part in right], layout=wrap | {"flex": "1 1 300px"}
            ),
        ]
        super().__init__([ipywidgets.HTML(STYLE), *lines, self.text, ipywidgets.Box(columns, layout=wrap)])

    def watch(self, *controls: ipywidgets.Widget) -> None:
        """Redraw at every change of these controls, and now."""
        for control in controls:
            control.observe(self._changed, names="value")
        self._changed()

    def _changed(self, _=None):
        with self._lock:
            if not self._drawing:
                self._drawing = True
                try:
                    self.redraw()
                finally:
                    self._drawing = False

    def redraw(self) -> None:
        """Show what the controls say."""
        raise NotImplementedError

    def say(self, *lines: str, legend: str = "") -> None:
        """The text, and a legend as HTML. Screen readers read each change (an alert, as the browser gets it anew)."""
        first, *rest = map(escape, lines)
        more = "".join(f"<br>{line}" for line in [*rest, *filter(None, [legend])])
        self.text.value = f'<div role="alert"><b>{first}</b>{more}</div>'


def close(widget: ipywidgets.Widget) -> None:
    """Close a widget with all that belongs to it."""
    for part in (*getattr(widget, "children", ()), getattr(widget, "layout", None), getattr(widget, "style", None)):
        if part is not None:
            close(part)
    widget.close()
