"""What settings may be: each check raises a ValueError that says what was asked and what there is."""

import dataclasses
import re
from collections.abc import Iterable
from typing import Self

OPERATIONS = ("zoom", "flip", "color", "crop", "scale", "rotate", "jitter", "lighting", "cutout")
NORMS = ("instance", "batch", "none")
CONDENSERS = ("convnet", "resnet10_ap")  # networks in which images do not depend on each other
NETWORKS = (*CONDENSERS, "resnet10", "resnet10_wide", "resnet18", "densenet", "mobilenet", "vit")


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
    """Raise ValueError unless `strategy` is names of augmentation operations joined by ``_`` or ``|``."""
    if not isinstance(strategy, str):
        raise ValueError(f"{name} must be operation names joined by '_', got {strategy!r}")
    for operation in filter(None, re.split(r"[_|]", strategy)):
        check_choice(f"operation in {name}", operation, OPERATIONS)


def check_colours(strategy: str, channels: int, images: str) -> None:
    """Raise ValueError if an augmentation `strategy` changes colours that `images` of so many channels do not have."""
    if channels != 3 and ("jitter" in strategy or "lighting" in strategy):
        raise ValueError(
            f"augment {strategy!r} asked, but the images of {images} have no colours for jitter and lighting"
        )


class Settings:
    """What all frozen dataclasses of settings share."""

    def replace(self, **changes) -> Self:
        """A copy with some settings changed; an unknown name is an error."""
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            check_choice(f"{type(self).__name__} setting", name, names)
        return dataclasses.replace(self, **changes)


def check_choice(name: str, value: object, choices: Iterable) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(map(str, choices))}")
