"""A run's numbers beside the papers' printed ones, and which of the printed orderings hold in it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pandas as pd

from ..config import TrainConfig
from ..forms import COUNT, NOTHING, SIZE, TEXT, check_form
from ..records import check
from .printed import DATASETS, NETWORKS, Block, blocks
from .printed import table as table
from .scales import differences as differences
from .scales import key, matching, scale
from .scales import printed_scale as printed_scale

EVALUATIONS = 4  # tests of a network while it trains: the printed numbers are the best of them
SAME = {"freeze": "mdc", "no_subset_loss": "baseline_c"}  # rows of the ablation that are methods under other names
RECORD = {"dataset", "ipc", "seeds", "accuracy", "config"}
MATCHING = {"outer": SIZE, "inner": SIZE, "width": SIZE, "seed": COUNT}  # what is read of a condensation's settings
SETTINGS = {  # and of a record's others
    "condense?": (NOTHING, {}),
    "train": {"epochs": SIZE, "width": SIZE, "evaluations": SIZE, "network?": TEXT, "depth?": SIZE, "norm?": TEXT},
    "recording?": {"epochs": SIZE},
    "methods?": {"*": {"name": TEXT}},
}


def compare(results: Mapping | Iterable[Mapping], paper: str = "mdc", number: int = 1) -> pd.DataFrame:
    """A run's accuracies beside those printed in a table, for every printed method and size.

    `results` is a record of `mdckit.results` (for MDC's tables) or of `mdckit.comparison` (for YOCO's), or several of
    equal settings, such as those of several condensation seeds, whose accuracies are pooled. Columns: method (the
    paper's), name (ours), ipc ("1", ..., "avg"), mean and population std over the trained networks and their number,
    printed, printed_std, recovered (see `blocks`), difference (measured minus printed) and scale. What was not
    measured is NaN. Scales may differ; raises ValueError for what cannot be compared: another kind of record, data
    set, number of images per class to start from, tested network or number of tests during training, and
    results that share no number with the table.

    >>> from mdckit import CondenseConfig
    >>> settings = {"condense": asdict(CondenseConfig()), "train": asdict(TrainConfig())}
    >>> found = {"dataset": "cifar10", "ipc": 10, "seeds": [0], "accuracy": {"mdc": {"1": [48.0]}}, "config": settings}
    >>> compare(found, "mdc", 1).dropna(subset="mean")[["method", "ipc", "mean", "printed"]].values.tolist()
    [['MDC (ours)', '1', 48.0, 49.66]]
    """
    records = _records(results, paper, number)
    rows = blocks(paper, number)[block_of(records[0], paper, number)]
    measured = _pool(records)
    sizes = rows[rows["ipc"] != "avg"].groupby("method")["ipc"].agg(list).to_dict()
    every = [str(n) for n in range(1, records[0]["ipc"] + 1)]  # averaged where a table prints averages alone
    found = [
        _accuracies(measured.get(name, {}), ipc, sizes.get(method, every))
        for name, method, ipc in zip(rows["name"], rows["method"], rows["ipc"], strict=True)
    ]
    if not any(found):
        has = ", ".join(f"{name} at {'/'.join(by_size)}" for name, by_size in measured.items())
        raise ValueError(f"{_title(paper, number)} has no number of the result's: it measures {has}")
    rows.insert(3, "mean", [np.mean(values) if values else math.nan for values in found])
    rows.insert(4, "std", [np.std(values) if len(values) > 1 else math.nan for values in found])
    rows.insert(5, "networks", [len(values) for values in found])
    return rows.assign(difference=rows["mean"] - rows["printed"], scale=scale(records[0]))


def orderings(compared: pd.DataFrame) -> pd.DataFrame:
    """Every pair of methods that the paper orders at a size, and whether the measured means have the same order.

    `compared` comes from `compare`. Columns: ipc, better and worse (as printed), printed and measured (the first
    method's lead, points), spread (the standard deviation of a difference of two networks' accuracies, the root of
    the two variances' sum; NaN with one network), holds (the measured lead is positive) and clear (it exceeds the
    spread, in either direction; never with one network). Pairs printed as equal are left out.

    >>> rows = pd.DataFrame({"method": ["MDC", "C"], "ipc": "1", "mean": [40.0, 30], "std": [3.0, 4]})
    >>> orderings(rows.assign(printed=[49.66, 27.49]))[["better", "measured", "spread", "holds", "clear"]].values
    array([['MDC', 10.0, 5.0, True, True]], dtype=object)
    """
    found = []
    for ipc, group in compared.dropna(subset=["mean", "printed"]).groupby("ipc", sort=False):
        for pair in combinations(group.itertuples(), 2):
            worse, better = sorted(pair, key=lambda row: row.printed)
            if better.printed > worse.printed:
                lead, spread = better.mean - worse.mean, math.hypot(better.std, worse.std)
                printed = better.printed - worse.printed
                row = (ipc, better.method, worse.method, printed, lead, spread, lead > 0, abs(lead) > spread)
                found.append(row)
    columns = ["ipc", "better", "worse", "printed", "measured", "spread", "holds", "clear"]
    return pd.DataFrame(found, columns=columns)


def verdict(found: pd.DataFrame) -> str:
    """What `orderings` found, in a few words; pairs that are clearly reversed are named.

    >>> rows = {"better": "MDC", "worse": "C", "ipc": ["1", "2"], "holds": [True, False], "clear": [True, True]}
    >>> verdict(pd.DataFrame(rows))
    'Of 2 printed orderings 1 holds (1 clearly); printed, but clearly reversed here: MDC > C at 2.'
    """
    if found.empty:
        return "No two methods were measured at the same size: there is no ordering to check."
    holds = found["holds"]
    said = f"Of {len(found)} printed orderings {holds.sum()} hold{'s' if holds.sum() == 1 else ''}"
    said += f" ({(holds & found['clear']).sum()} clearly)"
    against = found[~holds & found["clear"]]
    if against.empty:
        return f"{said}; none is clearly reversed."
    pairs = against.groupby(["better", "worse"], sort=False)["ipc"].agg(", ".join)
    named = "; ".join(f"{better} > {worse} at {sizes}" for (better, worse), sizes in pairs.items())
    return f"{said}; printed, but clearly reversed here: {named}."


def block_of(found: Mapping, paper: str, number: int) -> Block:
    """Which part of a table a record belongs to. Raises ValueError as `compare`.

    >>> settings = {"condense": None, "train": asdict(TrainConfig(network="densenet"))}
    >>> found = {"dataset": "cifar10", "ipc": 10, "seeds": [0], "accuracy": {"mdc": {"1": [48.0]}}, "config": settings}
    >>> print(block_of(found | {"condenser": "idc"}, "mdc", 4))
    CIFAR-10 from 10 images per class, DenseNet
    """
    printed = blocks(paper, number)
    if not printed:
        raise ValueError(f"{_title(paper, number)} prints no accuracies of methods to compare with")
    _check_record(found, paper, number)
    train = asdict(TrainConfig()) | found["config"]["train"]  # a record of an earlier version lacks what came later
    block = Block(DATASETS.get(found["dataset"], found["dataset"]), found["ipc"], _network(train))
    if block not in printed:
        raise ValueError(f"the result is of {block}; {_title(paper, number)} prints {'; '.join(map(str, printed))}")
    if train["evaluations"] != EVALUATIONS:
        raise ValueError(
            f"the result is the best of {train['evaluations']} tests, the printed numbers are the best of "
            f"{EVALUATIONS}: evaluate with TrainConfig(evaluations={EVALUATIONS})"
        )
    return block


def _network(train: Mapping) -> str:
    name = train["network"]
    label = f"ConvNet-D{train['depth']}" if name == "convnet" else NETWORKS.get(name, name)
    normed = name in ("convnet", "resnet10_ap") and train["norm"] != "instance"
    return f"{label} with {train['norm']} norm" if normed else label


def _title(paper: str, number: int) -> str:
    return f"{paper.upper()} Table {number}"


def _check_record(found: Mapping, paper: str, number: int) -> None:
    """The right kind of record, with accuracies, of a set that the table is about."""
    if not set(found) >= RECORD or not found["accuracy"]:
        raise ValueError("no accuracies in the result: give a result.json of 20_run (MDC) or 21_resize (YOCO)")
    try:
        check(found)
        check_form(found, {"config": SETTINGS, "recipe?": (NOTHING, {"name?": TEXT})}, "the record")
        if matching(found):
            check_form(matching(found), MATCHING, "its condensation")
    except ValueError as error:
        raise ValueError(f"no accuracies that can be used in the result: {error}") from None
    kind, notebook = ("yoco", "21_resize") if "recording" in found["config"] else ("mdc", "20_run")
    if kind != paper:
        raise ValueError(f"a result of {notebook} belongs to the tables of {kind.upper()}, not {_title(paper, number)}")
    recipe = (found.get("recipe") or {}).get("name", found.get("source"))
    if not found.get("digest") and not found["config"].get("condense") and not found.get("condenser"):
        raise ValueError("the result tells neither how its sets were condensed nor which set was made smaller")
    if kind == "yoco" and recipe in ("mdc", "all_prefixes"):
        raise ValueError(f"the set made smaller was condensed by {recipe}; {_title(paper, number)} is about IDC's sets")


def _records(results: Mapping | Iterable[Mapping], paper: str, number: int) -> list[Mapping]:
    records = [results] if isinstance(results, Mapping) else list(results)
    if not records:
        raise ValueError("no results: give at least one record")
    for found in records:
        block_of(found, paper, number)
    if len({key(found) for found in records}) > 1:
        scales = "; ".join(dict.fromkeys(f"{f['dataset']}, {scale(f)}" for f in records))
        raise ValueError(f"results of different settings or sizes cannot be pooled: {scales}; compare them one by one")
    return records


def _pool(records: Iterable[Mapping]) -> dict[str, dict[str, list[float]]]:
    """The accuracies of all records by method and size."""
    pooled, seen = {}, set()
    for found in records:
        run = found.get("digest") or (found["config"].get("condense") or {}).get("seed")
        own = {}
        for label, by_size in found["accuracy"].items():
            own.setdefault(_name(found, label), by_size)  # of MDC and its row of the ablation, which are equal, one
        for name, by_size in own.items():
            for size, values in by_size.items():
                if (run, name, size) in seen:
                    raise ValueError(
                        f"{name} at {size} images per class of one condensation is in two results: drop one"
                    )
                seen.add((run, name, size))
                pooled.setdefault(name, {}).setdefault(size, []).extend(values)
    return pooled


def _name(found: Mapping, label: str) -> str:
    """The name that `printed.ROWS` knows a method by: of a selection its options count, not how the record calls it."""
    name, by = _own_name(found, label), _condenser(found)
    return name if by == "idc" else f"{by} {'baseline_c' if name == by else name}"


def _condenser(found: Mapping) -> str:
    """What made the set: IDC where a record of an earlier version does not say."""
    return found.get("condenser", matching(found).get("method", "idc")) or "unknown"


def _own_name(found: Mapping, label: str) -> str:
    how = found["config"].get("methods", {}).get(label)
    if how is None:
        return SAME.get(label, label)
    lbpe = how["name"] == "lbpe"
    easy = "_easy" if how.get("keep") == "easy" and not lbpe else "_hard" if lbpe and how.get("keep") == "hard" else ""
    return how["name"] + easy + ("_balanced" if how.get("balanced", lbpe) else "")


def _accuracies(by_size: Mapping[str, list[float]], ipc: str, sizes: list[str]) -> list[float]:
    """One accuracy per network: at a size, or averaged over `sizes` if all of them were measured alike."""
    if ipc != "avg":
        return by_size.get(ipc, [])
    counts = {len(by_size.get(n, [])) for n in sizes}
    return [] if len(counts) > 1 or 0 in counts else np.mean([by_size[n] for n in sizes], axis=0).tolist()
