"""Time one inner iteration of MDC: the released loop, as written in `tests/reference.py`, against mdckit.

Both sides run alternately in one process, after one untimed run each:

    python -m tests.benchmarks.inner_iteration --repeats 3
    python -m tests.benchmarks.inner_iteration --shape demo --repeats 20 --device cuda
"""

import argparse
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdckit import augment, baselines, formation
from mdckit.checkpoint import RunState, SetState
from mdckit.condense import condense_steps, start
from mdckit.config import CondenseConfig
from mdckit.data import ImageData, from_arrays
from mdckit.machine import pick_device, versions
from mdckit.networks import fresh_convnet
from mdckit.rng import generator
from mdckit.streams import RealImages
from mdckit.subsets import SubsetState
from mdckit.training import train_step
from tests import reference

SHAPES = {
    "paper": ((3, 32, 32), CondenseConfig(ipc=10, factor=2, width=128)),
    "demo": ((1, 28, 28), CondenseConfig(ipc=10, factor=1, width=32, net_images=256, reference_size=28)),
}
CLASSES, SUBSET, LOOP = 10, 5, 151  # S[5] is active in loop 151, after it was chosen at the end of loop 100
SIDES = ("released", "mdckit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="paper", help="paper: CIFAR-10 like; demo: MNIST like")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each side")
    parser.add_argument("--device", help="cpu or cuda (default: what there is)")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be 1 or more")
    device = pick_device(options.device)
    shape, config = SHAPES[options.shape]
    config = config.replace(outer=LOOP, inner=options.repeats + 1)
    data = random_data(shape)

    print(f"{CLASSES} classes x {config.ipc} images of {'x'.join(map(str, shape))}, f = {config.factor},", end=" ")
    print(f"width {config.width}, MDC with S[{SUBSET}] active, {config.batch_real} real images per class")
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(f"device {device}, {torch.get_num_threads()} threads, {options.repeats} runs of each side, median\n")
    report("matching", released_matching(data, config, device), mdckit_matching(data, config, device), config, device)
    report("network update", released_update(data, config, device), mdckit_update(data, config, device), config, device)


def report(title: str, released: Iterator, ours: Iterator, config: CondenseConfig, device: torch.device) -> None:
    """Run both sides in turn, `inner` times each, and print what they took."""
    seconds, peaks = {side: [] for side in SIDES}, {side: [] for side in SIDES}
    for _ in range(config.inner):
        for side, steps in zip(SIDES, (released, ours), strict=True):
            taken, peak = measured(lambda steps=steps: next(steps), device)
            seconds[side].append(taken)
            peaks[side].append(peak)
    median = {side: statistics.median(values[1:]) for side, values in seconds.items()}  # the first warms up
    print(f"{title}: {median['released'] / median['mdckit']:.2f}x")
    for side in SIDES:
        each = " ".join(f"{value:.3f}" for value in seconds[side][1:])
        print(f"  {side:8} {median[side]:.3f} s ({each}), peak memory {max(peaks[side][1:]):.0f} MiB")


