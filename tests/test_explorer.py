"""The explorer, driven as by a user: every number it tells and every box it draws, against literal counting."""

import inspect
import threading
from html import unescape

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from screens import dimmed, outlined, pixels, said, seen, tree, words

import mdckit
from mdckit import CondensedSet, from_arrays, plots, results
from mdckit.interactive import explored, mosaic
from mdckit.interactive.explorer import ALL, NOTHING

RECORD = {
    "seeds": [0, 1],
    "accuracy": {
        "mdc": {"1": [40.0, 44.0], "2": [49.0, 51.0], "3": [60.0, 60.0]},
        "baseline_c": {"1": [30.0, 32.0], "2": [50.0, 50.0]},
        "baseline_a": {"1": [45.0, 47.0]},
    },
}
TRACE = {"mls_trace": [[1, 1], [2, 2], [3, 1]], "outer": 3, "recipe": {"freeze": "released"}, "config": {"period": 1}}


def made(classes=2, ipc=3, channels=1, side=8, factor=1, info=None, seed=0, names="abcdefghij"):
    images = torch.rand(classes, ipc, channels, side, side, generator=torch.Generator().manual_seed(seed))
    names = tuple(names[:classes]) if classes <= len(names) else tuple(f"class {c}" for c in range(classes))
    return CondensedSet(images, factor, (0.5,) * channels, (0.5,) * channels, names, info=info or {})


@pytest.fixture
def explorer():
    return mdckit.explore({"mdc": made(info=TRACE), "baseline_c": made(ipc=2, seed=1)}, RECORD)


def gallery(view):
    return view._gallery


