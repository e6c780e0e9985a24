"""How much a patch is worth for training: one function for each score, over the training dynamics of one network.

Every function returns a `Score`, which knows its direction: whether low values are the easy patches, and which end the
method keeps. `mdckit.model_scores` has those that train networks of their own; `mdckit.selection` turns scores into
patches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import check_count
from ..condensed import CondensedSet
from ..data import class_members
from ..rng import generator
from .dynamics import Dynamics

LBPE_EPOCHS = {  # dataset, or layout of an imported set -> (E, K): early stop and number of epochs averaged
    "cifar10": (100, 10),  # YOCO section 4.1; MTT, KIP and DSA as in its code
    "cifar100": (200, 10),
    "imagenet10": (200, 10),
    "mtt": (10, 3),
    "kip": (50, 3),
    "dsa": (100, 3),
}


@dataclass(frozen=True, eq=False)
class Score:
    """One value per patch, (P,) float64, and how to read it. Raises ValueError for NaN or a direction that is none.

    >>> Score("mine", torch.tensor([0.3, 0.1])).reversed().ranked().tolist()
    [0, 1]
    """

    name: str
    values: Tensor
    easy: Literal["low", "high"] = "low"  # which values the easy (prototypical) patches have
    keep: Literal["easy", "hard"] = "easy"  # which end the method keeps
    balanced: bool = False  # whether the method keeps equally many of every class
    digest: str = ""  # of the set that was scored; "" where it is not known

    def __post_init__(self):
        if self.easy not in ("low", "high") or self.keep not in ("easy", "hard"):
            raise ValueError(f"easy {self.easy!r}, keep {self.keep!r} given: easy is low or high, keep is easy or hard")
        if self.values.ndim != 1 or not bool(torch.isfinite(self.values).all()):
            raise ValueError(f"the score {self.name!r} holds NaN or is not one value per patch: {self.values}")
        object.__setattr__(self, "values", self.values.double())

    def reversed(self) -> Self:
        """The same values with the other end kept (YOCO Table 4)."""
        return replace(self, keep="easy" if self.keep == "hard" else "hard")

    def ranked(self) -> Tensor:
        """All patch numbers, those to keep first; ties by index.

        >>> Score("el2n", torch.tensor([1.0, 3.0, 1.0]), keep="hard").ranked().tolist()
        [1, 0, 2]
        """
        ascending = (self.easy == "low") == (self.keep == "easy")
        return torch.argsort(self.values, descending=not ascending, stable=True)


# --- over training dynamics


def error_norms(dynamics: Dynamics, epochs: Sequence[int] | None = None) -> Tensor:
    """s_e(i), the length of the error p - onehot(y) of the softmax outputs, for the given epochs (all), (E, P).

    Between 0 and sqrt(2). (YOCO Eq. 2; the paper says logits, its code and EL2N take softmax outputs.)

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> error_norms(log, epochs=[0, 3]).shape
    torch.Size([2, 8])
    """
    onehot = F.one_hot(dynamics.labels, dynamics.probabilities.shape[2]).double()
    chosen = range(dynamics.epochs) if epochs is None else epochs
    return torch.stack([(dynamics.probabilities[e].double() - onehot).norm(dim=1) for e in chosen])


def lbpe_epochs(dynamics: Dynamics, epochs: int, top: int) -> Tensor:
    """The `top` epochs (0-based, ascending) with the highest training accuracy among the first `epochs`.

    Ties go to the earlier epoch (YOCO Algorithm 1). Raises ValueError where there are not as many.

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> len(lbpe_epochs(log, epochs=3, top=2))
    2
    """
    _check_epochs(dynamics, epochs)
    check_count("top", top)
    if top > epochs:
        raise ValueError(f"the best {top} of {epochs} epochs asked: K must not be larger than E")
    order = torch.argsort(dynamics.accuracy[:epochs], descending=True, stable=True)
    return order[:top].sort().values


def lbpe(dynamics: Dynamics, epochs: int = 100, top: int = 10) -> Score:
    """Logit-based prediction error: the mean of s_e(i) over the K = `top` best of the first E = `epochs` epochs.

    Low is easy; YOCO keeps the easy ones, balanced (Eq. 2, Algorithm 1; `LBPE_EPOCHS` holds its E and K).

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> lbpe(log, epochs=3, top=2).balanced
    True
    """
    values = error_norms(dynamics, lbpe_epochs(dynamics, epochs, top).tolist()).mean(0)
    return Score("lbpe", values, keep="easy", balanced=True, digest=dynamics.digest)


def el2n(dynamics: Dynamics, epochs: int = 10) -> Score:
    """EL2N (Paul et al. 2021): the mean of s_e(i) over the first `epochs` epochs. Low is easy; keeps the hard.

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> el2n(log, epochs=2).keep
    'hard'
    """
    _check_epochs(dynamics, epochs)
    return Score("el2n", error_norms(dynamics, range(epochs)).mean(0), keep="hard", digest=dynamics.digest)


def forgetting(dynamics: Dynamics) -> Score:
    """Forgetting events (Toneva et al. 2019): how often a patch was right and is wrong an epoch later.

    A patch that was never right counts 0. Low is easy; keeps the hard.

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> forgetting(log).values.shape
    torch.Size([8])
    """
    correct = dynamics.correct
    return Score("forgetting", (correct[:-1] & ~correct[1:]).sum(0).double(), keep="hard", digest=dynamics.digest)


def aum(dynamics: Dynamics) -> Score:
    """Area under the margin (Pleiss et al. 2020): mean over the epochs of p_y - max of the other p.

    On softmax outputs, as YOCO's code has it. High is easy; keeps the hard.

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> aum(log).easy
    'high'
    """
    own = F.one_hot(dynamics.labels, dynamics.probabilities.shape[2]).bool()
    total = torch.zeros(len(own), dtype=torch.float64)
    for outputs in dynamics.probabilities:
        p = outputs.double()
        total += p[own] - p.masked_fill(own, -1).amax(1)
    return Score("aum", total / dynamics.epochs, easy="high", keep="hard", digest=dynamics.digest)


def _check_epochs(dynamics: Dynamics, epochs: int) -> None:
    check_count("epochs", epochs)
    if epochs > dynamics.epochs:
        raise ValueError(
            f"the first {epochs} epochs asked of dynamics with {dynamics.epochs}: record more or ask fewer"
        )


# --- over the trained network's outputs and features


def entropy(dynamics: Dynamics) -> Score:
    """Entropy of the trained network's softmax outputs, -sum p log(p + 1e-10) (Coleman et al. 2020).

    Low is easy; keeps the hard.

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> entropy(log).easy
    'low'
    """
    p = dynamics.final.double()
    return Score("entropy", -(p * (p + 1e-10).log()).sum(1), keep="hard", digest=dynamics.digest)


def moderate(dynamics: Dynamics) -> Score:
    """Moderate (Xia et al. 2023): how far, in ranks, a patch's distance to its class mean is from the class median.

    Distances are Euclidean, between the trained network's features. Low is kept: as many nearer as farther patches.

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> moderate(log).values.max().item()
    1.5
    """
    values = torch.empty(len(dynamics.labels), dtype=torch.float64)
    for members in class_members(dynamics.labels, dynamics.probabilities.shape[2]):
        features = dynamics.features[members].double()
        distances = (features - features.mean(0)).norm(dim=1)
        ranks = distances.argsort(stable=True).argsort().double()
        values[members] = (ranks - (len(members) - 1) / 2).abs()
    return Score("moderate", values, digest=dynamics.digest)


def herding(dynamics: Dynamics) -> Score:
    """Herding (Welling 2009): a patch's turn when the mean of those chosen follows the mean features of its class.

    Greedy per class: the next patch x minimises |(k + 1) mean - sum of the k chosen - phi(x)|. Low is kept. Features
    are those of the network that trained on the set; the condensation papers take one that trained on real images.

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> herding(log).values[:4].sort().values.tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    values = torch.empty(len(dynamics.labels), dtype=torch.float64)
    for members in class_members(dynamics.labels, dynamics.probabilities.shape[2]):
        features = dynamics.features[members].double()
        mean, chosen = features.mean(0), features.new_zeros(features.shape[1])
        free = torch.ones(len(members), dtype=torch.bool)
        for turn in range(len(members)):
            distances = ((turn + 1) * mean - chosen - features).norm(dim=1)
            pick = int(distances.masked_fill(~free, torch.inf).argmin())
            values[members[pick]] = turn
            chosen, free[pick] = chosen + features[pick], False
    return Score("herding", values, digest=dynamics.digest)


