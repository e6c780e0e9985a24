"""Gradients and features of many classes' images, for the whole sets and all their prefixes from one forward pass.

The patches of each class are split into consecutive groups. With instance norm images do not see each other, so the
gradient of a prefix is the size-weighted mean of its groups' gradients: one group for IDC, two (head, tail) for
MDC, one per stored image for all prefixes at once. For the same reason any number B of classes can share a pass.
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from .config import Distance, Precision
from .precision import multipliable, reduced


class GroupPass(NamedTuple):
    """What one forward and backward pass of groups of images gives."""

    gradients: list[Tensor]  # per layer (groups, out, in, h, w), summed within groups: see `group_pass`
    features: Tensor  # (P, D), the flattened last feature maps, without graph


def group_pass(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    sizes: Sequence[int],
    create_graph: bool,
    distance: Distance = "l2",
    precision: Precision = "float32",
) -> GroupPass:
    """Gradients by the convolution weights of the cross-entropy, summed within consecutive groups of images.

    `images` is (P, C, H, W), normalised and augmented, `labels` (P,); `sizes` are the group sizes and add up to P. With
    `create_graph` the gradients can be differentiated by the images. What a `distance` compares is what is found: for
    "cosine" also the gradient by the classifier's weights, as (groups, out, in, 1, 1), and for "features" no gradient,
    but the features themselves as if of one layer, (groups, D, 1, 1, 1). `precision` is that of what layers read.
    """
    if distance == "features":
        return _feature_pass(net, images, sizes, create_graph, precision)
    layers = (nn.Conv2d, nn.Linear) if distance == "cosine" else nn.Conv2d
    with _taps(net, layers) as taps, reduced(precision, images.device):
        features = net.embed(images)
        logits = net.classify(features).to(images.dtype)
    loss = F.cross_entropy(logits, labels, reduction="sum")
    outputs = [output for _, _, output in taps]
    errors = torch.autograd.grad(loss, outputs, create_graph=create_graph)
    with torch.set_grad_enabled(create_graph):
        gradients = [
            torch.stack(
                [_weight_gradient(layer, x, e) for x, e in zip(inputs.split(sizes), error.split(sizes), strict=True)]
            )
            for (layer, inputs, _), error in zip(taps, errors, strict=True)
        ]
    return GroupPass(gradients, features.detach().flatten(1).to(images.dtype))


def _feature_pass(net, images, sizes, create_graph, precision) -> GroupPass:
    with torch.set_grad_enabled(create_graph), reduced(precision, images.device):
        features = net.embed(images).flatten(1).to(images.dtype)
        sums = torch.stack([group.sum(0) for group in features.split(sizes)])  # (groups, D)
    return GroupPass([sums[..., None, None, None]], features.detach())


@contextmanager
def _taps(net: nn.Module, layers: type | tuple[type, ...]):
    """Collect (layer, its inputs, its outputs) of every one of these `layers` while the network runs.

    Outputs require a gradient even where neither the images nor the weights do.
    """
    taps = []

    def tap(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        taps.append((layer, inputs[0], output if output.requires_grad else output.requires_grad_()))

    hooks = [module.register_forward_hook(tap) for module in net.modules() if isinstance(module, layers)]
    try:
        yield taps
    finally:
        for hook in hooks:
            hook.remove()


def _weight_gradient(layer: nn.Conv2d | nn.Linear, inputs: Tensor, error: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        dtype = layer.weight.dtype
        return (error.to(dtype).T @ inputs.to(dtype))[..., None, None]  # (out, in, 1, 1)
    inputs, error = multipliable(inputs.to(error.dtype)), multipliable(error)
    shape, options = layer.weight.shape, (layer.stride, layer.padding, layer.dilation, layer.groups)
    return conv2d_weight(inputs, shape, error, *options).to(layer.weight.dtype)  # (out, in, h, w)


def real_gradients(
    net: nn.Module,
    images: Sequence[Tensor],
    labels: Sequence[int],
    distance: Distance = "l2",
    run: Callable[..., GroupPass] = group_pass,
) -> tuple[list[Tensor], Tensor]:
    """Mean gradient per layer (B, out, in, h, w) and mean features (B, D) of B classes' real images.

    `images` are one class's (P, C, H, W) each, `labels` the classes; `distance` says what is compared and `run` is
    `group_pass`, compiled or not. No graph is kept.
    """
    sizes, device = [len(of_class) for of_class in images], images[0].device
    joined, labels = torch.cat(list(images)), image_labels(labels, sizes, device)
    done = run(net, joined, labels, sizes=sizes, create_graph=False, distance=distance)
    counts = torch.tensor(sizes, device=device)[:, None, None, None, None]
    means = torch.stack([features.mean(0) for features in done.features.split(sizes)])
    return [g / counts for g in done.gradients], means


def image_labels(classes: Sequence[int], counts: Sequence[int], device: torch.device | None = None) -> Tensor:
    """Each class as often as it counts, one label for each image (P,).

    >>> image_labels([3, 5], [2, 1]).tolist()
    [3, 3, 5]
    """
    return torch.tensor(classes).repeat_interleave(torch.tensor(counts)).to(device)


def group_sizes(prefixes: Sequence[int], per_image: Sequence[int]) -> list[int]:
    """Sizes in patches of the groups between ascending prefix lengths in images; `per_image` are each image's patches.

    >>> group_sizes([2, 10], per_image=[4] * 10)
    [8, 32]
    """
    return [sum(per_image[before:n]) for before, n in zip([0, *prefixes[:-1]], prefixes, strict=True)]


class Matched(NamedTuple):
    """What matching B classes of a set gives."""

    losses: Tensor  # (B,)
    distances: Tensor  # (B, G), the distance that is matched of every prefix
    by_images: Tensor  # (P, C, H, W), gradient of the losses by the images
    features: Tensor  # (P, D)


def match_prefixes(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    weights: Tensor,
    real: Sequence[Tensor],
    sizes: Sequence[Sequence[int]],
    distance: Distance,
    precision: Precision = "float32",
) -> Matched:
    """The `prefix_loss` of images (P, C, H, W) with `labels` (P,), class after class, and where it moves them."""
    images = images.detach().requires_grad_()
    groups = list(chain(*sizes))
    done = group_pass(net, images, labels, groups, create_graph=True, distance=distance, precision=precision)
    distances = prefix_distances(done.gradients, sizes, real, distance)
    losses = (distances * weights).sum(1)
    (by_images,) = torch.autograd.grad(losses.sum(), images)
    return Matched(losses.detach(), distances.detach(), by_images, done.features)


def prefix_loss(
    gradients: Sequence[Tensor],
    sizes: Sequence[Sequence[int]],
    weights: Sequence[Sequence[float]],
    real: Sequence[Tensor],
    distance: Distance,
) -> Tensor:
    """Weighted sum of the matching distances of all prefixes that end with a group, (B,) (MDC Eq. 3 and 4).

    `weights` (B, G) are those of the prefixes, all else as in `prefix_distances`.
    """
    distances = prefix_distances(gradients, sizes, real, distance)
    return (distances * distances.new_tensor(weights)).sum(1)


def prefix_distances(
    gradients: Sequence[Tensor], sizes: Sequence[Sequence[int]], real: Sequence[Tensor], distance: Distance
) -> Tensor:
    """Distance between real images and every prefix that ends with a group, (B, G).

    `sizes` (B, G) are the patches of every group; `gradients` those of a `group_pass` over these B G groups, `real` the
    real mean gradients (B, out, in, h, w).
    """
    counts = torch.tensor(sizes, device=real[0].device).cumsum(1)[..., None, None, None, None]
    total = 0.0
    for of_groups, target in zip(gradients, real, strict=True):
        prefixes = of_groups.unflatten(0, counts.shape[:2]).cumsum(1) / counts  # (B, G, out, in, h, w)
        total = total + gradient_distance(prefixes, target[:, None], distance)
    return total


def gradient_distance(a: Tensor, b: Tensor, distance: Distance) -> Tensor:
    """Distance of the gradients by two layers' weights (..., out, in, h, w).

    Squared L2 ("l2", "features") or L1 ("l1") summed over all elements, or, for "cosine", 1 - the cosine of the
    weights of every output, summed over the outputs (DC).
    """
    if distance == "cosine":
        a, b = a.flatten(-3), b.flatten(-3)  # (..., out, in h w)
        return (1 - (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + 1e-6)).sum(-1)
    difference = (a - b).flatten(-4)
    return difference.abs().sum(-1) if distance == "l1" else difference.square().sum(-1)


def feature_distances(features: Tensor, real_mean: Tensor, per_image: Sequence[int]) -> Tensor:
    """F(n), the squared distance of the mean features of S[n] and of real images, for n = 1..N-1 (MDC Eq. 5).

    `features` is (..., P, D) in storage order, `per_image` the patches of each of the N images, `real_mean` (..., D).
    Returns (..., N-1).
    """
    sums = torch.stack([image.sum(-2) for image in features.split(list(per_image), -2)], -2)  # (..., N, D)
    counts = torch.tensor(per_image, device=features.device).cumsum(0)
    means = sums.cumsum(-2) / counts[:, None]
    return (means - real_mean[..., None, :]).square().sum(-1)[..., :-1]
