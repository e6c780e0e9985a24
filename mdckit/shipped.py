"""Condensed sets that come with the package, what each of their sizes is worth, and the command that makes both.

python -m mdckit.shipped mnist5k cifar10
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import click

from . import baselines, files, results
from .condense import condense
from .condensed import CondensedSet
from .config import CondenseConfig, TrainConfig
from .data import ImageData
from .evaluate import evaluate_many
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


def measured(dataset: str) -> dict:
    """The test accuracy of every size of a dataset's shipped sets: a record as of `results.record`, by method.

    Measured with the dataset's quick TrainConfig and three seeds. Raises ValueError naming the datasets there are.

    >>> list(measured("mnist5k")["accuracy"])
    ['baseline_c', 'mdc']
    """
    path = FOLDER / f"{dataset}.json"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in FOLDER.glob("*.json")))
        raise ValueError(f"no accuracies of shipped sets of {dataset}: there are those of {names}")
    return results.load(path)


def measure(dataset: str, data: ImageData, sets: Mapping[str, CondensedSet]) -> None:
    """Test every size of a dataset's sets and put the record beside them."""
    train = TrainConfig.preset(dataset, "quick", seeds=(0, 1, 2))
    found = {name: evaluate_many(baselines.prefixes(sets, name), data, train, label=name) for name in sets}
    record = results.record(data, CondenseConfig.preset(dataset, "quick"), train, sets, found, {})
    files.save_json(FOLDER / f"{dataset}.json", record)


@click.command()
@click.argument("datasets", nargs=-1, required=True)
def make(datasets: tuple[str, ...]) -> None:
    """Condense DATASETS anew with their quick presets, Baseline C and MDC side by side, into the package; test them."""
    for dataset in datasets:
        data = load(dataset)
        sets = condense(data, baselines.recipes_by_name(list(METHODS), 10), CondenseConfig.preset(dataset, "quick"))
        for method, condensed in sets.items():
            info = condensed.info | {"command": f"python -m mdckit.shipped {dataset}"}
            dataclasses.replace(condensed, info=info).save(FOLDER / f"{dataset}_{method}.safetensors")
        measure(dataset, data, sets)


if __name__ == "__main__":
    make()
