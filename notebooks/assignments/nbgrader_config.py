"""nbgrader's settings for these assignments; run nbgrader in this folder. README.md says how."""

import os
import sys
from pathlib import Path

from nbgrader.converters import Autograde
from nbgrader.preprocessors import DeduplicateIds, Execute, OverwriteCells

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # nbgrader calls alembic
from grading import ExecuteAll, RestoreCells  # noqa: E402

c = get_config()  # noqa: F821

# The sources lie here; releases, submissions, points and feedback in a folder that git ignores, or in MDCKIT_COURSE.
c.CourseDirectory.course_id = "mdckit"
c.CourseDirectory.source_directory = str(HERE)
c.CourseDirectory.root = os.environ.get("MDCKIT_COURSE", str(HERE.parents[1] / "course"))

ours = {OverwriteCells: RestoreCells, Execute: ExecuteAll}
for name in ("sanitize_preprocessors", "autograde_preprocessors"):
    usual = Autograde.class_traits()[name].default()
    c.Autograde[name] = [ours.get(step, step) for step in usual if step is not DeduplicateIds]

c.ExecuteAll.timeout = 180  # seconds for a cell; the slowest takes about 20
c.ExecuteAll.iopub_timeout = 20  # seconds until an interrupted cell is given up
c.LimitOutput.max_lines = 500  # of a cell
c.IgnorePattern.enabled = True  # else a warning or a progress bar, on stderr, would cost a step all its points
c.IgnorePattern.pattern = r"\S"
