"""Images side by side: as the pixels of one picture, and as a figure with a label for every row and column."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from .condensed import CondensedSet
from .figures import one_axes


def tile(images: Tensor, keep: int | None = None, zoom: int = 1) -> np.ndarray:
    """Images (rows, columns, C, H, W) in [0, 1] as one uint8 picture (height, width, 3) with white gaps.

    Columns from number `keep` on are dimmed; every pixel becomes `zoom` x `zoom`.
    """
    pixels = images.detach().clamp(0, 1).float().cpu().numpy()
    if keep is not None:
        pixels[:, keep:] = 0.82 + 0.18 * pixels[:, keep:]
    rows, columns, channels, height, width = pixels.shape
    pixels = pixels.repeat(zoom, axis=3).repeat(zoom, axis=4)
    gap = max(1, height * zoom // 14)
    canvas = np.ones((rows, columns, channels, height * zoom + gap, width * zoom + gap), dtype=np.float32)
    canvas[..., :-gap, :-gap] = pixels
    canvas = canvas.transpose(0, 3, 1, 4, 2).reshape(rows * (height * zoom + gap), -1, channels)
    picture = (canvas[:-gap, :-gap] * 255).round().astype(np.uint8)
    return picture if channels == 3 else picture.repeat(3, axis=2)


def gallery(condensed: CondensedSet, *, keep: int | None = None, rows: int | None = None, title: str = "") -> Figure:
    """The stored images, a row per class, in the order of use, dimmed beyond `keep` (MDC Fig. 10 to 15)."""
    images = condensed.images[:rows]
    return image_grid(images, condensed.classes[:rows], keep=keep, title=title, xlabel="image number")


def image_grid(
    images: Tensor,
    row_labels: Sequence[str],
    *,
    column_labels: Sequence[str] | None = None,
    keep: int | None = None,
    title: str = "",
    xlabel: str = "",
) -> Figure:
    """Images (rows, columns, C, H, W) in [0, 1] as a grid, columns numbered by default (MDC Fig. 6; YOCO Fig. 6)."""
    count_rows, count_columns = images.shape[:2]
    inch = min(0.62, 8.0 / count_columns)
    margin = 0.5 + 0.09 * max(map(len, row_labels))  # of the row labels, about 0.08 inches a letter
    fig, ax = one_axes((count_columns * inch + margin, count_rows * inch + 0.9), grid=False)
    fig.set_layout_engine("compressed")  # else the labels of pictures of fixed aspect are cut off
    picture = tile(images, keep)
    ax.imshow(picture, interpolation="nearest", aspect="equal")
    step_x, step_y = picture.shape[1] / count_columns, picture.shape[0] / count_rows
    labels = column_labels or [str(n + 1) for n in range(count_columns)]
    ax.set_xticks([(n + 0.5) * step_x for n in range(count_columns)], labels)
    ax.set_yticks([(c + 0.5) * step_y for c in range(count_rows)], list(row_labels))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(xlabel)
    ax.set_title(title, loc="left")
    return fig
