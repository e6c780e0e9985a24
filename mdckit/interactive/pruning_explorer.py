"""The pruning explorer: which patches a score keeps, of which classes, at every target size."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

import ipywidgets
import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from .. import plots
from ..condensed import CondensedSet
from ..pruning import comparison, scores, selection
from ..pruning.dynamics import Dynamics
from ..pruning.scores import Score
from . import mosaic
from .class_filter import ClassFilter
from .explored import Explored, Line
from .mosaic import Box, Grid
from .panels import WHOLE, Canvas, Chart, Panel, View, number

KEPT = mosaic.MLS
BINS = 30


def explore_pruning(
    condensed: CondensedSet, log: Dynamics, lbpe: Mapping | None = None, accuracy: Mapping | None = None
) -> "PruningExplorer":
    """Make a set smaller by hand: target size, score, balance and direction, and see which patches are kept.

    `log` are training dynamics of `condensed`, `lbpe` the E and K of that score as in `scores.by_name`. Kept cells are
    outlined; beside them, how many of every class and which scores. `accuracy` is a record of measured selections of
    the same set (`comparison.record`): where the choice is one of them, its accuracy is told. So is a choice that
    cannot be had. Raises ValueError for dynamics or accuracies of another set.

    >>> from mdckit import CondensedSet, TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 3, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> explorer = explore_pruning(made, log, {"epochs": 4, "top": 2})
    >>> "2 of 6 patches kept, 1 to 1 of a class" in explorer.text.value
    True
    """
    log.check(condensed)
    if accuracy is not None and accuracy.get("digest") != condensed.digest:
        raise ValueError("the accuracies are of selections of another set than the one given: see `comparison.record`")
    return PruningExplorer(condensed, log, lbpe or {}, accuracy)


class PruningExplorer(View):
    """What `explore_pruning` returns: a widget whose controls are attributes, so that code can move them as well."""

    def __init__(self, condensed: CondensedSet, log: Dynamics, lbpe: Mapping, accuracy: Mapping | None):
        self.condensed, self._lbpe, self._lines = condensed, dict(lbpe), _measured(accuracy)
        self._explored = Explored("set", Line("", "", {}), condensed)
        self._scored = cache(lambda name: scores.by_name(name, condensed, log, **(lbpe if name == "lbpe" else {})))
        self._galleries: dict[tuple, tuple[Grid, Canvas, list]] = {}
        self._spread = cache(lambda name: score_chart(self._scored(name)))
        self._totals = class_chart(condensed)
        self.ipc, self.typed = number("images per class", condensed.ipc)
        self.score = ipywidgets.Dropdown(options=list(scores.SCORES), description="score", style=WHOLE)
        self.balanced = ipywidgets.Checkbox(True, description="balanced: equally many of every class", indent=False)
        style = WHOLE | {"button_width": "70px"}
        self.keep = ipywidgets.ToggleButtons(options=["easy", "hard"], description="keep", style=style)
        self._filter = ClassFilter(condensed.classes)
        self.find, self.page = self._filter.find, self._filter.page
        self._gallery, self._counts, self._values = Panel(), Panel(), Panel()
        rows = [[self.ipc, self.typed, self.balanced], [self.score, self.keep, self.find, self.page]]
        super().__init__(rows, [self._gallery], [[self._counts], [self._values]])
        self.watch(self.ipc, self.score, self.balanced, self.keep, self.find, self.page)

    def kept(self) -> Tensor:
        """Which patches the controls keep, (P,) bool; raises ValueError for a choice that cannot be had."""
        ranked = self._ranked()
        chosen = selection.first_ranked(self.condensed, ranked, self.ipc.value, self.balanced.value)
        kept = torch.zeros(self.condensed.patches, dtype=torch.bool)
        kept[chosen] = True
        return kept

    def _ranked(self) -> Tensor:
        score = self._scored(self.score.value)
        return (score if score.keep == self.keep.value else score.reversed()).ranked()

    def redraw(self) -> None:
        """Show what the controls say."""
        try:
            kept, problem = self.kept(), ""
        except ValueError as error:
            kept, problem = torch.zeros(self.condensed.patches, dtype=torch.bool), str(error)
        counts = [int(part.sum()) for part in kept.split(list(self.condensed.patches_per_class))]
        self._show_gallery(kept, counts)
        self._counts.show(self._totals, bars(self._totals, ((c - 0.4, c + 0.4, n) for c, n in enumerate(counts))))
        self._show_scores(kept)
        problem = self._filter.problem or problem
        lines = [problem] if problem else [self._describe(counts), self._accuracy()]
        self.say(*filter(None, lines), legend="outlined: kept &emsp; dimmed: left out")

    def _show_gallery(self, kept: Tensor, counts: Sequence[int]) -> None:
        classes = self._filter.visible(1, self.condensed.ipc)
        if not classes:
            return
        key = tuple(classes)
        if key not in self._galleries:
            self._galleries[key] = self._draw_gallery(classes)
        grid, canvas, paths = self._galleries[key]
        of_class = kept.split(list(self.condensed.patches_per_class))
        marks = mark_kept(paths, torch.cat([of_class[c] for c in classes]).tolist())
        self._gallery.show(canvas, marks + count_labels(grid, [counts[c] for c in classes]))

    def _draw_gallery(self, classes: Sequence[int]) -> tuple[Grid, Canvas, list[tuple[str, str]]]:
        names, sides = [self.condensed.classes[c] for c in classes], self.condensed.images.shape[-2:]
        grid = Grid.fit(names, ["images"], self.condensed.ipc, sides, right=60)
        strips = [[self._explored.stored(c, grid.tall, grid.wide)] for c in classes]
        canvas = mosaic.gallery(grid, strips, f"Images of the classes {', '.join(names)}, up to {grid.columns} each.")
        counts = [self.condensed.patches_per_class[c] for c in classes]
        return grid, canvas, cell_paths(grid, self.condensed.factor, counts)

    def _show_scores(self, kept: Tensor) -> None:
        try:
            score, chart = self._scored(self.score.value), self._spread(self.score.value)
        except ValueError as error:
            self._values.show(str(error))
            return
        edges = score_edges(score)
        found, _ = np.histogram(score.values[kept].numpy(), edges)
        self._values.show(chart, bars(chart, zip(edges[:-1], edges[1:], found, strict=True)))

    def _describe(self, counts: Sequence[int]) -> str:
        text = f"{sum(counts)} of {self.condensed.patches} patches kept, {min(counts)} to {max(counts)} of a class"
        missing = counts.count(0)
        return f"{text}, {missing} class{'es' * (missing > 1)} without any" if missing else text

    def _accuracy(self) -> str:
        score = self._scored(self.score.value)
        default = {"balanced": score.balanced, "keep": score.keep}
        wanted = {"name": self.score.value, "balanced": self.balanced.value, "keep": self.keep.value}
        wanted |= self._lbpe if self.score.value == "lbpe" else {}
        lines = [line for how, line in self._lines if default | how == wanted]
        return f"test accuracy, mean ± std: {lines[0].at(self.ipc.value)}" if lines else ""


def _measured(accuracy: Mapping | None) -> list[tuple[dict, Line]]:
    """How each measured selection was made, and its accuracies."""
    if accuracy is None:
        return []
    rows = comparison.accuracies(accuracy)
    return [(dict(accuracy["config"]["methods"][name]), Line.of(name, "", own)) for name, own in rows.groupby("method")]


def cell_paths(grid: Grid, factor: int, counts: Sequence[int]) -> list[tuple[str, str]]:
    """The sides of every cell of every row, and of the cell without its border, as data of SVG paths."""
    cells = [cell for row, count in enumerate(counts) for cell in _cells(grid, row, factor, count)]
    return [(mosaic.path([cell]), mosaic.path([cell], -1)) for cell in cells]


def _cells(grid: Grid, row: int, factor: int, count: int) -> Iterator[Box]:
    wide, tall = grid.wide / factor, grid.tall / factor
    for cell in range(count):
        image, (down, right) = cell // factor**2, divmod(cell % factor**2, factor)
        yield grid.x(image) + right * wide, grid.y(row, 0, image // grid.across) + down * tall, wide, tall


def mark_kept(paths: Sequence[tuple[str, str]], kept: Sequence[bool]) -> str:
    """The cells that are kept outlined, the others dimmed; both as `cell_paths` has them."""
    inside = "".join(inner for (_, inner), flag in zip(paths, kept, strict=True) if flag)
    outside = "".join(outer for (outer, _), flag in zip(paths, kept, strict=True) if not flag)
    return mosaic.dim(outside) + mosaic.outline(inside, KEPT, stroke=1.8)


def count_labels(grid: Grid, counts: Sequence[int]) -> str:
    """How many patches of every class are kept, at the right."""
    x = grid.width - grid.right + 6
    return "".join(mosaic.label(x, grid.y(row, 0, 0) + grid.tall // 2 + 4, f"{n} kept") for row, n in enumerate(counts))


def bars(chart: Chart, heights: Iterable[tuple[float, float, float]]) -> str:
    """Bars from one value to another, so high."""
    boxes = [(chart.x(a), chart.y(n), chart.x(b) - chart.x(a), chart.y(0) - chart.y(n)) for a, b, n in heights if n]
    return f'<path d="{mosaic.path(boxes)}" fill="{KEPT}" stroke="white" stroke-width="0.5"/>'


def class_chart(condensed: CondensedSet) -> Chart:
    """All patches of every class, as bars on which those kept are marked."""
    fig = plots.Picture(figsize=(5.2, 2.2), layout="constrained")
    ax = fig.subplots()
    ax.bar(range(len(condensed.classes)), condensed.patches_per_class, 0.8, color="0.88")
    every = -(-len(condensed.classes) // 12)
    names = condensed.classes[::every]
    long = max(map(len, names)) > 3
    ax.set_xticks(range(0, len(condensed.classes), every), names, rotation=40 * long, ha="right" if long else "center")
    _finish(ax, "", "patches of every class")
    return Chart.of(fig, "Patches kept of every class, beside all there are.")


def score_chart(score: Score) -> Chart:
    """How the values of a score are spread, as bars on which those kept are marked."""
    fig = plots.Picture(figsize=(5.2, 2.2), layout="constrained")
    ax = fig.subplots()
    edges = score_edges(score)
    counts, _ = np.histogram(score.values.numpy(), edges)
    ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color="0.88", edgecolor="white", lw=0.5)
    _finish(ax, f"{score.name} of a patch ({score.easy}: easy)", "patches by their score")
    return Chart.of(fig, f"Histogram of {score.name}: all patches, and those kept.")


def score_edges(score: Score) -> np.ndarray:
    """The borders of the bars of a score's histogram."""
    return np.histogram_bin_edges(score.values.numpy(), BINS)


def _finish(ax, xlabel: str, title: str) -> None:
    ax.set(xlabel=xlabel, ylabel="patches")
    ax.set_title(f"{title}: all in grey, kept in orange", loc="left", fontsize=10)
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.spines[["top", "right"]].set_visible(False)
