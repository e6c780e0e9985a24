"""The tests of a run that are finished, kept in a file, so that an interrupted run need not do them again."""

import hashlib
import json
import threading
from dataclasses import asdict
from pathlib import Path

import torch

from . import files
from .condensed import CondensedSet
from .config import TrainConfig
from .data import ImageData
from .forms import NUMBER, PERCENT, TEXT, check_form

Outcome = tuple[list[float], float]  # test accuracies in percent on the way, seconds
KIND = "finished tests"
FORM = {"kind": TEXT, "tests": {"*": {"accuracies": [PERCENT], "seconds": NUMBER}}}


class FinishedTests:
    """Tests of networks by all they depend on: pixels, protocol, test images, kind of device, version of PyTorch.

    With `path` they are kept there as JSON, written after every test; None keeps nothing. Threads may share it. Raises
    OSError where it cannot be written, and ValueError for a file that holds something else, before any work.

    >>> import tempfile
    >>> from mdckit import load
    >>> digits = load("digits")
    >>> one = CondensedSet(digits.first_images(1), 1, digits.mean, digits.std, digits.classes)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     asked = f"{folder}/tested.json", digits, TrainConfig(epochs=4), torch.device("cpu")
    ...     FinishedTests(*asked).keep(one, 0, ([50.0, 60.0], 1.5))
    ...     FinishedTests(*asked).find(one, 0), FinishedTests(*asked).find(one, 1)
    (([50.0, 60.0], 1.5), None)
    """

    def __init__(self, path: str | Path | None, data: ImageData, config: TrainConfig, device: torch.device):
        self.path, self._writing = path, threading.Lock()
        if path is None:
            return
        files.check_writable(Path(path).parent)
        self._tests = _read(Path(path))
        protocol = {key: value for key, value in asdict(config).items() if key != "seeds"}
        shown = [data.test_digest, data.mean, data.std, len(data.classes)]
        self._all = json.dumps([protocol, shown, device.type, torch.__version__])

    def find(self, condensed: CondensedSet, seed: int) -> Outcome | None:
        """The finished test of a set with a seed, if it is there."""
        found = None if self.path is None else self._tests.get(self._key(condensed, seed))
        return found and (found["accuracies"], found["seconds"])

    def keep(self, condensed: CondensedSet, seed: int, test: Outcome) -> None:
        """Add a finished test to the file; raises OSError naming it."""
        if self.path is None:
            return
        with self._writing:
            self._tests[self._key(condensed, seed)] = dict(zip(("accuracies", "seconds"), test, strict=True))
            files.save_json(self.path, {"kind": KIND, "tests": self._tests})

    def _key(self, condensed: CondensedSet, seed: int) -> str:
        of_set = [condensed.digest, condensed.mean, condensed.std, str(condensed.images.dtype)]
        return hashlib.sha256((self._all + json.dumps([of_set, seed])).encode()).hexdigest()[:32]


def _read(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        found = files.load_json(path)
        check_form(found, FORM)
        if found["kind"] == KIND and all(test["accuracies"] for test in found["tests"].values()):
            return found["tests"]
    except ValueError:
        pass
    raise ValueError(f"{path} asked for finished tests, but it holds something else: name another file, or remove it")
