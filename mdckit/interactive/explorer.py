"""The explorer: which images belong to which size, and what each size is worth."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import ipywidgets
import pandas as pd
from matplotlib.colors import to_hex

from .. import plots, results
from ..condensed import CondensedSet
from ..data import ImageData
from ..evaluate import check_fits
from . import explorer_charts as charts
from . import mosaic
from .class_filter import ClassFilter
from .explored import Explored, Line
from .mosaic import Grid, Strip
from .panels import WHOLE, Canvas, Panel, View, number, show

ALL, NOTHING = "all curves", "nothing"
KEPT = 64  # pictures, each of which may have half a megabyte
COLUMNS = ("method", "ipc", "seed", "accuracy")


def explore(
    sets: CondensedSet | Mapping[str, CondensedSet],
    accuracy: Mapping | pd.DataFrame | None = None,
    data: ImageData | None = None,
) -> "Explorer":
    """A slider over images per class: which images each size has, what it is worth, and which subset was learned when.

    `sets` is one condensed set or several by name, of the same classes; sizes may differ. `accuracy` is the record of a
    run (`results.record`) or its `results.accuracies`, by the same names; methods without a set, such as Baseline A,
    are drawn as curves. With `data` the nearest real images can be asked for: of the same class, by the root of the
    mean squared pixel difference. Raises ValueError for no sets, sets of unlike classes, accuracies of none of them, or
    data of another shape.

    >>> from mdckit import shipped
    >>> explorer = explore({"mdc": shipped("mnist5k", "mdc"), "baseline_c": shipped("mnist5k", "baseline_c")})
    >>> explorer.ipc.value = 3
    >>> "3 images per class = 30 images, 24 kB" in explorer.text.value
    True
    """
    named = {_name(sets): sets} if isinstance(sets, CondensedSet) else sets
    _check_sets(named)
    rows = _rows(accuracy)
    if len(rows) and not set(named) & set(rows["method"]):
        known = ", ".join(map(str, rows["method"].unique()))
        raise ValueError(f"accuracies of {known} given, but the sets are {', '.join(named)}: name them alike")
    if data is not None:
        for condensed in named.values():
            check_fits(condensed, data)
    return Explorer(named, rows, data)


def _name(condensed: CondensedSet) -> str:
    return condensed.info.get("recipe", {}).get("name", "condensed set")


def _check_sets(sets: Mapping[str, CondensedSet]) -> None:
    if not isinstance(sets, Mapping) or not sets or not all(isinstance(s, CondensedSet) for s in sets.values()):
        content = ", ".join(sorted({type(s).__name__ for s in sets.values()})) if isinstance(sets, Mapping) else ""
        raise ValueError(
            f"{type(sets).__name__} of {content or 'nothing'} given to explore: give one CondensedSet, or a mapping "
            "from names to at least one"
        )
    (first, one), *others = sets.items()
    for name, other in others:
        if other.classes != one.classes:
            classes = [f"{len(s.classes)} ({', '.join(s.classes[:3])}, ...)" for s in (one, other)]
            raise ValueError(
                f"{first} has the classes {classes[0]} and {name} {classes[1]}: explore sets of the same classes"
            )


def _rows(accuracy: Mapping | pd.DataFrame | None) -> pd.DataFrame:
    if accuracy is None:
        return pd.DataFrame(columns=list(COLUMNS))
    is_frame = isinstance(accuracy, pd.DataFrame)
    if not set(COLUMNS if is_frame else ("seeds", "accuracy")) <= set(accuracy):
        raise ValueError(
            f"accuracy with {', '.join(map(str, accuracy)) or 'nothing'} given: expected the record of a run or its "
            f"`results.accuracies`, with the columns {', '.join(COLUMNS)}"
        )
    return accuracy if is_frame else results.accuracies(accuracy)


class Explorer(View):
    """What `explore` returns: a widget whose controls are attributes, so that code can move them as well."""

    def __init__(self, sets: Mapping[str, CondensedSet], rows: pd.DataFrame, data: ImageData | None):
        self._rows, self._order = rows, [*sets, *(m for m in rows["method"].unique() if m not in sets)]
        self._lines = {name: _line(name, place, rows) for place, name in enumerate(self._order)}
        self._sets = {name: Explored(name, self._lines[name], s, data) for name, s in sets.items()}
        self._drawn: dict[tuple, Canvas] = {}
        self._make_controls(data)
        self._gallery, self._curve, self._trace = Panel(), Panel(), Panel()
        controls = [[self.ipc, self.typed, self.decoded, self.real], [self.chosen, self.other, self.find, self.page]]
        super().__init__(controls, [self._gallery], [[self._curve], [self._trace, self._loops]])
        self.watch(self.ipc, self.loop, self.chosen, self.other, self.find, self.page, self.decoded, self.real)

    def _make_controls(self, data: ImageData | None) -> None:
        self.ipc, self.typed = number("images per class")
        self.loop, self.typed_loop = number("outer loop")
        named, looks = self._named(self._sets), {"style": WHOLE, "layout": {"width": "260px"}}
        self.chosen = ipywidgets.Dropdown(options=named, description="set", **looks)
        self.other = ipywidgets.Dropdown(options=[(ALL, ALL)], description="compare with", **looks)
        self._filter = ClassFilter(next(iter(self._sets.values())).condensed.classes)
        self.find, self.page = self._filter.find, self._filter.page
        self.decoded = ipywidgets.Checkbox(description="decoded, as networks see them", indent=False)
        self.real = ipywidgets.Checkbox(description="nearest real images", indent=False)
        self._loops = ipywidgets.Box([self.loop, self.typed_loop])
        show(self.chosen, len(self._sets) > 1)
        show(self.other, len(self._order) > 1)
        show(self.real, data is not None)

    def _named(self, names: Iterable[str]) -> list[tuple[str, str]]:
        return [(self._lines[name].label, name) for name in names]

    def redraw(self) -> None:
        """Show what the controls say; pictures that were drawn before are kept."""
        chosen, other = self._fit(), self._sets.get(self.other.value)
        shown = [chosen, *filter(None, [other])]
        strips = [(e, kind) for e in shown for kind in ("stored", "nearest")[: 1 + self.real.value]]
        columns = max(e.condensed.ipc for e in shown)
        classes = self._filter.visible(len(strips), columns)
        if not classes:
            self.say(self._filter.problem)
            return
        self._show_gallery(strips, classes, columns)
        self._show_curve()
        self._show_trace(chosen, classes)
        self._describe(shown, classes)

    def _fit(self) -> Explored:
        """Let the controls offer what the chosen set has."""
        chosen = self._sets[self.chosen.value]
        for control in (self.ipc, self.typed):
            control.max = chosen.condensed.ipc
        others = [(ALL, ALL), (NOTHING, NOTHING), *self._named(name for name in self._order if name != chosen.name)]
        if list(self.other.options) != others:
            kept = self.other.value
            self.other.options = others
            self.other.value = kept if kept in self._order and kept != chosen.name else ALL
        if self.loop.max != chosen.outer:
            self.loop.max = self.typed_loop.max = chosen.outer
            self.loop.value = chosen.outer
        show(self.decoded, chosen.condensed.factor > 1)
        show(self._loops, bool(chosen.histories))
        return chosen

    def _once(self, key: tuple, draw: Callable[[], Canvas]) -> Canvas:
        if key not in self._drawn:
            if len(self._drawn) >= KEPT:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[key] = draw()
        return self._drawn[key]

    def _show_gallery(self, strips: Sequence[tuple[Explored, str]], classes: Sequence[int], columns: int) -> None:
        condensed = strips[0][0].condensed
        named = [charts.short(e.line.label) if kind == "stored" else "nearest real" for e, kind in strips]
        grid = Grid.fit([condensed.classes[c] for c in classes], named, columns, condensed.images.shape[-2:])
        key = (*classes, *((e.name, kind) for e, kind in strips), self.decoded.value)
        canvas = self._once(key, lambda: self._draw_gallery(grid, strips, classes))
        self._gallery.show(canvas, charts.mark_gallery(grid, strips, classes, self.ipc.value, self.loop.value))

    def _draw_gallery(self, grid: Grid, strips: Sequence[tuple[Explored, str]], classes: Sequence[int]) -> Canvas:
        if self.real.value:
            self.say(f"looking for the nearest real images of {len(classes)} classes ...")

        def strip(explored: Explored, kind: str, c: int) -> Strip:
            decoded = kind == "stored" and self.decoded.value and explored.condensed.factor > 1
            return getattr(explored, "decoded" if decoded else kind)(c, grid.tall, grid.wide)

        drawn = [[strip(explored, kind, c) for explored, kind in strips] for c in classes]
        what = " and ".join(f"{name}, up to {grid.columns} images" for name in grid.strips)
        return mosaic.gallery(grid, drawn, f"Images of the classes {', '.join(grid.classes)}: of each class {what}.")

    def _show_curve(self) -> None:
        names = self._order if self.other.value == ALL else [self.chosen.value, self.other.value]
        rows = self._rows[self._rows["method"].isin(names)]
        if rows.empty:
            named = "were given: explore(sets, accuracy=record) draws them here"
            self._curve.show(f"No accuracies {named if self._rows.empty else 'of this set were given'}.")
            return
        most = max(e.condensed.ipc for e in self._sets.values())
        chart = self._once(("curve", *names), lambda: charts.accuracy(rows, self._order, most))
        marked = [self._lines[name] for name in (self.chosen.value, self.other.value) if name in self._lines]
        self._curve.show(chart, charts.mark_accuracy(chart, self.ipc.value, marked))

    def _show_trace(self, chosen: Explored, classes: Sequence[int]) -> None:
        if not chosen.histories:
            self._trace.show("No MLS: no most learnable subset was chosen when this set was made.")
            return
        key = ("trace", chosen.name, *(classes if chosen.class_wise else ()))
        chart = self._once(key, lambda: charts.subsets(chosen, classes))
        self._trace.show(chart, charts.mark_subsets(chart, chosen, self.loop.value, self.ipc.value))

    def _describe(self, shown: Sequence[Explored], classes: Sequence[int]) -> None:
        n, several = self.ipc.value, len(shown) > 1
        lines = [f"{f'{e.line.label}: ' * several}{e.size(n)}: {e.line.at(n)}" for e in shown]
        if self.other.value in self._lines and not several:
            lines.append(f"{self._lines[self.other.value].label}: {self._lines[self.other.value].at(n)}")
        if self.real.value:
            far = [f"{charts.short(e.line.label)} {e.distance(n, classes):.3f}" for e in shown]
            lines.append(f"{', '.join(far)} from the nearest real image of the class: mean over those in use here")
        self.say(*lines, legend=charts.legend([e for e in shown if e.histories], self.loop.value, several))


def _line(name: str, place: int, rows: pd.DataFrame) -> Line:
    look = plots.style(name, place)
    return Line.of(look["label"], to_hex(look["color"]), rows[rows["method"] == name])
