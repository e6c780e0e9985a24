"""LRS and ARS, the robustness scores of DD-Ranking (Li et al., 2025), computed from accuracies in fractions.

They ask what a set itself is worth: against as many random real images trained on the same way, and against all real
images. mdckit trains and tests by its own protocol, draws its own random images and takes accuracies as fractions,
as the definition has them; so the scores order sets tested here, and are no numbers for DD-Ranking's leaderboard.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch

from . import formation
from .condensed import CondensedSet
from .config import TrainConfig
from .data import ImageData, to_float
from .evaluate import Result, evaluate_many
from .results import spread
from .rng import generator


def lrs(synthetic: float, random: float, full: float, weight: float = 0.5) -> float:
    """Label-robust score, 0..1, of test accuracies in 0..1: of the set, of random real images, of all real images.

    With IOR = synthetic - random, the improvement over random, and HLR = full - synthetic, what the recovery of the
    real data lacks, a = weight IOR - (1 - weight) HLR becomes (exp(a) - 1/e) / (e - 1/e): 0 for a = -1, 0.27 for
    a = 0, 1 for a = 1. Labels are hard, as all of this kit are. Raises ValueError for percents.

    >>> round(lrs(synthetic=0.9, random=0.7, full=0.98), 3)
    0.295
    """
    _check_fractions(synthetic=synthetic, random=random, full=full, weight=weight)
    return _between_0_and_1(weight * (synthetic - random) - (1 - weight) * (full - synthetic))


def ars(synthetic: float, random: float, synthetic_plain: float, random_plain: float, weight: float = 0.5) -> float:
    """Augmentation-robust score, 0..1, of test accuracies in 0..1 with augmentation and, `plain`, without.

    b = weight (synthetic - random) + (1 - weight) (synthetic_plain - random_plain) becomes (exp(b) - 1/e) / (e - 1/e):
    0.27 for a set that is worth as much as random real images. Raises ValueError for percents.

    >>> round(ars(synthetic=0.9, random=0.7, synthetic_plain=0.8, random_plain=0.7), 3)
    0.338
    """
    _check_fractions(synthetic=synthetic, random=random, weight=weight)
    _check_fractions(synthetic_plain=synthetic_plain, random_plain=random_plain)
    plain = synthetic_plain - random_plain
    return _between_0_and_1(weight * (synthetic - random) + (1 - weight) * plain)


def _between_0_and_1(value: float) -> float:
    return (math.exp(value) - math.exp(-1)) / (math.e - math.exp(-1))


def _check_fractions(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:  # NaN too
            raise ValueError(f"{name} is a fraction between 0 and 1, got {value!r}: divide percents by 100")


@dataclass(frozen=True)
class Robustness:
    """What the scores come from: results on the set, on `random` real images and on `full`, all of them.

    `plain` results are those without augmentation. The random images are others for every seed; `images` counts them
    all, one for each image that the set stores.
    """

    synthetic: Result
    random: Result
    full: Result
    synthetic_plain: Result
    random_plain: Result
    images: int

    def scores(self, which: str = "best") -> dict[str, tuple[float, ...]]:
        """HLR, IOR, IOR without augmentation, LRS and ARS, one value per seed; `which` may be "last".

        "best" of several tests is the number DD-Ranking takes as well.
        """
        names = ("synthetic", "random", "full", "synthetic_plain", "random_plain")
        per_seed = zip(*([a / 100 for a in getattr(getattr(self, name), which)] for name in names), strict=True)
        rows = [
            (full - syn, syn - rdm, syn_plain - rdm_plain, lrs(syn, rdm, full), ars(syn, rdm, syn_plain, rdm_plain))
            for syn, rdm, full, syn_plain, rdm_plain in per_seed
        ]
        return dict(zip(("HLR", "IOR", "IOR, plain", "LRS", "ARS"), zip(*rows, strict=True), strict=True))

    def accuracies(self) -> pd.DataFrame:
        """The test accuracies behind the scores, mean ± population std over the seeds, percent."""
        rows = {
            "condensed": self.synthetic,
            "random real": self.random,
            "condensed, no augmentation": self.synthetic_plain,
            "random real, no augmentation": self.random_plain,
            "all real": self.full,
        }
        cells = {
            name: {"epochs": result.config.epochs, "best": spread(result.best), "last": spread(result.last)}
            for name, result in rows.items()
        }
        return pd.DataFrame(cells).T

    def __str__(self) -> str:
        config, seeds = self.synthetic.config, len(self.synthetic.best)
        values = {name: torch.tensor(v) for name, v in self.scores().items() if name in ("LRS", "ARS")}
        shown = ", ".join(f"{name} {v.mean():.3f} ± {v.std(correction=0):.3f}" for name, v in values.items())
        return (
            f"{shown} ({seeds} seed{'s' * (seeds > 1)}, best of {config.evaluations}, {config.epochs} epochs; "
            f"all real images: {self.full.config.epochs} epochs)"
        )


def on_all_real(data: ImageData, config: TrainConfig, **options) -> Result:
    """The accuracy of networks trained on all real images, for `measure`; `options` are those of `evaluate_many`.

    >>> from mdckit import load
    >>> brief = TrainConfig(epochs=1, evaluations=1, width=4, depth=1, seeds=(0,))
    >>> on_all_real(load("digits"), brief, show_progress=False).patches
    1447
    """
    counts = [len(index) for index in data.class_indices]
    options = {"label": "all real images"} | options
    return evaluate_many({"full": real_images(data, counts)}, data, config, **options)["full"]


def measure(
    condensed: CondensedSet, data: ImageData, config: TrainConfig, full: Result | None = None, **options
) -> Robustness:
    """All accuracies that the scores of a set need, by one protocol, seed by seed.

    The random images are as many of every class as the set stores, drawn anew for each seed. `full` is what
    `on_all_real` found, perhaps with fewer epochs; left out, it is measured by `config`. `options` are those of
    `evaluate_many`. Raises ValueError for data that do not fit, a `full` of other seeds, and a `config` without
    augmentation, of which ARS would say nothing.

    >>> from mdckit import load
    >>> digits, brief = load("digits"), TrainConfig(epochs=1, evaluations=1, width=4, depth=1, seeds=(0,))
    >>> found = measure(real_images(digits, [1] * 10), digits, brief, show_progress=False)
    >>> list(found.scores())
    ['HLR', 'IOR', 'IOR, plain', 'LRS', 'ARS']
    """
    if full is not None and full.config.seeds != config.seeds:
        raise ValueError(f"seeds {full.config.seeds} of all real images, {config.seeds} of the set: take equal ones")
    if not config.augment and not config.cutmix:
        raise ValueError("a protocol without augmentation asked, which ARS compares with one that has it: name some")
    stored = formation.images_in_use(condensed.patches_per_class, condensed.factor)
    found = []
    for seed in config.seeds:
        sets = {"synthetic": condensed, "random": real_images(data, stored, seed)}
        once = config.replace(seeds=(seed,))
        plain = once.replace(augment="", cutmix=0.0)
        found.append(evaluate_many(sets, data, once, **{"label": "set and random"} | options))
        bare = evaluate_many(sets, data, plain, **{"label": "no augmentation"} | options)
        found[-1] |= {f"{name}_plain": result for name, result in bare.items()}
    joined = {name: _join([results[name] for results in found], config.seeds) for name in found[0]}
    return Robustness(**joined, full=full or on_all_real(data, config, **options), images=sum(stored))


def real_images(data: ImageData, counts: Sequence[int], seed: int = 0) -> CondensedSet:
    """Random real training images as a set to train on, ``counts[c]`` of class c, in an order that `seed` names.

    Raises ValueError for a class with fewer images.

    >>> from mdckit import load
    >>> real_images(load("digits"), [2] * 10, seed=1)
    CondensedSet(digits: 10 classes x 2 images of 1 x 8 x 8, factor 1, 20 patches)
    """
    chosen = []
    for c, (index, count) in enumerate(zip(data.class_indices, counts, strict=True)):
        if count > len(index):
            raise ValueError(f"{count} real images of class {data.classes[c]!r} asked, {data.name} has {len(index)}")
        chosen.append(index[torch.randperm(len(index), generator=generator(seed, "random real images", c))[:count]])
    images = formation.unpack(to_float(data.x_train[torch.cat(chosen)]), counts, max(counts))
    return CondensedSet(images, 1, data.mean, data.std, data.classes, data.name, counts=tuple(counts))


def _join(results: list[Result], seeds: tuple[int, ...]) -> Result:
    """One result of several, each of a seed of its own."""
    best, last = (tuple(a for result in results for a in getattr(result, which)) for which in ("best", "last"))
    seconds = sum(result.seconds for result in results)
    return replace(results[0], best=best, last=last, seconds=seconds, config=results[0].config.replace(seeds=seeds))
