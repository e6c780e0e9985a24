"""Recipes: what makes a condensed set MDC, a baseline, or a row of the ablation."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .checks import check_count, check_number
from .condensed import CondensedSet, union
from .config import CondenseConfig
from .subsets import Freeze, SubsetState, changes

SUBSET_RULES = ("none", "rate", "largest", "all", "progress")
METRICS = {  # of a subset -> the name of the record of it
    "feature": "feature_distances",
    "gradient": "gradient_distances",
    "accuracy": "subset_accuracies",
}


@dataclass(frozen=True)
class Recipe:
    """What one set learns: the loss on all of its images, plus losses on prefixes of it.

    `subsets` "none" adds none (IDC), "rate" adds the MLS (MDC Eq. 8 and 9), "largest" the subset with the largest
    distance, "all" a mean over every proper prefix (MDC Eq. 3), in which that of n images counts ``n ** -decay``, and
    "progress" the same mean with half of its weight shared out by how much each distance changed between the last two
    loops in which distances were measured; before there are two, all of it is shared out as in "all".
    `metric` chooses the MLS (MDC Table 5): the distance to the real images of mean features (MDC Eq. 5), or of mean
    gradients, which comes from the same pass, or the "accuracy" on real training images of a network trained on every
    subset, which costs a training each. `ipc` None means the config's; `start` is the first real image of the
    initialisation, in stored images; `lr` None means the config's. Raises ValueError for an unknown rule or metric, a
    choice for every class of a rule that makes none, a decay that is not finite, or a bad `lr`.

    >>> Recipe("all_prefixes", subsets="all").weights(3, mls=None)
    {1: 0.5, 2: 0.5, 3: 1.0}
    >>> Recipe("small_first", subsets="all", decay=1).weights(4, mls=None)
    {1: 0.5454..., 2: 0.2727..., 3: 0.1818..., 4: 1.0}
    """

    name: str
    ipc: int | None = None
    start: int = 0
    subsets: Literal["none", "rate", "largest", "all", "progress"] = "none"
    freeze: Freeze = "released"
    class_wise: bool = False
    decay: float = 0.0
    metric: Literal["feature", "gradient", "accuracy"] = "feature"
    lr: float | None = None

    def __post_init__(self):
        if self.subsets not in SUBSET_RULES:
            raise ValueError(f"unknown subset rule {self.subsets!r}: choose one of {', '.join(SUBSET_RULES)}")
        if self.freeze not in ("released", "paper", "none"):
            raise ValueError(f"unknown freeze {self.freeze!r}: choose one of released, paper, none")
        if self.metric not in METRICS:
            raise ValueError(f"unknown metric {self.metric!r}: choose one of {', '.join(METRICS)}")
        if self.metric == "accuracy" and self.class_wise:
            raise ValueError("metric 'accuracy' asked class by class: it is one number for all classes")
        if self.class_wise and not self.adaptive:
            raise ValueError(f"class_wise asked of subsets {self.subsets!r}, choosing none: use 'rate' or 'largest'")
        if isinstance(self.decay, bool) or not isinstance(self.decay, int | float) or not math.isfinite(self.decay):
            raise ValueError(f"decay {self.decay!r} asked: give a finite number, 0 for equal weights")
        check_count("start", self.start, 0)
        if self.ipc is not None:
            check_count("ipc", self.ipc)
        if self.lr is not None:
            check_number("lr", self.lr)

    def rate(self, config: CondenseConfig) -> float:
        """Base learning rate of the pixels.

        >>> Recipe("slow", lr=0.001).rate(CondenseConfig(lr=0.01)), Recipe("usual").rate(CondenseConfig(lr=0.01))
        (0.001, 0.01)
        """
        return config.lr if self.lr is None else self.lr

    @property
    def adaptive(self) -> bool:
        """Whether an MLS is chosen while the set is condensed."""
        return self.subsets in ("rate", "largest")

    def weights(self, ipc: int, mls: int | None, distances: Sequence[Sequence[float]] = ()) -> dict[int, float]:
        """Weight of every prefix in the loss, ascending: 1 for the whole set, 0 for those that are only measured.

        `distances` are the rows [t, F(1), ..., F(N-1)] of all measured loops so far.
        """
        if self.subsets in ("all", "progress"):
            shares = _shares([n**-self.decay for n in range(1, ipc)])
            last = [measured for _, *measured in distances[-2:]]
            if self.subsets == "progress" and len(last) == 2 and (progress := _shares(changes(*last))):
                shares = [(share + more) / 2 for share, more in zip(shares, progress, strict=True)]
            return dict(enumerate([*shares, 1.0], 1))
        measured = dict.fromkeys(range(1, ipc), 0.0) if self.adaptive and self.metric == "gradient" else {}
        return measured | ({mls: 1.0} if mls is not None else {}) | {ipc: 1.0}

    def subset_state(self, period: int) -> SubsetState:
        """The MLS history before the first outer loop."""
        rule = self.subsets if self.adaptive else "rate"
        return SubsetState(period=period, rule=rule, freeze=self.freeze)


def _shares(counts: Sequence[float]) -> list[float]:
    """Each as a share of the sum; none of nothing."""
    return [count / sum(counts) for count in counts] if any(counts) else []


def mdc(**changes) -> Recipe:
    """Multisize dataset condensation: the loss of the most learnable subset, frozen as it grows.

    >>> mdc(freeze="paper").freeze
    'paper'
    """
    return Recipe(**({"name": "mdc", "subsets": "rate"} | changes))


def all_prefixes(**changes) -> Recipe:
    """The losses of all prefixes at once, from one forward pass (MDC Eq. 3); a `decay` above 0 favours small ones.

    >>> all_prefixes().weights(3, mls=None)
    {1: 0.5, 2: 0.5, 3: 1.0}
    """
    return Recipe(**({"name": "all_prefixes", "subsets": "all"} | changes))


def learning_progress(**changes) -> Recipe:
    """The losses of all prefixes at once, more of those that are changing: the rule of MDC's choice without choosing.

    >>> measured = [[1, 9.0, 5.0], [5, 6.0, 4.0]]
    >>> learning_progress().weights(3, None, measured)
    {1: 0.625, 2: 0.375, 3: 1.0}
    """
    return Recipe(**({"name": "learning_progress", "subsets": "progress"} | changes))


def baseline_c() -> Recipe:
    """Baseline C: one basic condensation (IDC); smaller sizes are its first images.

    >>> baseline_c().weights(3, mls=None)
    {3: 1.0}
    """
    return Recipe("baseline_c")


def baseline_a(ipc: int, sizes: Collection[int] = ()) -> list[Recipe]:
    """Baseline A: a condensation of its own for every size 1..ipc, or for those of them in `sizes`.

    >>> [(recipe.name, recipe.ipc) for recipe in baseline_a(10, sizes=[1, 10])]
    [('baseline_a/1', 1), ('baseline_a/10', 10)]
    """
    return [Recipe(f"baseline_a/{n}", ipc=n) for n in range(1, ipc + 1) if not sizes or n in sizes]


def baseline_b(ipc: int) -> list[Recipe]:
    """Baseline B: `ipc` condensations to one image per class, each from its own real images.

    >>> [(recipe.name, recipe.start) for recipe in baseline_b(2)]
    [('baseline_b/0', 0), ('baseline_b/1', 1)]
    """
    return [Recipe(f"baseline_b/{k}", ipc=1, start=k) for k in range(ipc)]


def ablation() -> list[Recipe]:
    """The four rows of MDC Table 3: no subset loss, + calculate, + compare, + freeze.

    >>> [recipe.name for recipe in ablation()]
    ['no_subset_loss', 'calculate', 'compare', 'freeze']
    """
    return [
        Recipe("no_subset_loss"),
        Recipe("calculate", subsets="largest", freeze="none"),
        Recipe("compare", subsets="rate", freeze="none"),
        Recipe("freeze", subsets="rate", freeze="released"),
    ]


def recipes_by_name(names: list[str], ipc: int, sizes: Collection[int] = ()) -> list[Recipe]:
    """Recipes for names such as "mdc" or "baseline_a", which stands for `ipc` of them, or for one per size in `sizes`.

    Raises ValueError for an unknown name.

    >>> [recipe.name for recipe in recipes_by_name(["baseline_a", "mdc"], 50, sizes=[1, 50])]
    ['baseline_a/1', 'baseline_a/50', 'mdc']
    """
    known = {
        "mdc": [mdc()],
        "mdc_class_wise": [mdc(name="mdc_class_wise", class_wise=True)],
        "mdc_paper_freeze": [mdc(name="mdc_paper_freeze", freeze="paper")],
        "mdc_gradient": [mdc(name="mdc_gradient", metric="gradient")],
        "mdc_accuracy": [mdc(name="mdc_accuracy", metric="accuracy")],
        "all_prefixes": [all_prefixes()],
        "learning_progress": [learning_progress()],
        "baseline_a": baseline_a(ipc, sizes),
        "baseline_b": baseline_b(ipc),
        "baseline_c": [baseline_c()],
    } | {recipe.name: [recipe] for recipe in ablation()}
    for name in names:
        if name not in known:
            raise ValueError(f"unknown recipe {name!r}: choose one of {', '.join(sorted(known))}")
    return [recipe for name in names for recipe in known[name]]


def prefixes(sets: Mapping[str, CondensedSet], name: str) -> dict[int, CondensedSet]:
    """Every size a method offers: its set for n = 1..N images per class.

    For Baseline A those are separate sets, as are those of slimmable condensation ("slimmable/n"), for B the union of
    its first n, else the first n images. Raises ValueError for a method that has none among `sets`.

    >>> import torch
    >>> made = CondensedSet(torch.rand(2, 3, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> {n: s.ipc for n, s in prefixes({"mdc": made}, "mdc").items()}
    {1: 1, 2: 2, 3: 3}
    """
    parts = {int(key.split("/")[1]): s for key, s in sets.items() if key.startswith(f"{name}/")}
    if not parts and name not in sets:
        raise ValueError(f"no set of {name!r} there: there are {', '.join(sorted(sets))}")
    if name in ("baseline_a", "slimmable"):
        return dict(sorted(parts.items()))
    if name == "baseline_b":
        sets = {name: union([parts[k] for k in sorted(parts)])}
    return {n: sets[name].take(n) for n in range(1, sets[name].ipc + 1)}
