"""Figures of printed numbers and measured ones."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .plots import Picture, style


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
