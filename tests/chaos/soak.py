"""Many short runs in one process: what it holds after each of them."""

import gc
import json
import shutil
from pathlib import Path

import psutil
from matplotlib.figure import Figure

from mdckit import CondensedSet, plots
from tests.chaos import road

MEBIBYTE = 2**20


class Silent:
    """A journal that nobody reads."""

    def say(self, *_) -> None:
        """Forget it."""


def main(folder: str, count: int) -> None:
    """Go the road `count` times in this process, draw what it made, and leave the figures in ``folder/soak.json``."""
    place, process, held = Path(folder), psutil.Process(), []
    pictures = road.draw_pictures(place / "pictures")
    for number in range(count):
        here = place / f"run{number}"
        road.go(here, pictures, Silent())
        condensed = CondensedSet.load(here / "run/sets/mdc.safetensors")
        plots.save(plots.gallery(condensed), here / "gallery.png")
        shutil.rmtree(here)
        del condensed
        gc.collect()
        memory = process.memory_info().rss / MEBIBYTE
        held.append([memory, len(gc.get_objects()), process.num_fds(), process.num_threads()])
    (place / "soak.json").write_text(json.dumps(dict(zip(NAMES, map(list, zip(*held, strict=True)), strict=True))))


NAMES = ("memory", "objects", "handles", "threads")


def growth(values: list[float], warm: int) -> float:
    """How much more the last quarter of the runs holds than the first one after `warm` runs, by their least."""
    values = values[warm:]
    quarter = max(2, len(values) // 4)
    return min(values[-quarter:]) - min(values[:quarter])


def draw(held: dict[str, list[float]]) -> Figure:
    """Memory, open files and threads over the runs."""
    runs = range(1, len(held["memory"]) + 1)
    fig = Figure(figsize=(7, 4.5), layout="constrained")
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.plot(runs, held["memory"], lw=1.5)
    above.set(ylabel="resident memory, MiB", ylim=(0, 1.15 * max(held["memory"])))
    above.set_title(f"{len(runs)} runs in one process: load, condense, evaluate, save, export, draw", loc="left")
    for name, label in {"handles": "open files", "threads": "threads"}.items():
        below.plot(runs, held[name], lw=1.5, label=label)
    below.set(xlabel="run", ylabel="number", ylim=(0, 1.4 * max(held["handles"] + held["threads"])))
    below.yaxis.get_major_locator().set_params(integer=True)
    below.legend(loc="upper right", ncols=2, frameon=False)
    for ax in (above, below):
        ax.grid(color="0.92", lw=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    return fig
