"""What pictures of 8 bits cost: a set's pixels clipped to 0..1 and rounded, and networks trained on both."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import torch
from torch import Tensor

from .. import formation
from ..condensed import CondensedSet
from ..config import TrainConfig
from ..data import ImageData, to_float
from ..evaluate import Result, evaluate_many
from ..machine import versions
from ..results import spread


def to_bytes(images: Tensor) -> Tensor:
    """Pixels near 0..1 as uint8: what lies outside is clipped, the rest rounded to the nearest of 256 levels.

    >>> to_bytes(torch.tensor([-0.2, 0.5, 1.3])).tolist()
    [0, 128, 255]
    """
    return (images.detach().clamp(0, 1) * 255).round().to(torch.uint8)


def eight_bit(condensed: CondensedSet) -> CondensedSet:
    """The patches of a set as pictures of 8 bits hold them: a set of factor 1 with as many patches, in the same order.

    A prefix of it is an S[n] only where `condensed` has factor 1: for others round ``condensed.take(n)``.

    >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8) * 2, 2, (0.5,), (0.5,), ("a", "b"))
    >>> eight_bit(s)
    CondensedSet(arrays: 2 classes x 12 images of 1 x 8 x 8, factor 1, 24 patches)
    """
    patches, _ = condensed.decode()
    counts = condensed.patches_per_class
    images = formation.unpack(to_float(to_bytes(patches)), counts, max(counts))
    info = {key: value for key, value in condensed.info.items() if key != "mls_trace"}
    info["rounded"] = {"of": condensed.digest, **clipping(condensed)}
    return replace(condensed, images=images, factor=1, counts=counts, info=info)


def clipping(condensed: CondensedSet) -> dict[str, float]:
    """How far the decoded pixels leave 0..1: `lowest`, `highest`, and the `share` of them outside.

    >>> s = CondensedSet(torch.tensor([-0.5, 0.0, 0.5, 1.0]).view(1, 1, 1, 2, 2), 1, (0.5,), (0.5,), ("a",))
    >>> clipping(s)
    {'lowest': -0.5, 'highest': 1.0, 'share': 0.25}
    """
    patches, _ = condensed.decode()
    outside = ((patches < 0) | (patches > 1)).double().mean()
    return {"lowest": patches.min().item(), "highest": patches.max().item(), "share": outside.item()}


@dataclass(frozen=True)
class Measured:
    """Test accuracies of a set by images per class, as it is and, if `rounded` has them, of its 8-bit pictures.

    `tested_on` says which images. All results share one protocol. Raises ValueError for results that do not.
    """

    exact: Mapping[int, Result]
    tested_on: str
    rounded: Mapping[int, Result] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=versions)  # versions and machine

    def __post_init__(self):
        results = [*self.exact.values(), *self.rounded.values()]
        if not self.exact or any(result.config != results[0].config for result in results):
            raise ValueError("accuracies of several protocols or of none given: measure all sizes with one TrainConfig")
        if not set(self.rounded) <= set(self.exact):
            raise ValueError(f"8-bit accuracies of sizes {list(self.rounded)}, others of {list(self.exact)}: give both")

    @property
    def config(self) -> TrainConfig:
        """How the networks were trained and how often they were tested."""
        return next(iter(self.exact.values())).config

    def losses(self, n: int, which: str = "last") -> tuple[float, ...]:
        """Points of accuracy that 8 bits cost at n images per class, one per seed; `which` may be "best"."""
        pairs = zip(getattr(self.exact[n], which), getattr(self.rounded[n], which), strict=True)
        return tuple(exact - rounded for exact, rounded in pairs)

    def rows(self, which: str = "last") -> pd.DataFrame:
        """The accuracies in long form, for `plots.accuracy`: columns method, ipc, seed, accuracy (percent)."""
        both = {"float32": self.exact, "8-bit pictures": self.rounded}
        rows = [
            (name, n, seed, accuracy)
            for name, results in both.items()
            for n, result in results.items()
            for seed, accuracy in zip(result.config.seeds, getattr(result, which), strict=True)
        ]
        return pd.DataFrame(rows, columns=["method", "ipc", "seed", "accuracy"])

    def table(self) -> pd.DataFrame:
        """Mean ± population std over the seeds by images per class, in percent, and what 8 bits cost, in points.

        The cost is that of the last accuracy, paired: of the same network and batches.
        """
        columns = {"images": {n: str(result.patches) for n, result in self.exact.items()}}
        for name, results in {"float32": self.exact, "8-bit": self.rounded}.items():
            for which in ("best", "last"):
                cells = {n: spread(getattr(result, which)) for n, result in results.items()}
                columns |= {f"{name}, {which}": cells} if cells else {}
        if self.rounded:
            columns["cost of 8 bits"] = {n: spread(self.losses(n), signed=True) for n in self.rounded}
        return pd.DataFrame(columns).rename_axis(index="images per class").fillna("")


def measure(
    condensed: CondensedSet, data: ImageData, config: TrainConfig, sizes: Sequence[int] = (), **options
) -> Measured:
    """Train on S[n] and on its 8-bit pictures, for all `sizes` (all there are by default), and test on `data`.

    Both train from equal networks on equal batches, seed by seed. `options` are those of `evaluate_many`. Raises
    ValueError for sizes that are not there and for data that do not fit.

    >>> from mdckit import load, robustness
    >>> digits = load("digits")
    >>> brief = TrainConfig(epochs=4, width=4, depth=1, seeds=(0,))
    >>> measured = measure(robustness.real_images(digits, [1] * 10), digits, brief, show_progress=False)
    >>> measured.losses(1)  # real images have 8 bits already
    (0.0,)
    """
    prefixes = {n: condensed.take(n) for n in sizes or range(1, condensed.ipc + 1)}
    sets: dict[Hashable, CondensedSet] = {("exact", n): s for n, s in prefixes.items()}
    sets |= {("rounded", n): eight_bit(s) for n, s in prefixes.items()}
    found = evaluate_many(sets, data, config, **{"label": "float32 and 8-bit"} | options)
    exact, rounded = ({n: found[which, n] for n in prefixes} for which in ("exact", "rounded"))
    return Measured(exact, f"{len(data.y_test):,} test images of {data.name}", rounded)
