"""Nothing is reached over a network and nothing written outside the folders of results and data, from import to export.

Two things are left out: Python's own ``__pycache__``, switched off here, and matplotlib's cache of fonts, which lies
in the folder ``MPLCONFIGDIR`` and is made once by whatever draws first.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

import mdckit

HERE = Path(__file__).parent


@pytest.fixture
def run(tmp_path):
    """Run Python in a folder and a home of its own, with MDCKIT_DATA and temporary files apart."""
    folders = {name: tmp_path / name for name in ("home", "data", "temporary", "here")}
    for folder in folders.values():
        folder.mkdir()
    own = {"HOME": "home", "MDCKIT_DATA": "data", "TMPDIR": "temporary"}
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    elsewhere = ("XDG_", "HF_", "TORCHINDUCTOR_", "TRITON_")  # PyTorch's compiler tells its folder to all processes
    given = {name: value for name, value in os.environ.items() if not name.startswith(elsewhere)}
    given |= {name: str(folders[folder]) for name, folder in own.items()} | {"PYTHONPATH": path}
    given |= {"PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": matplotlib.get_cachedir(), "OMP_NUM_THREADS": "1"}

    def run(*arguments):
        command, options = [sys.executable, *map(str, arguments)], {"capture_output": True, "text": True}
        done = subprocess.run(command, cwd=folders["here"], env=given, timeout=600, check=False, **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def write_images(folder):
    random = np.random.default_rng(0)
    for part, count in {"train": 8, "test": 2}.items():
        for name in "abc":
            (folder / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{k}.png")


def within(path, *folders):
    return any(Path(path).is_relative_to(folder) for folder in folders)


def test_the_main_path_stays_in_its_folders_and_off_the_network(run, tmp_path):
    write_images(tmp_path / "images")
    before = sorted((tmp_path / "images").rglob("*"))
    found = run(HERE / "confined.py", tmp_path / "results", tmp_path / "images")

    results, data, temporary = tmp_path / "results", tmp_path / "data", tmp_path / "temporary"
    allowed = (results, data, temporary, matplotlib.get_cachedir(), os.devnull)
    assert [path for path in found["writes"] if not within(path, *allowed)] == []
    assert list((tmp_path / "home").rglob("*")) == list((tmp_path / "here").rglob("*")) == []  # also by C code
    assert sorted((tmp_path / "images").rglob("*")) == before
    assert not [path for path in temporary.rglob("*") if path.is_file()]
    assert {path.name for path in tmp_path.iterdir()} == {"images", "results", "data", "home", "here", "temporary"}

    names = {str(path.relative_to(results)) for path in results.rglob("*")}
    assert names >= {"run/run.safetensors", "sets/mdc.safetensors", "mdc.npz", "hub/README.md", "dynamics.safetensors"}
    assert str(results / "run/run.safetensors") in found["writes"]  # the renaming of the temporary file is seen
    assert [path.parent.name for path in data.rglob("*.safetensors")] == ["decoded"]
    own = {f"mdckit.{'.'.join(p.relative_to(*mdckit.__path__).with_suffix('').parts)}" for p in modules()}
    assert {name for name in found["modules"] if not name.endswith(".__main__")} == own
    # urllib3, under papermill, asks at its import whether this machine has IPv6, and takes the no for an answer
    assert set(map(tuple, found["refused"])) <= {("urllib3", "util", "connection.py")}


def modules():
    paths = Path(*mdckit.__path__).rglob("*.py")
    packages = {path.parent for path in Path(*mdckit.__path__).rglob("__init__.py")} - {Path(*mdckit.__path__)}
    return [path for path in paths if path.stem not in ("__init__", "__main__")] + list(packages)


BREACHES = """
import json, os, shutil, socket, sys, tempfile
import confined
sys.addaudithook(confined.confine)
open("opened", "w").close()
open("appended", "ab").close()
open("opened").close()
os.mkdir("made")
os.rename("appended", "renamed")
shutil.move("renamed", "made")
os.symlink("opened", "link")
os.remove("link")
os.close(os.open("low", os.O_WRONLY | os.O_CREAT))
stopped = []
for family in (socket.AF_INET, socket.AF_INET6):
    try:
        socket.socket(family)
    except PermissionError as error:
        stopped.append(str(error))
socket.socketpair()[0].close()
writes = sorted({os.path.relpath(path) for path in map(confined.whole, confined.writes)})
print(json.dumps({"writes": writes, "stopped": stopped}))
"""


def test_what_is_forbidden_is_seen(run, tmp_path):
    found = run("-c", BREACHES)
    assert found["writes"] == ["appended", "link", "low", "made", "made/renamed", "opened", "renamed"]
    assert len(found["stopped"]) == 2
    assert all(message.startswith("no internet sockets here") for message in found["stopped"])
