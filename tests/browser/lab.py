"""A JupyterLab of its own for the browser tests: private folders, free port, and nothing left behind."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
NOTIFICATION = "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
QUIET = {"fetchNews": "false", "checkForUpdates": False}  # else a question covers the page
GIVE_UP = 300  # seconds after which a server that nobody uses, or kernel, ends by itself: if its test was killed


class Lab:
    """A running server; `folder` is its root, `url` its address."""

    def __init__(self, folder: Path):
        self.folder = folder / "root"
        self.log = folder / "server.log"
        self.token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{free_port()}"
        environment = private(folder)
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self.url.rsplit(":", 1)[1],
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.folder,
            "IdentityProvider.token": self.token,
            "ServerApp.shutdown_no_activity_timeout": GIVE_UP,
            "MappingKernelManager.cull_idle_timeout": GIVE_UP,
        }
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser"]
        command += ["--allow-root", *(f"--{name}={value}" for name, value in options.items())]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self._wait(120)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.ask("GET", "api/status")
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"JupyterLab did not start in {seconds:.0f} s:\n{self.log.read_text()[-2000:]}")

    def ask(self, method: str, path: str) -> object:
        """An answer of the server's REST interface."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def stop_kernels(self) -> None:
        for session in self.ask("GET", "api/sessions"):
            self.ask("DELETE", f"api/sessions/{session['id']}")

    def stop(self) -> None:
        """End the server and all that it started: kernels have process groups of their own."""
        started = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        for how, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            if self.process.poll() is None:
                os.killpg(self.process.pid, how)
                try:
                    self.process.wait(seconds)
                except subprocess.TimeoutExpired:
                    continue
        _, alive = psutil.wait_procs(started, timeout=5)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=5)


def private(folder: Path) -> dict[str, str]:
    """An environment in which Jupyter reads and writes below `folder` alone, and kernels find this very mdckit."""
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    for place in (*places.values(), "root"):
        (folder / place).mkdir(parents=True)
    settings = folder / "settings" / NOTIFICATION
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(QUIET))
    inherited = {name: value for name, value in os.environ.items() if name not in ("MDCKIT_HEADLESS", "JUPYTER_TOKEN")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    own = {name: str(folder / place) for name, place in places.items()}
    fixed = {"JUPYTER_NO_CONFIG": "1", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return inherited | own | fixed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
