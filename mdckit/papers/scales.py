"""How much was computed for a record, and which of its settings are not the papers'."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from ..config import CondenseConfig, TrainConfig
from ..methods import METHODS
from .printed import TESTS

SCALE = {  # settings that `scale` tells, that say what is compared, or that do not matter
    "condense": {"ipc", "outer", "inner", "width", "seed", "compile", "batch_syn_max"},
    "train": {"epochs", "width", "seeds", "network", "evaluations"},
}


def scale(found: Mapping) -> str:
    """How much was computed for a record: outer x inner loops, width, epochs, networks, and test images if not all."""
    condense, train = matching(found), found["config"]["train"]
    said = [f"{condense['outer']:,} x {condense['inner']:,} loops, width {condense['width']}"] if condense else []
    if "recording" in found["config"]:
        said.append(f"dynamics of {found['config']['recording']['epochs']:,} epochs")
    narrow = "" if condense and condense["width"] == train["width"] else f" at width {train['width']}"
    said += [f"{train['epochs']:,} epochs{narrow}", f"{len(found['seeds'])} networks"]
    few = _tests(found) != TESTS.get(found.get("dataset"), _tests(found))
    return ", ".join(said + ([f"{_tests(found):,} test images"] if few else []))


def printed_scale(dataset: str, paper: str = "mdc") -> str:
    """`scale` of the papers' own runs on a data set.

    >>> printed_scale("cifar10")
    '2,000 x 100 loops, width 128, 1,000 epochs, 3 networks'
    """
    config = {"condense": asdict(CondenseConfig.preset(dataset)), "train": asdict(TrainConfig.preset(dataset))}
    config |= {"recording": config["train"]} if paper == "yoco" else {}
    return scale({"config": config, "seeds": [0] * (9 if paper == "yoco" else 3)})


def differences(found: Mapping) -> str:
    """The settings of a record, other than its scale, that are not the paper's: "lr 0.2 (0.005)" and so on."""
    dataset, condense = found["dataset"], matching(found)
    method, by = condense.get("method", "idc"), found.get("condenser", condense.get("method"))
    ipc = found["ipc"] if method in ("dc", "dsa") else 1  # theirs depend on it, others' need a larger batch for many
    expected = CondenseConfig.preset(dataset, ipc=ipc, method=method)
    alike = by not in METHODS or "recording" in found["config"]  # YOCO tests the sets of all methods alike
    tested = TrainConfig.preset(dataset, method=None if alike else by)
    pairs = {"condense": (condense, expected), "train": (found["config"]["train"], tested)}
    said = []
    for part, (measured, expected) in pairs.items():
        printed = asdict(expected)
        changed = [k for k in printed if k not in SCALE[part] and measured.get(k, printed[k]) != printed[k]]
        said += [f"{name} {measured[name]} ({printed[name]})" for name in changed]
    return ", ".join(said)


def key(found: Mapping) -> str:
    """What records must share to be pooled, as text: data set, sizes and all settings.

    But for the condensation seed, and the method, whose rows have names of their own: IDC and DREAM with otherwise
    equal settings are rows of one measurement.
    """
    sizes = sorted({size for by_size in found["accuracy"].values() for size in by_size})
    config = {name: value for name, value in found["config"].items() if name != "methods"}
    config["condense"] = {k: v for k, v in (config.get("condense") or {}).items() if k not in ("seed", "method")}
    return json.dumps([found["dataset"], found["ipc"], sizes, found["seeds"], config, _tests(found)], sort_keys=True)


def _tests(found: Mapping) -> int | None:
    """Test images: all there are where an earlier record does not say."""
    return found.get("test_images") or TESTS.get(found.get("dataset"))


def matching(found: Mapping) -> Mapping:
    """The settings of a condensation by matching: MTT and KIP, and foreign sets, have none."""
    condense = found["config"].get("condense") or {}
    return condense if "outer" in condense else {}
