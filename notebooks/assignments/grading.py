"""Grading that survives its students: cells they deleted, code that never ends or kills its kernel, endless output."""

import copy
from collections.abc import Collection, Mapping, Sequence

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_output
from nbgrader.api import Gradebook
from nbgrader.preprocessors import Execute, OverwriteCells
from traitlets import Integer

NOTE = "\n... the rest of this output was not kept ...\n"
ENDLESS = ("CellTimeoutError", "DeadKernelError")


class RestoreCells(OverwriteCells):
    """Puts the given cells (tests, imports, tasks) back as they were released: changed, moved, copied or deleted ones.

    nbgrader overwrites changed ones. But it cannot grade a submission in which a step is gone or a cell was copied, and
    it lets a test run anywhere, also behind others that put the function right which it tests.
    """

    def preprocess(self, nb, resources):
        where = resources["nbgrader"]
        with Gradebook(where["db_url"]) as gradebook:
            released = gradebook.find_notebook(where["notebook"], where["assignment"])
            points = {cell.name: cell.max_score for cell in (*released.grade_cells, *released.task_cells)}
            tasks = {cell.name for cell in released.task_cells}
            cells = released.source_cells
            given = {c.name: _given_cell(c, points.get(c.name), c.name in tasks) for c in cells if c.locked}
            order = [cell.name for cell in cells]
        nb.cells = _without_copies(nb.cells, given)
        kept = [name for name in map(_name, nb.cells) if name in given]
        if kept != [name for name in order if name in kept]:
            nb.cells = [cell for cell in nb.cells if _name(cell) not in given]
        _insert_missing(nb.cells, given, order)
        return super().preprocess(nb, resources)


def _name(cell: NotebookNode) -> str | None:
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def _without_copies(cells: list[NotebookNode], given: Collection[str]) -> list[NotebookNode]:
    """All cells but later copies of given ones; later copies of answers become cells like any other."""
    seen, kept = set(), []
    for cell in cells:
        name = _name(cell)
        if name in seen:
            if name in given:
                continue
            del cell.metadata["nbgrader"]
        if name:
            seen.add(name)
        kept.append(cell)
    return kept


def _insert_missing(cells: list[NotebookNode], given: Mapping[str, NotebookNode], order: Sequence[str]) -> None:
    """Insert the given cells that are not there behind those they follow in the release."""
    position = 0
    for number, name in enumerate(order):
        here = [_name(cell) for cell in cells]
        if name in here:
            position = max(position, here.index(name) + 1)
        elif name in given:
            cells.insert(position, given[name])
            position += 1
        else:  # an answer that lost its mark may be anywhere before the next cell that is known
            position = min((here.index(later) for later in order[number:] if later in here), default=len(cells))


def _given_cell(cell, points: float | None, is_task: bool) -> NotebookNode:
    """A cell of the release as the gradebook has it; `points` None for one that is only given."""
    about = {"grade_id": cell.name, "checksum": cell.checksum, "schema_version": 3, "locked": True, "solution": False}
    about |= {"task": is_task, "grade": points is not None and not is_task}
    about |= {} if points is None else {"points": points}
    new = {"cell_type": cell.cell_type, "source": cell.source, "metadata": {"nbgrader": about}}
    return from_dict(new | ({"outputs": [], "execution_count": None} if cell.cell_type == "code" else {}))


class ExecuteAll(Execute):
    """Executes every cell, whatever the others do, and keeps no more than `max_output` characters of what one prints.

    A cell that goes on when it is interrupted (``except:`` around an endless loop) or ends its kernel (no memory left)
    fails by itself: a new kernel runs the cells before it again, without it, and goes on behind it. ``exit()``, which
    would end the kernel during a later cell, does nothing.
    """

    max_output = Integer(1_000_000, help="Characters of output that are kept of a cell").tag(config=True)

    def preprocess_cell(self, cell, resources, index):
        self.room = self.max_output
        try:
            return super().preprocess_cell(cell, resources, index)
        except (CellTimeoutError, DeadKernelError) as error:
            self._fail(cell, error)
            self._start_again(resources, index)
            return cell, resources

    def start_new_kernel_client(self):
        client = super().start_new_kernel_client()
        client.execute("get_ipython().ask_exit = lambda: None", silent=True, store_history=False)
        return client

    def _fail(self, cell, error: Exception) -> None:
        name = type(error).__name__
        cell.outputs.append(new_output("error", ename=name, evalue="", traceback=[f"{name}: a new kernel goes on"]))

    def _start_again(self, resources, index: int) -> None:
        self._cleanup_kernel()
        self.km = self.create_kernel_manager()
        self.start_new_kernel()
        self.start_new_kernel_client()
        for position, cell in enumerate(self.nb.cells[:index]):
            if any(output.get("ename") in ENDLESS for output in cell.get("outputs", [])):
                continue
            try:
                super().preprocess_cell(copy.deepcopy(cell), resources, position)
            except (CellTimeoutError, DeadKernelError) as error:  # not the first time, but now
                self._fail(cell, error)
                return self._start_again(resources, index)

    def output(self, outs, msg, display_id, cell_index):
        content, is_error = msg["content"], msg["msg_type"] == "error"
        size, room = len(str(content)), self.room
        if room <= 0 and not is_error:
            return None
        self.room -= size
        if size > room:
            msg["content"] = content | _shortened(content, max(room, 1000))
        return super().output(outs, msg, display_id, cell_index)


def _shortened(content: dict, room: int) -> dict:
    """What replaces parts of a message to bring it down to about `room` characters."""
    if "traceback" in content:
        return {"evalue": content["evalue"][:room], "traceback": [line[:room] for line in content["traceback"][-20:]]}
    if "text" in content:
        return {"text": content["text"][:room] + NOTE}
    return {"data": {"text/plain": NOTE}, "metadata": {}}
