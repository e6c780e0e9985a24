"""Condensed sets that come with the package, and the command that makes them.

python -m mdckit.shipped mnist5k cifar10
"""

import dataclasses
from pathlib import Path

import click

from . import baselines
from .condense import condense
from .condensed import CondensedSet
from .config import CondenseConfig
from .sources import load

FOLDER = Path(__file__).parent / "sets"
METHODS = ("baseline_c", "mdc")


def shipped(dataset: str, method: str = "baseline_c") -> CondensedSet:
    """A set of 10 images per class that was condensed with the dataset's quick preset.

    `dataset` is "mnist5k" or "cifar10", `method` "baseline_c" or "mdc"; ``info["command"]`` says how it was made.
    Raises ValueError naming the sets there are.

    >>> shipped("mnist5k", "mdc").ipc
    10
    """
    path = FOLDER / f"{dataset}_{method}.safetensors"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in FOLDER.glob("*.safetensors")))
        raise ValueError(f"no file and no shipped set {dataset}_{method}: there are {names}")
    return CondensedSet.load(path)


@click.command()
@click.argument("datasets", nargs=-1, required=True)
def make(datasets: tuple[str, ...]) -> None:
    """Condense DATASETS anew with their quick presets, Baseline C and MDC side by side, into the package."""
    for dataset in datasets:
        sets = condense(
            load(dataset), baselines.recipes_by_name(list(METHODS), 10), CondenseConfig.preset(dataset, "quick")
        )
        for method, condensed in sets.items():
            info = condensed.info | {"command": f"python -m mdckit.shipped {dataset}"}
            dataclasses.replace(condensed, info=info).save(FOLDER / f"{dataset}_{method}.safetensors")


if __name__ == "__main__":
    make()
