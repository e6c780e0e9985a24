"""Result records made by hand, as the notebooks write them."""

import json
from dataclasses import asdict

from mdckit import CondenseConfig, TrainConfig

SIZES = [str(n) for n in range(1, 11)]


def run_record(accuracy, dataset="cifar10", seed=0, seeds=(0, 1), train=(), **condense):
    """As `results.record` writes it, at the quick scale."""
    config = CondenseConfig.preset(dataset, "quick", **{"ipc": 10, "seed": seed} | condense)
    protocol = TrainConfig.preset(dataset, "quick", seeds=seeds, **dict(train))
    settings = {"condense": asdict(config), "train": asdict(protocol)}
    found = {"dataset": dataset, "ipc": config.ipc, "seeds": list(seeds), "accuracy": accuracy, "config": settings}
    return json.loads(json.dumps(found))


def resize_record(accuracy, methods, source="baseline_c", **train):
    """As `comparison.record` writes it: two dynamics runs by two evaluation seeds."""
    config = {
        "condense": asdict(CondenseConfig.preset("cifar10", "quick")),
        "train": asdict(TrainConfig.preset("cifar10", "quick", **train)),
        "recording": asdict(TrainConfig.preset("cifar10", "quick", epochs=300)),
        "methods": methods,
    }
    found = {"dataset": "cifar10", "source": source, "recipe": {"name": source}, "ipc": 10, "digest": "d"}
    found |= {"seeds": [[0, 0], [0, 1], [1, 0], [1, 1]], "accuracy": accuracy, "config": config}
    return json.loads(json.dumps(found))


def constant(value, spread=1.0):
    """The same two accuracies at every size."""
    return {n: [value - spread, value + spread] for n in SIZES}


RUN = run_record({"baseline_c": constant(30.0), "mdc": constant(40.0), "all_prefixes": constant(50.0)})
SELECTIONS = {"lbpe_balanced": {"name": "lbpe"}, "random": {"name": "random"}, "aum": {"name": "aum"}}
RESIZED = resize_record({name: {"1": [20.0, 22.0, 24.0, 26.0]} for name in SELECTIONS}, SELECTIONS)
