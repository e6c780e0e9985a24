"""How much a patch is worth for training: one function for each score, over training dynamics, features or models.

Every function returns a `Score`, which knows its direction: whether low values are the easy patches, and which end the
method keeps. `mdckit.selection` turns scores into patches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .condensed import CondensedSet
from .config import TrainConfig, check_count
from .dynamics import Dynamics, trained_outputs
from .machine import pick_device
from .networks import fresh_convnet
from .rng import generator
from .training import train_epochs

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
    """One value per patch, (P,) float64, and how to read it. Raises ValueError for NaN or a direction that is none."""

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
    """
    onehot = F.one_hot(dynamics.labels, dynamics.probabilities.shape[2]).double()
    chosen = range(dynamics.epochs) if epochs is None else epochs
    return torch.stack([(dynamics.probabilities[e].double() - onehot).norm(dim=1) for e in chosen])


def lbpe_epochs(dynamics: Dynamics, epochs: int, top: int) -> Tensor:
    """The `top` epochs (0-based, ascending) with the highest training accuracy among the first `epochs`.

    Ties go to the earlier epoch (YOCO Algorithm 1). Raises ValueError where there are not as many.
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
    """
    values = error_norms(dynamics, lbpe_epochs(dynamics, epochs, top).tolist()).mean(0)
    return Score("lbpe", values, keep="easy", balanced=True, digest=dynamics.digest)


def el2n(dynamics: Dynamics, epochs: int = 10) -> Score:
    """EL2N (Paul et al. 2021): the mean of s_e(i) over the first `epochs` epochs. Low is easy; keeps the hard."""
    _check_epochs(dynamics, epochs)
    return Score("el2n", error_norms(dynamics, range(epochs)).mean(0), keep="hard", digest=dynamics.digest)


def forgetting(dynamics: Dynamics) -> Score:
    """Forgetting events (Toneva et al. 2019): how often a patch was right and is wrong an epoch later.

    A patch that was never right counts 0. Low is easy; keeps the hard.
    """
    correct = dynamics.correct
    return Score("forgetting", (correct[:-1] & ~correct[1:]).sum(0).double(), keep="hard", digest=dynamics.digest)


def aum(dynamics: Dynamics) -> Score:
    """Area under the margin (Pleiss et al. 2020): mean over the epochs of p_y - max of the other p.

    On softmax outputs, as YOCO's code has it. High is easy; keeps the hard.
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
    """
    p = dynamics.final.double()
    return Score("entropy", -(p * (p + 1e-10).log()).sum(1), keep="hard", digest=dynamics.digest)


def moderate(dynamics: Dynamics) -> Score:
    """Moderate (Xia et al. 2023): how far, in ranks, a patch's distance to its class mean is from the class median.

    Distances are Euclidean, between the trained network's features. Low is kept: as many nearer as farther patches.
    """
    values = torch.empty(len(dynamics.labels), dtype=torch.float64)
    for members in class_members(dynamics.labels):
        features = dynamics.features[members].double()
        distances = (features - features.mean(0)).norm(dim=1)
        ranks = distances.argsort(stable=True).argsort().double()
        values[members] = (ranks - (len(members) - 1) / 2).abs()
    return Score("moderate", values, digest=dynamics.digest)


def herding(dynamics: Dynamics) -> Score:
    """Herding (Welling 2009): a patch's turn when the mean of those chosen follows the mean features of its class.

    Greedy per class: the next patch x minimises |(k + 1) mean - sum of the k chosen - phi(x)|. Low is kept. Features
    are those of the network that trained on the set; the condensation papers take one that trained on real images.
    """
    values = torch.empty(len(dynamics.labels), dtype=torch.float64)
    for members in class_members(dynamics.labels):
        features = dynamics.features[members].double()
        mean, chosen = features.mean(0), torch.zeros_like(features[0])
        free = torch.ones(len(members), dtype=torch.bool)
        for turn in range(len(members)):
            distances = ((turn + 1) * mean - chosen - features).norm(dim=1)
            pick = int(distances.masked_fill(~free, torch.inf).argmin())
            values[members[pick]] = turn
            chosen, free[pick] = chosen + features[pick], False
    return Score("herding", values, digest=dynamics.digest)


