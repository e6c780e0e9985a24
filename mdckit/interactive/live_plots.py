"""What there is to see of a condensation while it grows: a `Moment` in, a picture out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .. import plots
from ..config import TrainConfig
from ..subsets import SubsetState
from .moment import Moment

SHOWN = 10  # classes, and images of each, in the gallery
GALLERY = (430, 300)  # pixels, at most
LEFT, RIGHT = 4.3, 6.4  # inches wide
FIRST_LOOPS = 20  # that the time axis has room for; it doubles whenever they are full


def gallery(moment: Moment, name: str) -> Image.Image:
    """The first images of the first classes of a set, a row per class, in the order of use."""
    tile = plots.tile(moment.state.sets[name].images[:SHOWN, :SHOWN])
    zoom = max(1, min(GALLERY[0] // tile.shape[1], GALLERY[1] // tile.shape[0]))
    picture = Image.fromarray(tile.repeat(zoom, axis=0).repeat(zoom, axis=1))
    picture.thumbnail(GALLERY)  # where single pixels are too large already
    return picture


def losses(moment: Moment) -> Figure:
    """The matching loss of every set: the mean of each outer loop as a line, the last iterations one by one."""
    means = {name: dict(enumerate(s.losses, start=1)) for name, s in moment.state.sets.items()}
    fig = plots.curves(means, "outer loop", "matching loss", size=(RIGHT, 2.2))
    (ax,) = fig.axes
    for line in ax.lines:
        line.set_markersize(4 if moment.state.outer <= FIRST_LOOPS else 2)
    for position, name in enumerate(means):
        points = [(at, float(loss[name])) for at, loss in moment.recent]
        look = plots.style(name, position) | {"label": None, "marker": "."}
        ax.plot(*zip(*points, strict=True), ls="none", ms=4, alpha=0.4, **look) if points else None
    ax.set_xlim(0, _horizon(moment))
    ax.set_ylim(bottom=0)
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "ncols": len(means), "frameon": False}
    if len(means) > 1:
        ax.legend(**above)
    return fig


def accuracies(moment: Moment, protocol: TrainConfig) -> Figure:
    """The accuracy of every set by size, tested last; dotted, that of the first test."""
    rows = moment.accuracies
    latest = rows[rows["outer"] == rows["outer"].max()]
    said = f"test accuracy, %\n({protocol.epochs} epochs, {_count(len(protocol.seeds), 'seed')})"
    t = latest["outer"].iloc[0]
    first = rows[(rows["outer"] == rows["outer"].min()) & (rows["outer"] < t)]
    title = _when(t) if first.empty else f"{_when(t)}; dotted: {_when(first['outer'].iloc[0])}"
    fig = plots.accuracy(latest, ylabel=said, size=(RIGHT, 2.5), title=title)
    (ax,) = fig.axes
    for position, (method, group) in enumerate(first.groupby("method", sort=False)):
        mean = group.groupby("ipc")["accuracy"].mean()
        ax.plot(mean.index, mean, lw=1.2, ls=":", color=plots.style(method, position)["color"])
    return fig


def choices(moment: Moment, name: str) -> Figure:
    """The most learnable subset of a set over the outer loops, and what is frozen: the mean where classes differ."""
    histories, t = moment.state.sets[name].subsets, moment.state.outer
    traces = np.array([history.trace for history in histories], dtype=float)  # (1 or K, choices, 2)
    frozen = _frozen(histories, t)
    trace = traces.mean(0).tolist() if traces.size else []
    fig = plots.mls_trace(trace, max(t, 1), frozen or None, size=(LEFT, 1.5))
    (ax,) = fig.axes
    above = 1.5 * max((n for _, n in trace), default=1) + 0.5  # room for the legend
    ax.set(xlabel="outer loop", ylabel="MLS", xlim=(1, _horizon(moment) + 1), ylim=(0, above))
    return fig


def _frozen(histories: Sequence[SubsetState], loops: int) -> list[float]:
    return [float(np.mean([history.frozen(t) for history in histories])) for t in range(1, loops + 1)]


def _horizon(moment: Moment) -> int:
    """Outer loops on the time axis."""
    loops = FIRST_LOOPS
    while loops < moment.state.outer + 1:
        loops *= 2
    return min(loops, moment.config.outer)


def _when(t: int) -> str:
    return f"after outer loop {t}" if t else "real images, before the first loop"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}"
