"""A sweep: what is asked is checked, finished runs are skipped, the others executed, and all is told."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .. import files
from ..checks import check_count
from ..progress import Tally
from .collecting import finished
from .grid import expand
from .report import Report

KIT = Path(__file__).parents[2] / "notebooks"  # beside the package, where it is installed with -e


def sweep(
    grid: Mapping[str, Sequence],
    seeds: Sequence[int] | None = None,
    client=None,
    *,
    notebook: str | Path = "20_run",
    parameters: Mapping | None = None,
    folder: str | Path = "results/sweep",
    retries: int = 0,
    show_progress: bool = True,
) -> Report:
    """Run a notebook for every combination of the grid's values and the seeds, each into a folder of its own.

    A key of `grid` is a parameter of the notebook, or an entry of one that is a mapping ("condense.outer"); `seeds` are
    values of its parameter `seed`, `parameters` are those that all runs share. `notebook` is a path, or the name of one
    of the kit's; it must have a parameter `results`, the folder where it leaves result.json. `client` is a Dask client
    whose workers see the same files and have one thread each; without one the runs are executed in this process, one
    after the other. Runs whose `device` is neither empty nor "cpu" are given to workers that declare a resource GPU.

    The folder of a run is named by its id, which is the notebook's name and a digest of its parameters, and holds
    out.ipynb, params.yaml and result.json, and the notebook's checkpoint while it is unfinished. Finished runs are
    skipped, interrupted ones go on from there: ask again for what is missing. A run that fails is tried `retries` times
    more; it is in the report, and does not stop the others.

    Raises ValueError or OSError, before any run, for parameters that the notebook lacks or cannot be given, an empty
    grid, a missing notebook, a folder that cannot be written or locked, and workers that cannot take the runs.

    >>> from tempfile import TemporaryDirectory
    >>> tiny = {"recipes": ["baseline_c"], "condense": {"outer": 1}, "train": {"epochs": 4}, "seeds": [0]}
    >>> with TemporaryDirectory() as folder:
    ...     made = sweep({"ipc": [2]}, seeds=[7], parameters=tiny, folder=folder, show_progress=False)
    >>> made.counts
    {'done': 1, 'failed': 0, 'skipped': 0}
    """
    path = find(notebook)
    own = parameters_of(path)
    runs = expand(path.stem, grid, seeds, parameters or {}, own)
    check_count("retries", retries, 0)
    folder = files.check_writable(folder)
    report = Report(folder, runs, [run.id for run in runs if finished(folder / run.id)])
    return _watch(report, _begin(path, own, report, client, retries), show_progress)


def find(notebook: str | Path) -> Path:
    """The file of a notebook given by path, or by the name of one of the kit's.

    Raises FileNotFoundError that names the places.
    """
    path = Path(str(notebook))
    path = path if path.suffix == ".ipynb" else path.with_name(f"{path.name}.ipynb")
    places = [path, "notebooks" / path, KIT / path]
    for place in places:
        if place.is_file():
            return place.absolute()
    raise FileNotFoundError(f"no notebook {str(notebook)!r}: there is no {', no '.join(map(str, places))}")


def parameters_of(path: Path) -> dict:
    """The parameters of a notebook and their values in it; raises ValueError if it is none, or cannot be swept."""
    import papermill

    try:
        own = {name: _value(found["default"]) for name, found in papermill.inspect_notebook(str(path)).items()}
    except Exception as error:  # of several libraries
        raise ValueError(f"{path} cannot be read as a notebook: {error}") from None
    if "results" not in own:
        raise ValueError(f"{path} has no parameter results, the folder where a run leaves its result.json")
    return own


def _value(source: str) -> object:
    try:
        return ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return source


def _begin(path: Path, own: Mapping, report: Report, client, retries: int) -> Iterator:
    """Check where the runs are to be executed; the iterator executes them, and yields those that ended."""
    from . import cluster, execution  # with papermill, which takes a second to load

    jobs = []
    for run in report.runs:
        if run.id not in report.skipped:
            gpu = run.parameters.get("device", own.get("device")) not in (None, "", "cpu")
            jobs.append(execution.Job(run, str(path), str(report.folder.absolute() / run.id), str(Path.cwd()), gpu))
    execution.check_locks(report.folder)
    if client is None:
        return execution.run_all(jobs, retries)
    cluster.check(client, jobs)
    return cluster.run_all(client, jobs, retries)


def _watch(report: Report, ending: Iterator, show_progress: bool) -> Report:
    with Tally("runs", len(report.runs), len(report.skipped), show_progress) as tally:
        for ended, running in ending:
            for job, failure in ended:
                if failure is None:
                    report.done.append(job.run.id)
                else:
                    report.failed[job.run.id] = failure
                    tally.line(report.told(job.run))
            tally.tell(len(ended), {"running": running} | report.counts)
    return report
