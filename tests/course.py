"""A course in a folder of its own: release an assignment, hand in, grade headless, look at the points."""

import copy
import inspect
import sys
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbformat.v4 import new_code_cell
from nbgrader.apps import NbGraderAPI
from traitlets.config import PyFileConfigLoader

FOLDER = Path(__file__).parents[1] / "notebooks" / "assignments"
sys.path.insert(0, str(FOLDER))
from grading import ExecuteAll  # noqa: E402

EMPTY = """
for name in {*globals()} - {*get_ipython().user_ns_hidden}:
    del globals()[name]
"""  # as %reset, which takes half a second to look for garbage


def remember_results():
    """For a kernel: a set tested before, on the same images and with the same settings, is not tested again."""
    import mdckit

    test, known = mdckit.evaluate, {}

    def evaluate(condensed, data, config):
        images = [(tensor.shape, tensor.numpy().tobytes()) for tensor in (data.x_test, data.y_test)]
        key = str((condensed.digest, condensed.mean, condensed.std, config)), *images[0], *images[1]
        if key not in known:
            known[key] = test(condensed, data, config)
        return known[key]

    mdckit.evaluate = evaluate


class OneKernel(ExecuteAll):
    """Executes all notebooks in one kernel, emptied in between: importing PyTorch takes longer than most of them."""

    def preprocess(self, nb, resources):
        first = f"{inspect.getsource(remember_results)}\nremember_results()\n" * (not self.manager.has_kernel)
        nb.cells.insert(0, new_code_cell(first + EMPTY))
        nb, resources = super().preprocess(nb, resources, self.manager)
        self.kc.stop_channels()
        del nb.cells[0]
        return nb, resources


class Course:
    """One assignment, its release, and a gradebook."""

    def __init__(self, root: Path, name: str):
        self.root, self.name = root, name
        self.source = nbformat.read(FOLDER / name / f"{name}.ipynb", as_version=4)
        self.kernel = AsyncKernelManager(kernel_name="python3")
        done = self._api().generate_assignment(name)
        assert done["success"], done["log"]
        self.release = nbformat.read(root / "release" / name / f"{name}.ipynb", as_version=4)

    def _api(self, **changes) -> NbGraderAPI:
        config = PyFileConfigLoader("nbgrader_config.py", str(FOLDER)).load_config()
        config.CourseDirectory.root = str(self.root)
        if changes.pop("one_kernel", False):
            config.OneKernel.skip_cells_with_tag = "slow"
            shared = type("OneKernel", (OneKernel,), {"manager": self.kernel})
            steps = config.Autograde.autograde_preprocessors
            config.Autograde.autograde_preprocessors = [shared if step is ExecuteAll else step for step in steps]
        config.ExecuteAll.update({"timeout": 600} | changes)  # machines that run tests may be slow
        return NbGraderAPI(config=config)

    def close(self) -> None:
        """End the kernel that submissions shared."""
        if self.kernel.has_kernel:
            run_sync(self.kernel.shutdown_kernel)(now=True)

    def answered(self, answers: dict[str, str] | None = None) -> nbformat.NotebookNode:
        """The release as a student hands it in who knows the solutions, but gives these `answers` by step."""
        nb = copy.deepcopy(self.release)
        for cell in nb.cells:
            about = cell.metadata.get("nbgrader", {})
            if about.get("solution"):
                cell.source = (answers or {}).get(about.grade_id, solution(self.source, about.grade_id))
        return nb

    def grade(self, student: str, nb: nbformat.NotebookNode, **changes) -> dict[str, float]:
        """Points by step of what a student hands in; `changes` are settings of `ExecuteAll`, or ``one_kernel``."""
        path = self.root / "submitted" / student / self.name / f"{self.name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(nb, path)
        api = self._api(**changes)
        done = api.autograde(self.name, student)
        assert done["success"], done["log"]
        with api.gradebook as gradebook:
            (graded,) = gradebook.find_submission(self.name, student).notebooks
            assert graded.max_score == 100
            return {g.name.removesuffix("-test"): g.auto_score for g in graded.grades if g.name.endswith("-test")}

    def graded(self, student: str) -> nbformat.NotebookNode:
        """What a student handed in, as it was executed."""
        return nbformat.read(self.root / "autograded" / student / self.name / f"{self.name}.ipynb", as_version=4)


def by_id(nb: nbformat.NotebookNode, grade_id: str) -> nbformat.NotebookNode:
    """The cell with this grade_id."""
    (cell,) = [c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id]
    return cell


def points(nb: nbformat.NotebookNode) -> dict[str, int]:
    """The points of every step of a source or a release."""
    about = [cell.metadata.get("nbgrader", {}) for cell in nb.cells]
    return {a.grade_id.removesuffix("-test"): a.points for a in about if a.get("grade")}


def solution(source: nbformat.NotebookNode, step: str) -> str:
    """The solution of a step, without the marks around it."""
    lines = by_id(source, step).source.splitlines()
    return "\n".join(line for line in lines if "### " not in line)


def edited(source: nbformat.NotebookNode, step: str, edit) -> str:
    """The solution of a step with an edit (see `wrong_answers`)."""
    if isinstance(edit, str):
        before, rest = by_id(source, step).source.split("    ### BEGIN SOLUTION\n")
        body = "".join(f"    {line}\n" for line in edit.splitlines())
        return before + body + rest.split("    ### END SOLUTION")[1]
    text = solution(source, step)
    for old, new in [edit] if isinstance(edit, tuple) else edit:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the solution of {step}"
        text = text.replace(old, new)
    return text
