"""The accuracy table of a result file: python -m mdckit results/demo/result.json"""

import click

from . import results
from .pruning import comparison


@click.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False))
def main(path: str) -> None:
    """Print the accuracies in PATH, a result.json of condensed sets or of one set made smaller."""
    try:
        found = results.load(path)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo((comparison if "digest" in found else results).summary(found))


if __name__ == "__main__":
    main()
