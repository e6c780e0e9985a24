"""One figure per function: values in, a matplotlib Figure out; pyplot's state is never used."""

import io
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator
from PIL import Image
from torch import Tensor

from . import files
from .condensed import CondensedSet

_DRAWING = threading.Lock()  # fonts are shared by all figures, and widgets draw in several threads
PALETTE = (  # seaborn's colour-blind palette: importing seaborn takes a second
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"),
)
METHODS = {  # name -> (label, colour of the palette, marker)
    "baseline_c": ("Baseline C (one condensation)", 7, "s"),
    "mdc": ("MDC", 0, "o"),
    "all_prefixes": ("all prefixes at once", 2, "^"),
    "baseline_a": ("Baseline A (one condensation per size)", 1, "D"),
    "baseline_b": ("Baseline B (union of one-image sets)", 4, "v"),
    "real": ("real images", 9, "x"),
    "no_subset_loss": ("no subset loss", 7, "s"),
    "calculate": ("calculate", 1, "D"),
    "compare": ("+ compare", 4, "v"),
    "freeze": ("+ freeze (MDC)", 0, "o"),
    "mdc_gradient": ("MDC by gradient distance", 1, "D"),
    "mdc_class_wise": ("MDC class by class", 9, "P"),
    "mdc_accuracy": ("MDC by accuracy", 3, "<"),
    "small_first": ("all prefixes, small ones first", 4, "v"),
    "lbpe_balanced": ("LBPE + balanced (YOCO)", 0, "o"),
    "random": ("random", 7, "s"),
    "dream random": ("random, of a DREAM set", 8, "X"),
    "ssp": ("SSP", 1, "D"),
    "entropy": ("entropy", 4, "v"),
    "aum": ("AUM", 3, "<"),
    "forgetting": ("forgetting", 5, ">"),
    "el2n": ("EL2N", 6, "^"),
    "ccs": ("CCS", 2, "P"),
    "prefix of C": ("prefix of Baseline C", 7, "s"),
    "LBPE of C": ("LBPE + balanced of Baseline C (YOCO)", 1, "D"),
    "prefix of MDC": ("prefix of MDC", 0, "o"),
    "LBPE of MDC": ("LBPE + balanced of MDC", 2, "^"),
    "LBPE within MDC": ("LBPE within MDC's groups", 4, "v"),
}


class Picture(Figure):
    """A Figure that notebooks show as a picture, although pyplot does not know it; 128 colours keep notebooks small."""

    def _repr_png_(self) -> bytes:
        picture = Image.open(io.BytesIO(png(self, dpi=90))).convert("RGB")
        buffer = io.BytesIO()
        picture.quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


def style(method: str, position: int = 0) -> dict:
    """Line style of a method, the same in every figure."""
    label, colour, marker = METHODS.get(method, (method, position, "osD^vP"[position % 6]))
    return {"label": label, "color": PALETTE[colour % len(PALETTE)], "marker": marker}


def accuracy(
    rows: pd.DataFrame,
    *,
    by: str = "ipc",
    mark: int | None = None,
    gap: Mapping[str, tuple[str, str]] | None = None,
    order: Sequence[str] = (),
    title: str = "",
    ylabel: str | None = None,
    size: tuple[float, float] = (7.0, 4.2),
) -> Figure:
    """Test accuracy against images per class: mean over the seeds, shaded by their standard deviation (MDC Fig. 2c).

    `rows` are those of `results.accuracies`, `comparison.compare` or `mdckit.collect`, `by` is their column to draw
    against; `mark` draws a vertical line at that size; `gap` hatches what lies between two methods, as label ->
    (method, method). Methods that have no colour of their own take that of their place in `order`, the rows' else.
    """
    fig, ax = _figure(size)
    order = list(order) or list(rows["method"].unique())
    for method, group in rows.groupby("method", sort=False):
        by_size = group.groupby(by)["accuracy"]
        mean, std, look = by_size.mean(), by_size.std(ddof=0), style(method, order.index(method))
        ax.plot(mean.index, mean, lw=2, ms=6, **look)
        ax.fill_between(mean.index, mean - std, mean + std, color=look["color"], alpha=0.15, lw=0)
    for label, pair in (gap or {}).items():
        one, other = (rows[rows["method"] == name].groupby(by)["accuracy"].mean() for name in pair)
        look = {"fc": "none", "ec": style(pair[0])["color"], "hatch": "///", "lw": 0, "alpha": 0.5}
        ax.fill_between(one.index, one, other.reindex(one.index), label=label, **look)
    if mark is not None:
        ax.axvline(mark, color="0.3", lw=1, ls="--", zorder=0)
    ax.set(
        xlabel="images per class" if by == "ipc" else by,
        ylabel=ylabel or f"test accuracy, % (mean ± std of {seeds(rows)})",
    )
    ax.set_title(title, loc="left")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return fig


