"""Kernel inducing points (KIP): images from which kernel ridge regression predicts the labels of real ones.

No network is trained: the kernel stands for one. Here it is that of an infinitely wide fully connected net, in closed
form, or that of the last feature maps of small random ConvNets.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import formation
from ..checks import Settings, check_choice, check_condenser, check_count, check_number
from ..condensed import CondensedSet
from ..data import ImageData, normalize, to_float
from ..lockstep import map_numbers
from ..machine import pick_device, versions
from ..memory import gigabytes
from ..networks import fresh_network
from ..progress import progress
from ..rng import ShuffledBatches
from ..safety import DivergenceError, lower, sound

Kernel = Callable[[Tensor, Tensor], Tensor]  # images (P, C, H, W), (Q, C, H, W), normalised -> (P, Q)

MOST_BYTES = 4 * 2**30
KERNELS = 20  # of support and targets, held at once for every layer of `ntk` while it is differentiated (measured)
MAPS = 6  # first feature maps held at once, with all smaller ones (measured)
CHUNK = 256  # images in one pass of a network


@dataclass(frozen=True)
class KIPConfig(Settings):
    """How inducing points are learned.

    `kernel` "ntk" is that of an infinitely wide fully connected ReLU net with `depth` hidden layers (`ntk`); "features"
    is that of a network drawn anew at every step (`feature_kernel`), told by `network`, `width`, `depth` and `norm`.
    Sets made for "ntk" serve regression with that kernel; those made for "features" also train a ConvNet well.
    Adam moves a pixel by about `lr` per step. Pixels are trained in [0, 1] and normalised on the way into the kernel,
    where KIP trains normalised ones: its rate of 0.04 is 0.04 std here, the default on CIFAR-10 and MNIST. With
    `learn_labels` the soft labels are trained too, and the set's hard ones are their largest entries. Raises ValueError
    for a value that cannot be run.

    >>> KIPConfig(kernel="myrtle")
    Traceback (most recent call last):
    ...
    ValueError: unknown kernel 'myrtle': choose one of ntk, features
    """

    ipc: int = 10
    steps: int = 1000
    kernel: Literal["ntk", "features"] = "ntk"
    targets: int = 500  # real images per class and step
    lr: float = 0.01
    ridge: float = 1e-6  # lambda, as a share of the mean of the support kernel's diagonal
    learn_labels: bool = False
    depth: int = 3
    network: str = "convnet"
    width: int = 128
    norm: Literal["instance", "none"] = "instance"
    seed: int = 0

    def __post_init__(self):
        for name in ("ipc", "steps", "targets", "depth", "width"):
            check_count(name, getattr(self, name))
        check_count("seed", self.seed, 0)
        check_number("lr", self.lr)
        check_number("ridge", self.ridge)
        check_choice("kernel", self.kernel, ("ntk", "features"))
        check_choice("learn_labels", self.learn_labels, (False, True))
        check_condenser(self.network, self.norm)


def condense_kip(
    data: ImageData, config: KIPConfig, *, device: str | None = None, show_progress: bool = True
) -> CondensedSet:
    """Condense `data` to inducing points, in float64 (KIP, Nguyen et al., ICLR 2021 and NeurIPS 2021).

    The support starts from the first real images of every class; the set's factor is 1 and its labels are hard.
    ``info["losses"]`` holds the loss of every step, half the mean squared error on `targets` real images per class.
    Raises ValueError, before any work, where a class has too few images or the kernels would not fit into 4 GiB, and
    `DivergenceError` where the regression cannot be solved or is no longer finite.

    >>> from mdckit import load
    >>> condense_kip(load("digits"), KIPConfig(ipc=2, steps=1, targets=5), show_progress=False).images.shape
    torch.Size([10, 2, 1, 8, 8])
    """
    _check(data, config)
    chosen, classes = pick_device(device), len(data.classes)
    support = data.first_images(config.ipc).flatten(0, 1).double().to(chosen).requires_grad_()  # (K N, C, H, W)
    labels = _centred(torch.arange(classes, device=chosen).repeat_interleave(config.ipc), classes)  # (K N, K)
    learned = [support, labels.requires_grad_()] if config.learn_labels else [support]
    optimizer, targets, losses = torch.optim.Adam(learned, config.lr), _Targets(data, config, chosen), []
    for step in progress(range(config.steps), "condensing", config.steps, show=show_progress):
        images, wanted = targets.batch(step)
        kernel = _kernel(data, config, step, chosen)
        points = normalize(support, data.mean, data.std)
        try:
            predicted = kernel_regression(kernel(images, points), kernel(points, points), labels, config.ridge)
        except torch.linalg.LinAlgError as error:
            raise _diverged(config, step, "its kernel has no inverse") from error
        loss = (predicted - wanted).square().mean() / 2
        for value, gradient in zip(learned, torch.autograd.grad(loss, learned), strict=True):
            value.grad = gradient
        optimizer.step()
        losses.append(loss.item())
        if not sound(support.detach(), loss, labels):
            raise _diverged(config, step, f"its loss is {losses[-1]:g}, its pixels are not finite or far from 0..1")
        support.detach().clamp_(0, 1)
    info = {"recipe": {"name": "kip"}, "config": asdict(config), "losses": losses, "versions": versions()}
    return _hard(data, support.detach().cpu(), labels.detach().cpu(), info)


def _diverged(config: KIPConfig, step: int, found: str) -> DivergenceError:
    advice = f"raise ridge {config.ridge:g} to {10 * config.ridge:.2g}"
    where = f"step {step} of {config.steps}"
    return DivergenceError(f"kip has diverged in {where}: {found}; {lower('lr', config.lr)}, or {advice}")


def kernel_regression(k_ts: Tensor, k_ss: Tensor, y_s: Tensor, ridge: float = 1e-6) -> Tensor:
    """Labels (T, K) that the support set predicts for targets: K_ts (K_ss + lambda I)^-1 y_s.

    `k_ts` is (T, n), `k_ss` (n, n), `y_s` (n, K); lambda is `ridge` times the mean of `k_ss`'s diagonal.

    >>> one = torch.eye(2, dtype=torch.float64)
    >>> kernel_regression(2 * one, one, one, ridge=1.0)
    tensor([[1.0000, 0.0000],
            [0.0000, 1.0000]], dtype=torch.float64)
    """
    penalty = ridge * k_ss.diagonal().mean()
    factor = torch.linalg.cholesky(k_ss + penalty * torch.eye(len(k_ss), dtype=k_ss.dtype, device=k_ss.device))
    return k_ts @ torch.cholesky_solve(y_s, factor)


def ntk(a: Tensor, b: Tensor, depth: int = 3, bias: float = 0.1) -> Tensor:
    """Neural tangent kernel (P, Q) of an infinitely wide fully connected ReLU net, between a (P, ...) and b (Q, ...).

    The net has `depth` hidden layers; its parameters are N(0, 1), scaled by sqrt(2 / fan in) after a ReLU, by
    1 / sqrt(fan in) in the first layer, and biases by `bias`. Differentiable also where an image meets itself
    (arc-cosine kernels: Cho and Saul, NeurIPS 2009; recursion: Jacot et al., NeurIPS 2018).

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> ntk(x, x, depth=1, bias=0.0)
    tensor([[1.0000, 0.1592],
            [0.1592, 1.0000]], dtype=torch.float64)
    """
    a, b = a.flatten(1), b.flatten(1)
    covariance = a @ b.T / a.shape[1] + bias**2  # (P, Q)
    of_a, of_b = (x.square().mean(1) + bias**2 for x in (a, b))
    kernel = covariance
    for _ in range(depth):
        scale = (of_a[:, None] * of_b).sqrt()
        cosine = covariance / scale
        sine, angle = _sine_and_angle(cosine)
        covariance = scale * (sine + (math.pi - angle) * cosine) / math.pi + bias**2
        kernel = kernel * (math.pi - angle) / math.pi + covariance
        of_a, of_b = of_a + bias**2, of_b + bias**2
    return kernel


def _sine_and_angle(cosine: Tensor) -> tuple[Tensor, Tensor]:
    """Of the angle between two images; angles below 1e-7 are 0 and have no gradient, which would be infinite."""
    square = 1 - cosine.square()
    apart = square > 1e-14
    sine = torch.where(apart, square, 1).sqrt() * apart
    return sine, torch.atan2(sine, cosine)


def feature_kernel(net: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """Kernel (P, Q) of the last feature maps of `net`, for images a (P, C, H, W) and b (Q, C, H, W), normalised.

    It is the neural tangent kernel of one logit by the weights and bias of the linear head alone; by all weights it
    would take K passes per image, and their second derivatives by the pixels.

    >>> from mdckit.networks import ConvNet
    >>> feature_kernel(ConvNet(1, 8, 10, width=4, depth=1), torch.rand(3, 1, 8, 8), torch.rand(2, 1, 8, 8)).shape
    torch.Size([3, 2])
    """
    of_a, of_b = (torch.cat([net.embed(part).flatten(1) for part in images.split(CHUNK)]) for images in (a, b))
    return of_a @ of_b.T + 1


def _kernel(data: ImageData, config: KIPConfig, step: int, device: torch.device) -> Kernel:
    if config.kernel == "ntk":
        return partial(ntk, depth=config.depth)
    net = fresh_network(data.shape, len(data.classes), config, config.seed, "kernel", step, device=device)
    return partial(feature_kernel, net.double().requires_grad_(False))


class _Targets:
    """Class-balanced batches of real images, as pure functions of (seed, step)."""

    def __init__(self, data: ImageData, config: KIPConfig, device: torch.device):
        self.data, self.device = data, device
        self.by_class = [
            ShuffledBatches(len(index), config.targets, config.seed, "targets", c, drop_last=True)
            for c, index in enumerate(data.class_indices)
        ]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Normalised images (T, C, H, W) and centred labels (T, K)."""
        members = zip(self.data.class_indices, self.by_class, strict=True)
        index = torch.cat([of_class[stream[step]] for of_class, stream in members])
        images = to_float(self.data.x_train[index].to(self.device)).double()
        labels = self.data.y_train[index].to(self.device)
        return normalize(images, self.data.mean, self.data.std), _centred(labels, len(self.data.classes))


