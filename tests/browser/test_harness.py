"""The harness sees what is on the screen: without this, the scenarios beside it would prove little."""

import nbformat
import psutil
import pytest

from .lab import Lab
from .tab import CONNECTED

CODE = """
import io, ipywidgets
from PIL import Image

def picture(n):
    file = io.BytesIO()
    image = Image.new("RGB", (100, 50), "white")
    image.paste((20 * n, 0, 0), (0, 0, 10 * n, 50))
    image.save(file, "PNG")
    return file.getvalue()

def redraw(change):
    shown.value, text.value = picture(slider.value), f"size {slider.value}"

slider = ipywidgets.IntSlider(value=1, min=0, max=10, description="size")
button, text = ipywidgets.Button(description="Double"), ipywidgets.Label("untouched")
shown = ipywidgets.Image(value=picture(1), layout={"width": "fit-content"})
slider.observe(redraw, names="value")
button.on_click(lambda _: slider.set_trait("value", 2 * slider.value))
ipywidgets.VBox([slider, button, text, shown])
"""
REPLACED = """() => {
    const [canvas, shown] = [document.createElement('canvas'), document.getElementById('shown')]
    canvas.width = canvas.height = 8
    canvas.getContext('2d').fillRect(0, 0, 4, 8)
    const picture = canvas.toDataURL()
    shown.src = 'data:image/png;base64,'  // cannot be decoded
    setTimeout(() => shown.src = picture, 500)
}"""


@pytest.fixture
def notebook():
    cells = [nbformat.v4.new_markdown_cell("# Widgets"), nbformat.v4.new_code_cell(CODE)]
    nb = nbformat.v4.new_notebook(cells=cells)
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nb


def width(picture):
    return int((picture[len(picture) // 2] != 255).any(-1).sum())


def test_keys_mouse_button_reload_and_restart_are_seen(tab, notebook):
    tab.open(notebook)
    tab.run_all()
    before = tab.picture(tab.image())
    assert width(before) == 10
    tab.keys(tab.slider(), "ArrowRight", 2)
    tab.wait_for_text("size 3")
    assert width(tab.wait_for_change(tab.image(), before)) == 30
    tab.drag(tab.slider(), 0.4)
    tab.wait_for_text("size 4")
    tab.press("Double")
    tab.wait_for_text("size 8")
    assert tab.ask("slider.value") == "8"
    tab.reload()
    tab.wait_for_text("size 8")
    assert width(tab.picture(tab.image())) == 80
    tab.screenshot("harness")
    tab.restart()
    assert "size" not in tab.text()
    assert tab.ask("'slider' in globals()") == "False"


def test_what_is_not_there_is_noticed(tab, notebook):
    from playwright.sync_api import TimeoutError

    notebook.cells.append(nbformat.v4.new_code_cell("1 / 0"))
    tab.open(notebook)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        tab.run_all()
    with pytest.raises(TimeoutError):
        tab.wait_for_text("size 11", within=0.5)
    with pytest.raises(AssertionError, match="did not change"):
        tab.wait_for_change(tab.image(), tab.picture(tab.image()), within=0.3)
    tab.keys(tab.slider(), "Home")  # nothing is painted at size 0
    tab.wait_for_text("size 0")
    with pytest.raises(AssertionError, match="blank"):
        tab.picture(tab.image())


def test_a_picture_is_read_while_others_take_its_place(tab):
    tab.page.set_content("<img id=shown>")
    tab.page.evaluate(REPLACED)
    assert tab.picture(tab.page.locator("#shown")).shape == (8, 8, 3)


def test_a_page_that_is_still_loading_is_not_connected(tab):
    assert tab.page.evaluate(CONNECTED) is False


def test_a_server_that_ends_leaves_no_process(tmp_path, browser):
    lab = Lab(tmp_path)
    kernel = lab.ask("POST", "api/kernels")
    started = psutil.Process(lab.process.pid).children(recursive=True)
    assert kernel["id"]
    assert started
    lab.stop()
    assert not any(process.is_running() for process in started)
