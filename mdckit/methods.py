"""Condensation methods: what is compared, on which network, against which real images.

A method says how one prefix is matched, a `mdckit.Recipe` which prefixes are: every recipe goes with every method.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Method:
    """How a set is matched against real images."""

    distances: tuple[str, ...]  # that it can compare by
    start: Literal["real", "noise", "representative"] = "real"  # what the set is before the first step
    real: Literal["random", "representative"] = "random"  # the images of a class that it is matched against
    trains_on: Literal["real", "set"] = "real"  # what the network learns from between two steps
    joint: bool = False  # one step for all classes, of normalised pixels that are never clamped


METHODS = {
    "idc": Method(("l2", "l1")),
    "dream": Method(("l2", "l1"), start="representative", real="representative"),
    "dc": Method(("cosine",), start="noise", trains_on="set", joint=True),
    "dsa": Method(("cosine",), trains_on="set", joint=True),
    "dm": Method(("features",), joint=True),
}
