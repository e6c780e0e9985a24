"""Settings as frozen values, checked when they are made."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from .presets import CONDENSE_PRESETS, TRAIN_PRESETS

OPERATIONS = ("flip", "color", "crop", "scale", "rotate", "cutout")
NORMS = ("instance", "batch", "none")
CONDENSERS = ("convnet", "resnet10_ap")  # networks in which images do not depend on each other
NETWORKS = (*CONDENSERS, "resnet10", "resnet10_wide", "resnet18", "densenet", "mobilenet", "vit")
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class CondenseConfig:
    """How a set is condensed (IDC with any subset loss on top); the defaults are the paper's for CIFAR-10.

    Augmentations are operation names joined by ``_`` (see `mdckit.augment`). The learning rate is
    the base value: `image_lr` scales it by size and images per class. Raises ValueError for a value
    that cannot be run.

    >>> CondenseConfig(ipc=10, factor=2).patches
    40
    """

    ipc: int = 10  # N, stored images per class
    factor: int = 2  # f, an image holds f x f cells
    outer: int = 2000  # outer loops, each with a fresh network
    inner: int = 100  # matching steps, each followed by a network update
    period: int = 100  # outer loops between two choices of the MLS (the paper's delta t)
    distance: Literal["l2", "l1"] = "l2"  # squared L2 or L1, summed over all convolution weights
    lr: float = 5e-3  # base learning rate of the pixels
    reference_size: int = 32  # pixels of the image side that `lr` belongs to
    momentum: float = 0.5  # of the pixels' one SGD buffer shared by all classes
    batch_real: int = 64  # real images per class and matching step
    batch_syn_max: int = 128  # most patches of a class in one matching step
    augment: str = "color_crop_cutout"  # siamese, while matching
    network: str = "convnet"  # or "resnet10_ap"
    width: int = 128
    depth: int = 3  # of the ConvNet
    norm: Literal["instance", "batch", "none"] = "instance"
    net_images: int = 2000  # real images per network update
    net_batch: int = 64
    net_lr: float = 0.01
    net_momentum: float = 0.9
    net_weight_decay: float = 5e-4
    net_augment: str = "color_crop"  # per sample, while the network trains
    net_cutmix: float = 0.5  # probability
    pretrain: int = 0  # epochs on the real images before the first matching step
    seed: int = 0
    compile: bool = False  # torch.compile every pass: minutes at the start, faster from then on
    precision: Precision = "float32"  # what convolutions read; "bfloat16" pays where the machine has it

    def __post_init__(self):
        _positive(self, "ipc", "factor", "outer", "inner", "period", "reference_size", "batch_real")
        _positive(self, "batch_syn_max", "width", "depth", "net_images", "net_batch")
        _at_least_zero(self, "pretrain", "seed")
        _numbers(self, "lr", "momentum", "net_lr", "net_momentum", "net_weight_decay")
        _chances(self, "net_cutmix")
        _operations(self, "augment", "net_augment")
        check_choice("distance", self.distance, ("l2", "l1"))
        check_condenser(self.network, self.norm)
        check_choice("precision", self.precision, ("float32", "bfloat16"))
        check_choice("compile", self.compile, (False, True))
        if self.patches > self.batch_syn_max:
            raise ValueError(
                f"ipc {self.ipc} x factor {self.factor}^2 = {self.patches} patches per class exceed "
                f"batch_syn_max {self.batch_syn_max}: raise batch_syn_max or lower ipc or factor"
            )

    @property
    def patches(self) -> int:
        """Decoded images per class, N f^2."""
        return self.ipc * self.factor**2

    def image_lr(self, ipc: int, size: int) -> float:
        """Learning rate of the pixels of a set with `ipc` images of `size` pixels (IDC: lr N/10 (H/H0)^2)."""
        return self.lr * ipc / 10 * (size / self.reference_size) ** 2

    def replace(self, **changes) -> Self:
        """A copy with some settings changed; an unknown name is an error."""
        return _replace(self, changes)

    @classmethod
    def preset(cls, dataset: str, scale: str = "paper", **changes) -> Self:
        """The settings for `dataset` at `scale` "paper" or "quick", with `changes` on top.

        >>> CondenseConfig.preset("svhn").net_images
        500
        """
        preset = _lookup(CONDENSE_PRESETS, dataset, scale)
        if dataset in ("mnist", "mnist5k") and changes.get("factor", preset.get("factor", cls.factor)) != 1:
            preset = preset | {"augment": "color_crop", "net_cutmix": 0.0}
        return _replace(cls(), preset | changes)


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained on a condensed set and tested; the defaults are the paper's for CIFAR-10.

    The learning rate falls by 5 after 2/3 and 5/6 of the epochs. The test accuracy is taken at
    `evaluations` equidistant epochs: a `Result` keeps the best of them (the papers' number) and the
    last. Raises ValueError for a value that cannot be run.
    """

    epochs: int = 1000
    batch: int = 64
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augment: str = "flip_color_crop_scale_rotate"  # per sample
    cutmix: float = 0.5  # probability
    evaluations: int = 4
    seeds: tuple[int, ...] = (0, 1, 2)
    network: str = "convnet"  # one of `NETWORKS`
    width: int = 128  # of the ConvNet and of ResNet10-AP, as is the norm; the others have their own
    depth: int = 3  # of the ConvNet
    norm: Literal["instance", "batch", "none"] = "instance"

    def __post_init__(self):
        if not isinstance(self.seeds, Iterable):
            raise ValueError(f"seeds {self.seeds!r} asked: give one or more integers >= 0")
        object.__setattr__(self, "seeds", tuple(self.seeds))
        _positive(self, "epochs", "batch", "evaluations", "width", "depth")
        _numbers(self, "lr", "momentum", "weight_decay")
        _chances(self, "cutmix")
        _operations(self, "augment")
        check_choice("norm", self.norm, NORMS)
        check_choice("network", self.network, NETWORKS)
        if not self.seeds or any(type(seed) is not int or seed < 0 for seed in self.seeds):
            raise ValueError(f"seeds {self.seeds} asked: give one or more integers >= 0")
        if self.evaluations > self.epochs:
            raise ValueError(f"{self.evaluations} evaluations asked of {self.epochs} epochs: one per epoch at most")

    def replace(self, **changes) -> Self:
        """A copy with some settings changed; an unknown name is an error."""
        return _replace(self, changes)

    @classmethod
    def preset(cls, dataset: str, scale: str = "paper", **changes) -> Self:
        """The settings for `dataset` at `scale` "paper" or "quick", with `changes` on top.

        >>> TrainConfig.preset("svhn").augment
        'color_crop_scale_rotate'
        """
        return _replace(cls(), _lookup(TRAIN_PRESETS, dataset, scale) | changes)


