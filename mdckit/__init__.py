"""mdckit: teach, explore and use multi-size dataset condensation (MDC)."""

from . import baselines
from .baselines import Recipe, prefixes
from .condense import Step, condense, condense_steps, condensed_sets, start
from .condensed import CondensedSet, union
from .config import CondenseConfig, TrainConfig
from .data import ImageData, from_arrays
from .evaluate import Result, evaluate, evaluate_sizes
from .machine import pick_device
from .sources import load

__all__ = [
    "CondenseConfig",
    "CondensedSet",
    "ImageData",
    "Recipe",
    "Result",
    "Step",
    "TrainConfig",
    "baselines",
    "condense",
    "condense_steps",
    "condensed_sets",
    "evaluate",
    "evaluate_sizes",
    "from_arrays",
    "load",
    "pick_device",
    "prefixes",
    "start",
    "union",
]
