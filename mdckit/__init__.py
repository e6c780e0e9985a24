"""mdckit: teach, explore and use multi-size dataset condensation (MDC) and the resizing of condensed sets (YOCO)."""

from . import baselines, export, robustness, rounding, scores, slimmable
from .baselines import Recipe, prefixes
from .condense import Step, condense, condense_steps, condensed_sets, start
from .condensed import CondensedSet, union
from .config import CondenseConfig, TrainConfig
from .cost import Estimate, estimate
from .data import ImageData, from_arrays
from .dynamics import Dynamics, record_dynamics
from .evaluate import Result, evaluate, evaluate_many
from .experts import ExpertConfig, load_experts, train_experts
from .export import load_set
from .imports import import_set
from .kip import KIPConfig, condense_kip
from .machine import pick_device
from .mtt import MTTConfig, condense_mtt
from .scores import Score
from .selection import at_random, by_score, ccs, resize, ssp
from .shipped import shipped
from .sources import load

__all__ = [
    "CondenseConfig",
    "CondensedSet",
    "Dynamics",
    "Estimate",
    "ExpertConfig",
    "ImageData",
    "KIPConfig",
    "MTTConfig",
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
    "condense_kip",
    "condense_mtt",
    "condense_steps",
    "condensed_sets",
    "estimate",
    "evaluate",
    "evaluate_many",
    "explore",
    "explore_pruning",
    "export",
    "from_arrays",
    "import_set",
    "load",
    "load_experts",
    "load_set",
    "pick_device",
    "prefixes",
    "record_dynamics",
    "resize",
    "robustness",
    "rounding",
    "scores",
    "shipped",
    "slimmable",
    "ssp",
    "start",
    "train_experts",
    "union",
]


def __getattr__(name: str):
    """The views, with matplotlib and ipywidgets, are loaded when the first is asked for: batch runs need none."""
    if name == "explore":
        from .explorer import explore

        return explore
    if name == "explore_pruning":
        from .pruning_explorer import explore_pruning

        return explore_pruning
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
