"""Matching training trajectories (MTT): images on which a network trains to where real images led an expert.

A student starts at an expert's parameters and takes a few steps of SGD on the condensed images; where it ends is
differentiable by the pixels and by the length of its steps, and is compared with the expert some epochs later.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from .. import augment
from ..checkpoint import difference
from ..checks import Settings, check_count, check_number, check_operations
from ..condensed import CondensedSet
from ..data import ImageData, normalize
from ..lockstep import map_numbers
from ..machine import free_memory, pick_device, versions
from ..memory import gigabytes
from ..progress import progress
from ..rng import ShuffledBatches, generator
from ..safety import DivergenceError, lower, sound
from .experts import Expert

Parameters = dict[str, Tensor]

MAPS = 12  # first feature maps of every image and step, kept with all smaller ones for the way back (measured)
WEIGHTS = 6  # copies of the parameters for every step


@dataclass(frozen=True)
class MTTConfig(Settings):
    """How images are condensed along trajectories; the defaults are those in use for CIFAR-10 at 10 images per class.

    Pixels are trained in [0, 1] and normalised on the way into the network, where MTT trains normalised ones: a
    published `lr` of r is r std^2 here (100 on CIFAR-10 is about 4, on MNIST 9.5), other rates are the same. Every step
    of the student gets one operation (DSA), with a draw of its own for each image. Raises ValueError for a
    value that cannot be run.

    >>> MTTConfig(syn_steps=0)
    Traceback (most recent call last):
    ...
    ValueError: syn_steps must be an integer >= 1, got 0
    """

    ipc: int = 10
    iterations: int = 5000
    syn_steps: int = 30  # steps of the student
    expert_epochs: int = 2  # M, epochs of the expert that these steps are to match
    max_start: int = 20  # the student starts after s < max_start epochs of the expert
    batch_syn: int | None = None  # condensed images per step of the student; None: all
    lr: float = 4.0  # of the pixels
    momentum: float = 0.5  # of pixels and step size
    step_size: float = 0.001  # of the student, at first
    step_lr: float = 1e-5  # of the step size
    augment: str = "flip|color|crop|cutout|scale|rotate"
    seed: int = 0

    def __post_init__(self):
        for name in ("ipc", "iterations", "syn_steps", "expert_epochs", "max_start"):
            check_count(name, getattr(self, name))
        if self.batch_syn is not None:
            check_count("batch_syn", self.batch_syn)
        check_count("seed", self.seed, 0)
        for name in ("lr", "momentum", "step_size", "step_lr"):
            check_number(name, getattr(self, name))
        check_operations("augment", self.augment)


def condense_mtt(
    data: ImageData,
    experts: Sequence[Expert],
    config: MTTConfig,
    *,
    device: str | None = None,
    show_progress: bool = True,
) -> CondensedSet:
    """Condense `data` along the trajectories of `experts` (MTT, Cazenavette et al., CVPR 2022, Algorithm 1).

    The set starts from the first real images of every class; its factor is 1. ``info["step_size"]`` is the learned step
    size alpha, the rate at which to train on the set, and ``info["losses"]`` the loss of every iteration. Memory grows
    with `syn_steps` times images per step. The last images are returned, not the best on the test set. Raises
    ValueError, before any work, without experts or for experts of other images, of different networks, or too short,
    MemoryError where a student would not fit, and `DivergenceError` where loss or pixels are no longer finite.

    >>> import tempfile
    >>> from mdckit import ExpertConfig, load, train_experts
    >>> digits = load("digits")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     experts = train_experts(digits, ExpertConfig(1, 2, width=4, depth=1), folder, show_progress=False)
    >>> config = MTTConfig(ipc=2, iterations=1, syn_steps=2, expert_epochs=1, max_start=2)
    >>> condense_mtt(digits, experts, config, show_progress=False).images.shape
    torch.Size([10, 2, 1, 8, 8])
    """
    _check(data, experts, config)
    chosen = pick_device(device)
    _require_memory(data, experts[0], config, chosen)
    net = experts[0].network(chosen)
    images = data.first_images(config.ipc).to(chosen).requires_grad_()  # (K, N, C, H, W)
    step_size = images.new_tensor(config.step_size).requires_grad_()
    groups = [{"params": [images], "lr": config.lr}, {"params": [step_size], "lr": config.step_lr}]
    optimizer, losses = torch.optim.SGD(groups, momentum=config.momentum), []
    for i in progress(range(config.iterations), "condensing", config.iterations, show=show_progress):
        start, target = _segment(experts, config, i, chosen)
        batches = _batches(normalize(images, data.mean, data.std), config, i)
        loss = trajectory_distance(unroll(net, start, batches, step_size), start, target)
        images.grad, step_size.grad = torch.autograd.grad(loss, [images, step_size])
        optimizer.step()
        losses.append(loss.item())
        if not sound(images.detach(), loss, step_size):
            raise _diverged(config, i, losses[-1], step_size.item())
        images.detach().clamp_(0, 1)
    info = {"recipe": {"name": "mtt"}, "config": asdict(config), "experts": asdict(experts[0].config)}
    info |= {"step_size": step_size.item(), "losses": losses, "versions": versions()}
    return CondensedSet(images.detach().cpu(), 1, data.mean, data.std, data.classes, data.name, info)


def _diverged(config: MTTConfig, i: int, loss: float, step_size: float) -> DivergenceError:
    """The error for iteration i; clamped pixels, however fast, do not make a loss infinite."""
    steps = f"{lower('step_size', config.step_size)}, or {lower('step_lr', config.step_lr)}"
    found = f"a loss of {loss:g} and a step size of {step_size:g}"
    cause = lower("lr", config.lr) if math.isfinite(loss) else steps
    return DivergenceError(f"mtt has diverged in iteration {i} of {config.iterations}, with {found}: {cause}")


def unroll(
    net: nn.Module, parameters: Parameters, batches: Iterable[tuple[Tensor, Tensor]], step_size: Tensor
) -> Parameters:
    """Where plain SGD takes `parameters` in one step for every batch (images, labels): theta <- theta - alpha grad CE.

    The result can be differentiated by the images and by `step_size`. `net` lends its layers; its own parameters are
    neither read nor changed.

    >>> net, step_size = nn.Linear(1, 2, bias=False), torch.tensor(0.5)
    >>> start = {"weight": torch.zeros(2, 1, requires_grad=True)}
    >>> unroll(net, start, [(torch.ones(1, 1), torch.tensor([0]))], step_size)["weight"].tolist()
    [[0.25], [-0.25]]
    """
    for images, labels in batches:
        loss = F.cross_entropy(functional_call(net, parameters, (images,)), labels)
        gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        steps = zip(parameters.items(), gradients, strict=True)
        parameters = {name: value - step_size * gradient for (name, value), gradient in steps}
    return parameters


def trajectory_distance(student: Parameters, start: Parameters, target: Parameters) -> Tensor:
    """The loss of MTT: the squared distance of the student from the expert's later parameters, relative to the start's.

    1 is a student that did not move, 0 one that arrived.

    >>> start, target = {"weight": torch.zeros(2)}, {"weight": torch.ones(2)}
    >>> trajectory_distance({"weight": torch.tensor([0.5, 0.5])}, start, target).item()
    0.25
    """
    left, whole = (sum((at[name] - target[name]).square().sum() for name in target) for at in (student, start))
    return left / whole


def _segment(
    experts: Sequence[Expert], config: MTTConfig, i: int, device: torch.device
) -> tuple[Parameters, Parameters]:
    """Of a random expert the parameters at a random epoch s, to be differentiated, and at s + M."""
    random = generator(config.seed, "segment", i)
    expert = experts[int(torch.randint(len(experts), (), generator=random))]
    s = int(torch.randint(config.max_start, (), generator=random))
    start = {name: value.requires_grad_() for name, value in expert.at(s, device).items()}
    return start, expert.at(s + config.expert_epochs, device)


def _batches(images: Tensor, config: MTTConfig, i: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented images and labels for every step of iteration `i`'s student, from normalised images (K, N, C, H, W)."""
    labels = torch.arange(len(images), device=images.device).repeat_interleave(images.shape[1])
    images = images.flatten(0, 1)  # (K N, C, H, W)
    stream = ShuffledBatches(len(images), config.batch_syn or len(images), config.seed, "student", i)
    for step in range(config.syn_steps):
        index, random = stream[step].to(images.device), generator(config.seed, "augment", i, step)
        yield augment.per_sample(images[index], config.augment, random), labels[index]