def random(patches: int, seed: int = 0) -> Score:
    """Chance, the baseline of every pruning paper: U(0, 1) for every patch, the same for the same seed. Low is kept.

    >>> random(8, seed=0).ranked().sort().values.tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    return Score("random", torch.rand(patches, generator=generator(seed, "random score"), dtype=torch.float64))


# --- by name

SCORES: Mapping[str, Callable[..., Score]] = {
    function.__name__: function for function in (lbpe, el2n, forgetting, aum, entropy, moderate, herding)
}


def by_name(name: str, condensed: CondensedSet, dynamics: Dynamics, **options) -> Score:
    """The score called `name`, one of `SCORES`, of every patch; `options` are those of its function.

    LBPE stops at the E and averages the K epochs that `LBPE_EPOCHS` has for the data set or the layout of an imported
    set, 100 and 10 where there is none; ``epochs`` and ``top`` overrule them.

    >>> from mdckit import TrainConfig, record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> by_name("el2n", made, log, epochs=2).name
    'el2n'
    """
    if name == "lbpe":
        layout = condensed.info.get("import", {}).get("layout")
        epochs, top = LBPE_EPOCHS.get(layout) or LBPE_EPOCHS.get(condensed.data_name, (100, 10))
        options = {"epochs": epochs, "top": min(top, options.get("epochs", epochs))} | options
    return SCORES[name](dynamics, **options)
