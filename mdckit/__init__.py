"""mdckit: teach, explore and use multi-size dataset condensation (MDC) and the resizing of condensed sets (YOCO)."""

from . import baselines, robustness
from .arrays import from_arrays
from .baselines import Recipe, prefixes
from .condense import Step, condense, condense_steps, condensed_sets
from .condensed import CondensedSet, union
from .condensers import slimmable
from .condensers.experts import ExpertConfig, load_experts, train_experts
from .condensers.kip import KIPConfig, condense_kip
from .condensers.mtt import MTTConfig, condense_mtt
from .config import CondenseConfig, TrainConfig
from .cost import Estimate, estimate
from .data import ImageData
from .evaluate import Result, evaluate, evaluate_many
from .initialisation import start
from .lr_finder import RateSearch, find_lr
from .machine import pick_device
from .papers import paper
from .pruning import scores
from .pruning.dynamics import Dynamics, record_dynamics, record_many
from .pruning.scores import Score
from .pruning.selection import at_random, by_score, ccs, resize, ssp
from .safety import DivergenceError
from .sharing import export, rounding
from .sharing.export import load_set
from .sharing.imports import import_set
from .shipped import shipped
from .sources import load
from .sweep import collect, sweep

__all__ = [
    "CondenseConfig",
    "CondensedSet",
    "DivergenceError",
    "Dynamics",
    "Estimate",
    "ExpertConfig",
    "ImageData",
    "KIPConfig",
    "MTTConfig",
    "RateSearch",
    "Recipe",
    "Result",
    "Score",
    "Step",
    "TrainConfig",
    "at_random",
    "baselines",
    "by_score",
    "ccs",
    "collect",
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
    "find_lr",
    "from_arrays",
    "import_set",
    "load",
    "load_experts",
    "load_set",
    "paper",
    "pick_device",
    "prefixes",
    "record_dynamics",
    "record_many",
    "resize",
    "robustness",
    "rounding",
    "scores",
    "shipped",
    "slimmable",
    "ssp",
    "start",
    "sweep",
    "train_experts",
    "union",
]


def __getattr__(name: str):
    """The views, with matplotlib and ipywidgets, are loaded when the first is asked for: batch runs need none."""
    if name == "explore":
        from .interactive.explorer import explore

        return explore
    if name == "explore_pruning":
        from .interactive.pruning_explorer import explore_pruning

        return explore_pruning
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
