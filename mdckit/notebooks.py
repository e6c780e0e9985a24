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
import yaml

from . import files
from .forms import FLOAT, TEXT

KEPT_METADATA = {"kernelspec"}
KEPT_CELL_METADATA = {"tags"}
LARGEST_PARAMETERS = 2**16  # bytes; the files in notebooks/params have some hundred


def run(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping | None = None,
    *,
    live: bool = False,
    kernels: type | None = None,
) -> nbformat.NotebookNode:
    """Execute `notebook` with papermill into `output`; the kernel starts in the current folder.

    Unknown parameters raise ValueError (papermill alone would only warn). With `live` the notebook's progress bars
    are shown on stderr; `kernels` is the class of the kernel manager. A failing cell raises
    papermill.PapermillExecutionError after `output` was written.
    """
    parameters = dict(parameters or {})
    known = papermill.inspect_notebook(str(notebook))
    for name in parameters:
        if name not in known:
            raise ValueError(f"unknown parameter {name!r} of {notebook}: it has {', '.join(known)}")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("MDCKIT_HEADLESS")
    os.environ["MDCKIT_HEADLESS"] = "1"
    try:
        return papermill.execute_notebook(
            str(notebook),
            str(output),
            parameters,
            kernel_name="python3",
            progress_bar=False,
            stderr_file=sys.stderr if live else None,
            **({"kernel_manager_class": kernels} if kernels else {}),
        )
    finally:
        os.environ.pop("MDCKIT_HEADLESS")
        if before is not None:
            os.environ["MDCKIT_HEADLESS"] = before


def read_parameters(path: str | Path) -> dict:
    """The parameters in a YAML file: text, numbers, true, false, null, and lists and mappings of them.

    Raises FileNotFoundError, and ValueError naming a file that holds something else. Neither tags that make objects nor
    aliases, of which a few lines stand for more than there is memory, are followed.
    """
    path = files.require_file(path, "YAML parameters")
    with path.open("rb") as file:
        text = file.read(LARGEST_PARAMETERS + 1)
    try:
        if len(text) > LARGEST_PARAMETERS:
            raise ValueError(f"it is longer than {LARGEST_PARAMETERS:,} bytes")
        found = yaml.load(text.decode(), _PlainLoader) or {}
        if not isinstance(found, dict):
            raise ValueError(f"it is a {type(found).__name__}: expected lines of NAME: VALUE")
        odd = next((name for name, value in found.items() if not _is_plain({name: value})), None)
        if odd is not None:
            raise ValueError(f"the value of {str(odd)[:40]!r} is no text, number, true, false, null, list or mapping")
    except (ValueError, ArithmeticError, LookupError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path} holds no parameters: {files.brief(' '.join(str(error).split()))}") from None
    return found


class _PlainLoader(yaml.SafeLoader):
    """YAML in which every value stands where it is used, once."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise ValueError(f"it has an alias, *{self.peek_event().anchor}: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise ValueError(f"a name stands there twice{node.start_mark}")
        return found


def _is_plain(value: object, deepest: int = 20) -> bool:
    if isinstance(value, list | dict):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        named = all(map(TEXT.fits, value)) if isinstance(value, dict) else True
        return deepest > 0 and named and all(_is_plain(part, deepest - 1) for part in parts)
    return value is None or isinstance(value, bool) or TEXT.fits(value) or FLOAT.fits(value)


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
        parameters |= {name: yaml.safe_load(value) for name, value in pairs}
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
