"""The assignments are graded as promised: right answers, no answers, typical wrong answers, and what students do."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from course import FOLDER, Course, by_id, edited, points, solution
from wrong_answers import WRONG

NAMES = sorted(path.name for path in FOLDER.iterdir() if (path / f"{path.name}.ipynb").is_file())
RESULTS = FOLDER.parents[1] / "results" / "grading"
pytestmark = pytest.mark.filterwarnings("ignore::Warning:nbgrader", "ignore::Warning:nbformat")


# -- the sources


@pytest.fixture(params=NAMES)
def source(request):
    return nbformat.read(FOLDER / request.param / f"{request.param}.ipynb", as_version=4)


def test_there_are_wrong_answers_to_every_step():
    assert list(WRONG) == NAMES
    for name in NAMES:
        source = nbformat.read(FOLDER / name / f"{name}.ipynb", as_version=4)
        assert list(WRONG[name]) == list(points(source))
        for step, answers in WRONG[name].items():
            texts = {edited(source, step, edit) for edit in answers.values()} - {solution(source, step)}
            assert len(texts) == len(answers) >= 3
            for text in texts:
                compile(text, step, "exec")


def test_the_steps_grow_and_add_up(source):
    given = list(points(source).values())
    assert sum(given) == 100
    assert given == sorted(given)
    text = source.cells[0].source
    rows = re.findall(r"^\| (\d) \| (?:`(\w+)`)?.* \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert [int(p) for _, name, p, _ in rows if name] == given
    assert [int(step) for step, *_ in rows] == list(range(1, len(rows) + 1))
    minutes = sum(int(m) for *_, m in rows)
    assert 60 <= minutes <= 120
    assert f"**Time.** About {minutes} minutes" in text
    headings = [c.source for c in source.cells if c.source.startswith("## Step ")]
    assert [int(h[8]) for h in headings] == [int(step) for step, *_ in rows]
    for step, (_, name, _, _) in zip(points(source), rows, strict=False):
        assert re.search(rf"^(def|class) {name}\b", by_id(source, step).source, re.MULTILINE)


def test_sources_are_committed_clean(source):
    for position, cell in enumerate(source.cells):
        assert cell.id == f"cell-{position:02d}"
        assert set(cell.metadata) <= {"nbgrader", "tags"}
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)
    text = "\n".join(cell.source for cell in source.cells)
    assert not re.search(r"cuda|!pip|%pip|/home/|/root/|/tmp/", text)
    assert "**What you will learn.**" in source.cells[0].source
    assert "**Papers.**" in source.cells[0].source


def test_every_step_has_a_place_for_the_answer_a_check_and_hidden_tests(source):
    for step in points(source):
        answer, test = by_id(source, step), by_id(source, f"{step}-test")
        assert source.cells.index(answer) < source.cells.index(test)
        assert (answer.metadata.nbgrader.solution, answer.metadata.nbgrader.locked) == (True, False)
        assert test.metadata.nbgrader.locked
        assert answer.source.count("### BEGIN SOLUTION") == answer.source.count("### END SOLUTION") == 1
        visible = re.sub(r"### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS\n?", "", test.source, flags=re.DOTALL)
        assert re.search(r"assert .*, f?\"", visible), "a check that says what is wrong"
        assert test.source.rstrip().endswith("### END HIDDEN TESTS")


def test_code_cells_are_short(source):
    for cell in source.cells:
        if cell.cell_type == "code":
            test = cell.metadata.get("nbgrader", {}).get("grade")
            assert len(cell.source.splitlines()) <= (45 if test else 30), cell.source
            assert all(len(line) <= 120 for line in cell.source.splitlines()), cell.source


# -- grading


class Grading:
    """The tests of one assignment; each class runs in one process, and its submissions in one kernel where they can."""

    name = ""

    @pytest.fixture(scope="class")
    def course(self, tmp_path_factory):
        course = Course(tmp_path_factory.mktemp(self.name), self.name)
        yield course
        course.close()

    def test_the_release_keeps_solutions_and_hidden_tests_to_itself(self, course):
        text = "\n".join(cell.source for cell in course.release.cells)
        assert not re.search("BEGIN|END SOLUTION|HIDDEN|MARK SCHEME", text)
        for step in points(course.source):
            body = solution(course.source, step).split('"""')[-1].strip()
            assert body
            assert body not in text
            assert "raise NotImplementedError()" in by_id(course.release, step).source

    def test_the_solutions_run_without_an_error_and_get_full_marks(self, course):
        assert course.grade("reference", course.answered()) == points(course.source)
        cells = [cell for cell in course.graded("reference").cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in cells)
        assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]
        assert any("image/png" in o.get("data", {}) for cell in cells for o in cell.outputs)

    def test_answers_cost_the_points_of_their_step_and_no_others(self, course):
        worth = points(course.source)
        found = {("all", "none: the release untouched"): course.grade("untouched", course.release, one_kernel=True)}
        assert set(found["all", "none: the release untouched"].values()) == {0}
        for step, answers in WRONG[self.name].items():
            for number, (what, edit) in enumerate(answers.items()):
                wrong = course.answered({step: edited(course.source, step, edit)})
                found[step, what] = course.grade(f"{step}-{number}", wrong, one_kernel=True)
        print(matrix(self.name, worth, found))
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{self.name}.md").write_text(matrix(self.name, worth, found))
        expected = {(step, what): worth | {step: 0} for step, what in found if step != "all"}
        assert {key: found[key] for key in expected} == expected