def measured(work: Callable, device: torch.device) -> tuple[float, float]:
    """Seconds and peak memory in MiB: resident memory of the process, or allocated memory of the GPU."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    elif sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # else the peak is that of all work so far
    begin = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize(device)
    taken = time.perf_counter() - begin
    if cuda:
        return taken, torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def random_data(shape: tuple[int, int, int]) -> ImageData:
    labels = torch.arange(CLASSES).repeat(200)
    images = torch.randint(0, 256, (len(labels), *shape), generator=generator(0, "images")).to(torch.uint8)
    return from_arrays(images, labels, images[:CLASSES], labels[:CLASSES])


# --- matching


def mdckit_matching(data: ImageData, config: CondenseConfig, device: torch.device) -> Iterator:
    """One matching step per item, with a network update of a single image."""
    config, recipe = config.replace(net_images=1, net_batch=1), baselines.mdc()
    images = start(data, [recipe], config).sets["mdc"].images
    history = SubsetState(config.period, choices=((LOOP - 51, SUBSET),))
    state = RunState(LOOP - 1, {"mdc": SetState(images, torch.zeros_like(images), (history,))})
    for step in condense_steps(data, [recipe], config, device=str(device), state=state):
        assert (step.mls["mdc"], step.frozen["mdc"]) == ([SUBSET], [0])
        yield step


def released_matching(data: ImageData, config: CondenseConfig, device: torch.device) -> Iterator:
    net = reference.ConvNet(fresh_convnet(data.shape, CLASSES, config, config.seed, "network", LOOP, device=device))
    images = start(data, [baselines.mdc()], config).sets["mdc"].images
    stored = images.to(device).requires_grad_()
    optimizer = reference.image_optimizer(stored, config.image_lr(config.ipc, data.shape[-1]))
    real = RealImages(data, config, device)
    for e in range(1, config.inner + 1):
        draws = augment.draw(config.augment, CLASSES, data.shape[-1], generator(config.seed, "siamese", LOOP, e))
        yield reference.released_inner_iteration(
            net,
            stored,
            optimizer,
            [real.class_batch(c, LOOP, e) for c in range(CLASSES)],
            lambda c, images, draws=draws: augment.apply(images[None], augment.rows(draws, [c]))[0],
            real.normalize,
            factor=config.factor,
            distance=config.distance,
            active=[SUBSET] * CLASSES,
            frozen=[0] * CLASSES,
            measure=False,
            decode=formation.decode,  # the reference's own is slow, and not what is compared
        )


# --- network update


def optimizer_of(net: nn.Module, config: CondenseConfig) -> torch.optim.SGD:
    return torch.optim.SGD(
        net.parameters(), config.net_lr, momentum=config.net_momentum, weight_decay=config.net_weight_decay
    )


def mdckit_update(data: ImageData, config: CondenseConfig, device: torch.device) -> Iterator:
    net = fresh_convnet(data.shape, CLASSES, config, config.seed, "network", LOOP, device=device)
    optimizer, real = optimizer_of(net, config), RealImages(data, config, device)
    for e in range(1, config.inner + 1):
        for images, labels, random in real.network_batches(LOOP, e):
            train_step(net, optimizer, images, labels, config.net_augment, config.net_cutmix, random)
        yield e


def released_update(data: ImageData, config: CondenseConfig, device: torch.device) -> Iterator:
    net = reference.ConvNet(fresh_convnet(data.shape, CLASSES, config, config.seed, "network", LOOP, device=device))
    optimizer, real = optimizer_of(net, config), RealImages(data, config, device)
    for e in range(1, config.inner + 1):
        batches = real.network_batches(LOOP, e)
        reference.released_network_update(
            net, optimizer, batches, lambda images, random: color_crop_cutmix(images, config.net_cutmix, random)
        )
        yield e


def color_crop_cutmix(images: Tensor, chance: float, random: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Per-sample color and crop by index grids, then CutMix, as the released augmentation computes them."""
    count, _, size, _ = images.shape
    brightness, saturation, contrast = torch.rand(3, count, 1, 1, 1, generator=random).to(images.device)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    level = images.mean((1, 2, 3), keepdim=True)
    images = (images - level) * (contrast + 0.5) + level

    most = math.floor(0.125 * size + 0.5)
    shift = torch.randint(-most, most + 1, (2, count, 1, 1), generator=random).to(images.device)
    sample, row, column = torch.meshgrid(
        *(torch.arange(length, device=images.device) for length in (count, size, size)), indexing="ij"
    )
    row, column = (row + shift[0] + 1).clamp(0, size + 1), (column + shift[1] + 1).clamp(0, size + 1)
    padded = F.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    images = padded[sample, row, column].permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
    return augment.cutmix(images, chance, random)


if __name__ == "__main__":
    main()
