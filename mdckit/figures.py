"""What all figures share: their kind, the look of every method, and how they are written."""

import io
import threading
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from . import files

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
    "learning_progress": ("all prefixes, by progress", 3, ">"),
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


def png(fig: Figure, dpi: int = 100) -> bytes:
    """The figure as PNG bytes."""
    buffer = io.BytesIO()
    with _DRAWING:
        fig.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save(fig: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG file, atomically."""
    return files.write_atomically(path, png(fig, dpi=150))


def one_axes(size: tuple[float, float], grid: bool = True) -> tuple[Figure, Axes]:
    """A picture with one pair of axes, of a size in inches."""
    fig = Picture(figsize=size, layout="constrained")
    ax = fig.subplots()
    if grid:
        ax.grid(color="0.92", lw=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    return fig, ax
