"""The charts of the explorers: figures drawn once, and the marks that move on them."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from .. import plots
from ..subsets import SubsetState
from .explored import Explored, Line
from .mosaic import FROZEN, MLS, Box, Grid, dim, label, numbers, outline, path
from .panels import Chart

WIDE = 5.2  # inches
SAMPLE = (2, 2, 18, 10)


def short(label: str) -> str:
    """A method's label without what it explains in brackets.

    >>> short("Baseline C (one condensation)")
    'Baseline C'
    """
    return label.split(" (")[0]


def mark_gallery(grid: Grid, strips: Sequence[tuple[Explored, str]], classes: Sequence[int], n: int, t: int) -> str:
    """What is not among the first `n` dimmed; of every set the MLS in loop `t` and what is frozen then outlined."""
    marks = [numbers(grid, n)]
    for number, (explored, kind) in enumerate(strips):
        used = [explored.used(c) for c in classes]
        beyond = (grid.run(row, number, min(n, count), count) for row, count in enumerate(used))
        marks.append(dim(path(box for boxes in beyond for box in boxes)))
        if kind == "stored" and explored.histories:
            subsets_of = explored.subsets(t)
            mls, frozen = zip(*(subsets_of[c] for c in classes), strict=True)
            marks.append(outline(path(_around(grid, number, mls), 2), MLS))
            marks.append(outline(path(_around(grid, number, frozen), -2), FROZEN, dashes="6 4"))
    return "".join(marks)


def _around(grid: Grid, strip: int, sizes: Sequence[int]) -> list[Box]:
    """Boxes around the first images of every class; a single one where all classes are alike and lie together."""
    boxes = [list(grid.run(row, strip, 0, min(size, grid.columns))) for row, size in enumerate(sizes)]
    if len(set(sizes)) == 1 and sizes[0] and len(grid.strips) * grid.lines == 1:
        (x, top, wide, _), (_, y, _, tall) = boxes[0][0], boxes[-1][0]
        return [(x, top, wide, y + tall - top)]
    return [box for of_row in boxes for box in of_row]


def accuracy(rows: pd.DataFrame, order: Sequence[str], most: int) -> Chart:
    """Accuracy against images per class, up to `most` of them."""
    title = f"mean ± std of {plots.seeds(rows)}"
    fig = plots.accuracy(rows, order=order, title=title, ylabel="test accuracy, %", size=(WIDE, 2.6))
    (ax,) = fig.axes
    most = max(most, rows["ipc"].max())
    ax.set_xlim(1 - 0.05 * most, 1.05 * most)
    best = rows.groupby(["method", "ipc"], sort=False)["accuracy"].mean().unstack().max()
    told = ", ".join(f"{value:.1f} % at {n}" for n, value in best.items())
    return Chart.of(fig, f"Test accuracy against images per class, {title}. Best of the curves: {told}.")


def mark_accuracy(chart: Chart, n: int, lines: Sequence[Line]) -> str:
    """A vertical line at `n` and the accuracies there; of two, the higher one is labelled above its point."""
    x, (low, high) = chart.x(n), chart.up[2:]
    marks = [f'<path d="M{x} {low:.1f}V{high:.1f}" stroke="#333" stroke-dasharray="5 3"/>']
    there = sorted((line for line in lines if n in line.accuracy), key=lambda line: -line.accuracy[n][0])
    left = x > sum(chart.across[2:]) / 2
    for place, line in enumerate(there):
        mean, std = line.accuracy[n]
        y, text = chart.y(mean), f"{f'{short(line.label)} ' * (len(there) > 1)}{mean:.1f} ± {std:.1f} %"
        marks.append(f'<circle cx="{x}" cy="{y}" r="5.5" fill="{line.colour}" stroke="white" stroke-width="1.5"/>')
        beside = {"x": x - 9, "anchor": "end"} if left else {"x": x + 9}
        marks.append(label(**beside, y=min(y + 18, low - 5) if place else max(y - 9, 12), text=text, bold=True))
    return "".join(marks)


def subsets(explored: Explored, classes: Sequence[int]) -> Chart:
    """The MLS over the outer loops: as steps, what is frozen shaded; class-wise, a row for each of the `classes`."""
    outer, histories = explored.outer, explored.histories
    if explored.class_wise:
        return _by_class({explored.condensed.classes[c]: histories[c] for c in classes}, outer)
    frozen = [histories[0].frozen(t) for t in range(1, outer + 1)]
    fig = plots.mls_trace(histories[0].trace, outer, frozen, size=(WIDE, 1.6))
    told = ", ".join(f"S[{n}] from loop {t + 1}" for t, n in _changes(histories[0]) if t < outer)
    return Chart.of(fig, f"The most learnable subset over {outer} outer loops: {told}.")


def _changes(history: SubsetState) -> list[tuple[int, int]]:
    """The choices that differ from those before them."""
    before = [None, *(n for _, n in history.choices)]
    return [(t, n) for (t, n), old in zip(history.choices, before, strict=False) if n != old]


def _by_class(histories: Mapping[str, SubsetState], outer: int) -> Chart:
    sizes = np.array([[history.mls(t) or 0 for t in range(1, outer + 1)] for history in histories.values()])
    fig = plots.Picture(figsize=(WIDE, 0.24 * len(histories) + 0.8), layout="constrained")
    ax = fig.subplots()
    ax.imshow(sizes, cmap="Blues", vmin=0, vmax=1.4 * sizes.max(), aspect="auto", extent=(1, outer + 1, len(sizes), 0))
    for row, history in enumerate(histories.values()):
        for t, n in _changes(history):
            if t < outer:
                ax.text(t + 1, row + 0.55, f" {n}", va="center", fontsize=8)
    ax.set_yticks(np.arange(len(sizes)) + 0.5, list(histories))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="outer loop t", title="MLS of every class, the number where it changes")
    told = "; ".join(
        f"{name}: " + ", ".join(f"S[{n}] from loop {t + 1}" for t, n in _changes(history) if t < outer)
        for name, history in histories.items()
    )
    return Chart.of(fig, f"The most learnable subset of every class over {outer} outer loops. {told}.")


def mark_subsets(chart: Chart, explored: Explored, t: int, n: int) -> str:
    """The outer loop `t`, and the size `n` as a line."""
    t, (low, high) = min(t, explored.outer), chart.up[2:]
    left, right = chart.x(t), chart.x(t + 1)
    loop = f'<rect x="{left}" y="{high:.1f}" width="{right - left:.1f}" height="{low - high:.1f}"'
    marks = f'{loop} fill="{MLS}" fill-opacity="0.25" stroke="{MLS}"/>'
    y = chart.y(n)
    if explored.class_wise or y < high:
        return marks
    start, end = chart.across[2:]
    line = f'<path d="M{start:.1f} {y}H{end:.1f}" stroke="#333" stroke-dasharray="5 3"/>'
    return marks + line + label(end - 4, y - 4 if y > high + 12 else y + 13, f"{n} per class", anchor="end")


def legend(shown: Sequence[Explored], t: int, several: bool) -> str:
    """What the outlines are, with samples of them, as HTML."""
    parts = []
    for explored in shown:
        mls, frozen = zip(*explored.subsets(t), strict=True)
        name = f"{escape(short(explored.line.label))}: " * several
        parts.append(
            f"{_sample(outline(path([SAMPLE]), MLS))} {name}MLS in outer loop {min(t, explored.outer)}: {_said(mls)}"
        )
        parts.append(f"{_sample(outline(path([SAMPLE]), FROZEN, dashes='6 4'))} {name}frozen: {_said(frozen)}")
    return " &emsp; ".join([*parts, "dimmed: not in use"])


def _sample(svg: str) -> str:
    return f'<svg width="22" height="14" style="vertical-align: middle" aria-hidden="true">{svg}</svg>'


def _said(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    if low == high:
        return f"S[{low}]" if low else "none"
    return f"{f'S[{low}]' if low else 'none'} to S[{high}] by class"
