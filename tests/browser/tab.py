"""A notebook in a tab of the browser: what a user does to it, and what is on the screen."""

import io
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import nbformat
import numpy as np
from papermill.parameterize import parameterize_notebook
from PIL import Image

from .lab import ROOT, Lab

SCREENSHOTS = ROOT / "results" / "browser"
PATIENCE = 90_000  # ms until something counts as never coming: a loaded machine is slow, an idle one needs a tenth
PANEL = "window.jupyterapp.shell.currentWidget"
SESSION = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session"  # while the page loads there is no app yet
CONNECTED = f"() => {SESSION}?.kernel?.connectionStatus === 'connected'"
ASK = f"""async expression => {{
    const kernel = {PANEL}.sessionContext.session.kernel;
    const asked = {{code: '', silent: true, user_expressions: {{answer: expression}}}};
    const {{content}} = await kernel.requestExecute(asked).done;
    return content.user_expressions.answer;
}}"""
DECODE = """async image => {
    for (let left = 20; ; left--)
        try { return await image.decode() }
        catch (error) {  // also where the picture is replaced meanwhile: wait for the next
            if (!left) throw error
            await new Promise(resolve => setTimeout(resolve, 100))
        }
}"""


class Tab:
    """One notebook at a time in a window of 1280 x 720 pixels.

    `page` is playwright's, for what is missing here. Waiting ends with playwright's TimeoutError.
    """

    def __init__(self, page, lab: Lab, name: str):
        self.page, self.lab, self.name = page, lab, name
        self.folder = lab.folder / name  # the notebook's folder, in which its kernel works
        self.folder.mkdir()
        page.set_default_timeout(PATIENCE)
        page.on("dialog", lambda dialog: dialog.accept())

    # --- what a user does

    def open(self, notebook: str | Path | nbformat.NotebookNode, parameters: Mapping | None = None) -> None:
        """Open a copy of a notebook, without outputs and with `parameters`, and wait for its kernel.

        `notebook` is the name of one in notebooks/ (a prefix such as "05" will do), a path, or the notebook itself.
        """
        if isinstance(notebook, str):
            (notebook,) = (ROOT / "notebooks").glob(f"{notebook}*.ipynb")
        name = notebook.name if isinstance(notebook, Path) else "notebook.ipynb"
        nb = nbformat.read(notebook, as_version=4) if isinstance(notebook, Path) else notebook
        for cell in nb.cells:
            cell.metadata.setdefault("tags", [])  # papermill reads them of every cell
            if cell.cell_type == "code":
                cell.outputs = []
        if parameters:
            nb.metadata.setdefault("papermill", {})
            nb = parameterize_notebook(nb, dict(parameters))
        nbformat.write(nb, self.folder / name)
        self.page.goto(f"{self.lab.url}/doc/tree/{self.name}/{name}?token={self.lab.token}")
        self._wait_for_kernel()

    def _wait_for_kernel(self) -> None:
        self.page.wait_for_function(CONNECTED)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")

    def run_all(self) -> None:
        """Run all cells and wait for the last; raises AssertionError with the first error."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.check_errors()

    def run_cell(self, number: int) -> None:
        """Run the code or text cell of this number, from 0, and wait for it."""
        self.page.evaluate(f"n => {{ {PANEL}.content.deselectAll(); {PANEL}.content.activeCellIndex = n }}", number)
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
        self.check_errors()

    def scroll_to(self, source: str) -> None:
        """Bring the first cell with this text in its source to the top: JupyterLab leaves out what is far away."""
        number = self.page.evaluate(
            f"text => {PANEL}.content.model.toJSON().cells.findIndex(cell => cell.source.includes(text))", source
        )
        self.page.evaluate(f"n => {PANEL}.content.scrollToItem(n, 'start')", number)

    def check_errors(self) -> None:
        cells = self.page.evaluate(f"() => {PANEL}.content.model.toJSON().cells")
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        errors = [f"{output['ename']}: {output['evalue']}" for output in outputs if output["output_type"] == "error"]
        assert not errors, f"a cell failed with {errors[0]}"

    def press(self, name: str) -> None:
        """Click the button of this name."""
        self.button(name).click()

    def keys(self, handle, key: str, times: int = 1) -> None:
        """Focus an element, such as `slider()`, and press a key on it: "ArrowRight", "Home" ..."""
        handle.focus()
        for _ in range(times):
            handle.press(key)

    def drag(self, handle, to: float) -> None:
        """Drag a slider's handle with the mouse to a share 0..1 of the way, in steps as a hand does."""
        handle.scroll_into_view_if_needed()
        box, way = handle.bounding_box(), handle.locator("xpath=ancestor::*[contains(@class, 'noUi-base')]")
        track = way.bounding_box()
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.mouse.down()
        self.page.mouse.move(track["x"] + track["width"] * to, box["y"] + box["height"] / 2, steps=10)
        self.page.mouse.up()

    def save(self) -> None:
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def reload(self) -> None:
        """Save the notebook, reload the page and wait for the kernel, which lives on."""
        self.save()
        self.page.reload()
        self._wait_for_kernel()

    def restart(self) -> None:
        """Give the notebook a fresh kernel, as Kernel > Restart does, and empty its outputs."""
        self.page.evaluate(f"() => {PANEL}.sessionContext.restartKernel()")
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        self._wait_for_kernel()

    def ask(self, expression: str) -> str:
        """The repr of a Python expression in the notebook's kernel."""
        answer = self.page.evaluate(ASK, expression)
        assert answer["status"] == "ok", f"{expression}: {answer}"
        return answer["data"]["text/plain"]

    # --- what is on the screen

    def button(self, name: str):
        return self.page.get_by_role("button", name=re.compile(rf"^\W*{re.escape(name)}$"))  # perhaps after an icon

    def slider(self, number: int = 0):
        """The handle of a slider: it takes `keys` and `drag`."""
        return self.page.locator(".widget-slider .noUi-handle").nth(number)

    def image(self, number: int = 0):
        """An `ipywidgets.Image`."""
        return self.page.locator("img.widget-image").nth(number)

    def text(self) -> str:
        """The text of all outputs."""
        return "\n".join(self.page.locator(".jp-OutputArea-output").all_inner_texts())

    def wait_for_text(self, pattern: str, within: float = PATIENCE / 1000) -> str:
        """Wait until the outputs show text that matches a regular expression; returns what matched."""
        shown = "() => [...document.querySelectorAll('.jp-OutputArea-output')].map(o => o.innerText).join('\\n')"
        matching = f"pattern => new RegExp(pattern).exec(({shown})())?.[0]"
        return self.page.wait_for_function(matching, arg=pattern, timeout=within * 1000).json_value()

    def wait_for_change(self, image, before: np.ndarray, within: float = PATIENCE / 1000) -> np.ndarray:
        """Wait until a picture is another one than `before`; returns it."""
        waited = 0.0
        while waited <= within:
            now = self.picture(image)
            if now.shape != before.shape or (now != before).any():
                return now
            self.page.wait_for_timeout(100)
            waited += 0.1
        raise AssertionError(f"the picture did not change in {within:.0f} s")

    def picture(self, image) -> np.ndarray:
        """The pixels (H, W, 3) of an element as it is shown; raises AssertionError where they have all one colour."""
        image.scroll_into_view_if_needed()
        if image.evaluate("e => e.tagName") == "IMG":
            image.evaluate(DECODE)
        pixels = np.asarray(Image.open(io.BytesIO(image.screenshot(animations="disabled"))).convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1, "the picture is blank"
        return pixels

    def screenshot(self, name: str) -> Path:
        """The window as results/browser/NAME.png."""
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def close(self) -> None:
        self.page.context.close()
        self.lab.stop_kernels()
        shutil.rmtree(self.folder, ignore_errors=True)


def folder_name(test: str) -> str:
    """A test's name as the name of a folder or file.

    >>> folder_name("test_it[mdc-1]")
    'test_it_mdc_1'
    """
    return re.sub(r"\W+", "_", test).strip("_")
