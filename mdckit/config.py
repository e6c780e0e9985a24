"""Settings as frozen values, checked when they are made."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from .checks import (
    NETWORKS,
    NORMS,
    Settings,
    check_choice,
    check_condenser,
    check_count,
    check_number,
    check_operations,
)
from .methods import METHODS, Method
from .presets import (
    CONDENSE_PRESETS,
    DIGITS,
    EPOCHS_ON_SET,
    METHOD_PRESETS,
    TRAIN_METHOD_PRESETS,
    TRAIN_PRESETS,
)

Precision = Literal["float32", "bfloat16"]
Distance = Literal["l2", "l1", "cosine", "features"]
Formation = Literal["single", "multi", "bound"]


@dataclass(frozen=True)
class CondenseConfig(Settings):
    """How a set is condensed (IDC with any subset loss on top); the defaults are the paper's for CIFAR-10.

    Augmentations are operation names joined by ``_`` (see `mdckit.augment`). The learning rate is
    the base value: `image_lr` scales it by size and images per class. For another `method` start from its preset.
    Raises ValueError for a value that cannot be run, or not together with another.

    >>> CondenseConfig(ipc=10, factor=2).patches
    40
    """

    ipc: int = 10  # N, stored images per class
    method: str = "idc"  # or "dream", "dc", "dsa", "dm": see `mdckit.methods`
    factor: int = 2  # f, an image holds f x f cells
    formation: Formation = "single"  # how images are decoded while condensing: see `mdckit.formation.plan`
    outer: int = 2000  # outer loops, each with a fresh network
    inner: int = 100  # matching steps, each followed by a network update
    period: int = 100  # outer loops between two choices of the MLS (the paper's delta t)
    distance: Distance = "l2"  # squared L2 or L1, summed over all convolution weights; others belong to a method
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
    net_images: int = 2000  # images per network update; of every class, in whole epochs, where a set trains its network
    net_batch: int = 64
    net_lr: float = 0.01
    net_momentum: float = 0.9
    net_weight_decay: float = 5e-4
    net_augment: str = "color_crop"  # per sample, while the network trains
    net_cutmix: float = 0.5  # probability
    pretrain: int = 0  # epochs on the real images before the first matching step
    accuracy_epochs: int = 20  # on each subset, where a recipe's metric is "accuracy"
    seed: int = 0
    compile: bool = False  # torch.compile every pass: minutes at the start, faster from then on
    precision: Precision = "float32"  # what convolutions read; "bfloat16" pays where the machine computes in it

    def __post_init__(self):
        _positive(self, "ipc", "factor", "outer", "inner", "period", "reference_size", "batch_real")
        _positive(self, "batch_syn_max", "width", "depth", "net_images", "net_batch", "accuracy_epochs")
        _at_least_zero(self, "pretrain", "seed")
        _numbers(self, "lr", "momentum", "net_lr", "net_momentum", "net_weight_decay")
        _chances(self, "net_cutmix")
        _operations(self, "augment", "net_augment")
        check_choice("method", self.method, METHODS)
        check_choice("formation", self.formation, ("single", "multi", "bound"))
        if self.distance not in self.how.distances:
            raise ValueError(
                f"distance {self.distance!r} asked of method {self.method!r}, which compares by "
                f"{' or '.join(self.how.distances)}: take its settings, CondenseConfig.preset(method={self.method!r})"
            )
        check_condenser(self.network, self.norm)
        check_choice("precision", self.precision, ("float32", "bfloat16"))
        check_choice("compile", self.compile, (False, True))
        if self.patches > self.batch_syn_max:
            raise ValueError(
                f"ipc {self.ipc} at factor {self.factor} = {self.patches} patches per class exceed "
                f"batch_syn_max {self.batch_syn_max}: raise batch_syn_max or lower ipc or factor"
            )

    @property
    def how(self) -> Method:
        """What the method's name stands for."""
        return METHODS[self.method]

    @property
    def patches(self) -> int:
        """Decoded images per class while condensing, at most: N f^2 unless `formation` says otherwise."""
        if self.formation == "multi":
            return self.ipc * sum(g**2 for g in range(1, self.factor + 1))
        if self.formation == "bound":
            return max(self.ipc, min(self.ipc * self.factor**2, self.batch_syn_max))
        return self.ipc * self.factor**2

    def image_lr(self, ipc: int, size: int) -> float:
        """Learning rate of the pixels of a set with `ipc` images of `size` pixels (IDC: lr N/10 (H/H0)^2)."""
        if self.how.joint:
            return self.lr
        return self.lr * ipc / 10 * (size / self.reference_size) ** 2

    @classmethod
    def preset(cls, dataset: str, scale: str = "paper", **changes) -> Self:
        """The settings for `dataset` at `scale` "paper" or "quick", with `changes` on top.

        A `method` among the changes brings its own. DC and DSA take as many inner iterations as there are images per
        class, and the published epochs between two of them for 1, 10, 20, 30, 40 and 50, for fewer those for ten.

        >>> CondenseConfig.preset("svhn").net_images
        500
        >>> CondenseConfig.preset("cifar10", method="dsa").distance
        'cosine'
        """
        preset = _lookup(CONDENSE_PRESETS, dataset, scale) | METHOD_PRESETS[scale].get(changes.get("method"), {})
        if changes.get("method") in ("dc", "dsa"):
            preset["inner"] = ipc = changes.get("ipc", cls.ipc)
            preset["net_images"] = min(preset["net_images"], preset["net_images"] // 10 * ipc)  # epochs as for ten
            if scale == "paper" and ipc in EPOCHS_ON_SET:
                preset["net_images"] = ipc * EPOCHS_ON_SET[ipc]
        if dataset in DIGITS:
            preset |= {key: preset[key].replace("|flip", "") for key in ("augment", "net_augment") if key in preset}
        if dataset in ("mnist", "mnist5k") and changes.get("factor", preset.get("factor", cls.factor)) != 1:
            preset = preset | {"augment": "color_crop", "net_cutmix": 0.0}
        return cls().replace(**preset | changes)


@dataclass(frozen=True)
class TrainConfig(Settings):
    """How a network is trained on a condensed set and tested; the defaults are the paper's for CIFAR-10.

    The learning rate falls by 5 after 2/3 and 5/6 of the epochs. The test accuracy is taken at
    `evaluations` equidistant epochs: a `Result` keeps the best of them (the papers' number) and the
    last. Raises ValueError for a value that cannot be run.

    >>> TrainConfig.preset("mnist5k", "quick", seeds=[0, 1]).replace(network="resnet10").epochs
    100
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

    @classmethod
    def preset(cls, dataset: str, scale: str = "paper", *, method: str | None = None, **changes) -> Self:
        """The settings for `dataset` at `scale` "paper" or "quick", with `changes` on top.

        Sets made by "dc", "dsa" and "dm" are trained on with augmentations of their own and without CutMix, as
        published; those of any other condensation `method` as the paper's.

        >>> TrainConfig.preset("svhn").augment
        'color_crop_scale_rotate'
        >>> TrainConfig.preset("cifar10", method="dc").augment
        'flip_crop'
        """
        check_choice("method", method, (None, *METHODS, "mtt", "kip"))
        preset = _lookup(TRAIN_PRESETS, dataset, scale) | TRAIN_METHOD_PRESETS.get(method, {})
        if dataset in DIGITS:
            preset["augment"] = preset["augment"].replace("flip_", "")
        return cls().replace(**preset | changes)


def _lookup(presets: dict, dataset: str, scale: str) -> dict:
    check_choice("scale", scale, tuple(presets))
    if dataset not in presets[scale]:
        names = ", ".join(presets[scale])
        raise ValueError(f"unknown {scale} preset {dataset!r}: choose that of a similar data set among {names}")
    return presets[scale][dataset]


def stem_pooling(size: int) -> int:
    """By how much ResNet10-AP's first layer shrinks images of `size` pixels a side."""
    return 1 if size <= 64 else 2 if size <= 128 else 4


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