def _lookup(presets: dict, dataset: str, scale: str) -> dict:
    check_choice("scale", scale, tuple(presets))
    if dataset not in presets[scale]:
        names = ", ".join(presets[scale])
        raise ValueError(f"unknown {scale} preset {dataset!r}: choose that of a similar data set among {names}")
    return presets[scale][dataset]


def _replace(config, changes: dict):
    names = [field.name for field in dataclasses.fields(config)]
    for name in changes:
        check_choice(f"{type(config).__name__} setting", name, names)
    return dataclasses.replace(config, **changes)


def stem_pooling(size: int) -> int:
    """By how much ResNet10-AP's first layer shrinks images of `size` pixels a side."""
    return 1 if size <= 64 else 2 if size <= 128 else 4


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise ValueError unless `value` is an integer (no bool, no float) of at least `least`."""
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")


def check_condenser(network: str, norm: str) -> None:
    """Raise ValueError for a network in which images depend on each other: another family, or batch norm."""
    if network in NETWORKS and network not in CONDENSERS:
        raise ValueError(
            f"network {network!r} asked for condensation, where images must not depend on each other: "
            f"use {' or '.join(CONDENSERS)} here and {network!r} only in TrainConfig"
        )
    check_choice("network", network, CONDENSERS)
    check_choice("norm", norm, NORMS)
    if norm == "batch":
        raise ValueError(
            "norm 'batch' asked for condensation, where images must not depend on each other: "
            "use 'instance' here and batch norm only in TrainConfig"
        )


def check_number(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a finite number (no bool) of at least 0."""
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number >= 0, got {value!r}")


def check_operations(name: str, strategy: object) -> None:
    """Raise ValueError unless `strategy` is names of augmentation operations joined by ``_``."""
    if not isinstance(strategy, str):
        raise ValueError(f"{name} must be operation names joined by '_', got {strategy!r}")
    for operation in filter(None, strategy.split("_")):
        check_choice(f"operation in {name}", operation, OPERATIONS)


def check_choice(name: str, value: object, choices: Iterable) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(map(str, choices))}")


def _positive(config, *names):
    for name in names:
        check_count(name, getattr(config, name))


def _at_least_zero(config, *names):
    for name in names:
        check_count(name, getattr(config, name), 0)


def _numbers(config, *names):
    for name in names:
        check_number(name, getattr(config, name))


def _chances(config, *names):
    for name in names:
        value = getattr(config, name)
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise ValueError(f"{name} is a probability between 0 and 1, got {value!r}")


def _operations(config, *names):
    for name in names:
        check_operations(name, getattr(config, name))
