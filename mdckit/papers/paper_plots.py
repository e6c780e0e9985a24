"""Figures of the papers: of printed numbers and measured ones, of what time buys, of the subsets classes choose."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..figures import Picture, style


def beside(rows: pd.DataFrame, measured: Mapping[str, pd.DataFrame], title: str = "") -> Figure:
    """Accuracy against images per class: printed (`printed.blocks`, dashed) and measured (`paper.compare`, solid)."""
    fig = Picture(figsize=(9.0, 4.4), layout="constrained")
    ax = fig.subplots()
    sizes = rows[rows["ipc"] != "avg"].dropna(subset=["name", "printed"])
    for position, (name, printed) in enumerate(sizes.groupby("name", sort=False)):
        look = style(name, position)
        ax.plot(printed["ipc"].astype(int), printed["printed"], ls="--", lw=1.3, ms=5, mfc="white", **look)
        for found in measured.values():
            own = found[(found["name"] == name) & (found["ipc"] != "avg")].dropna(subset="mean")
            ax.errorbar(
                own["ipc"].astype(int), own["mean"], own["std"], lw=2, ms=6, capsize=2, **look | {"label": None}
            )
    measured_lines = "solid: measured, mean ± std over the networks; dashed: printed"
    lines = measured_lines if measured else "dashed: as printed; nothing of it was measured"
    ax.set(xlabel=f"images per class\n({lines})", ylabel="test accuracy, %")
    ax.set_title(title, loc="left")
    ax.grid(color="0.92", lw=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    fig.legend(*ax.get_legend_handles_labels(), frameon=False, loc="outside right center")
    return fig


def accuracy_over_time(rows: pd.DataFrame, clock: str, *, reference: str | None = None, title: str = "") -> Figure:
    """Test accuracy, the mean of all sizes and seeds, against the time of condensation (MDC Fig. 4).

    `rows` have the columns method, accuracy (percent) and the time spent until then, named by its unit: `clock`, such
    as "hours". Vertical lines mark when each method first reaches the last accuracy of the `reference`.
    """
    fig = Picture(figsize=(7.0, 3.8), layout="constrained")
    ax = fig.subplots()
    mean = {name: group.groupby(clock)["accuracy"].mean() for name, group in rows.groupby("method", sort=False)}
    looks = {name: style(name, position) for position, name in enumerate(mean)}
    for name, line in mean.items():
        ax.plot(line.index, line, lw=2, ms=6, **looks[name])
    if reference is not None:
        level = mean[reference].iloc[-1]
        ax.axhline(level, color=looks[reference]["color"], lw=1, ls="--", zorder=0)
        reached = {name: line.index[line >= level] for name, line in mean.items() if name != reference}
        for first in (times[0] for times in reached.values() if len(times)):
            ax.axvline(first, color="tab:red", lw=1.2)
            ax.text(first, 1, f" {first:.2g} {clock}", color="tab:red", va="top", transform=ax.get_xaxis_transform())
    ax.set(xlabel=f"time of condensation, {clock}", ylabel="test accuracy, % (mean of the sizes)", xlim=(0, None))
    ax.set_title(title, loc="left")
    ax.grid(color="0.92", lw=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return fig


def mls_choices(traces: Mapping[str, Sequence[Sequence[int]]], title: str = "") -> Figure:
    """The most learnable subset that every class chooses for itself, by the loop of the choice (MDC Fig. 9).

    `traces` maps the name of a row, perhaps a method, to its trace of [t, n], all with the same loops t: those of a
    class-wise set's ``mls_trace`` by class, and any other to compare with.
    """
    import seaborn  # it takes a second, and nothing else needs it

    sizes = pd.DataFrame({style(name)["label"]: dict(trace) for name, trace in traces.items()}).T  # (rows, choices)
    margin = 0.8 + 0.09 * max(map(len, sizes.index))  # of the row labels, as in `plots.image_grid`
    width = margin + max(3.7, 0.5 * sizes.shape[1])  # the label below needs 3.6 inches
    fig = Picture(figsize=(width, 0.34 * len(sizes) + 0.9), layout="constrained")
    ax = fig.subplots()
    seaborn.heatmap(sizes, vmin=0, cmap="Blues", annot=True, fmt="d", cbar=False, linewidths=1.5, ax=ax)
    ax.tick_params(length=0, rotation=0)
    ax.set(xlabel="outer loop t after which S[n] was chosen", ylabel="")
    ax.set_title(title, loc="left")
    return fig
