"""Rows about condensation: one inner iteration, many sets side by side, many classes."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdckit import augment, baselines, formation
from mdckit.arrays import from_arrays
from mdckit.baselines import Recipe
from mdckit.checkpoint import RunState
from mdckit.condense import condense_steps
from mdckit.config import CondenseConfig
from mdckit.data import ImageData
from mdckit.initialisation import start
from mdckit.lockstep import Passes, match_sets
from mdckit.networks import fresh_convnet
from mdckit.parallel import Here, cores
from mdckit.rng import generator
from mdckit.streams import RealImages
from mdckit.subsets import SubsetState
from mdckit.training import train_step
from tests import reference
from tests.benchmarks.measure import Row, ceilings, compare, demand, shares, total

COLOUR, GREY = (3, 32, 32), (1, 28, 28)
SHAPES = {
    "paper": (COLOUR, CondenseConfig(ipc=10, factor=2, width=128)),
    "demo": (GREY, CondenseConfig.preset("mnist5k", "quick")),
}
SUBSET, LOOP = 5, 151  # S[5] is active in loop 151, after it was chosen at the end of loop 100


def inner_iteration(shape: str, asked: float, repeats: int, device: torch.device, **changes) -> Row:
    """Matching and network update of MDC with an active subset, against the released passes and steps.

    `changes` are mdckit's settings alone; where there are none, the row says how near it comes to the machine's best.
    """
    size, config = SHAPES[shape]
    config = config.replace(outer=LOOP, inner=10**6)
    data, recipe, changed = random_data(size), baselines.mdc(), config.replace(**changes)
    apart = partial(released, data, config, device)
    sides = {
        "matching": {"released": apart(update=False), "mdckit": matching(data, changed, device)},
        "network update": {"released": apart(match=False), "mdckit": update(data, changed, device)},
    }
    parts = {name: compare(name, 0, as_work(part), repeats, device) for name, part in sides.items()}
    name = ", ".join([f"inner iteration, {shape} shapes", *(f"{key} {value}" for key, value in changes.items())])
    row = total(name, asked, list(parts.values()))
    more = {name: part.record() for name, part in parts.items()}
    if device.type == "cpu" and not changes:
        more |= roofline(data, recipe, config, device, row.seconds["mdckit"])
    return replace(row, more=more)


def side_by_side(repeats: int, device: torch.device) -> Row:
    """Baselines A(1..10), B(1..10), C, the four ablation rows and MDC: apart, and on one network trajectory."""
    size, config = SHAPES["demo"]
    config = config.replace(outer=LOOP, inner=10**6)
    data = random_data(size)
    recipes = baselines.recipes_by_name(["baseline_a", "baseline_b", "baseline_c"], 10)
    recipes += [*baselines.ablation(), baselines.mdc()]
    apart = [ours(data, [recipe], config, device) for recipe in recipes]
    together = ours(data, recipes, config, device)
    sides = {"apart": lambda: [next(steps) for steps in apart], "together": lambda: next(together)}
    return compare(f"{len(recipes)} sets side by side", 1 / 0.4, sides, repeats, device)


def many_classes(repeats: int, device: torch.device) -> Row:
    """Matching 100 classes against ten times 10 classes, at CIFAR's shape and width 32."""
    config = SHAPES["paper"][1].replace(outer=LOOP, inner=10**6, width=32)
    ten, hundred = (matching(random_data(COLOUR, classes), config, device) for classes in (10, 100))
    sides = {"10 x 10 classes": lambda: [next(ten) for _ in range(10)], "100 classes": lambda: next(hundred)}
    return compare("100 classes, matching", 1 / 1.05, sides, repeats, device)


def as_work(sides: dict[str, Iterator]) -> dict[str, Callable]:
    return {side: lambda steps=steps: next(steps) for side, steps in sides.items()}


def random_data(shape: tuple[int, int, int], classes: int = 10) -> ImageData:
    labels = torch.arange(classes).repeat(200)
    images = torch.randint(0, 256, (len(labels), *shape), generator=generator(0, "images")).to(torch.uint8)
    return from_arrays(images, labels, images[:classes], labels[:classes])


# --- mdckit