def class_members(labels: Tensor) -> list[Tensor]:
    """The patch numbers of every class that has any, ascending."""
    return [(labels == c).nonzero()[:, 0] for c in labels.unique()]


def random(patches: int, seed: int = 0) -> Score:
    """Chance, the baseline of every pruning paper: U(0, 1) for every patch, the same for the same seed. Low is kept."""
    return Score("random", torch.rand(patches, generator=generator(seed, "random score"), dtype=torch.float64))


# --- over several networks, trained for this score only


def grand(
    condensed: CondensedSet,
    config: TrainConfig,
    epochs: int = 10,
    models: int = 10,
    seed: int = 0,
    *,
    device: str | None = None,
) -> Score:
    """GraNd (Paul et al. 2021): a patch's loss gradient by all weights, its length, mean over `models` young networks.

    Each network trains for the first `epochs` epochs of the config's schedule; one backward pass per patch and network.
    Low is easy; keeps the hard.
    """
    check_count("models", models)
    check_count("epochs", epochs)
    if epochs > config.epochs:
        raise ValueError(f"the first {epochs} epochs asked of a schedule of {config.epochs}: ask for fewer")
    images, labels = condensed.tensors(pick_device(device))
    total = torch.zeros(condensed.patches, dtype=torch.float64)
    for m in range(models):
        net = _network(condensed, config, seed, "grand", m, images.device)
        for _ in islice(train_epochs(net, images, labels, config, seed, f"grand {m}"), epochs):
            pass
        total += torch.tensor(list(_gradient_norms(net, images, labels)), dtype=torch.float64)
    return Score("grand", total / models, keep="hard", digest=condensed.digest)


def _gradient_norms(net: nn.Module, images: Tensor, labels: Tensor) -> Iterator[float]:
    net.eval()
    for image, label in zip(images, labels, strict=True):
        gradients = torch.autograd.grad(F.cross_entropy(net(image[None]), label[None]), list(net.parameters()))
        yield torch.cat([g.flatten() for g in gradients]).norm().item()


def memorization(
    condensed: CondensedSet,
    config: TrainConfig,
    models: int = 20,
    share: float = 0.7,
    seed: int = 0,
    *,
    device: str | None = None,
) -> Score:
    """Memorization (Feldman and Zhang 2020): P[right | trained with the patch] - P[right | trained without it].

    Estimated from `models` networks, each trained on a random `share` of the patches (at least one in, one out); a
    patch that was always in or always out scores 0. Low is easy; keeps the hard.
    """
    check_count("models", models, 2)
    if not 0 < share < 1:
        raise ValueError(f"share {share} asked: every network trains on a part between 0 and 1 of the patches")
    images, labels = condensed.tensors(pick_device(device))
    count = min(max(1, round(share * condensed.patches)), condensed.patches - 1)
    right = torch.zeros(2, condensed.patches, dtype=torch.float64)  # when out, when in
    seen = torch.zeros_like(right)
    for m in range(models):
        order = torch.randperm(condensed.patches, generator=generator(seed, "memorization", m))
        inside = torch.zeros(condensed.patches, dtype=torch.bool)
        inside[order[:count]] = True
        net = _network(condensed, config, seed, "memorization", m, images.device)
        for _ in train_epochs(net, images[inside], labels[inside], config, seed, f"memorization {m}"):
            pass
        _, outputs = trained_outputs(net, images)
        correct = (outputs.argmax(1) == condensed.labels).double()
        for row, members in enumerate((~inside, inside)):
            right[row] += correct * members
            seen[row] += members
    out, within = right / seen.clamp(min=1)
    values = torch.where((seen > 0).all(0), within - out, 0.0)
    return Score("memorization", values, keep="hard", digest=condensed.digest)


def _network(condensed, config, seed, purpose, number, device) -> nn.Module:
    shape = tuple(condensed.images.shape[2:])
    return fresh_convnet(shape, len(condensed.classes), config, seed, purpose, number, device=device)
