"""JupyterLab in Debian's chromium, driven by playwright; skipped where one of them is missing."""

import os
import shutil

import pytest

from .lab import Lab
from .tab import SCREENSHOTS, Tab, folder_name

NAMES = ("chromium", "chromium-browser", "google-chrome")
WINDOW = {"width": 1280, "height": 720}
FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="module")
def browser():
    """A chromium per module: while playwright runs, this thread's event loop is taken, which other tests may need."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip("no chromium here: install it, such as by apt-get install chromium, to run the browser tests")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install -e '.[dev]'")
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=[*as_root, "--disable-dev-shm-usage"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab per module: one that nobody uses, as while other tests run between two modules, ends by itself."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.stop()


@pytest.fixture
def tab(browser, lab, request):
    """A window with nothing open yet; a test that fails leaves failed_<test>.png and .log: outputs and console."""
    name = folder_name(request.node.name)
    page = browser.new_context(viewport=WINDOW).new_page()
    said = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    tab = Tab(page, lab, name)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    yield tab
    if request.node.stash.get(FAILED, False):
        tab.screenshot(f"failed_{name}")
        (SCREENSHOTS / f"failed_{name}.log").write_text("\n".join([tab.text(), "--- console", *said]))
    tab.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report
