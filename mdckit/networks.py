"""The network that condensation matches gradients on."""

import math

import torch
from torch import Tensor, nn

from .fused import NormReluPool
from .rng import generator


class ConvNet(nn.Module):
    """ConvNet-D of the gradient matching papers: `depth` blocks of convolution, norm, ReLU, pooling, and a linear head.

    Images are (P, C, H, W), normalised. One-channel images get a first padding of 3 (28 -> 32
    pixels), as released. `embed` returns the last feature map and `classify` turns it into logits, so
    that both come from one pass. Raises ValueError where `depth` halves the image away.

    >>> net = ConvNet(channels=3, size=32, classes=10)
    >>> sum(p.numel() for p in net.parameters())
    320010
    """

    def __init__(
        self, channels: int, size: int, classes: int, width: int = 128, depth: int = 3, norm: str = "instance"
    ):
        super().__init__()
        blocks, side = [], size + 4 if channels == 1 else size
        if side >> depth < 1:
            raise ValueError(
                f"depth {depth} halves an image of {size} pixels away: use {side.bit_length() - 1} at most"
            )
        for block in range(depth):
            padding = 3 if block == 0 and channels == 1 else 1
            conv = nn.Conv2d(channels if block == 0 else width, width, 3, padding=padding)
            blocks += [conv, *_norm_relu_pool(norm, width)]
            side //= 2
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(width * side * side, classes)

    def embed(self, images: Tensor) -> Tensor:
        """The feature map after the last pooling, (P, width, h, w)."""
        return self.body(images)

    def vectors(self, features: Tensor) -> Tensor:
        """Feature maps as one vector an image, (P, D)."""
        return features.flatten(1)

    def classify(self, features: Tensor) -> Tensor:
        """Logits (P, K) of feature maps."""
        return self.head(self.vectors(features))

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.embed(images))


def _norm_relu_pool(norm: str, width: int) -> list[nn.Module]:
    if norm == "instance":
        return [NormReluPool(width)]
    return [nn.BatchNorm2d(width) if norm == "batch" else nn.Identity(), nn.ReLU(), nn.AvgPool2d(2)]


def fresh_convnet(
    shape: tuple[int, int, int], classes: int, config, seed: int, *keys: str | int, device: torch.device | None = None
) -> ConvNet:
    """A newly initialised ConvNet for images of `shape` (C, H, W); `config` gives width, depth and norm.

    The weights are PyTorch's default initialisation, U(+-1/sqrt(fan_in)), drawn from (seed, keys)
    alone. Raises ValueError for images that are not square.
    """
    net = _empty_convnet(shape, classes, config)
    net.to_empty(device="cpu")
    initialize(net, generator(seed, *keys))
    return net.to(device)


def _empty_convnet(shape: tuple[int, int, int], classes: int, config) -> ConvNet:
    channels, height, width = shape
    if height != width:
        raise ValueError(f"images of {width}x{height} pixels: networks here need square images")
    with torch.device("meta"):
        return ConvNet(channels, height, classes, config.width, config.depth, config.norm)


def outline(shape: tuple[int, int, int], classes: int, config) -> nn.Module:
    """The network of `fresh_network` without numbers in it, on PyTorch's meta device: names and shapes, no memory."""
    if config.network == "convnet":
        return _empty_convnet(shape, classes, config)
    from .architectures import built

    with torch.device("meta"):
        return built(config.network, shape, classes, config)


def fresh_network(
    shape: tuple[int, int, int], classes: int, config, seed: int, *keys: str | int, device: torch.device | None = None
) -> nn.Module:
    """A newly initialised network for images of `shape` (C, H, W), the one that ``config.network`` names.

    Its weights are drawn from (seed, keys) alone. Raises ValueError for images that do not suit it.
    """
    if config.network == "convnet":
        return fresh_convnet(shape, classes, config, seed, *keys, device=device)
    from .architectures import drawn  # torchvision's models take seconds to import

    return drawn(config.network, shape, classes, config, generator(seed, *keys)).to(device)


@torch.no_grad()
def initialize(net: nn.Module, random: torch.Generator) -> None:
    """Give every layer PyTorch's default initialisation, drawn from `random`."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for parameter in module.parameters(recurse=False):
                parameter.uniform_(-bound, bound, generator=random)
        elif hasattr(module, "reset_parameters"):
            module.reset_parameters()
