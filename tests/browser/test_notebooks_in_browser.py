"""The notebooks with sliders, opened, run and moved as a reader does."""

import numpy as np
import pytest
from test_notebooks import QUICK

CELLS = {  # what the cell with the sliders says, and the picture that they move
    "05_most_learnable_subset": ("mdckit.explore(", ".mdckit-layer"),
    "07_condensed_galleries": ("widgets.ipc_slider(", "img.widget-image"),
    "09_balanced_pruning": ("mdckit.explore_pruning(", ".mdckit-layer"),
    "17_explorer": ("mdckit.explore(sets", ".mdckit-layer"),
}


@pytest.mark.parametrize("name", CELLS)
def test_the_sliders_of_a_notebook_move_its_pictures(tab, name):
    source, picture = CELLS[name]
    tab.open(name, QUICK[name])
    tab.run_all()
    tab.scroll_to(source)
    shown, typed = tab.page.locator(picture).first, tab.page.get_by_role("spinbutton", name="images per class").first
    first = tab.picture(shown)
    tab.keys(tab.slider(), "ArrowRight")
    second = tab.wait_for_change(shown, first)
    assert typed.input_value() == "2"
    tab.screenshot(f"notebook_{name[:2]}")
    tab.drag(tab.slider(), 0.0)
    assert np.array_equal(tab.wait_for_change(shown, second), first)
    assert typed.input_value() == "1"