def _check(data: ImageData, experts: Sequence[Expert], config: MTTConfig) -> None:
    if not experts:
        raise ValueError("no experts given: train_experts makes them, load_experts reads them")
    data.require(config.ipc)
    here = data.identity | {"shape": list(data.shape)} | _network(experts[0])
    for expert in experts:
        there = expert.data | _network(expert)
        if there != here:
            raise ValueError(
                f"expert {expert.number} does not fit ({difference(there, here)}): "
                f"all must be of one network, trained on the images of {data.name}"
            )
    check_length(config, min(expert.epochs for expert in experts))


def check_length(config: MTTConfig, epochs: int) -> None:
    """Raise ValueError unless experts of so many epochs are long enough, as can be asked before they are trained.

    >>> check_length(MTTConfig(max_start=2, expert_epochs=2), 3)
    """
    if config.max_start - 1 + config.expert_epochs > epochs:
        raise ValueError(
            f"starts up to epoch {config.max_start - 1} and {config.expert_epochs} epochs from there asked of experts "
            f"of {epochs} epochs: lower max_start or expert_epochs, or train longer experts"
        )


def _require_memory(data: ImageData, expert: Expert, config: MTTConfig, device: torch.device) -> None:
    channels, side, _ = data.shape
    everything = len(data.classes) * config.ipc
    images = min(config.batch_syn or everything, everything)  # of one step
    maps = images * map_numbers(expert.config, side + 4 * (channels == 1))
    weights = sum(values[0].numel() for values in expert.parameters.values())
    needed, free = int(4 * config.syn_steps * (MAPS * maps + WEIGHTS * weights)), free_memory(device)
    if needed > free:
        raise MemoryError(
            f"{config.syn_steps} steps of {images} images at width {expert.config.width} asked, which take about "
            f"{gigabytes(needed)} of memory where {gigabytes(free)} are free on {device}: "
            "lower syn_steps or batch_syn, or train narrower experts"
        )


def _network(expert: Expert) -> dict:
    return {name: getattr(expert.config, name) for name in ("network", "width", "depth", "norm")}
