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
    with _bar(items, desc=label, total=total, initial=done, smoothing=0.05) as bar:
        yield from bar


class Tally:
    """A bar over `total` runs, of which `done` need no time: how many have ended, the time left, and counts in words.

    >>> with Tally("runs", 2, show=False) as tally:
    ...     tally.tell(ended=1, counts={"done": 1, "failed": 0})
    """

    def __init__(self, label: str, total: int, done: int = 0, show: bool = True):
        text = "{desc}: {n_fmt}/{total_fmt}, {elapsed} so far, {remaining} left{postfix}"
        plain = {"bar_format": text} if headless() else {}
        options = {"desc": label, "total": total, "initial": done, "unit": "run", "smoothing": 0, "disable": not show}
        self.bar = _bar(**options, **plain)

    def tell(self, ended: int, counts: dict[str, int]) -> None:
        """So many more have ended; these are the counts now."""
        self.bar.set_postfix_str(", ".join(f"{count} {name}" for name, count in counts.items()), refresh=False)
        self.bar.update(ended)
        if not headless():
            self.bar.refresh()

    def line(self, text: str) -> None:
        """Write a line above the bar."""
        if not self.bar.disable:
            self.bar.write(text, file=sys.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()


def _bar(*items, **options):
    """A bar of tqdm: plain text on stderr in a batch run, else what suits the place."""
    if headless():
        from tqdm import tqdm

        options |= {"file": sys.stderr, "mininterval": 1.0, "ncols": 90}
    else:
        from tqdm.auto import tqdm
    return tqdm(*items, **options)