def image_box(condensed, view, c, i, row=None):
    """Where image i of class c must lie where there is one line for each class."""
    columns, rows = condensed.ipc, len(condensed.classes)
    pitch = min(540 // columns, 440 // rows, 112)
    side = pitch - 4
    left = tree(gallery(view).picture.value).get("viewBox").split()[2]
    margin = int(left) - 6 - columns * pitch
    return margin + i * pitch, 20 + (c if row is None else row) * pitch, side, side


# --- the slider


def test_every_size_is_told_as_the_record_has_it(explorer):
    for n, values in RECORD["accuracy"]["mdc"].items():
        explorer.ipc.value = int(n)
        mean, std = np.mean(values), np.std(values)
        images, size = 2 * int(n), 2 * int(n) * 64 / 1000
        plural = "s" if int(n) > 1 else ""
        told = f"{n} image{plural} per class = {images} images, {size:.1f} kB: {mean:.1f} ± {std:.1f} % (2 seeds)"
        assert said(explorer)[0] == told
        assert words(explorer._curve) == [f"{mean:.1f} ± {std:.1f} %"]


def test_what_is_not_in_use_is_dimmed_to_the_pixel():
    condensed = made(classes=3, side=36)
    view = mdckit.explore(condensed)  # 36 pixels are enlarged to 108, three times
    view.ipc.value = 2
    shown = seen(gallery(view))
    whole = plots.tile(condensed.images, keep=2, zoom=3)
    gap = 108 // 14  # of that function
    for c in range(3):
        for i in range(3):
            x, y, side, _ = image_box(condensed, view, c, i)
            assert side == 108
            expected = whole[c * (108 + gap) :, i * (108 + gap) :][:108, :108]
            assert abs(shown[y : y + side, x : x + side].astype(int) - expected).max() <= 1
    outside = shown.copy()
    for c, i in np.ndindex(3, 3):
        x, y, side, _ = image_box(condensed, view, c, i)
        outside[y : y + side, x : x + side] = 255
    assert (outside == 255).all()


def test_sizes_larger_and_smaller_than_the_images_cover_equal_areas():
    image = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    for count in (4, 9):  # new pixels from 6 old ones: on a common grid of 36, each new pixel is a mean
        fine = image.repeat_interleave(6, 2).repeat_interleave(6, 3)
        means = fine.unfold(2, 36 // count, 36 // count).unfold(3, 36 // count, 36 // count).mean((-1, -2))
        found = mosaic.thumbnails(image, count, count)
        assert found.shape == (1, count, count, 3)
        assert abs(found[0, ..., 0] / 255 - means[0, 0].numpy()).max() <= 0.5 / 255 + 1e-6


def test_the_column_numbers_in_use_are_bold(explorer):
    explorer.ipc.value = 2
    bold = {text.text: "font-weight" in text.attrib for text in tree(gallery(explorer).marks.value).iter() if text.text}
    assert bold == {"1": True, "2": True, "3": False}


def test_typing_a_number_moves_the_slider(explorer):
    explorer.typed.value = 3
    assert explorer.ipc.value == 3
    assert said(explorer)[0].startswith("3 images per class")


def test_moving_sliders_sends_marks_alone_and_draws_no_figure(monkeypatch):
    view = mdckit.explore({"mdc": made(10, 10, 3, 32, 2, TRACE | {"outer": 40})}, RECORD)
    sent = [panel.picture.value for panel in (view._gallery, view._curve, view._trace)]

    def refuse(*_, **__):
        raise AssertionError("a picture was made")

    monkeypatch.setattr(Figure, "draw", refuse)
    monkeypatch.setattr(Image.Image, "save", refuse)
    before = set()
    for n in range(2, 11):
        view.ipc.value = n
        before.add((view._gallery.marks.value, view._curve.marks.value if n < 4 else n))
        assert sum(len(panel.marks.value) for panel in (view._gallery, view._curve, view._trace)) < 8000
    view.loop.value = 20
    assert len(before) == 9
    assert [panel.picture.value for panel in (view._gallery, view._curve, view._trace)] == sent


# --- subsets


def test_the_mls_and_what_is_frozen_are_outlined_by_loop():
    condensed = made(info=TRACE)  # S[1] trains in loop 2, S[2] in loop 3, when S[1] has retired
    view = mdckit.explore(condensed)
    assert view.loop.value == 3
    (x, y, side, _), (_, last, _, _) = image_box(condensed, view, 0, 0), image_box(condensed, view, 1, 0)
    tall = last + side - y
    assert outlined(gallery(view), mosaic.MLS) == [(x - 2, y - 2, 2 * side + 4 + 4, tall + 4)]
    assert outlined(gallery(view), mosaic.FROZEN) == [(x + 2, y + 2, side - 4, tall - 4)]
    assert said(view)[-1].startswith("MLS in outer loop 3: S[2]")
    assert "frozen: S[1]" in said(view)[-1]
    view.loop.value = 2
    assert outlined(gallery(view), mosaic.MLS) == [(x - 2, y - 2, side + 4, tall + 4)]
    assert outlined(gallery(view), mosaic.FROZEN) == []
    view.loop.value = 1
    assert outlined(gallery(view), mosaic.MLS) == []
    assert "MLS in outer loop 1: none" in said(view)[-1]


def test_classes_that_choose_for_themselves_are_outlined_one_by_one():
    info = TRACE | {"mls_trace": [[[1, 1], [2, 2]], [[1, 1], [2, 1]]]}
    condensed = made(info=info)
    view = mdckit.explore(condensed)
    of_class = [image_box(condensed, view, c, 0) for c in range(2)]
    side = of_class[0][2]
    expected = [
        (x - 2, y - 2, n * (side + 4) - 4 + 4, side + 4) for (x, y, _, _), n in zip(of_class, (2, 1), strict=True)
    ]
    assert outlined(gallery(view), mosaic.MLS) == expected
    assert "MLS in outer loop 3: S[1] to S[2] by class" in said(view)[-1]
    assert "a: S[1] from loop 2, S[2] from loop 3; b: S[1] from loop 2" in view._trace.picture.value


def test_a_prefix_has_its_own_outlines_only_as_far_as_it_goes():
    condensed = made(ipc=5, info=TRACE | {"mls_trace": [[1, 4]]}).take(2)
    view = mdckit.explore(condensed)
    (x, y, side, _), (_, last, _, _) = image_box(condensed, view, 0, 0), image_box(condensed, view, 1, 0)
    assert outlined(gallery(view), mosaic.MLS) == [(x - 2, y - 2, 2 * side + 8, last + side - y + 4)]


def test_a_set_without_choices_says_so(explorer):
    explorer.chosen.value = "baseline_c"
    assert "No MLS" in explorer._trace.picture.value
    assert explorer._trace.marks.value == ""
    assert outlined(gallery(explorer), mosaic.MLS) == []
    assert explorer._loops.layout.display == "none"
    explorer.chosen.value = "mdc"
    assert explorer._loops.layout.display is None
    assert "S[1] from loop 2, S[2] from loop 3" in explorer._trace.picture.value


# --- sets, methods and classes


def test_a_smaller_set_takes_the_slider_along(explorer):
    explorer.ipc.value = 3
    explorer.chosen.value = "baseline_c"
    assert (explorer.ipc.max, explorer.ipc.value, explorer.typed.max) == (2, 2, 2)
    assert said(explorer)[0] == "2 images per class = 4 images, 0.3 kB: 50.0 ± 0.0 % (2 seeds)"
    explorer.chosen.value = "mdc"
    explorer.ipc.value = 3
    assert said(explorer)[0].startswith("3 images per class = 6 images")


def test_two_sets_are_compared_row_by_row(explorer):
    explorer.other.value, explorer.ipc.value = "baseline_c", 1
    mdc, other = said(explorer)[:2]
    assert mdc == "MDC: 1 image per class = 2 images, 0.1 kB: 42.0 ± 2.0 % (2 seeds)"
    assert other == "Baseline C (one condensation): 1 image per class = 2 images, 0.1 kB: 31.0 ± 1.0 % (2 seeds)"
    assert words(explorer._curve) == ["MDC 42.0 ± 2.0 %", "Baseline C 31.0 ± 1.0 %"]
    assert words(gallery(explorer), "picture") == ["a", "MDC", "Baseline C", "b", "MDC", "Baseline C"]
    assert len(dimmed(gallery(explorer))) == 4  # two strips of two classes
    explorer.ipc.value = 3
    assert said(explorer)[1].startswith("Baseline C (one condensation): 2 images per class = 4 images")
    assert said(explorer)[1].endswith("accuracy not measured")
    assert words(explorer._curve) == ["60.0 ± 0.0 %"]


def test_curves_can_be_all_or_one_or_those_of_methods_without_a_set(explorer):
    values = [value for _, value in explorer.other.options]
    assert values == [ALL, NOTHING, "baseline_c", "baseline_a"]
    alts = {}
    for value in (ALL, NOTHING, "baseline_a"):
        explorer.other.value = value
        alts[value] = explorer._curve.picture.value.split('aria-label="')[1].split('"')[0]
    assert "46.0 % at 1, 50.0 % at 2" in alts[ALL]
    assert "42.0 % at 1, 50.0 % at 2" in alts[NOTHING]
    assert "46.0 % at 1, 50.0 % at 2" in alts["baseline_a"]
    assert said(explorer)[1] == "Baseline A (one condensation per size): 46.0 ± 1.0 % (2 seeds)"
    assert words(explorer._curve) == ["Baseline A 46.0 ± 1.0 %", "MDC 42.0 ± 2.0 %"]
    assert len(dimmed(gallery(explorer))) == 2  # no strip for what has no images


def test_the_line_and_the_point_lie_where_the_figure_has_them():
    rows = pd.DataFrame({"method": "mdc", "ipc": [1, 3, 3], "seed": [0, 0, 1], "accuracy": [20.0, 60.0, 70.0]})
    view = mdckit.explore({"mdc": made()}, rows)
    view.ipc.value = 3
    (circle,) = [e for e in tree(view._curve.marks.value).iter() if e.tag.endswith("circle")]
    x, y = float(circle.get("cx")), float(circle.get("cy"))
    colour = (np.array(to_rgb(plots.style("mdc")["color"])) * 255).round()
    drawn = np.argwhere(abs(pixels(view._curve)[..., :3] - colour).max(-1) <= 2)
    right = drawn[drawn[:, 1] >= drawn[:, 1].max() - 10]  # the last marker, at twice the resolution
    assert abs(right[:, 0].mean() / 2 - y) < 1
    assert abs((drawn[:, 1].max() - 6 * 200 / 72 / 2) / 2 - x) < 1.5


def test_classes_are_found_by_name_and_shown_by_pages():
    view = mdckit.explore(made(100, 4, 3, 32, 2))
    assert words(gallery(view), "picture") == [f"class {c}" for c in range(10)]
    assert [label for label, _ in view.page.options][:2] == [
        "1 to 10 of 100: class 0 to class 9",
        "11 to 20 of 100: class 10 to class 19",
    ]
    view.page.value = 90
    assert words(gallery(view), "picture") == [f"class {c}" for c in range(90, 100)]
    view.ipc.value = 3
    assert len(dimmed(gallery(view))) == 10
    view.find.value = "7"  # part of many names
    assert words(gallery(view), "picture")[:3] == ["class 7", "class 17", "class 27"]
    view.find.value = "class 7, CLASS 93"  # whole names
    assert words(gallery(view), "picture") == ["class 7", "class 93"]
    assert view.page.layout.display == "none"
    view.find.value = "dog"
    assert said(view)[0] == "no class is called 'dog': a part of a name will do, commas between several"
    view.find.value = ""
    assert len(view.page.options) == 10
    assert said(view)[0] == "3 images per class = 300 images (1200 patches), 922 kB: no accuracies given"


@pytest.mark.parametrize("classes", [1, 2, 9, 10, 11, 100])
@pytest.mark.parametrize("ipc", [1, 3, 10, 20, 50])
@pytest.mark.parametrize("sides", [(8, 8), (32, 32), (224, 224), (20, 40)])
def test_galleries_fit_and_images_never_overlap(classes, ipc, sides):
    for strips in (1, 2, 4):
        shown = mosaic.per_page(classes, strips, ipc)
        grid = mosaic.Grid.fit(["some name"] * shown, ["x"] * strips, ipc, sides)
        boxes = [
            b for row in range(shown) for s in range(strips) for i in range(ipc) for b in grid.run(row, s, i, i + 1)
        ]
        assert grid.width <= 700
        assert grid.height <= 40 + mosaic.HEIGHT
        assert max(grid.wide, grid.tall) >= 25
        assert abs(grid.wide / grid.tall - sides[1] / sides[0]) < 0.2
        taken = np.zeros((grid.height, grid.width), int)
        for x, y, w, h in boxes:
            taken[y : y + h, x : x + w] += 1
        assert taken.max() == 1
        assert taken.sum() == len(boxes) * grid.wide * grid.tall
        runs = sorted(b for row in range(shown) for s in range(strips) for b in grid.run(row, s, 0, ipc))
        assert all(taken[y + h // 2, x] and taken[y + h // 2, x + w - 1] for x, y, w, h in runs)


def test_many_images_are_wrapped_and_their_prefixes_too():
    view = mdckit.explore(made(2, 30))
    view.ipc.value = 17
    left = dimmed(gallery(view))
    grid = mosaic.Grid.fit(["a", "b"], ["x"], 30, (8, 8))
    assert grid.lines > 1
    dark = [
        (c, i)
        for c in range(2)
        for i in range(30)
        if any(inside(box, b) for box in grid.run(c, 0, i, i + 1) for b in left)
    ]
    assert dark == [(c, i) for c in range(2) for i in range(17, 30)]


def inside(box, other):
    (x, y, w, h), (a, b, c, d) = box, other
    return a <= x and b <= y and x + w <= a + c and y + h <= b + d


# --- selections, cells, real images


def test_a_selection_shows_the_images_that_each_class_has():
    whole = made(3, 3, side=16, factor=2)
    part = whole.select(torch.tensor([0, 1, 2, 3, 4, 12]))  # five cells of class a, one of b, none of c
    view = mdckit.explore({"all": whole, "part": part})
    view.chosen.value = "part"
    titles = [t.text for t in tree(gallery(view).picture.value).iter() if t.tag.endswith("title")]
    assert titles == ["a, image 1 of 2 (part)", "a, image 2 of 2 (part)", "b, image 1 of 1 (part)"]
    assert said(view)[0] == "up to 1 image per class = 2 images (5 patches), 0.5 kB: no accuracies given"
    assert len(dimmed(gallery(view))) == 1
    view.ipc.value = 2
    assert said(view)[0].startswith("up to 2 images per class = 3 images (6 patches)")
    assert dimmed(gallery(view)) == []


def test_cells_are_decoded_on_request():
    condensed = made(1, 2, side=32, factor=2)
    view = mdckit.explore(condensed)
    stored = pixels(gallery(view))
    view.decoded.value = True
    decoded = pixels(gallery(view))
    x, y, side, _ = image_box(condensed, view, 0, 1)
    small = (side - 1) // 2
    patches, _ = condensed.decode()
    for k, (down, right) in enumerate(np.ndindex(2, 2)):
        expected = mosaic.thumbnails(patches[4 + k : 5 + k], small, small)[0]
        top, left = y + down * (small + 1), x + right * (small + 1)
        assert (decoded[top : top + small, left : left + small] == expected).all()
    assert (stored != decoded).any()
    assert mdckit.explore(made()).decoded.layout.display == "none"


@pytest.fixture(scope="module")
def real():
    random = np.random.default_rng(0)
    return from_arrays(random.random((40, 16, 16)), np.arange(40) % 2, random.random((4, 16, 16)), [0, 1, 0, 1])


def test_real_neighbours_come_on_request_and_once(real, monkeypatch):
    asked = []

    def counted(patches, labels, data, search=explored.nearest_real):
        asked.append(sorted(set(labels.tolist())))
        return search(patches, labels, data)

    monkeypatch.setattr(explored, "nearest_real", counted)
    condensed = made(2, 3, side=16, factor=2, names=real.classes)
    view = mdckit.explore(condensed, data=real)
    assert asked == []
    view.real.value = True
    assert asked == [[0], [1]]
    view.ipc.value = 2
    patches, labels = condensed.take(2).decode()
    images = real.x_train.float() / 255
    gaps = [
        min(float((p - r).square().mean().sqrt()) for r in images[real.y_train == c])
        for p, c in zip(patches, labels, strict=True)
    ]
    assert said(view)[1].startswith(f"condensed set {np.mean(gaps):.3f} from the nearest real image of the class")
    titles = [t.text for t in tree(gallery(view).picture.value).iter() if t.tag.endswith("title")]
    assert len(titles) == 12
    of_first = [images[real.y_train == 0].sub(p).square().mean((1, 2, 3)).argmin().item() for p in patches[:4]]
    told = ", ".join(f"number {i} ({g:.3f})" for i, g in zip(of_first, gaps[:4], strict=True))
    assert titles[3] == f"nearest to image 1: real {told} of the class"
    view.real.value = False
    view.real.value = True
    view.decoded.value = True
    assert asked == [[0], [1]]
    assert mdckit.explore(condensed).real.layout.display == "none"


def test_a_neighbour_lies_below_its_image(real):
    first = torch.stack([real.x_train[real.y_train == c][:3] for c in (0, 1)]).float() / 255
    condensed = CondensedSet(first, 1, real.mean, real.std, real.classes)  # each image is its own neighbour
    view = mdckit.explore(condensed, data=real)
    view.real.value = True
    assert said(view)[1].startswith("condensed set 0.000 from")
    picture, grid = pixels(gallery(view)), mosaic.Grid.fit(real.classes, ["x", "nearest real"], 3, (16, 16))
    for c in range(2):
        above, below = (grid.y(c, strip, 0) for strip in (0, 1))
        rows = slice(grid.margin, grid.width)
        assert (picture[above : above + grid.tall, rows] == picture[below : below + grid.tall, rows]).all()
        assert picture[above : above + grid.tall, rows].std() > 10


# --- threads, names, bad input


def test_callbacks_of_several_threads_are_taken_in_turn(monkeypatch):
    view = mdckit.explore({"mdc": made(8, 9, info=TRACE), "baseline_c": made(8, 5)}, RECORD)
    drawing, redraw, errors = threading.Lock(), type(view).redraw, []

    def alone(self):
        if not drawing.acquire(blocking=False):
            errors.append("two redraws at a time")
            return
        try:
            redraw(self)
        finally:
            drawing.release()

    monkeypatch.setattr(type(view), "redraw", alone)

    def move(seed):
        random = np.random.default_rng(seed)
        try:
            for _ in range(15):
                view.ipc.value = int(random.integers(1, 10))
                view.chosen.value = ["mdc", "baseline_c"][random.integers(2)]
                view.other.value = [ALL, NOTHING][random.integers(2)]
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=move, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    view.chosen.value, view.ipc.value = "mdc", 7
    view.ipc.value = 2
    assert said(view)[0].startswith("2 images per class = 16 images")
    assert len(dimmed(gallery(view))) == 8


def test_names_are_text_and_never_markup():
    nasty = made(names=["<script>&", 'b"'])
    nasty = CondensedSet(nasty.images, 1, (0.5,), (0.5,), ("<script>&", 'b"'))
    record = {"seeds": [0], "accuracy": {"<b>": {"1": [1.0]}}}
    view = mdckit.explore({"<b>": nasty, "&": nasty}, record)
    view.other.value = "&"
    for panel in (view._gallery, view._curve):
        assert "<script>" not in panel.picture.value
        assert "<b>" not in panel.picture.value
    assert "&lt;b&gt;: 1 image per class" in view.text.value
    assert words(gallery(view), "picture")[0] == "<script>&"
    assert "'<script>&'"[1:-1] in unescape(tree(gallery(view).picture.value).get("aria-label"))


def test_what_is_seen_is_also_told_to_screen_readers(explorer):
    explorer.ipc.value = 2
    assert explorer.text.value.startswith('<div role="alert">')
    for panel in (explorer._gallery, explorer._curve, explorer._trace):
        root = tree(panel.picture.value)
        assert root.get("role") == "img"
        assert len(root.get("aria-label")) > 20
        assert tree(panel.marks.value).get("aria-hidden") == "true"
    controls = [explorer.ipc, explorer.chosen, explorer.other, explorer.find, explorer.page, explorer.decoded]
    assert all(control.description for control in [*controls, explorer.real, explorer.loop])
    assert (explorer.typed.tooltip, explorer.typed_loop.tooltip) == ("images per class", "outer loop")


def test_a_set_alone_takes_its_recipes_name():
    condensed = made(info={"recipe": {"name": "mdc"}})
    view = mdckit.explore(condensed, results.accuracies(RECORD))
    assert said(view)[0].endswith("42.0 ± 2.0 % (2 seeds)")
    assert view.chosen.layout.display == "none"


def test_no_accuracies_and_those_of_other_sets_are_told_apart():
    view = mdckit.explore(made())
    assert "No accuracies were given" in view._curve.picture.value
    view = mdckit.explore({"mdc": made(), "new": made()}, RECORD)
    view.chosen.value, view.other.value = "new", NOTHING
    assert "No accuracies of this set were given" in view._curve.picture.value
    view.other.value = ALL
    assert "Test accuracy" in view._curve.picture.value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "dict of nothing given to explore: give one CondensedSet, or a mapping from names to at least one"),
        (([made()],), "list of nothing given"),
        (({"mdc": 3},), "dict of int given"),
        (
            ({"x": made(2), "y": made(3)},),
            r"x has the classes 2 \(a, b, \.\.\.\) and y 3 \(a, b, c, \.\.\.\): explore sets of",
        ),
        (
            ({"mcd": made()}, RECORD),
            "accuracies of mdc, baseline_c, baseline_a given, but the sets are mcd: name them alike",
        ),
        ((made(), {"mdc": {}}), "accuracy with mdc given: expected the record of a run or its `results.accuracies`"),
        ((made(), pd.DataFrame({"ipc": [1]})), "with the columns method, ipc, seed, accuracy"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mdckit.explore(*arguments)


def test_data_of_another_shape_is_refused(real):
    with pytest.raises(ValueError, match=r"images \(1, 8, 8\) given with arrays: 2 classes of images \(1, 16, 16\)"):
        mdckit.explore(made(), data=real)


def test_the_views_load_with_the_first_one_alone():
    assert "explore" in mdckit.__all__
    assert inspect.isfunction(mdckit.explore)
    with pytest.raises(AttributeError, match="no attribute 'explroe'"):
        _ = mdckit.explroe
