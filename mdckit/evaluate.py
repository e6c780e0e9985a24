"""The value of a set: the test accuracy of networks trained on it."""

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from . import parallel
from .condensed import CondensedSet
from .config import TrainConfig
from .data import ImageData, normalize, to_float
from .finished import FinishedTests, Outcome
from .machine import pick_device
from .networks import fresh_network
from .progress import progress
from .rng import generator
from .streams import RealImages
from .training import nothing, train_epochs

TEST_BATCH = 100
SUBSET_TESTS = 1000  # real images on which the prefixes of a set are compared
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Result:
    """Test accuracies in percent, one per seed: `best` of the evaluations (the papers' number) and `last`.

    The best of several looks at the test set is optimistic; `last` is the honest number. `mean` and `std` (population)
    are those of `best`.

    >>> print(Result((80.0, 82.0), (79.0, 82.0), 10, 1.5, TrainConfig(seeds=(0, 1))))
    81.0 ± 1.0 % (2 seeds, best of 4, 1000 epochs; last 80.5 %)
    """

    best: tuple[float, ...]
    last: tuple[float, ...]
    patches: int  # training images after decoding
    seconds: float
    config: TrainConfig

    @property
    def mean(self) -> float:
        """Mean over the seeds of the best accuracy, percent."""
        return float(np.mean(self.best))

    @property
    def std(self) -> float:
        """Population standard deviation over the seeds of the best accuracy, percent."""
        return float(np.std(self.best))

    @property
    def last_mean(self) -> float:
        """Mean over the seeds of the last accuracy, percent."""
        return float(np.mean(self.last))

    def __str__(self) -> str:
        seeds = len(self.best)
        protocol = (
            f"{seeds} seed{'s' if seeds > 1 else ''}, best of {self.config.evaluations}, {self.config.epochs} epochs"
        )
        return f"{self.mean:.1f} ± {self.std:.1f} % ({protocol}; last {self.last_mean:.1f} %)"


def evaluate(condensed: CondensedSet, data: ImageData, config: TrainConfig, *, device: str | None = None) -> Result:
    """Train a fresh network on the set for every seed and test it on ``data.x_test`` (the papers' protocol).

    Equal seeds start from equal networks and draw equal batches for equally large sets, so comparisons are paired.
    Raises ValueError for a set that does not fit the data.

    >>> from mdckit import load
    >>> digits = load("digits")
    >>> real = CondensedSet(digits.first_images(1), 1, digits.mean, digits.std, digits.classes)
    >>> evaluate(real, digits, TrainConfig.preset("digits", "quick", epochs=4, seeds=(0,))).patches
    10
    """
    return evaluate_many({0: condensed}, data, config, device=device, show_progress=False)[0]


def evaluate_many(
    sets: Mapping[Key, CondensedSet],
    data: ImageData,
    config: TrainConfig,
    *,
    device: str | None = None,
    label: str = "evaluating",
    show_progress: bool = True,
    stopped: Callable[[], bool] = parallel.never,
    cache: str | Path | None = None,
) -> dict[Key, Result]:
    """A `Result` for every set, such as every size of `prefixes(sets, name)`, by the same keys.

    On a CPU every core trains a network of its own; the results do not depend on the number of cores. `stopped` is
    asked between batches, in several threads: once it is true, `parallel.Stopped` is raised. With `cache`, a JSON file,
    every network that has been tested is kept there, and an interrupted evaluation goes on with those that have not.

    >>> from mdckit import load
    >>> digits, brief = load("digits"), TrainConfig(epochs=4, width=4, depth=1, seeds=(0,))
    >>> real = CondensedSet(digits.first_images(2), 1, digits.mean, digits.std, digits.classes)
    >>> list(evaluate_many({n: real.take(n) for n in (1, 2)}, digits, brief, show_progress=False))
    [1, 2]
    """
    for condensed in sets.values():
        check_fits(condensed, data)
    data.check_colours(config.augment)
    chosen = pick_device(device)
    long_first = sorted(sets, key=lambda key: -sets[key].patches)
    jobs = [(key, seed) for key in long_first for seed in config.seeds]
    tested = FinishedTests(cache, data, config, chosen)

    def run(job: tuple[Key, int]) -> Outcome:
        key, seed = job
        if found := tested.find(sets[key], seed):
            return found
        images, labels = sets[key].tensors(chosen)
        begin = time.perf_counter()
        curve = accuracy_curve(images, labels, data, config, seed, chosen, check=pool.check)
        test = curve, time.perf_counter() - begin
        tested.keep(sets[key], seed, test)
        return test

    with parallel.cores(chosen, stopped) as pool:
        done = dict(zip(jobs, progress(pool.map(run, jobs), label, len(jobs), show=show_progress), strict=True))
    return {key: _result([done[key, seed] for seed in config.seeds], config, sets[key]) for key in sets}