def seeds(rows: pd.DataFrame) -> str:
    """How many numbers a mean is over, in words.

    >>> seeds(pd.DataFrame({"run": [0, 0, 1, 1], "seed": [0, 1, 0, 1]}))
    '2 runs x 2 seeds'
    """
    count, runs = rows["seed"].nunique(), rows["run"].nunique() if "run" in rows else 1
    return f"{runs} runs x " * (runs > 1) + f"{count} seed{'s' * (count > 1)}"


def tile(images: Tensor, keep: int | None = None, zoom: int = 1) -> np.ndarray:
    """Images (rows, columns, C, H, W) in [0, 1] as one uint8 picture (height, width, 3) with white gaps.

    Columns from number `keep` on are dimmed; every pixel becomes `zoom` x `zoom`.
    """
    pixels = images.detach().clamp(0, 1).float().cpu().numpy()
    if keep is not None:
        pixels[:, keep:] = 0.82 + 0.18 * pixels[:, keep:]
    rows, columns, channels, height, width = pixels.shape
    pixels = pixels.repeat(zoom, axis=3).repeat(zoom, axis=4)
    gap = max(1, height * zoom // 14)
    canvas = np.ones((rows, columns, channels, height * zoom + gap, width * zoom + gap), dtype=np.float32)
    canvas[..., :-gap, :-gap] = pixels
    canvas = canvas.transpose(0, 3, 1, 4, 2).reshape(rows * (height * zoom + gap), -1, channels)
    picture = (canvas[:-gap, :-gap] * 255).round().astype(np.uint8)
    return picture if channels == 3 else picture.repeat(3, axis=2)


def gallery(condensed: CondensedSet, *, keep: int | None = None, rows: int | None = None, title: str = "") -> Figure:
    """The stored images, a row per class, in the order of use, dimmed beyond `keep` (MDC Fig. 10 to 15)."""
    images = condensed.images[:rows]
    return image_grid(images, condensed.classes[:rows], keep=keep, title=title, xlabel="image number")


def image_grid(
    images: Tensor,
    row_labels: Sequence[str],
    *,
    column_labels: Sequence[str] | None = None,
    keep: int | None = None,
    title: str = "",
    xlabel: str = "",
) -> Figure:
    """Images (rows, columns, C, H, W) in [0, 1] as a grid, columns numbered by default (MDC Fig. 6; YOCO Fig. 6)."""
    count_rows, count_columns = images.shape[:2]
    inch = min(0.62, 8.0 / count_columns)
    margin = 0.5 + 0.09 * max(map(len, row_labels))  # of the row labels, about 0.08 inches a letter
    fig, ax = _figure((count_columns * inch + margin, count_rows * inch + 0.9), grid=False)
    fig.set_layout_engine("compressed")  # else the labels of pictures of fixed aspect are cut off
    picture = tile(images, keep)
    ax.imshow(picture, interpolation="nearest", aspect="equal")
    step_x, step_y = picture.shape[1] / count_columns, picture.shape[0] / count_rows
    labels = column_labels or [str(n + 1) for n in range(count_columns)]
    ax.set_xticks([(n + 0.5) * step_x for n in range(count_columns)], labels)
    ax.set_yticks([(c + 0.5) * step_y for c in range(count_rows)], list(row_labels))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(xlabel)
    ax.set_title(title, loc="left")
    return fig


def mls_trace(
    trace: Sequence[Sequence[float]],
    outer: int,
    frozen: Sequence[float] | None = None,
    *,
    size: tuple[float, float] = (7.0, 3.0),
) -> Figure:
    """The most learnable subset over the outer loops as steps (MDC Fig. 5, 7, 8); `frozen` images per loop are shaded.

    `trace` is ``CondensedSet.mls_trace``: [t, n] means that S[n] is trained from loop t + 1 on.
    """
    fig, ax = _figure(size)
    starts = [t + 1 for t, _ in trace]
    sizes = [n for _, n in trace]
    last = sizes[-1] if sizes else math.nan
    ax.step([*starts, outer + 1], [*sizes, last], where="post", lw=2.5, label="MLS, trained with S[N]")
    if frozen is not None:
        loops = np.arange(1, outer + 2)
        frozen = [*frozen, frozen[-1]]
        ax.fill_between(loops, 0, frozen, step="post", color="0.85", label="frozen")
    ax.set(xlabel="outer loop t", ylabel="images per class", ylim=(0, max(sizes, default=1) + 1.2), xlim=(1, outer + 1))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, loc="upper left", ncols=2)
    return fig


