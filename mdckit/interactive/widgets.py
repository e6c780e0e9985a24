"""A slider over images per class for any picture: a view over values that are already there."""

import threading
from collections.abc import Callable

import ipywidgets

from .panels import number


def ipc_slider(draw: Callable[[int], bytes], maximum: int, describe: Callable[[int], str]) -> ipywidgets.VBox:
    """A slider over images per class that shows the PNG ``draw(n)`` and the line of text ``describe(n)``.

    Pictures are drawn one at a time, whichever thread the kernel runs the callback on.
    """
    lock = threading.Lock()
    slider, typed = number("images per class", maximum)
    text = ipywidgets.Label()
    picture = ipywidgets.Image(format="png", layout={"width": "fit-content", "max_width": "100%"})

    def redraw(_=None):
        with lock:
            picture.value, text.value = draw(slider.value), describe(slider.value)

    slider.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([ipywidgets.Box([slider, typed]), text, picture])
