"""What a large condensation costs on so many GPUs, calculated before anyone pays for it.

The arithmetic is counted and the memory is that of `mdckit.memory`; how fast GPUs and their connections are is an
assumption that the caller makes.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from . import matching
from .baselines import Recipe
from .config import CondenseConfig
from .data import ImageData
from .lockstep import classes_by_rank
from .memory import working_memory
from .networks import fresh_network
from .ranks import Ranks
from .training import loss_gradients

GPU = torch.device("meta")  # stands for an accelerator: shapes without numbers
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Speed:
    """How fast a GPU and its connections are taken to be."""

    teraflops: float  # 10^12 operations of float32 in a second, as reached, not as printed on the box
    network: float  # 10^9 bytes in a second that a GPU sends and receives
    reading: float  # 10^9 bytes in a second from main memory to a GPU


def passes(net: nn.Module, shape: tuple[int, int, int], config: CondenseConfig, count: int = 1) -> dict[str, Callable]:
    """The three kinds of work of a condensation, each on `count` images of `shape`: functions without arguments.

    A "real" image is matched against, a "patch" of the set is matched, and from an image "learned" the network learns.
    """
    device = next(net.parameters()).device
    images, labels = torch.rand(count, *shape, device=device), torch.zeros(count, dtype=torch.int64, device=device)
    target = [torch.zeros(1, *p.shape, device=device) for p in net.parameters() if p.ndim == 4]
    still, alone = copy.deepcopy(net).requires_grad_(False), images.new_ones(1, 1)
    return {
        "real": lambda: matching.real_gradients(still, [images], [0], config.distance),
        "patch": lambda: matching.match_prefixes(still, images, labels, alone, target, [[count]], config.distance),
        "learned": lambda: loss_gradients(net, images, labels, labels, images.new_ones(2)),
    }


def operations(shape: tuple[int, int, int], classes: int, config: CondenseConfig) -> dict[str, float]:
    """Floating-point operations of convolutions and matrix products in each of the `passes`, for one image.

    >>> config = CondenseConfig(width=8, depth=2)
    >>> found = operations((3, 8, 8), 10, config)
    >>> found["real"] < found["learned"] < found["patch"]
    True
    """
    net, found = fresh_network(shape, classes, config, 0, device=GPU), {}
    for name, work in passes(net, shape, config).items():
        with _Counter() as counter:
            work()
        found[name] = float(counter.operations)
    return found


class _Counter(TorchDispatchMode):
    """Counts what PyTorch's FlopCounterMode does, which cannot follow a gradient of gradients."""

    def __init__(self):
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.operations += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=found)
        return found


def seconds(
    shape: tuple[int, int, int], classes: int, config: CondenseConfig, repeats: int = 3, count: int = 1
) -> dict[str, float]:
    """Seconds that each of the `passes` of `count` images takes on this machine's CPU per image, the least of some.

    >>> sorted(seconds((3, 8, 8), 10, CondenseConfig(width=8, depth=2), repeats=1))
    ['learned', 'patch', 'real']
    """
    net, found = fresh_network(shape, classes, config, 0), {}
    for name, work in passes(net, shape, config, count).items():
        stamps = []
        for _ in range(repeats + 1):  # the first one prepares
            begin = time.perf_counter()
            work()
            stamps.append(time.perf_counter() - begin)
        found[name] = min(stamps[1:]) / count
    return found


@dataclass(frozen=True)
class Plan:
    """The cost of condensing one set on `gpus` ranks."""

    gpus: int
    memory: int  # bytes of a GPU at most, the real images apart
    checkpoint: int  # bytes that rank 0 collects and writes after every outer loop
    gradients: float  # bytes that a rank sends in an outer loop: gradients of the network
    distances: float  # and the losses and distances of its classes
    read: float  # bytes of real images that a rank reads in an outer loop
    hours: dict[str, float]  # of the whole run, by what takes them

    @property
    def total(self) -> float:
        """Hours of the whole run."""
        return sum(self.hours.values())


def plan(
    data: ImageData, recipe: Recipe, config: CondenseConfig, gpus: int, operations: dict[str, float], speed: Speed
) -> Plan:
    """What one set costs on `gpus` GPUs, given the `operations` of one image.

    Of `data` only sizes are looked at: its images may be on the device "meta". Nothing overlaps: work, reading and
    messages follow each other, and a GPU is as fast with few images as with many.
    """
    classes, ipc, image = len(data.classes), recipe.ipc or config.ipc, data.x_train[0].numel()
    ranks = Ranks(count=gpus, classes=classes_by_rank(classes, 1, gpus))
    own = max(map(len, ranks.classes))
    batches = {
        "network": (config.inner - 1) * -(-config.net_images // config.net_batch),
        "pretraining": config.pretrain * -(-len(data.x_train) // config.net_batch),
    }
    of_class = config.batch_real * operations["real"] + config.patches * operations["patch"]
    of_batch = -(-config.net_batch // gpus) * operations["learned"]
    work = {name: count * of_batch for name, count in batches.items()}
    work = {"matching": config.inner * own * of_class} | work
    away = (gpus - 1) / gpus  # the share of the numbers that are not one's own
    weights = sum(p.numel() for p in fresh_network(data.shape, classes, config, 0, device=GPU).parameters())
    gradients = sum(batches.values()) * 2 * away * weights * FLOAT
    distances = config.inner * (gpus - 1) * own * ipc * FLOAT
    checkpoint = 2 * classes * ipc * image * FLOAT
    read = (config.inner * own * config.batch_real + sum(batches.values()) * config.net_batch) * image
    hours = {name: count / (speed.teraflops * 1e12) for name, count in work.items()}
    hours["messages"] = (gradients + distances + away * checkpoint) / (speed.network * 1e9)
    hours["reading"] = read / (speed.reading * 1e9)
    hours = {name: config.outer * value / 3600 for name, value in hours.items()}
    memory = working_memory(data, [recipe], config, GPU, ranks)
    return Plan(gpus, memory, checkpoint, gradients, distances, read, hours)