def ours(data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig, device: torch.device) -> Iterator:
    return condense_steps(data, recipes, config, device=str(device), state=active_state(data, recipes, config))


def active_state(data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig) -> RunState:
    """The state before loop 151, in which every set that chooses subsets trains S[5]."""
    state = start(data, recipes, config)
    for recipe in recipes:
        if recipe.adaptive:
            state.sets[recipe.name].subsets = (SubsetState(config.period, choices=((LOOP - config.period, SUBSET),)),)
    state.outer = LOOP - 1
    return state


def matching(data: ImageData, config: CondenseConfig, device: torch.device) -> Iterator:
    """The matching alone: the network learns from a single image in between."""
    return ours(data, [baselines.mdc()], config.replace(net_images=1, net_batch=1), device)


def update(data: ImageData, config: CondenseConfig, device: torch.device) -> Iterator:
    net, optimizer, real = network(data, config, device)
    settings, run = (config.net_augment, config.net_cutmix), Passes.of(config).loss_gradients
    with cores(device) as pool:
        for e in count(1):
            for images, labels, random in real.network_batches(LOOP, e):
                train_step(net, optimizer, images, labels, *settings, random, pool, run)
            yield e


def roofline(data, recipe, config, device, seconds: float) -> dict:
    """What an iteration needs, how fast mdckit does it, and what it does with its time."""
    net, optimizer, real = network(data, config, device)
    state, threads = active_state(data, [recipe], config), torch.get_num_threads()
    passes = Passes.of(config)

    def iteration():
        match_sets(
            net, real, [recipe], state, config, LOOP, 1, Here, passes
        )  # counting and profiling see one thread only
        for images, labels, random in real.network_batches(LOOP, 1):
            train_step(net, optimizer, images, labels, config.net_augment, config.net_cutmix, random)

    needed, best = demand(iteration), ceilings(device)
    torch.set_num_threads(1)
    spent = shares(iteration)
    torch.set_num_threads(threads)
    reached = {"gflops": needed["gflop"] / seconds, "gbytes": needed["gbyte"] / seconds}
    return {"demand": needed, "ceilings": best, "reached": reached, "shares": spent}


def network(data: ImageData, config: CondenseConfig, device: torch.device) -> tuple:
    net = fresh_convnet(data.shape, len(data.classes), config, config.seed, "network", LOOP, device=device)
    return net, optimizer_of(net, config), RealImages(data, config, device)


def optimizer_of(net: nn.Module, config: CondenseConfig) -> torch.optim.SGD:
    return torch.optim.SGD(
        net.parameters(), config.net_lr, momentum=config.net_momentum, weight_decay=config.net_weight_decay
    )


# --- the released loop


def released(data, config, device, match: bool = True, update: bool = True) -> Iterator:
    """Inner iterations as released, of PyTorch's own modules: class after class, whole set and subset apart."""
    net, _, real = network(data, config, device)
    net = reference.ConvNet(net)
    images = start(data, [baselines.mdc()], config).sets["mdc"].images
    stored = images.to(device).requires_grad_()
    pixels = reference.image_optimizer(stored, config.image_lr(config.ipc, data.shape[-1]))
    weights = optimizer_of(net, config)

    def mix(images, random):
        return color_crop_cutmix(images, config.net_cutmix, random)

    for e in count(1):
        if match:
            released_matching(net, stored, pixels, data, real, config, e)
        if update:
            reference.released_network_update(net, weights, real.network_batches(LOOP, e), mix)
        yield e


def released_matching(net, stored, optimizer, data, real, config, e: int) -> None:
    classes = len(data.classes)
    draws = augment.draw(config.augment, classes, data.shape[-1], generator(config.seed, "siamese", LOOP, e))
    reference.released_inner_iteration(
        net,
        stored,
        optimizer,
        [real.class_batch(c, LOOP, e) for c in range(classes)],
        lambda c, images: augment.apply(images[None], augment.rows(draws, [c]))[0],
        real.normalize,
        factor=config.factor,
        distance=config.distance,
        active=[SUBSET] * classes,
        frozen=[0] * classes,
        measure=False,
        decode=formation.decode,  # the reference's own is slow, and not what is compared
    )


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
