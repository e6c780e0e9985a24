"""What a condensation will cost, told before it runs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice, pairwise

import torch

from .baselines import Recipe
from .condense import condense_steps
from .config import CondenseConfig
from .data import ImageData
from .evaluate import subset_accuracies
from .initialisation import start
from .lockstep import Passes
from .machine import free_memory, pick_device
from .memory import gigabytes, memory_needed, require_memory
from .networks import fresh_network
from .parallel import cores
from .streams import RealImages
from .training import train_step


@dataclass(frozen=True)
class Estimate:
    """The cost of a condensation on this machine: time measured, memory calculated.

    >>> print(Estimate(200, 0.5, 0.0, 0.0, 600_000_000, 8_000_000_000, "cpu"))
    about 0:01:40 (200 iterations of 0.5 s) and up to 0.6 GB of 8.0 GB free memory on cpu
    """

    iterations: int  # outer x inner
    iteration: float  # seconds of one, all sets together
    pretraining: float  # seconds, of all outer loops together
    choosing: float  # seconds, of all choices of an MLS by accuracy
    memory: int  # bytes, at most
    free: int  # bytes
    device: str

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.iterations * self.iteration + self.pretraining + self.choosing

    def __str__(self) -> str:
        left = str(timedelta(seconds=round(self.seconds)))
        rate = f"{self.iterations:,} iterations of {self.iteration:.3g} s"
        if self.pretraining:
            rate += f" and {timedelta(seconds=round(self.pretraining))} of pretraining"
        if self.choosing:
            rate += f" and {timedelta(seconds=round(self.choosing))} of choosing subsets by accuracy"
        memory = f"up to {gigabytes(self.memory)} of {gigabytes(self.free)} free memory"
        return f"about {left} ({rate}) and {memory} on {self.device}"


def estimate(
    data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig, *, device: str | None = None
) -> Estimate:
    """Measure one inner iteration of `condense` with the same arguments and tell the cost of the whole run.

    Takes about four iterations, the time of compiling where the configuration asks for that, and that of one choice
    where a recipe chooses by accuracy. Errors are those of `condense`, MemoryError for a run that would not fit among
    them.

    >>> from mdckit import baselines, load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=2, width=8)
    >>> estimate(load("digits"), [baselines.mdc()], config).iterations
    100
    """
    chosen = pick_device(device)
    require_memory(data, recipes, config, chosen)
    needed, free = memory_needed(data, recipes, config, chosen), free_memory(chosen)
    once = {"outer": 1, "inner": 4} if config.inner > 1 else {"outer": 4, "inner": 1}
    stamps = []
    quick_to_choose = [replace(r, metric="feature") if r.metric == "accuracy" else r for r in recipes]
    for _ in condense_steps(data, quick_to_choose, config.replace(**once, pretrain=0), device=device):
        stamps.append(_now(chosen))
    *whole, _ = [after - before for before, after in pairwise(stamps)]  # the last one lacks an update of the network
    iteration = min(whole)
    choices = len({1, *range(config.period, config.outer + 1, config.period)})
    choosing = choices * _choosing(data, recipes, config, chosen)
    pretraining = config.outer * _pretraining(data, config, chosen) if config.pretrain else 0.0
    return Estimate(config.outer * config.inner, iteration, pretraining, choosing, needed, free, str(chosen))


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def _choosing(data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig, device: torch.device) -> float:
    """Seconds of one choice of the MLS by the recipes that go by accuracy."""
    by_accuracy = [recipe for recipe in recipes if recipe.metric == "accuracy"]
    if not by_accuracy:
        return 0.0
    real, state = RealImages(data, config, device), start(data, by_accuracy, config)
    begin = _now(device)
    with cores(device) as pool:
        for s in state.sets.values():
            subset_accuracies(real, s.images.to(device), pool)
    return _now(device) - begin


def _pretraining(data: ImageData, config: CondenseConfig, device: torch.device) -> float:
    """Seconds of the pretraining of one network, from its first three batches."""
    net = fresh_network(data.shape, len(data.classes), config, config.seed, device=device)
    optimizer = torch.optim.SGD(net.parameters(), config.net_lr)
    batches, run = RealImages(data, config, device).pretraining(1), Passes.of(config).loss_gradients
    stamps = []
    for images, labels, random in islice(batches, 3):
        train_step(net, optimizer, images, labels, config.net_augment, config.net_cutmix, random, run=run)
        stamps.append(_now(device))
    taken = (stamps[-1] - stamps[0]) / max(len(stamps) - 1, 1)
    return taken * config.pretrain * -(-len(data.y_train) // config.net_batch)
