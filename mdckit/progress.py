"""Progress bars: a widget in a notebook, plain text in a batch run."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def headless() -> bool:
    """Whether this is a batch run: the environment variable ``MDCKIT_HEADLESS`` is set to something but 0."""
    return os.environ.get("MDCKIT_HEADLESS", "0") not in ("", "0")


def progress(items: Iterable[Item], label: str, total: int, done: int = 0, show: bool = True) -> Iterator[Item]:
    """Pass `items` through while a bar shows how many of `total` are done, the rate and the time left."""
    if not show:
        yield from items
        return
    if headless():
        from tqdm import tqdm

        options = {"file": sys.stderr, "mininterval": 1.0, "ncols": 90}
    else:
        from tqdm.auto import tqdm

        options = {}
    with tqdm(items, desc=label, total=total, initial=done, smoothing=0.05, **options) as bar:
        yield from bar
