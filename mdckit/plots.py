"""One figure per function: values in, a matplotlib Figure out; pyplot's state is never used."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from .figures import METHODS as METHODS
from .figures import Picture as Picture
from .figures import one_axes, style
from .figures import png as png
from .figures import save as save
from .galleries import gallery as gallery
from .galleries import image_grid as image_grid
from .galleries import tile as tile


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
    fig, ax = one_axes(size)
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
    fig, ax = one_axes(size)
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


def over_loops(
    rows: Sequence[Sequence[float]],
    ylabel: str,
    *,
    sizes: Sequence[int] | None = None,
    log: bool = False,
    title: str = "",
) -> Figure:
    """A line per subset S[n] against the outer loop (MDC Tables 10, 11).

    Rows are [t, value of S[n] for each n of `sizes`], which are 1, 2, 3, ... unless given.
    """
    fig, ax = one_axes((7.0, 4.0))
    loops, *subsets = zip(*rows, strict=True)
    palette = colormaps["viridis"](np.linspace(0, 1, len(subsets) + 2)[1:-1])
    for n, color, values in zip(sizes or range(1, len(subsets) + 1), palette, subsets, strict=True):
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
    fig, ax = one_axes(size)
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


def _use_log_scale(ax: Axes) -> None:
    """A logarithmic y axis with numbers as 6, not as 6 x 10^0."""
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(LogFormatter())
    ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
