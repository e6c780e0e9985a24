"""From scores to smaller sets: which patches to keep for so many images per class."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..checks import check_count
from ..condensed import CondensedSet
from ..data import class_members
from ..rng import generator
from . import scores
from .dynamics import Dynamics
from .scores import Score

CCS_CUTOFFS = {  # dataset -> {(ipc of the source, ipc asked): beta}, share of the hardest patches left out
    "cifar10": {(10, 1): 0.3, (10, 2): 0.1, (10, 5): 0.0, (50, 1): 0.3, (50, 2): 0.3, (50, 5): 0.3, (50, 10): 0.1},
    "cifar100": {
        **{(10, 1): 0.5, (10, 2): 0.4, (10, 5): 0.2, (20, 1): 0.5, (20, 2): 0.5, (20, 5): 0.3},
        **{(50, 1): 0.5, (50, 2): 0.5, (50, 5): 0.5, (50, 10): 0.3},
    },
    "imagenet10": {(10, 1): 0.3, (10, 2): 0.2, (10, 5): 0.1, (20, 1): 0.3, (20, 2): 0.3, (20, 5): 0.2},
}
STRATA = 50


def by_score(
    condensed: CondensedSet,
    score: Score,
    ipc: int,
    *,
    balanced: bool | None = None,
    keep: Literal["easy", "hard"] | None = None,
) -> CondensedSet:
    """The set resized to `ipc` images per class: the patches that come first by `score` (YOCO Algorithm 2).

    Balanced keeps ipc f^2 patches of every class, else the first ipc/N of all patches are kept whatever their class.
    `balanced` and `keep` default to what the score's method does. Within a class the best patches come first, so
    ``by_score(s, score, 5).take(2)`` is ``by_score(s, score, 2)`` when balanced. Raises ValueError for a score of
    another set, more images per class than there are, or a class that has too few patches to be balanced.

    >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> easy = Score("mine", torch.tensor([3.0, 1.0, 2.0, 9.0, 8.0, 7.0]))
    >>> torch.equal(by_score(s, easy, 1, balanced=True).images[1, 0], s.images[1, 2])
    True
    """
    _check_score(condensed, score)
    score = replace(score, keep=keep or score.keep)
    balanced = score.balanced if balanced is None else balanced
    return _in_order(condensed, score.ranked(), ipc, balanced, {"method": score.name, "keep": score.keep})


def _in_order(condensed: CondensedSet, ranked: Tensor, ipc: int, balanced: bool, how: Mapping) -> CondensedSet:
    return condensed.select(first_ranked(condensed, ranked, ipc, balanced), balanced=balanced, **how)


def first_ranked(condensed: CondensedSet, ranked: Tensor, ipc: int, balanced: bool) -> Tensor:
    """Numbers of the patches that `by_score` keeps: the first of all patches `ranked` as `Score.ranked` does.

    Errors as in `by_score` for a size that cannot be had.
    """
    return _chosen(condensed, ipc, balanced, lambda members, count: _first(ranked, members, count))


def _first(ranked: Tensor, members: Tensor, count: int) -> Tensor:
    return ranked[torch.isin(ranked, members)][:count]


def ssp(
    condensed: CondensedSet, dynamics: Dynamics, ipc: int, *, balanced: bool = False, seed: int = 0
) -> CondensedSet:
    """Self-supervised prototypes (Sorscher et al. 2022): the patches nearest to the centres of k-means clusters.

    There are as many clusters as patches to keep, over the trained network's features: of all patches, or of each
    class if balanced. A patch already taken is passed over for the next nearest. Errors as in `by_score`.

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> ssp(made, log, 2, balanced=True).patches_per_class
    (2, 2)
    """
    from sklearn.cluster import KMeans  # it takes a second, and nothing else needs it

    dynamics.check(condensed)

    def prototypes(members: Tensor, count: int) -> Tensor:
        features = dynamics.features[members].double()
        found = KMeans(count, n_init=3, random_state=seed).fit(features.numpy())
        chosen = []
        for centre in torch.from_numpy(found.cluster_centers_).double():
            distances = (features - centre).norm(dim=1)
            distances[chosen] = torch.inf
            nearest = distances <= distances.min() + 1e-9  # the two of a pair are equally far but for rounding
            chosen.append(int(nearest.nonzero()[0]))
        return members[chosen]

    return _rule(condensed, ipc, balanced, prototypes, {"method": "ssp", "seed": seed})


def ccs(
    condensed: CondensedSet, score: Score, ipc: int, *, cutoff: float, balanced: bool = False, seed: int = 0
) -> CondensedSet:
    """Coverage-centric selection (Zheng et al. 2023): leave out the hardest, then sample evenly over the score's range.

    The share `cutoff` of the hardest patches is dropped (`CCS_CUTOFFS` has the papers' values). 50 equally wide strata
    of the other scores share the budget, those with the fewest patches first, and what they cannot use is passed on;
    each stratum is sampled at random by `seed`. Errors as in `by_score`, and for a cut-off that leaves too few.

    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> ccs(made, Score("mine", torch.rand(8)), 2, cutoff=0.25, balanced=True).patches_per_class
    (2, 2)
    """
    _check_score(condensed, score)
    if not 0 <= cutoff < 1:
        raise ValueError(f"cutoff {cutoff} asked: it is the share of the hardest patches left out, from 0 up to 1")

    def stratified(members: Tensor, count: int) -> Tensor:
        hardest = _first(replace(score, keep="hard").ranked(), members, int(cutoff * len(members)))
        pool = members[~torch.isin(members, hardest)]
        if len(pool) < count:
            raise ValueError(
                f"cutoff {cutoff} leaves {len(pool)} of {len(members)} patches, {count} are asked: lower it"
            )
        return _sample_strata(pool, score.values[pool], count, generator(seed, "ccs", int(members[0])))

    how = {"method": "ccs", "score": score.name, "cutoff": cutoff, "seed": seed}
    return _rule(condensed, ipc, balanced, stratified, how)


def _sample_strata(pool: Tensor, values: Tensor, count: int, random: torch.Generator) -> Tensor:
    low, high = values.min(), 1.0001 * values.max()
    stratum = ((values - low) / (high - low).clamp(min=1e-12) * STRATA).long().clamp(0, STRATA - 1)
    shuffled = pool[torch.randperm(len(pool), generator=random)]
    stratum_of = dict(zip(pool.tolist(), stratum.tolist(), strict=True))
    strata = [[i for i in shuffled.tolist() if stratum_of[i] == s] for s in range(STRATA)]
    chosen = []
    for position, members in enumerate(sorted(strata, key=len)):
        chosen += members[: (count - len(chosen)) // (STRATA - position)]
    return torch.tensor(chosen)


def at_random(condensed: CondensedSet, ipc: int, *, balanced: bool = False, seed: int = 0) -> CondensedSet:
    """Chance: so many patches without replacement, the same for the same seed.

    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> at_random(made, 2, balanced=True).patches_per_class
    (2, 2)
    """
    ranked = scores.random(condensed.patches, seed).ranked()
    return _in_order(condensed, ranked, ipc, balanced, {"method": "random", "seed": seed})


def resize(
    name: str, condensed: CondensedSet, dynamics: Dynamics, ipc: int, *, balanced: bool | None = None, **options
) -> CondensedSet:
    """The set resized to `ipc` images per class by the method called `name`, one of `METHODS`.

    Each method keeps what it keeps by default unless told otherwise: `balanced` for all; ``keep`` (easy or hard) for
    scores; ``epochs`` and ``top`` for lbpe and ``epochs`` for el2n, as in `scores.by_name`; ``seed`` for random, ssp
    and ccs; ``cutoff`` for ccs, whose scores are EL2N and whose share is else that of `CCS_CUTOFFS` (of CIFAR-10 for
    data sets that are not in it). Raises ValueError for an unknown name or option, dynamics of another set, and as
    `by_score`.

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> resize("lbpe", made, log, 1, epochs=4, top=2).patches_per_class
    (1, 1)
    """
    if name not in METHODS:
        raise ValueError(f"unknown score {name!r}: choose one of {', '.join(METHODS)}")
    known = ("balanced", *METHODS[name])
    for option in options:
        if option not in known:
            raise ValueError(f"unknown option {option!r} of {name}: it takes {', '.join(known)}")
    dynamics.check(condensed)
    check_size(condensed, ipc)
    if name in scores.SCORES:
        keep = options.pop("keep", None)
        score = scores.by_name(name, condensed, dynamics, **options)
        return by_score(condensed, score, ipc, balanced=balanced, keep=keep)
    if name == "random":
        return at_random(condensed, ipc, balanced=bool(balanced), **options)
    if name == "ssp":
        return ssp(condensed, dynamics, ipc, balanced=bool(balanced), **options)
    if "cutoff" not in options:
        options["cutoff"] = _cutoff(condensed, ipc)
    return ccs(condensed, scores.el2n(dynamics), ipc, balanced=bool(balanced), **options)


METHODS = {  # method -> the options that `resize` takes for it
    **dict.fromkeys(scores.SCORES, ("keep",)),
    **{"lbpe": ("epochs", "top", "keep"), "el2n": ("epochs", "keep")},
    **{"random": ("seed",), "ssp": ("seed",), "ccs": ("seed", "cutoff")},
}


def _cutoff(condensed: CondensedSet, ipc: int) -> float:
    known = CCS_CUTOFFS.get(condensed.data_name, CCS_CUTOFFS["cifar10"])
    if (condensed.ipc, ipc) not in known:
        raise ValueError(
            f"no cut-off of ccs is known from {condensed.ipc} to {ipc} images per class: give cutoff, the share of the "
            "hardest patches left out"
        )
    return known[condensed.ipc, ipc]


def _rule(
    condensed: CondensedSet, ipc: int, balanced: bool, choose: Callable[[Tensor, int], Tensor], how: Mapping
) -> CondensedSet:
    return condensed.select(_chosen(condensed, ipc, balanced, choose), balanced=balanced, **how)


def _chosen(condensed: CondensedSet, ipc: int, balanced: bool, choose: Callable[[Tensor, int], Tensor]) -> Tensor:
    """What ``choose(patch numbers, how many)`` picks: from each class if balanced, else once from all patches."""
    check_size(condensed, ipc)
    if not balanced:
        return choose(torch.arange(condensed.patches), ipc * condensed.patches // condensed.ipc)
    count = ipc * condensed.factor**2
    for name, patches in zip(condensed.classes, condensed.patches_per_class, strict=True):
        if patches < count:
            raise ValueError(
                f"{count} patches of every class asked, but class {name} has {patches}: select unbalanced or fewer"
            )
    return torch.cat([choose(members, count) for members in class_members(condensed.labels, len(condensed.classes))])


def check_size(condensed: CondensedSet, ipc: int) -> None:
    """Raise ValueError unless the set can be made as small as `ipc` images per class."""
    check_count("ipc", ipc)
    if ipc > condensed.ipc:
        raise ValueError(f"{ipc} images per class asked of a set with {condensed.ipc}: a set can only be made smaller")


def _check_score(condensed: CondensedSet, score: Score) -> None:
    if score.digest not in ("", condensed.digest) or len(score.values) != condensed.patches:
        raise ValueError(
            f"the score {score.name!r} is of another set ({len(score.values)} patches) than the one given "
            f"({condensed.patches} patches): score this set"
        )
