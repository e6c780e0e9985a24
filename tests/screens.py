"""What a panel shows, taken apart: its picture's pixels, and the boxes and lines of text of its marks."""

import base64
import io
import re
from html import unescape
from xml.etree import ElementTree

import numpy as np
from PIL import Image

SVG = "{http://www.w3.org/2000/svg}"
VEIL = 0.82  # of white


def tree(html):
    """The SVG as a tree: it must be well-formed, whatever the names in it are."""
    return ElementTree.fromstring(html)


def pixels(panel):
    """The picture as it was sent, (H, W, 3)."""
    (image,) = tree(panel.picture.value).iter(f"{SVG}image")
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(image.get("href").split(",")[1]))))
    return found[..., :3]


def seen(panel):
    """The picture with what is dimmed under its veil."""
    shown = pixels(panel).astype(float)
    for x, y, w, h in dimmed(panel):
        part = shown[int(y) : int(y + h), int(x) : int(x + w)]
        part[:] = VEIL * 255 + (1 - VEIL) * part
    return shown.round().astype(np.uint8)


def dimmed(panel):
    return [box for path in paths(panel, fill="white") for box in boxes(path)]


def outlined(panel, colour):
    """Boxes outlined in a colour; a white edge lies below each."""
    return [box for path in paths(panel, stroke=colour) for box in boxes(path)]


def filled(panel, colour):
    return [box for path in paths(panel, fill=colour) for box in boxes(path)]


def paths(panel, **attributes):
    found = tree(panel.marks.value).iter(f"{SVG}path")
    return [p.get("d") for p in found if all(p.get(name) == value for name, value in attributes.items())]


def boxes(path):
    """(x, y, width, height) of closed boxes."""
    number = r"(-?[\d.]+)"
    return [tuple(map(float, m)) for m in re.findall(rf"M{number} {number}h{number}v{number}h-[\d.]+z", path)]


def words(panel, layer="marks"):
    """The lines of text on the marks, or on the picture."""
    return [text.text for text in tree(getattr(panel, layer).value).iter(f"{SVG}text")]


def said(view):
    """The text of a view, a line each; samples of the legend left out."""
    html = re.sub(r"<svg.*?</svg>", "", view.text.value)
    return [unescape(re.sub("<.*?>", "", line)).strip() for line in html.split("<br>")]
