"""The networks besides the ConvNet: one to condense large images with, others that judge whether a set suits them too.

Blocks and whole networks are torchvision's wherever it has them. Every network tells its features and its logits apart,
as the ConvNet does: `embed` and `classify`.
"""

import threading
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet, VisionTransformer, mobilenet_v2, resnet18
from torchvision.models.resnet import BasicBlock

from .config import stem_pooling

SMALL = 64  # pixels: images up to this size keep it in the first layer


class Network(nn.Module):
    """A body that turns images (P, C, H, W) into features, and a head that turns these into logits (P, K)."""

    def __init__(self, body: nn.Module, head: nn.Module):
        super().__init__()
        self.body, self.head = body, head

    def embed(self, images: Tensor) -> Tensor:
        """Features (P, ...)."""
        return self.body(images)

    def vectors(self, features: Tensor) -> Tensor:
        """Features as one vector an image, (P, D): of maps their means, which is what the head reads."""
        return features.mean((2, 3)) if features.dim() == 4 else features

    def classify(self, features: Tensor) -> Tensor:
        """Logits (P, K) of features."""
        return self.head(features)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.embed(images))


def resnet10(channels: int, size: int, classes: int, width: int = 32) -> Network:
    """The ResNet-10 of the CIFAR family: four basic blocks of `width` to 8 `width` channels, with batch norm.

    >>> sum(p.numel() for p in resnet10(3, 32, 10).parameters())
    1228970
    """
    stem = [_conv(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU()]
    blocks, inside = [], width
    for stage in range(4):
        outside, stride = width * 2**stage, 1 if stage == 0 else 2
        shortcut = [nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)] if stage else []
        blocks.append(BasicBlock(inside, outside, stride, nn.Sequential(*shortcut) if stage else None))
        inside = outside
    return _initialized(Network(nn.Sequential(*stem, *blocks), _pooled(inside, classes)))


class _AveragedBlock(nn.Module):
    """A basic block in which average pooling stands for the stride."""

    def __init__(self, inside: int, outside: int, stride: int, norm: Callable[[int], nn.Module]):
        super().__init__()
        pool = [nn.AvgPool2d(stride)] if stride > 1 else []
        self.body = nn.Sequential(
            _conv(inside, outside, 3), norm(outside), nn.ReLU(), *pool, _conv(outside, outside, 3), norm(outside)
        )
        changes = [_conv(inside, outside, 1), *pool, norm(outside)] if (inside, stride) != (outside, 1) else []
        self.shortcut = nn.Sequential(*changes)

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.body(images) + self.shortcut(images))


def resnet10_ap(channels: int, size: int, classes: int, width: int = 64, norm: str = "instance") -> Network:
    """The ResNet-10 that the papers condense ImageNet with: average pooling for strides, features of 8 `width` maps.

    The first layer quarters images above 128 pixels, halves those above 64 and keeps smaller ones.

    >>> sum(p.numel() for p in resnet10_ap(3, 224, 10).parameters())
    4910922
    """
    make = {"instance": _instance_norm, "batch": nn.BatchNorm2d, "none": lambda _: nn.Identity()}[norm]
    shrink = stem_pooling(size)
    stem = [_conv(channels, width, 7 if shrink == 4 else 3), make(width), nn.ReLU()]
    stem += [nn.AvgPool2d(shrink)] if shrink > 1 else []
    widths = [width, *(width * 2**stage for stage in range(4))]
    stages = [
        _AveragedBlock(inside, outside, 1 if stage == 0 else 2, make)
        for stage, (inside, outside) in enumerate(pairwise(widths))
    ]
    return _initialized(Network(nn.Sequential(*stem, *stages), _pooled(widths[-1], classes)))


def resnet_18(channels: int, size: int, classes: int) -> Network:
    """torchvision's ResNet-18; small images skip the stride and the pooling of its first layer."""
    net = resnet18(num_classes=classes)
    if size <= SMALL:
        net.conv1, net.maxpool = _conv(channels, 64, 3), nn.Identity()
    elif channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    head, net.fc = net.fc, nn.Identity()
    return _initialized(Network(net, head))


def densenet(channels: int, size: int, classes: int) -> Network:
    """DenseNet-BC of growth 12 with 6, 12, 24 and 16 layers, for small images.

    >>> sum(p.numel() for p in densenet(3, 32, 10).parameters())
    1000618
    """
    net = DenseNet(growth_rate=12, block_config=(6, 12, 24, 16), num_init_features=24, num_classes=classes)
    net.features.conv0 = _conv(channels, 24, 3)
    net.features.norm0, net.features.relu0, net.features.pool0 = nn.Identity(), nn.Identity(), nn.Identity()
    head, net.classifier = net.classifier, nn.Identity()
    return Network(net, head)


def mobilenet(channels: int, size: int, classes: int) -> Network:
    """torchvision's MobileNetV2; small images keep their size in its first layer. No dropout."""
    net = mobilenet_v2(num_classes=classes, dropout=0.0)
    net.features[0][0] = nn.Conv2d(channels, 32, 3, 1 if size <= SMALL else 2, 1, bias=False)
    head, net.classifier = net.classifier[-1], nn.Identity()
    return _initialized(Network(net, head))


def vit(channels: int, size: int, classes: int) -> Network:
    """A small vision transformer of torchvision's parts: 6 layers of 128 numbers, patches of 4 pixels (16 if large)."""
    patch = _patch(size)
    net = VisionTransformer(size, patch, 6, 4, 128, 256, num_classes=classes)
    if channels != 3:
        net.conv_proj = nn.Conv2d(channels, 128, patch, patch)
    head, net.heads = net.heads.head, nn.Identity()
    nn.init.normal_(head.weight, std=0.02)  # torchvision's zeros leave the body without a gradient in the first step
    return Network(net, head)


OTHERS = {
    "resnet10": resnet10,
    "resnet10_wide": lambda *given: resnet10(*given, width=64),
    "resnet18": resnet_18,
    "densenet": densenet,
    "mobilenet": mobilenet,
    "vit": vit,
}
_building = threading.Lock()  # layers draw from PyTorch's one global generator


def drawn(name: str, shape: tuple[int, int, int], classes: int, config, random: torch.Generator) -> Network:
    """The network `name`, other than "convnet", with weights drawn from `random` alone.

    ``config.width`` and ``config.norm`` are those of ResNet10-AP. Raises ValueError for images of a `shape` (C, H, W)
    that does not suit.
    """
    with _building, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(random.initial_seed())  # torch.manual_seed would reseed accelerators too
        return built(name, shape, classes, config)


def built(name: str, shape: tuple[int, int, int], classes: int, config) -> Network:
    """The network `name` as PyTorch's layers draw themselves; arguments and errors are those of `drawn`."""
    channels, height, width = shape
    step = _patch(height) if name == "vit" else 1
    if height != width or height % step or height < 16:
        raise ValueError(
            f"images of {width}x{height} pixels: network {name!r} needs squares of 16 or more pixels a side"
            + (f", a multiple of {step}" if step > 1 else "")
        )
    if name == "resnet10_ap":
        return resnet10_ap(channels, height, classes, config.width, config.norm)
    return OTHERS[name](channels, height, classes)


def _patch(size: int) -> int:
    return 4 if size <= SMALL else 16


def _instance_norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(width, width)


def _conv(inside: int, outside: int, side: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, side, padding=side // 2, bias=False)


def _pooled(width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def _initialized(net: Network) -> Network:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net