def _result(runs: list[Outcome], config: TrainConfig, condensed: CondensedSet) -> Result:
    curves = [curve for curve, _ in runs]
    seconds = sum(seconds for _, seconds in runs)
    return Result(tuple(max(c) for c in curves), tuple(c[-1] for c in curves), condensed.patches, seconds, config)


def accuracy_curve(
    images: Tensor,
    labels: Tensor,
    data: ImageData,
    config: TrainConfig,
    seed: int,
    device: torch.device,
    check: Callable[[], None] = nothing,
) -> list[float]:
    """Train one network on normalised images (P, C, H, W); its test accuracies in percent at equidistant epochs.

    `check` is called before every batch, also of test images, and may raise, to give up.
    """
    net = fresh_network(data.shape, len(data.classes), config, seed, "evaluate", device=device)
    tested = {config.epochs * (k + 1) // config.evaluations for k in range(config.evaluations)}
    curve = []
    for epoch, _ in enumerate(train_epochs(net, images, labels, config, seed, "evaluate", check), start=1):
        if epoch in tested:
            curve.append(test_accuracy(net, data, check))
    return curve


def subset_accuracies(real: RealImages, stored: Tensor, pool: parallel.Pool) -> Tensor:
    """The accuracy that training on every proper prefix of a set reaches on real training images, (1, N-1), percent.

    `stored` is (K, N, C, H, W). The images to be told apart are the same ones every time, up to 1,000.
    """
    config, data = real.config, real.data
    order = torch.randperm(len(data.y_train), generator=generator(config.seed, "subset accuracy"))[:SUBSET_TESTS]
    seen = replace(data, x_test=data.x_train[order], y_test=data.y_train[order])
    train = TrainConfig(
        config.accuracy_epochs,
        evaluations=1,
        network=config.network,
        width=config.width,
        depth=config.depth,
        augment=config.net_augment,
        cutmix=config.net_cutmix,
        norm=config.norm,
    )

    def accuracy(n: int) -> float:
        images, labels = real.patches_of(stored[:, :n])
        return accuracy_curve(images, labels, seen, train, config.seed, real.device, pool.check)[-1]

    own = pool.ranks.agreed(lambda: list(pool.map(accuracy, pool.share(range(1, stored.shape[1])))))
    return torch.tensor([list(chain(*pool.ranks.tell(own)))])


@torch.no_grad()
def test_accuracy(net: nn.Module, data: ImageData, check: Callable[[], None] = lambda: None) -> float:  # noqa: PT028 - no test
    """Accuracy of `net` on the test images, in percent; `check` is called before every batch."""
    device = next(net.parameters()).device
    net.eval()
    right = 0
    for images, labels in zip(data.x_test.split(TEST_BATCH), data.y_test.split(TEST_BATCH), strict=True):
        check()
        logits = net(normalize(to_float(images.to(device)), data.mean, data.std))
        right += int((logits.argmax(1) == labels.to(device)).sum())
    net.train()
    return 100 * right / len(data.y_test)


def check_fits(condensed: CondensedSet, data: ImageData) -> None:
    """Raise ValueError unless the set has as many classes as the data, and images of their shape."""
    shape = tuple(condensed.images.shape[2:])
    if shape != data.shape or len(condensed.classes) != len(data.classes):
        raise ValueError(
            f"a set with {len(condensed.classes)} classes of images {shape} given with {data.name}: "
            f"{len(data.classes)} classes of images {data.shape}"
        )
