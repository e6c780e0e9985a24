"""From scores to smaller sets: which patches to keep for so many images per class."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from . import scores
from .condensed import CondensedSet
from .config import check_count
from .dynamics import Dynamics
from .rng import generator
from .scores import Score, class_members

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
    ranked = replace(score, keep=keep or score.keep).ranked()
    balanced = score.balanced if balanced is None else balanced
    return _rule(condensed, ipc, balanced, lambda members, count: _first(ranked, members, count))


def _first(ranked: Tensor, members: Tensor, count: int) -> Tensor:
    return ranked[torch.isin(ranked, members)][:count]


def ssp(
    condensed: CondensedSet, dynamics: Dynamics, ipc: int, *, balanced: bool = False, seed: int = 0
) -> CondensedSet:
    """Self-supervised prototypes (Sorscher et al. 2022): the patches nearest to the centres of k-means clusters.

    There are as many clusters as patches to keep, over the trained network's features: of all patches, or of each
    class if balanced. A patch already taken is passed over for the next nearest. Errors as in `by_score`.
    """
    dynamics.check(condensed)

    def prototypes(members: Tensor, count: int) -> Tensor:
        features = dynamics.features[members].double()
        found = KMeans(count, n_init=3, random_state=seed).fit(features.numpy())
        distances = torch.cdist(torch.from_numpy(found.cluster_centers_).double(), features)
        chosen = []
        for row in distances:
            row[chosen] = torch.inf
            chosen.append(int(row.argmin()))
        return members[chosen]

    return _rule(condensed, ipc, balanced, prototypes)


def ccs(
    condensed: CondensedSet, score: Score, ipc: int, *, cutoff: float, balanced: bool = False, seed: int = 0
) -> CondensedSet:
    """Coverage-centric selection (Zheng et al. 2023): leave out the hardest, then sample evenly over the score's range.

    The share `cutoff` of the hardest patches is dropped (`CCS_CUTOFFS` has the papers' values). 50 equally wide strata
    of the other scores share the budget, those with the fewest patches first, and what they cannot use is passed on;
    each stratum is sampled at random by `seed`. Errors as in `by_score`, and for a cut-off that leaves too few.
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
        return _sample_strata(pool, score.values[pool], count, seed)

    return _rule(condensed, ipc, balanced, stratified)


def _sample_strata(pool: Tensor, values: Tensor, count: int, seed: int) -> Tensor:
    low, high = values.min(), 1.0001 * values.max()
    stratum = ((values - low) / (high - low).clamp(min=1e-12) * STRATA).long().clamp(0, STRATA - 1)
    shuffled = pool[torch.randperm(len(pool), generator=generator(seed, "ccs"))]
    stratum_of = dict(zip(pool.tolist(), stratum.tolist(), strict=True))
    strata = [[i for i in shuffled.tolist() if stratum_of[i] == s] for s in range(STRATA)]
    chosen = []
    for position, members in enumerate(sorted(strata, key=len)):
        chosen += members[: (count - len(chosen)) // (STRATA - position)]
    return torch.tensor(chosen)


def at_random(condensed: CondensedSet, ipc: int, *, balanced: bool = False, seed: int = 0) -> CondensedSet:
    """Chance: so many patches without replacement, the same for the same seed."""
    return by_score(condensed, scores.random(condensed.patches, seed), ipc, balanced=balanced)


def resize(
    name: str, condensed: CondensedSet, dynamics: Dynamics, ipc: int, *, balanced: bool | None = None, **options
) -> CondensedSet:
    """The set resized to `ipc` images per class by the method called `name` (see `METHODS`), by its own defaults.

    `options` are ``keep`` ("easy" or "hard", for scores) or ``seed`` (for random, ssp and ccs); lbpe reads its E and K
    from `scores.LBPE_EPOCHS`, within the epochs recorded. Raises ValueError for an unknown name, dynamics of another
    set, and as `by_score`.
    """
    dynamics.check(condensed)
    if name in SCORES:
        return by_score(condensed, SCORES[name](dynamics, condensed.dataset), ipc, balanced=balanced, **options)
    if name == "random":
        return at_random(condensed, ipc, balanced=bool(balanced), **options)
    if name == "ssp":
        return ssp(condensed, dynamics, ipc, balanced=bool(balanced), **options)
    if name == "ccs":
        cutoffs = CCS_CUTOFFS.get(condensed.dataset, CCS_CUTOFFS["cifar10"])
        cutoff = cutoffs.get((condensed.ipc, ipc), 0.0)
        return ccs(condensed, _el2n(dynamics), ipc, cutoff=cutoff, balanced=bool(balanced), **options)
    raise ValueError(f"unknown score {name!r}: choose one of {', '.join(METHODS)}")


def _lbpe(dynamics: Dynamics, dataset: str) -> Score:
    epochs, top = scores.LBPE_EPOCHS.get(dataset, (100, 10))
    epochs = min(epochs, dynamics.epochs)
    return scores.lbpe(dynamics, epochs, min(top, epochs))


def _el2n(dynamics: Dynamics, dataset: str = "") -> Score:
    return scores.el2n(dynamics, min(10, dynamics.epochs))


SCORES: Mapping[str, Callable[[Dynamics, str], Score]] = {
    "lbpe": _lbpe,
    "el2n": _el2n,
    "forgetting": lambda dynamics, dataset: scores.forgetting(dynamics),
    "aum": lambda dynamics, dataset: scores.aum(dynamics),
    "entropy": lambda dynamics, dataset: scores.entropy(dynamics),
    "moderate": lambda dynamics, dataset: scores.moderate(dynamics),
    "herding": lambda dynamics, dataset: scores.herding(dynamics),
}
METHODS = (*SCORES, "random", "ssp", "ccs")


def _rule(condensed: CondensedSet, ipc: int, balanced: bool, choose: Callable[[Tensor, int], Tensor]) -> CondensedSet:
    """Select with ``choose(patch numbers, how many)``: from each class if balanced, else once from all patches."""
    check_count("ipc", ipc)
    if ipc > condensed.ipc:
        raise ValueError(f"{ipc} images per class asked of a set with {condensed.ipc}: a set can only be made smaller")
    if not balanced:
        return condensed.select(choose(torch.arange(condensed.patches), ipc * condensed.patches // condensed.ipc))
    count = ipc * condensed.factor**2
    for name, patches in zip(condensed.classes, condensed.patches_per_class, strict=True):
        if patches < count:
            raise ValueError(
                f"{count} patches of every class asked, but class {name} has {patches}: select unbalanced or fewer"
            )
    return condensed.select(torch.cat([choose(members, count) for members in class_members(condensed.labels)]))


def _check_score(condensed: CondensedSet, score: Score) -> None:
    if score.digest not in ("", condensed.digest) or len(score.values) != condensed.patches:
        raise ValueError(
            f"the score {score.name!r} is of another set ({len(score.values)} patches) than the one given "
            f"({condensed.patches} patches): score this set"
        )
