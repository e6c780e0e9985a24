"""Figures of a selection: which patches were kept, of which classes, and how their scores are spread."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from .. import formation
from ..condensed import CondensedSet
from ..figures import Picture, style
from ..galleries import tile

OUTLINE = (0.84, 0.37, 0.0)  # vermilion: told from greys and blues by colour-blind readers too


def kept_cells(condensed: CondensedSet, selection: CondensedSet, zoom: int = 2) -> np.ndarray:
    """The stored images of a set, a row per class, as a uint8 picture: cells of a selection outlined, others dimmed.

    Raises ValueError where `selection` was not selected from `condensed`.
    """
    chosen = selection.info.get("selected", {})
    if chosen.get("of") != condensed.digest:
        raise ValueError("the second set was not selected from the first: give the set that `select` was called on")
    images = condensed.images.detach().clamp(0, 1)
    images = images.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)
    cells = formation.split(images.expand(-1, -1, 3, -1, -1), condensed.factor).clone()  # (K, N f^2, 3, h, w)
    kept = torch.zeros(condensed.patches, dtype=torch.bool)
    kept[chosen["patches"]] = True
    kept = formation.unpack(kept, condensed.patches_per_class, cells.shape[1], fill=False)  # (K, N f^2)
    cells[~kept] = 0.8 + 0.2 * cells[~kept]
    outline = torch.tensor(OUTLINE)[None, :, None, None]
    for lines in (cells[..., :zoom, :], cells[..., -zoom:, :], cells[..., :zoom], cells[..., -zoom:]):
        lines[kept] = outline.expand_as(lines[kept])
    return tile(formation.join(cells, condensed.factor, images.shape[-2:]))


def class_counts(
    selections: Mapping[str, CondensedSet], title: str = "", size: tuple[float, float] = (7.0, 3.4)
) -> Figure:
    """How many patches of every class each selection keeps; its name may tell the accuracy, too (YOCO Fig. 2)."""
    fig = Picture(figsize=size, layout="constrained")
    ax = fig.subplots()
    width = 0.8 / len(selections)
    for position, (name, selection) in enumerate(selections.items()):
        counts = selection.patches_per_class
        shift = (position - (len(selections) - 1) / 2) * width
        look = style(name, position)
        ax.bar([c + shift for c in range(len(counts))], counts, width, label=look["label"], color=look["color"])
    classes = next(iter(selections.values())).classes
    long = max(map(len, classes)) > 2
    ax.set_xticks(range(len(classes)), classes, rotation=45 if long else 0, ha="right" if long else "center")
    ax.set(xlabel="" if long else "class", ylabel="patches kept")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title, loc="left")
    if len(selections) > 1:
        ax.legend(frameon=False, ncols=len(selections), loc="lower right", bbox_to_anchor=(1, 1))
    return fig


def sorted_scores(values: Mapping[str, Tensor], labels: Tensor, classes: Sequence[str]) -> Figure:
    """Scores (P,) of every class in ascending order, a panel per class, a line per name (YOCO Fig. 7)."""
    columns = min(5, len(classes))
    rows = -(-len(classes) // columns)
    fig = Picture(figsize=(9.0, 1.9 * rows + 0.5), layout="constrained")
    axes = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for c, (ax, name) in enumerate(zip(axes, classes, strict=False)):
        for position, (line, scores) in enumerate(values.items()):
            ordered = scores[labels == c].sort().values
            ax.plot(range(1, len(ordered) + 1), ordered, lw=1.8, color=f"C{position}", label=line if c == 0 else None)
        ax.set_title(f"class {name}", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="0.92", lw=0.8)
    for ax in axes[len(classes) :]:
        ax.set_visible(False)
    fig.supxlabel("patches of the class, easiest first", fontsize=10)
    fig.supylabel("prediction error s", fontsize=10)
    fig.legend(loc="outside upper center", ncols=len(values), frameon=False)
    return fig


def easy_against_hard(found: Mapping[str, pd.DataFrame], title: str = "") -> Figure:
    """Test accuracy with the easiest and with the hardest patches, a column per full set (YOCO Fig. 3).

    `found` maps a set's name to its accuracies in percent: columns "easy" and "hard", indexed by the share of the
    patches left out. Below, their difference: grey where easy is better, blue where hard is.
    """
    fig = Picture(figsize=(0.8 + 2.8 * len(found), 4.8), layout="constrained")
    above, below = fig.subplots(2, len(found), sharex=True, sharey="row", squeeze=False, height_ratios=(4, 3))
    for over, under, (name, accuracy) in zip(above, below, found.items(), strict=True):
        shares, gain = accuracy.index.to_numpy(), (accuracy["easy"] - accuracy["hard"]).to_numpy()
        over.plot(shares, accuracy["easy"], color="0.25", lw=2, label="easy patches kept")
        over.plot(shares, accuracy["hard"], color="C0", lw=2, ls="--", label="hard patches kept")
        over.set_title(name, fontsize=10)
        under.plot(shares, gain, color="0.25", lw=1.5, marker="o", ms=4)
        for better, color in ((gain > 0, "0.8"), (gain < 0, "lightsteelblue")):
            under.fill_between(shares, gain, 0, where=better, interpolate=True, color=color, lw=0)
        under.axhline(0, color="0.3", lw=1)
        under.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        for ax in (over, under):
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(color="0.92", lw=0.8)
            ax.set_axisbelow(True)
    above[0].set_ylabel("test accuracy, %")
    below[0].set_ylabel("easy − hard, points")
    above[0].legend(frameon=False, fontsize=8)
    fig.supxlabel("share of the patches left out", fontsize=10)
    fig.suptitle(title, x=0.01, ha="left", fontsize=12)
    return fig