def matrix(name, worth, found):
    """Points of every step, a row for each answer."""
    lines = [f"{name}: points by step", "", f"| wrong in | answer | {' | '.join(worth)} | sum |"]
    lines.append("|---" * (len(worth) + 3) + "|")
    for (step, what), by_step in ({("", "the solutions"): worth} | found).items():
        numbers = [*by_step.values(), sum(by_step.values())]
        lines.append(f"| {step} | {what} | {' | '.join(f'{n:g}' for n in numbers)} |")
    return "\n".join(lines) + "\n\n"


class TestMatching(Grading):
    name = "a1_matching"

    def test_deleted_cells_are_put_back(self, course):
        nb = course.answered()
        nb.cells = [cell for cell in nb.cells if not cell.metadata.get("nbgrader", {}).get("locked")]
        assert course.grade("no tests, no imports", nb, one_kernel=True) == points(course.source)

    def test_deleted_steps_cost_their_own_points(self, course):
        nb = course.answered()
        nb.cells = [
            c for c in nb.cells if not re.match("distance|decode", c.metadata.get("nbgrader", {}).get("grade_id", ""))
        ]
        expected = points(course.source) | {"distance": 0, "decode": 0}
        assert course.grade("two steps deleted", nb, one_kernel=True) == expected

    @pytest.mark.parametrize("where", [0, 5, 99])
    def test_tests_that_were_rewritten_copied_and_moved_count_as_they_were(self, course, where):
        nb = copy.deepcopy(course.release)
        for step in points(course.source):
            by_id(nb, f"{step}-test").source = "assert True"
        nb.cells.append(copy.deepcopy(by_id(nb, "decode-test")))
        nb.cells.append(copy.deepcopy(by_id(nb, "decode")))
        moved = by_id(nb, "distance-test")
        nb.cells.remove(moved)
        nb.cells.insert(where, moved)
        assert set(course.grade(f"rewritten {where}", nb, one_kernel=True).values()) == {0}

    def test_lost_metadata_costs_nothing(self, course):
        nb = course.answered()
        for cell in nb.cells:
            cell.metadata = {}
        assert course.grade("another editor", nb, one_kernel=True) == points(course.source)

    def test_endless_loops_dead_kernels_and_megabytes_cost_their_own_points(self, course):
        nb = course.answered(HOSTILE | {"decode": f"{solution(course.source, 'decode')}\nexit()\n"})
        hung = {"distance-test": 3, "pixel_step-test": 3}
        found = course.grade(
            "hostile",
            nb,
            iopub_timeout=5,
            timeout_func=lambda c: hung.get(c.metadata.get("nbgrader", {}).get("grade_id"), 600),
        )
        worth = points(course.source)
        assert found == worth | dict.fromkeys(("distance", "class_gradient", "pixel_step", "condense_class"), 0)
        path = course.root / "autograded" / "hostile" / course.name / f"{course.name}.ipynb"
        assert path.stat().st_size < 3_000_000
        kept = "".join(o.get("text", "") for o in by_id(course.graded("hostile"), "prefix_gradients-test").outputs)
        assert "the rest of this output was not kept" in kept


HOSTILE = {
    "distance": """
def distance(a, b, kind="l2"):
    while True:
        try:
            while True:
                pass
        except:  # an interrupt, too
            pass
""",
    "class_gradient": """
import os


def class_gradient(net, images, label):
    os._exit(1)  # as when there is no memory left
""",
    "prefix_gradients": """
def prefix_gradients(groups, sizes):
    print("x" * 30_000_000)
    for number in range(40_000):
        print("line", number)
    counts = torch.tensor(sizes).cumsum(0)
    images = [layer.repeat_interleave(torch.tensor(sizes), 0) for layer in groups]
    return [torch.stack([layer[:n].mean(0) for n in counts]) for layer in images]
""",
    "pixel_step": """
def pixel_step(net, pixels, label, real_gradient, lr):
    while True:
        print("again")
""",
    "condense_class": """
import sys


def condense_class(net, pixels, label, real_gradient, steps, lr):
    sys.exit()
""",
}


class TestMostLearnableSubset(Grading):
    name = "a2_mls"


class TestPruning(Grading):
    name = "a3_pruning"


class TestProject(Grading):
    name = "a4_project"

    def test_the_report_is_extra_and_waits_for_its_reader(self, course):
        report = by_id(course.source, "report").metadata.nbgrader
        assert (report.task, report.locked, report.points) == (True, True, 0)
        assert "MARK SCHEME" in by_id(course.source, "report").source


def test_the_command_line_generates_a_release_where_it_is_told_to(tmp_path):
    nbgrader = Path(sys.executable).parent / "nbgrader"
    command = [nbgrader, "generate_assignment", "a1_matching", "--create", "--force"]
    environment = os.environ | {"MDCKIT_COURSE": str(tmp_path)}
    subprocess.run(command, cwd=FOLDER, env=environment, check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {"gradebook.db", "release"}
    assert [path.name for path in (tmp_path / "release").rglob("*.ipynb")] == ["a1_matching.ipynb"]
