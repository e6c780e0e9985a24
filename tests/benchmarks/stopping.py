"""Rows about control: how soon a condensation in the background ends when it is told to stop."""

import tempfile
import time
from pathlib import Path

import torch

from mdckit import baselines
from mdckit.interactive.run import Run
from tests.benchmarks.condensing import SHAPES, random_data
from tests.benchmarks.measure import Row, measured, row

LIMIT = 0.5  # seconds
LONGEST = 10.0  # seconds of a run before it is stopped


def stop(shape: str, repeats: int, device: torch.device) -> Row:
    """Runs of MDC stopped at moments spread over ten seconds, after one that warms up; the limit is half a second.

    From the press of the button until the work has ended, with the sets back at the checkpoint.
    """
    size, config = SHAPES[shape]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "run.safetensors"
        run = Run(random_data(size), [baselines.mdc()], config, checkpoint=checkpoint, device=str(device))
        answers, peaks = [], []
        for repeat in range(repeats + 1):
            moment = LONGEST * (0.2 + 0.8 * repeat / repeats)
            peaks.append(measured(lambda moment=moment: stopped_after(run, moment), device)[1])
            answers.append(run.answered)
    each = {"limit": [LIMIT] * repeats, "stop": answers[1:]}
    return row(f"Stop, {shape} shapes", 1, each, {"limit": 0.0, "stop": max(peaks[1:])})


def stopped_after(run: Run, seconds: float) -> None:
    run.start()
    time.sleep(seconds)
    run.stop()
    run.wait()
