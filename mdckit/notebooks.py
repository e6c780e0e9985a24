"""Run notebooks headless with checked parameters, and clean them for the repository.

python -m mdckit.notebooks run notebooks/20_run.ipynb out.ipynb -f notebooks/params/cifar10_quick.yaml -p seed 1
python -m mdckit.notebooks refresh notebooks/*.ipynb
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager

from . import files
from .parameters import parse, read_parameters

KEPT_METADATA = {"kernelspec"}
KEPT_CELL_METADATA = {"tags"}


class HeadlessKernel(AsyncKernelManager):
    """Starts kernels in which progress is plain text, as no browser is there to show it."""

    def start_kernel(self, extra_arguments=(), env=None, **options):
        """Arguments are those of `jupyter_client.AsyncKernelManager`."""
        quiet = [*extra_arguments, "--log-level=ERROR"]  # else every kernel warns of its transport
        env = {**(os.environ if env is None else env), "MDCKIT_HEADLESS": "1"}
        return super().start_kernel(extra_arguments=quiet, env=env, **options)


def run(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping | None = None,
    *,
    live: bool = False,
    kernels: type[AsyncKernelManager] = HeadlessKernel,
) -> nbformat.NotebookNode:
    """Execute `notebook` with papermill into `output`; the kernel starts in the current folder.

    Unknown parameters raise ValueError (papermill alone would only warn). With `live` the notebook's progress bars
    are shown on stderr; `kernels` is the class that starts the kernel. A failing cell raises
    papermill.PapermillExecutionError after `output` was written.
    """
    parameters = dict(parameters or {})
    known = papermill.inspect_notebook(str(notebook))
    for name in parameters:
        if name not in known:
            raise ValueError(f"unknown parameter {name!r} of {notebook}: it has {', '.join(known)}")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    return papermill.execute_notebook(
        str(notebook),
        str(output),
        parameters,
        kernel_name="python3",
        kernel_manager_class=kernels,
        progress_bar=False,
        stderr_file=sys.stderr if live else None,
    )


def clean(notebook: str | Path) -> None:
    """Strip what changes from run to run: counts, timings, progress bars, injected parameters; outputs are kept."""
    nb = nbformat.read(notebook, as_version=4)
    nb.metadata = {key: value for key, value in nb.metadata.items() if key in KEPT_METADATA}
    nb.cells = [cell for cell in nb.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for position, cell in enumerate(nb.cells):
        cell.id = f"cell-{position:02d}"
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in KEPT_CELL_METADATA}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [_clean_output(output) for output in cell.outputs if _is_kept(output)]
    files.write_atomically(notebook, (nbformat.writes(nb, indent=1) + "\n").encode())


def _is_kept(output: nbformat.NotebookNode) -> bool:
    if output.output_type == "stream":
        return output.name == "stdout"
    return "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def _clean_output(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    if "execution_count" in output:
        output.execution_count = None
    if "metadata" in output:
        output.metadata = {}
    if "image/png" in output.get("data", {}):
        output.data.pop("image/jpeg", None)  # the same picture again
    return output


@click.group()
def main() -> None:
    """Run and clean mdckit's notebooks."""


@main.command("run")
@click.argument("notebook", type=click.Path(exists=True, dir_okay=False))
@click.argument("output", type=click.Path(dir_okay=False))
@click.option("-f", "--file", "files_", multiple=True, type=click.Path(exists=True), help="YAML parameter file")
@click.option("-p", "--parameter", "pairs", multiple=True, nargs=2, help="NAME VALUE, the value read as YAML")
def _run_command(notebook, output, files_, pairs) -> None:
    """Execute NOTEBOOK with parameters into OUTPUT."""
    parameters = {}
    try:
        for path in files_:
            parameters |= read_parameters(path)
        parameters |= {name: parse(name, value) for name, value in pairs}
        run(notebook, output, parameters, live=True)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    except papermill.PapermillExecutionError as error:
        raise click.ClickException(f"{error.ename}: {error.evalue} (see {output})") from None


@main.command("refresh")
@click.argument("notebooks", nargs=-1, type=click.Path(exists=True, dir_okay=False))
def _refresh_command(notebooks) -> None:
    """Execute NOTEBOOKS with their own parameters and put them back, cleaned, with their new outputs."""
    for notebook in notebooks:
        click.echo(notebook, err=True)
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / Path(notebook).name
            run(notebook, output, live=True)
            clean(output)
            files.write_atomically(notebook, output.read_bytes())


@main.command("clean")
@click.argument("notebooks", nargs=-1, type=click.Path(exists=True, dir_okay=False))
def _clean_command(notebooks) -> None:
    """Strip what changes from run to run from NOTEBOOKS, in place."""
    for notebook in notebooks:
        clean(notebook)


if __name__ == "__main__":
    main()