def _centred(labels: Tensor, classes: int) -> Tensor:
    """One-hot labels minus 1/K, (P, K)."""
    return F.one_hot(labels, classes).double() - 1 / classes


def _hard(data: ImageData, support: Tensor, labels: Tensor, info: dict) -> CondensedSet:
    """The support as a set whose images stand in the row of their largest label."""
    hard = labels.argmax(1)
    counts = torch.bincount(hard, minlength=len(data.classes)).tolist()
    images = formation.unpack(support[hard.argsort(stable=True)], counts, max(counts)).to(torch.get_default_dtype())
    return CondensedSet(images, 1, data.mean, data.std, data.classes, data.name, info, tuple(counts))


def _check(data: ImageData, config: KIPConfig) -> None:
    data.require(max(config.ipc, config.targets))
    if config.kernel == "features":
        fresh_network(data.shape, len(data.classes), config, config.seed)
    needed, classes = _bytes_needed(data, config), len(data.classes)
    if needed > MOST_BYTES:
        raise ValueError(
            f"{classes * config.ipc} condensed and {classes * config.targets} real images of {math.prod(data.shape)} "
            f"numbers asked, whose kernels take about {gigabytes(needed)} where {gigabytes(MOST_BYTES)} are allowed: "
            "lower targets or ipc"
        )


def _bytes_needed(data: ImageData, config: KIPConfig) -> int:
    """Bytes that one step holds at once: an estimate on the safe side."""
    classes, side = len(data.classes), data.shape[-1]
    support, images = classes * config.ipc, classes * (config.ipc + config.targets)
    pairs, pixels = support * images, images * math.prod(data.shape)
    if config.kernel == "ntk":
        return 8 * (KERNELS * (config.depth + 1) * pairs + 3 * pixels)
    maps = int(map_numbers(config, side + 4 * (data.shape[0] == 1)))  # of one image, the first
    return 8 * (KERNELS * pairs + MAPS * (support + CHUNK) * maps + images * maps // 4**config.depth + 3 * pixels)
