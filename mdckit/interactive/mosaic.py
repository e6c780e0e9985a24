"""A gallery for a browser: where its images lie, their pixels, and the marks on them as SVG."""

import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import NamedTuple, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .panels import Canvas

WIDTH, HEIGHT = 540, 440  # CSS pixels of all images together, at most
READABLE, LARGEST = 40, 112  # pixels from image to image
GAP, BETWEEN, TOP = 4, 10, 20  # between images, between classes of several lines, of the column numbers
LETTER = 8  # pixels of a letter, on the mean
DIMMED = 0.82  # of white over an image
MLS, FROZEN = "#d55e00", "#0072b2"  # vermilion and blue: told apart by colour-blind readers, and by their dashes

Box = tuple[int, int, int, int]  # x, y, width, height


class Strip(NamedTuple):
    """The images of one class in one set: uint8 (n, tall, wide, 3), and what each is, shown where a mouse rests."""

    pixels: np.ndarray
    titles: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """Where the images lie: for every class a strip for each name in `strips`, wrapped into lines of `across`."""

    classes: tuple[str, ...]
    strips: tuple[str, ...]
    columns: int
    across: int
    wide: int
    tall: int
    right: int = 6  # pixels kept free there

    @classmethod
    def fit(cls, classes: Sequence[str], strips: Sequence[str], columns: int, sides: tuple[int, int], right=6) -> Self:
        """The grid with the largest images that has room; `sides` are the images' height and width."""

        def pitch(lines: int) -> int:
            per_class = len(strips) * lines
            height = HEIGHT - len(classes) * BETWEEN * (per_class > 1)
            room = min(WIDTH // -(-columns // lines), height // (len(classes) * per_class))
            return max(GAP + 1, min(room, LARGEST))

        lines = max(range(1, columns + 1), key=pitch)
        tall, wide = (max(1, (pitch(lines) - GAP) * side // max(sides)) for side in sides)
        return cls(tuple(classes), tuple(strips), columns, -(-columns // lines), wide, tall, right)

    @cached_property
    def lines(self) -> int:
        """Lines of a strip."""
        return -(-self.columns // self.across)

    @cached_property
    def margin(self) -> int:
        """Pixels for the names at the left."""
        longest = max(map(len, (*self.classes, *(self.strips if len(self.strips) > 1 else ()))))
        return min(max(LETTER * longest + 12, 40), 140)

    @property
    def width(self) -> int:
        """Pixels from side to side."""
        return self.margin + self.across * (self.wide + GAP) + self.right

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.y(len(self.classes), 0, 0)

    def x(self, column: int) -> int:
        """Left side of an image."""
        return self.margin + column % self.across * (self.wide + GAP)

    def y(self, row: int, strip: int, line: int) -> int:
        """Top of an image: of class number `row`, in a line of a strip."""
        per_class = len(self.strips) * self.lines
        apart = BETWEEN if per_class > 1 else 0
        return TOP + row * (per_class * (self.tall + GAP) + apart) + (strip * self.lines + line) * (self.tall + GAP)

    def run(self, row: int, strip: int, first: int, last: int) -> Iterator[Box]:
        """The boxes, one per line, around the images `first` to `last` - 1 of a strip."""
        for line in range(first // self.across, -(-last // self.across)):
            start, end = max(first, line * self.across), min(last, (line + 1) * self.across)
            if start < end:
                width = (end - start) * (self.wide + GAP) - GAP
                yield self.x(start), self.y(row, strip, line), width, self.tall


def per_page(classes: int, strips: int, columns: int) -> int:
    """How many classes are shown at a time so that images stay readable: pages of equal length.

    >>> per_page(10, 1, 10), per_page(10, 2, 10), per_page(100, 1, 10)
    (10, 5, 10)
    """
    lines = -(-columns // (WIDTH // READABLE))
    most = max(1, min(10, HEIGHT // (READABLE * strips * lines)))
    return -(-classes // -(-classes // most))


def thumbnails(images: Tensor, tall: int, wide: int) -> np.ndarray:
    """Images (M, C, H, W) in [0, 1] as uint8 (M, tall, wide, 3): a pixel is the mean of the area that it covers."""
    pixels = images.detach().cpu().float().clamp(0, 1)
    pixels = _coverage(tall, pixels.shape[2]) @ pixels @ _coverage(wide, pixels.shape[3]).T
    return (pixels * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def _coverage(count: int, side: int) -> Tensor:
    """The share of each of `side` old pixels in each of `count` new ones, (count, side)."""
    edges = torch.arange(count + 1, dtype=torch.float64)[:, None] * side / count
    old = torch.arange(side, dtype=torch.float64)
    overlap = torch.minimum(edges[1:], old + 1) - torch.maximum(edges[:-1], old)
    return (overlap.clamp(min=0) * count / side).float()


def tiled(patches: Tensor, factor: int, tall: int, wide: int) -> np.ndarray:
    """Patches (M f^2, C, H, W), f x f of them with white lines between to a picture, as uint8 (M, tall, wide, 3)."""
    if factor == 1:
        return thumbnails(patches, tall, wide)
    sides = [max(1, (side - factor + 1) // factor) for side in (tall, wide)]
    small = thumbnails(patches, *sides).reshape(-1, factor, factor, *sides, 3)
    canvas = np.full((len(small), factor, sides[0] + 1, factor, sides[1] + 1, 3), 255, np.uint8)
    canvas[:, :, :-1, :, :-1] = small.transpose(0, 1, 3, 2, 4, 5)
    whole = canvas.reshape(len(small), factor * (sides[0] + 1), factor * (sides[1] + 1), 3)[:, :tall, :wide]
    return np.pad(whole, ((0, 0), (0, tall - whole.shape[1]), (0, wide - whole.shape[2]), (0, 0)), constant_values=255)


def gallery(grid: Grid, strips: Sequence[Sequence[Strip]], alt: str) -> Canvas:
    """The picture of the strips of every class, with names at the left and a title over each image."""
    canvas = np.full((grid.height, grid.width, 3), 255, np.uint8)
    labels = []
    for row, of_class in enumerate(strips):
        for number, strip in enumerate(of_class):
            labels += _names(grid, row, number)
            for column, (pixels, title) in enumerate(zip(strip.pixels, strip.titles, strict=True)):
                x, y = grid.x(column), grid.y(row, number, column // grid.across)
                canvas[y : y + grid.tall, x : x + grid.wide] = pixels
                box = f'x="{x}" y="{y}" width="{grid.wide}" height="{grid.tall}"'
                labels.append(f'<rect {box} fill="transparent"><title>{escape(title)}</title></rect>')
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)  # fast, and as small
    return Canvas(buffer.getvalue(), grid.width, grid.height, alt, "".join(labels))


def _names(grid: Grid, row: int, strip: int) -> Iterator[str]:
    """The class beside its first line, the strips' names below it, and where a strip goes on."""
    x, letters = grid.margin - 8, (grid.margin - 12) // LETTER
    for line in range(grid.lines):
        y = grid.y(row, strip, line) + grid.tall // 2 + 4
        if line == 0 and strip == 0:
            shift = 7 if len(grid.strips) > 1 and grid.lines == 1 else 0
            yield label(x, y - shift, _cut(grid.classes[row], letters), anchor="end", bold=True)
        if len(grid.strips) > 1 and line == min(grid.lines - 1, strip == 0):
            shift = 7 if strip == 0 and grid.lines == 1 else 0
            yield label(x, y + shift, _cut(grid.strips[strip], letters), anchor="end", colour="#555")
        elif line > 0:
            yield label(x, y, f"from {line * grid.across + 1}", anchor="end", colour="#555")


def _cut(name: str, letters: int) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"


def label(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "black", bold: bool = False) -> str:
    """A line of text with a white edge, which keeps it readable over a picture."""
    weight = ' font-weight="bold"' * bold
    look = f'font-size="12" stroke="white" stroke-width="3" paint-order="stroke"{weight}'
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}" {look}>{escape(text)}</text>'


def dim(sides: str) -> str:
    """A white veil over boxes whose `path` is given."""
    return f'<path d="{sides}" fill="white" fill-opacity="{DIMMED}"/>'


def outline(sides: str, colour: str, *, stroke: float = 2.5, dashes: str = "") -> str:
    """Lines along the `path` of boxes, with a white edge."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    lines = f'<path d="{sides}" fill="none"'
    edge = f'{lines} stroke="white" stroke-width="{stroke + 1.5}"/>'
    return f'{edge}{lines} stroke="{colour}" stroke-width="{stroke}"{dashed}/>'


def path(boxes: Iterable[Box], grow: float = 0) -> str:
    """The sides of the boxes, `grow` pixels outside of them, as the data of an SVG path."""
    return "".join(
        f"M{x - grow:g} {y - grow:g}h{w + 2 * grow:g}v{h + 2 * grow:g}h{-w - 2 * grow:g}z" for x, y, w, h in boxes
    )


def numbers(grid: Grid, kept: int) -> str:
    """The numbers of the columns, bold for the first `kept`; none where strips are wrapped."""
    if grid.lines > 1:
        return ""
    every = -(-28 // (grid.wide + GAP))  # where columns are narrow, not all have room
    shown = [n for n in range(1, grid.columns + 1) if n % every == 0 or n == kept or every == 1]
    middle = {n: grid.x(n - 1) + grid.wide / 2 for n in shown}
    looks = {True: {"bold": True}, False: {"colour": "#777"}}
    return "".join(label(middle[n], TOP - 6, str(n), anchor="middle", **looks[n <= kept]) for n in shown)
