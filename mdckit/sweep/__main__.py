"""Run a notebook for the grid in a file: python -m mdckit.sweep notebooks/sweeps/digits.yaml --workers 2"""

import sys
from contextlib import nullcontext
from pathlib import Path

import click

from ..parameters import read_parameters
from . import cluster
from .sweeping import sweep

KEYS = ("notebook", "grid", "seeds", "parameters")


def read(path: Path) -> dict:
    """The arguments of `sweep` in a YAML file; raises ValueError for a file of another kind."""
    found = read_parameters(path)
    if "grid" not in found:
        raise ValueError(f"{path} has no grid: it needs the keys grid and, where wanted, notebook, seeds, parameters")
    for key in found:
        if key not in KEYS:
            raise ValueError(f"unknown key {key!r} in {path}: choose among {', '.join(KEYS)}")
    return found


@click.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option("-r", "--results", type=click.Path(file_okay=False), help="the sweep's folder; results/<name of FILE>")
@click.option("--workers", type=click.IntRange(min=1), help="so many processes on this machine")
@click.option("--scheduler", help="address of a Dask scheduler, such as tcp://host:8786")
@click.option("--retries", type=click.IntRange(min=0), default=0, show_default=True, help="of a run that fails")
def main(path: Path, results: str | None, workers: int | None, scheduler: str | None, retries: int) -> None:
    """Run a notebook for every configuration in FILE, skipping finished ones; in this process or on a Dask cluster."""
    if workers and scheduler:
        raise click.UsageError("--workers starts a cluster and --scheduler takes another: choose one of them")
    place = cluster.connect(scheduler) if scheduler else cluster.local(workers) if workers else nullcontext()
    try:
        asked = read(path)
        with place as client:
            report = sweep(client=client, folder=results or f"results/{path.stem}", retries=retries, **asked)
    except (ValueError, OSError, ImportError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(report)
    sys.exit(bool(report.failed))


if __name__ == "__main__":
    main()
