"""The whole road of a run, as a careful script goes it: taken up again, it does only what is not yet done.

Pictures are decoded and cached, condensed, tested at every size, saved and exported; a journal tells how far it is.
"""

import hashlib
import json
import os
import time
from functools import partial
from importlib import import_module
from pathlib import Path

import datasets  # this and torchvision, so that a process that is forked has them already
import numpy as np
import torch
import torchvision.io  # noqa: F401
from PIL import Image

import mdckit
from mdckit import baselines, export, finished, results
from tests.chaos.operations import Operations

PHASES = ("load", "condense", "evaluate", "save", "export")
CHECKPOINT, TESTS = "checkpoint.safetensors", "tests.json"  # of a run that is not yet finished
RECIPES = [baselines.mdc(), baselines.baseline_c()]
CONFIG = mdckit.CondenseConfig(
    ipc=2, factor=2, outer=4, inner=2, period=1, lr=1.0, reference_size=16, width=4, depth=2, batch_real=4, net_images=8
)
CONFIG = CONFIG.replace(net_batch=4)
PROTOCOL = mdckit.TrainConfig(epochs=4, width=4, depth=2, seeds=(0, 1))
FORMS = {
    "pictures": export.to_image_folder,
    "set.npz": export.to_npz,
    "hub": partial(export.to_parquet, license="cc-by-4.0"),
}


class Journal:
    """Lines that outlive the process: what happened, and when."""

    def __init__(self, path: str | Path):
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def say(self, what: str, *details) -> None:
        """Write a line at once."""
        os.write(self._handle, (json.dumps([time.monotonic(), what, *details]) + "\n").encode())


def main(place: str, pictures: str, journal: str, die_at: int | None = None) -> None:
    """Go the road with every operation on files told, up to the one at which to die."""
    log = Journal(journal)
    log.say("begin")
    _tell(log)
    Operations(Path(place), die_at, log.say).watch()
    go(Path(place), Path(pictures), log)


def go(place: Path, pictures: Path, journal: Journal) -> None:
    """Go the road in the folder `place`, from where it was left."""
    os.environ["MDCKIT_DATA"] = str(place / "data")
    datasets.disable_progress_bars()
    run = place / "run"
    if (run / CHECKPOINT).exists() or not (run / "result.json").exists():  # the checkpoint is the last to go
        _condense(place, pictures, run, journal)
    journal.say("phase", "export")
    condensed = results.load_sets(run / "sets")["mdc"]
    for name, write in FORMS.items():
        target = place / "exported" / name
        if not target.exists():
            write(condensed, target)
        journal.say("made", *_files(place, target))
    journal.say("phase", "end")


def _condense(place: Path, pictures: Path, run: Path, journal: Journal) -> None:
    journal.say("phase", "load")
    data = mdckit.load(pictures)
    journal.say("made", *_files(place, place / "data"))
    journal.say("phase", "condense")
    checkpoint, cache = run / CHECKPOINT, run / TESTS
    sets = mdckit.condense(data, RECIPES, CONFIG, device="cpu", checkpoint=checkpoint, show_progress=False)
    journal.say("phase", "evaluate")
    found, options = {}, {"device": "cpu", "show_progress": False, "cache": cache}
    for name in sets:
        found[name] = mdckit.evaluate_many(mdckit.prefixes(sets, name), data, PROTOCOL, **options)
    journal.say("phase", "save")
    record = results.record(data, CONFIG, PROTOCOL, sets, found, {})
    results.save(run, record, sets, checkpoint, cache)
    journal.say("made", *_files(place, run))


def _tell(journal: Journal) -> None:
    """Have every outer loop and every test told, before it is kept and after."""
    condense = import_module("mdckit.condense")  # the name is also the function's
    save, keep = condense.save_checkpoint, finished.FinishedTests.keep

    def save_checkpoint(path, state, *rest):
        journal.say("outer", state.outer)
        save(path, state, *rest)
        journal.say("kept", state.outer, digest(path.read_bytes()))

    def keep_test(self, condensed, seed, test):
        journal.say("tested", self._key(condensed, seed), test[0])
        keep(self, condensed, seed, test)

    condense.save_checkpoint, finished.FinishedTests.keep = save_checkpoint, keep_test


def _files(place: Path, target: Path) -> list[str]:
    paths = [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(place)) for path in paths)


def digest(content: bytes) -> str:
    """A short hash."""
    return hashlib.sha256(content).hexdigest()[:16]


def draw_pictures(folder: Path, classes: int = 2, train: int = 40, test: int = 6, side: int = 16) -> Path:
    """An image folder of colour noise around a pattern per class."""
    random = np.random.default_rng(0)
    for part, count in {"train": train, "test": test}.items():
        for c in range(classes):
            pattern = np.random.default_rng(c).integers(40, 160, (side, side, 3))
            for i in range(count):
                path = folder / part / f"class{c}" / f"{i:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((pattern + random.integers(0, 90, pattern.shape)).astype(np.uint8)).save(path)
    return folder


torch.set_num_threads(1)
