"""Gradients and features of one class, for the whole set and all its prefixes from one forward pass.

A class's patches are split into consecutive groups. With instance norm images do not see each other, so the
gradient of a prefix is the size-weighted mean of its groups' gradients: one group for IDC, two (head, tail) for
MDC, one per stored image for all prefixes at once.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight


@dataclass(frozen=True)
class ClassPass:
    """What one forward and backward pass of a class's images gives."""

    gradients: list[list[Tensor]]  # per group, per convolution: gradient of the summed cross-entropy
    features: Tensor  # (P, D), the flattened last feature maps, without graph


def class_pass(net: nn.Module, images: Tensor, label: int, sizes: Sequence[int], create_graph: bool) -> ClassPass:
    """Gradients by the convolution weights of the cross-entropy, summed within consecutive groups of images.

    `images` is (P, C, H, W), normalised and augmented; `sizes` are the group sizes and add up to P. With
    `create_graph` the gradients can be differentiated by the images.
    """
    with _taps(net) as taps:
        features = net.embed(images)
        logits = net.classify(features)
    target = torch.full((len(images),), label, device=images.device)
    loss = F.cross_entropy(logits, target, reduction="sum")
    outputs = [output for _, _, output in taps]
    errors = torch.autograd.grad(loss, outputs, create_graph=create_graph)
    with torch.set_grad_enabled(create_graph):
        layers = [
            [_weight_gradient(conv, x, e) for x, e in zip(inputs.split(sizes), error.split(sizes), strict=True)]
            for (conv, inputs, _), error in zip(taps, errors, strict=True)
        ]
    return ClassPass(list(map(list, zip(*layers, strict=True))), features.detach().flatten(1))


@contextmanager
def _taps(net: nn.Module):
    """Collect (convolution, its inputs, its outputs) of every convolution while the network runs.

    Outputs require a gradient even where neither the images nor the weights do.
    """
    taps = []

    def tap(conv: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        taps.append((conv, inputs[0], output if output.requires_grad else output.requires_grad_()))

    hooks = [module.register_forward_hook(tap) for module in net.modules() if isinstance(module, nn.Conv2d)]
    try:
        yield taps
    finally:
        for hook in hooks:
            hook.remove()


def _weight_gradient(conv: nn.Conv2d, inputs: Tensor, error: Tensor) -> Tensor:
    return conv2d_weight(
        inputs, conv.weight.shape, error, conv.stride, conv.padding, conv.dilation, conv.groups
    )  # (out, in, 3, 3)


def real_gradients(net: nn.Module, images: Tensor, label: int) -> tuple[list[Tensor], Tensor]:
    """Mean gradient per convolution and mean features (D,) of real images; no graph is kept."""
    done = class_pass(net, images, label, [len(images)], create_graph=False)
    return [g / len(images) for g in done.gradients[0]], done.features.mean(0)


def group_sizes(prefixes: Sequence[int], per_image: int) -> list[int]:
    """Sizes in patches of the groups between ascending prefix lengths in images.

    >>> group_sizes([2, 10], per_image=4)
    [8, 32]
    """
    return [(n - before) * per_image for before, n in zip([0, *prefixes[:-1]], prefixes, strict=True)]


def prefix_loss(
    gradients: Sequence[Sequence[Tensor]],
    sizes: Sequence[int],
    weights: Sequence[float],
    real: Sequence[Tensor],
    distance: str,
) -> Tensor:
    """Weighted sum of the matching distances of all prefixes that end with a group (MDC Eq. 3 and 4).

    `gradients` are `class_pass` gradients of consecutive groups of `sizes` patches, `weights` the weight of the
    prefix that ends with each group, `real` the real mean gradient per convolution.
    """
    total, running, patches = 0.0, [0.0] * len(real), 0
    for group, size, weight in zip(gradients, sizes, weights, strict=True):
        running = [r + g for r, g in zip(running, group, strict=True)]
        patches += size
        if weight:
            total = total + weight * sum(
                gradient_distance(r / patches, target, distance) for r, target in zip(running, real, strict=True)
            )
    return total


def gradient_distance(a: Tensor, b: Tensor, distance: str) -> Tensor:
    """Squared L2 ("l2") or L1 ("l1") distance, summed over all elements."""
    return (a - b).square().sum() if distance == "l2" else (a - b).abs().sum()


def feature_distances(features: Tensor, real_mean: Tensor, ipc: int) -> Tensor:
    """F(n), the squared distance of the mean features of S[n] and of real images, for n = 1..N-1 (MDC Eq. 5).

    `features` is (N f^2, D) in storage order, `real_mean` (D,). Returns (N-1,).
    """
    images = features.unflatten(0, (ipc, -1)).mean(1)  # (N, D)
    counts = torch.arange(1, ipc + 1, device=features.device)
    means = images.cumsum(0) / counts[:, None]
    return (means - real_mean).square().sum(1)[:-1]
