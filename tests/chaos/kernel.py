"""A kernel of Jupyter that condenses live, stopped and started again and again: what it holds afterwards."""

import ast
import os
from pathlib import Path

from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).parents[2]
LIMIT = 600  # seconds that a cell may take
SETUP = """
import gc, time
import ipywidgets, psutil, torch
from mdckit import CondenseConfig, TrainConfig, baselines, load
from mdckit.interactive import live

torch.set_num_threads(1)
data, recipes, process = load("digits"), [baselines.mdc(), baselines.baseline_c()], psutil.Process()
config = CondenseConfig.preset("digits", "quick", ipc=2, outer=10**6, inner=2, width=8)
test = TrainConfig.preset("digits", "quick", epochs=1, evaluations=1, width=8, seeds=[0])

def until(true):
    end = time.monotonic() + 500
    while not true():
        assert time.monotonic() < end, run.words
        time.sleep(0.005)

def goes_on():
    before = run.iterations
    until(lambda: run.iterations > before)

def counted():
    return {"threads": process.num_threads(), "handles": process.num_fds()}

def held(first=None):
    gc.collect()
    end = time.monotonic() + 60
    while first and any(number > first[what] for what, number in counted().items()) and time.monotonic() < end:
        time.sleep(0.1)
    widgets = sum(issubclass(type(one), ipywidgets.Widget) for one in gc.get_objects())
    return counted() | {"memory": process.memory_info().rss, "widgets": widgets}
"""
ROUND = """
run = live.condense(data, recipes, config, checkpoint="run.safetensors", evaluation=test, sizes=[1], headless=False)
goes_on()
run.pause()
until(lambda: run.state == "paused")
run.resume()
goes_on()
run.stop()
assert run.wait(500)
run.start()
goes_on()
"""
END = """
run.start_over()
goes_on()
run.stop()
assert run.wait(500)
"""


def rounds(count: int, folder: Path) -> list[dict[str, int]]:
    """What the kernel holds after each of 1 + `count` pairs of rounds; the first one warms it up.

    A round is a cell that starts a run under its widget, pauses and resumes it, stops it and starts it. The first of a
    pair is still under way when the cell is run again, the second is started over and stopped. ipykernel closes the
    sockets of threads that have ended every ten seconds: the last count waits until there are no more threads and
    handles than at first, at most a minute.
    """
    environment = os.environ | {"MDCKIT_HEADLESS": "0", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    manager, client = start_new_kernel(kernel_name="python3", env=environment, cwd=str(folder))
    try:
        _execute(client, SETUP)
        held = []
        for number in range(1 + count):
            _execute(client, ROUND)
            _execute(client, ROUND + END)
            held.append(_execute(client, "pass", f"held({held[0] if number == count else None})"))
        return held
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _execute(client, code: str, value: str = "None"):
    """Run a cell and return the value of an expression."""
    reply = client.execute_interactive(
        code, user_expressions={"value": value}, timeout=LIMIT, output_hook=lambda message: None
    )["content"]
    assert reply["status"] == "ok", "\n".join(reply["traceback"])
    return ast.literal_eval(reply["user_expressions"]["value"]["data"]["text/plain"])
