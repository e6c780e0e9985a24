"""How much memory a condensation will take, known before it starts."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from .baselines import Recipe
from .config import CondenseConfig
from .data import ImageData
from .lockstep import BLOCK, largest_pass, map_numbers
from .machine import free_memory
from .parallel import threads_on
from .ranks import ALONE, Ranks
from .streams import stays_on

MAPS = 30  # first feature maps held at once while a pass is differentiated twice, with all smaller ones (measured)
LIBRARIES = 2**27  # bytes of buffers that PyTorch and its kernels keep for themselves
GROUP_COPIES = 6  # of each group's gradients: sums, differences and their derivatives


def memory_needed(
    data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig, device: torch.device, ranks: Ranks = ALONE
) -> int:
    """Bytes that a condensation adds to what the process holds before it: an estimate on the safe side.

    The images and their momentum, and for every worker the largest pass: the feature maps of as many classes as share
    it, or of one class if that is more, and the gradients of its groups; and on an accelerator the real images, if they
    are kept there. Of several ranks each has its classes only; what rank 0 collects for a checkpoint is no part of it.

    >>> from mdckit import baselines, load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=2)
    >>> memory_needed(load("digits"), [baselines.mdc()], config, torch.device("cpu")) > 2**20
    True
    """
    on_device = data.x_train.nbytes if device.type != "cpu" and stays_on(data, device) else 0
    return working_memory(data, recipes, config, device, ranks) + on_device


def working_memory(
    data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig, device: torch.device, ranks: Ranks = ALONE
) -> int:
    """`memory_needed` without the real images."""
    channels, side, _ = data.shape
    classes = max(map(len, ranks.classes), default=len(data.classes))
    workers = min(threads_on(device), classes)
    sizes = [recipe.ipc or config.ipc for recipe in recipes]
    groups = max(len(recipe.weights(n, 1 if n > 1 else None)) for recipe, n in zip(recipes, sizes, strict=True))
    pixels = sum(sizes) * classes * channels * side**2
    images = max(
        max(config.replace(ipc=n).patches for n in sizes), config.batch_real / 2
    )  # real ones are differentiated once only
    numbers = max(images * map_numbers(config, side + 4 * (channels == 1)), largest_pass(device))
    targets = min(BLOCK, -(-classes // workers))  # classes whose real gradients are kept
    per_worker = MAPS * numbers + (GROUP_COPIES * groups + targets) * _weights(config, channels)
    return int(4 * (3 * pixels + workers * per_worker)) + LIBRARIES


def _weights(config: CondenseConfig, channels: int) -> int:
    """Numbers in all convolution weights."""
    if config.network == "resnet10_ap":
        return config.width * (49 * channels + (18 + 14 * (4 + 16 + 64)) * config.width)
    return 9 * config.width * (channels + (config.depth - 1) * config.width)


def require_memory(
    data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig, device: torch.device, ranks: Ranks = ALONE
) -> None:
    """Raise MemoryError, with the nearest settings that fit, where a condensation would not fit into free memory."""
    needed = memory_needed(data, recipes, config, device, ranks)
    free = free_memory(device) // (ranks.here if device.type == "cpu" else 1)  # which all ranks on a machine share
    if needed <= free:
        return

    def fits(changed: CondenseConfig) -> bool:
        smaller = [r if r.ipc is None else replace(r, ipc=min(r.ipc, changed.ipc)) for r in recipes]
        return memory_needed(data, smaller, changed, device, ranks) <= free

    sizes, widths = range(config.ipc - 1, 0, -1), (config.width // 2, config.width // 4, config.width // 8)
    nearest = [
        next((f"{name} {value}" for value in values if value and fits(config.replace(**{name: value}))), None)
        for name, values in (("ipc", sizes), ("width", widths))
    ]
    named = [way for way in nearest if way]
    advice = "ask for " + " or ".join(named) if named else "free memory or ask for fewer recipes"
    raise MemoryError(
        f"ipc {config.ipc} at width {config.width} asked, which takes about {gigabytes(needed)} of memory where "
        f"{gigabytes(free)} are free on {device}: {advice}"
    )


def gigabytes(count: int) -> str:
    """Bytes in words.

    >>> gigabytes(1_500_000_000)
    '1.5 GB'
    """
    return f"{count / 1e9:.1f} GB"
