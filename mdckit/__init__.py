"""mdckit: teach, explore and use multi-size dataset condensation (MDC) and the resizing of condensed sets (YOCO)."""

from . import baselines, scores, slimmable
from .baselines import Recipe, prefixes
from .condense import Step, condense, condense_steps, condensed_sets, start
from .condensed import CondensedSet, union
from .config import CondenseConfig, TrainConfig
from .cost import Estimate, estimate
from .data import ImageData, from_arrays
from .dynamics import Dynamics, record_dynamics
from .evaluate import Result, evaluate, evaluate_many
from .imports import import_set
from .machine import pick_device
from .scores import Score
from .selection import at_random, by_score, ccs, resize, ssp
from .shipped import shipped
from .sources import load

__all__ = [
    "CondenseConfig",
    "CondensedSet",
    "Dynamics",
    "Estimate",
    "ImageData",
    "Recipe",
    "Result",
    "Score",
    "Step",
    "TrainConfig",
    "at_random",
    "baselines",
    "by_score",
    "ccs",
    "condense",
    "condense_steps",
    "condensed_sets",
    "estimate",
    "evaluate",
    "evaluate_many",
    "from_arrays",
    "import_set",
    "load",
    "pick_device",
    "prefixes",
    "record_dynamics",
    "resize",
    "scores",
    "shipped",
    "slimmable",
    "ssp",
    "start",
    "union",
]
