"""The folder that mybinder.org builds from: checked without a network, by the tool that Binder itself uses."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ("postBuild", "start")


@pytest.mark.parametrize("name", SCRIPTS)
def test_binder_scripts_are_executable_and_parse(name):
    script = ROOT / "binder" / name
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n", script], check=True)


def test_binder_builds_stop_at_the_first_error_and_leave_the_environment_alone():
    lines = (ROOT / "binder" / "postBuild").read_text().splitlines()
    assert lines[1] == "set -e"
    assert "pip install --no-deps --no-cache-dir -e ." in lines


def test_binder_starts_what_it_is_asked_to_with_the_settings():
    script = ROOT / "binder" / "start"
    assert script.read_text().rstrip().splitlines()[-1] == 'exec "$@"'
    run = subprocess.run([script, "env"], capture_output=True, text=True, check=True)
    settings = {"MDCKIT_PROFILE=binder", "OMP_NUM_THREADS=1"}
    memory = {"MALLOC_MMAP_THRESHOLD_=1073741824", "MALLOC_TRIM_THRESHOLD_=2147483647"}
    assert settings | memory <= set(run.stdout.splitlines())


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory):
    """What Binder would build, as text."""
    folder = tmp_path_factory.mktemp("repo")
    shutil.copytree(ROOT / "binder", folder / "binder")
    shutil.copy(ROOT / "environment.yml", folder)
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stderr + done.stdout


def test_binder_builds_python_311_from_its_own_environment(dockerfile):
    assert "Building conda environment for python=3.11" in dockerfile
    updates = re.findall(r"env update .*--file \"(.*?)\"", dockerfile)
    assert "binder/environment.yml" in updates
    assert "environment.yml" not in updates


def test_binder_runs_the_scripts_last(dockerfile):
    steps = [dockerfile.index(step) for step in ("binder/environment.yml", "RUN ./binder/postBuild", "R2D_ENTRYPOINT")]
    assert steps == sorted(steps)
    assert 'R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in dockerfile


def test_the_badge_opens_the_tour():
    (link,) = re.findall(r"\(https://mybinder\.org/v2/gh/(\S+)\)", (ROOT / "README.md").read_text())
    (path,) = parse_qs(urlsplit(link).query)["urlpath"]
    assert path.startswith("lab/tree/")
    assert (ROOT / path.removeprefix("lab/tree/")).name == "00_tour.ipynb"
    assert (ROOT / path.removeprefix("lab/tree/")).is_file()
