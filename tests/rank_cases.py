"""What several ranks condense in test_distributed.py, and the process that does it under torchrun."""

import json
import sys
from pathlib import Path

import torch
from conftest import random_images

from mdckit import CondenseConfig, CondensedSet, baselines, distributed
from mdckit.arrays import from_arrays
from mdckit.baselines import recipes_by_name

TINY = CondenseConfig(ipc=3, factor=2, outer=2, inner=2, period=1, lr=1.0, reference_size=8, width=4, depth=2).replace(
    batch_real=4, net_images=8, net_batch=4, accuracy_epochs=1, net_cutmix=1.0
)
NAMES = ["baseline_c", "mdc", "mdc_class_wise", "mdc_gradient", "all_prefixes"]
ON_SET = {"distance": "cosine", "net_images": 16, "net_batch": 8}
CASES = {  # recipes and settings: every way in which ranks depend on each other
    "idc": (NAMES, TINY),
    "bfloat16": (["mdc"], TINY.replace(precision="bfloat16")),
    "dream": (["mdc"], TINY.replace(method="dream")),
    "dsa": (["mdc", "baseline_c"], TINY.replace(method="dsa", **ON_SET)),
    "dc": (["mdc_accuracy"], TINY.replace(method="dc", **ON_SET)),
}


def images(classes):
    """Real images of so many classes."""
    x, y = random_images((1, 8, 8), classes)
    return from_arrays(x, y, x[:6], y[:6], name="grey")


def asked(name, classes):
    """The arguments of a case."""
    recipes, config = CASES[name]
    return images(classes), recipes_by_name(recipes, config.ipc), config


def keep(folder, sets):
    """Leave sets in a folder; only rank 0 has any."""
    for name, condensed in sets.items():
        condensed.save(folder / f"{name}.safetensors")


def kept(folder):
    """The sets that `keep` left."""
    return {path.stem: CondensedSet.load(path) for path in folder.glob("*.safetensors")}


def error_of(*args, **kwargs):
    """What a rank is told where the work cannot be done."""
    try:
        distributed.condense(*args, device="cpu", show_progress=False, **kwargs)
    except (ValueError, OSError) as error:
        return str(error)
    return "no error"


def two(folder, rank):
    """Two ranks: every method and metric, with one and with two threads in each, and errors."""
    for threads, name in [*((1, name) for name in CASES), (2, "idc")]:
        torch.set_num_threads(threads)
        keep(folder / f"{name}-{threads}", distributed.condense(*asked(name, 3), device="cpu", show_progress=False))
    (folder / "file").touch()
    data, recipes, config = asked("idc", 3)
    errors = {
        "width": error_of(data, recipes, config.replace(width=4 + rank)),
        "folder": error_of(data, recipes, config, checkpoint=folder / "file" / "checkpoint"),
    }
    (folder / f"errors-{rank}.json").write_text(json.dumps(errors))


def three(folder, rank):
    """Three ranks: one of them without a class, in float64; too few classes; a broken run taken up."""
    torch.set_default_dtype(torch.float64)
    keep(folder / "idc", distributed.condense(*asked("idc", 4), device="cpu", show_progress=False))
    errors = {"classes": error_of(images(2), [baselines.mdc()], TINY)}
    (folder / f"errors-{rank}.json").write_text(json.dumps(errors))
    torch.set_default_dtype(torch.float32)
    distributed.main([str(folder / "params.yaml"), "--results", str(folder / "broken")], standalone_mode=False)


if __name__ == "__main__":
    import os

    {"two": two, "three": three}[sys.argv[1]](Path(sys.argv[2]), int(os.environ["RANK"]))
