"""Rows about the explorer: what a key press costs the kernel."""

from itertools import cycle

import torch

import mdckit
from mdckit import CondensedSet, plots, results
from tests.benchmarks.measure import Row, compare

RECORD = {"seeds": [0, 1, 2], "accuracy": {"mdc": {str(n): [40.0 + n, 41.0 + n, 42.0 + n] for n in range(1, 11)}}}
TRACE = {
    "mls_trace": [[1, 1], [10, 3], [20, 2]],
    "outer": 30,
    "recipe": {"freeze": "released"},
    "config": {"period": 10},
}


def key_press(classes: int, repeats: int, device: torch.device) -> Row:
    """One step of the slider, CIFAR's shapes, N = 10, f = 2: marks alone, against gallery and curve drawn anew."""
    images = torch.rand(classes, 10, 3, 32, 32)
    names = tuple(f"class {c}" for c in range(classes))
    condensed = CondensedSet(images, 2, (0.5,) * 3, (0.5,) * 3, names, info=TRACE)
    explorer = mdckit.explore({"mdc": condensed}, RECORD)
    sizes = {side: cycle(range(1, 11)) for side in ("drawn anew", "marks")}
    work = {
        "drawn anew": lambda: drawn(condensed, next(sizes["drawn anew"])),
        "marks": lambda: explorer.ipc.set_trait("value", next(sizes["marks"])),
    }
    return compare(f"key press in the explorer, {classes} classes", 5, work, repeats, device)


def drawn(condensed: CondensedSet, n: int) -> list[bytes]:
    rows = results.accuracies(RECORD)
    return [plots.png(fig) for fig in (plots.gallery(condensed, keep=n, rows=10), plots.accuracy(rows, mark=n))]