def feature_distances(distances: Sequence[Sequence[float]], title: str = "") -> Figure:
    """F(n) of every subset against the outer loop (log scale); rows are [t, F(1), ..., F(N-1)]."""
    return over_loops(distances, "feature distance F(n)", log=True, title=title)


def over_loops(rows: Sequence[Sequence[float]], ylabel: str, *, log: bool = False, title: str = "") -> Figure:
    """A line per subset S[n] against the outer loop (MDC Tables 10, 11); rows are [t, value of S[1], of S[2], ...]."""
    fig, ax = _figure((7.0, 4.0))
    loops, *subsets = zip(*rows, strict=True)
    palette = colormaps["viridis"](np.linspace(0, 1, len(subsets) + 2)[1:-1])
    for n, (color, values) in enumerate(zip(palette, subsets, strict=True), start=1):
        ax.plot(loops, values, color=color, marker="o", ms=4, label=f"S[{n}]")
    ax.set(xlabel="outer loop t", ylabel=ylabel)
    if log:
        _use_log_scale(ax)
    ax.set_title(title, loc="left")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    upwards = subsets[0][-1] < subsets[-1][-1]  # the legend names the lines in the order they lie
    ax.legend(frameon=False, reverse=upwards, loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def curves(
    lines: Mapping[str, Sequence[float] | Mapping[float, float]],
    xlabel: str,
    ylabel: str,
    *,
    log: bool = False,
    levels: Mapping[str, float] | None = None,
    title: str = "",
    size: tuple[float, float] = (7.0, 3.6),
) -> Figure:
    """One line per name: a sequence is drawn against 1, 2, 3, ..., a mapping x -> y with points (YOCO Fig. 5).

    `levels` are dashed horizontal lines, by the same names in the same colours.
    """
    fig, ax = _figure(size)
    for position, (name, values) in enumerate(lines.items()):
        look = style(name, position)
        points = values if isinstance(values, Mapping) else dict(enumerate(values, start=1))
        ax.plot(
            list(points), list(points.values()), lw=2, ms=5, **look if points is values else look | {"marker": None}
        )
        if all(float(x).is_integer() for x in points):
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if name in (levels or {}):
            ax.axhline(levels[name], ls="--", lw=1.5, color=look["color"])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        _use_log_scale(ax)
    ax.set_title(title, loc="left")
    if len(lines) > 1:
        ax.legend(frameon=False)
    return fig


def png(fig: Figure, dpi: int = 100) -> bytes:
    """The figure as PNG bytes."""
    buffer = io.BytesIO()
    with _DRAWING:
        fig.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save(fig: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG file, atomically."""
    return files.write_atomically(path, png(fig, dpi=150))


def _use_log_scale(ax: Axes) -> None:
    """A logarithmic y axis with numbers as 6, not as 6 x 10^0."""
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(LogFormatter())
    ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def _figure(size: tuple[float, float], grid: bool = True) -> tuple[Figure, Axes]:
    fig = Picture(figsize=size, layout="constrained")
    ax = fig.subplots()
    if grid:
        ax.grid(color="0.92", lw=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    return fig, ax
