"""A notebook that runs in a second: it counts its steps into a checkpoint, keeps logs, and fails when asked to."""

import nbformat

PARAMETERS = """
value = 0
seed = 0
steps = 2
wait = 0.02  # seconds a step
fail = ""  # "once", "early", "late" or "kernel"
nested = {"a": 1, "b": 2}
device = ""
results = ""
"""
TOOLS = """
import json, os, signal, time
from pathlib import Path

folder = Path(results)
os._exit = lambda code: (time.sleep(1), os.kill(os.getpid(), signal.SIGKILL))  # an orphan lives a second longer


def note(name, text):
    with open(folder / name, "a") as file:
        file.write(f"{text}\\n")
"""
STEPS = """
open_files = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
note("starts", f"{os.getpid()} {os.getppid()} {str(folder / '.lock') in open_files}")
checkpoint = folder / "checkpoint"
for step in range(int(checkpoint.read_text()) if checkpoint.exists() else 0, steps):
    time.sleep(wait)
    note("steps", os.getpid())
    (folder / "next").write_text(str(step + 1))
    (folder / "next").replace(checkpoint)
"""
FAIL = """
if fail == "early" or (fail == "once" and len((folder / "starts").read_text().splitlines()) == 1):
    raise RuntimeError("no luck")
elif fail == "kernel":
    os.kill(os.getpid(), signal.SIGKILL)
"""
RESULT = """
found = {"seeds": [3], "accuracy": {"toy": {"1": [value + seed / 10]}}}
(folder / "next").write_text(json.dumps(found))
(folder / "next").replace(folder / "result.json")
note("published", os.getpid())
checkpoint.unlink()
"""
LATE = """
if fail == "late":
    raise RuntimeError("no figure")
"""


def write(path):
    """Write the notebook to `path`."""
    first = nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]})
    rest = [nbformat.v4.new_code_cell(source.strip()) for source in (TOOLS, STEPS, FAIL, RESULT, LATE)]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[first, *rest], metadata=kernel), path)
    return path
