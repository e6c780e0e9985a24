"""Parameters of notebooks, in YAML files and on the command line."""

from pathlib import Path

import yaml

from . import files
from .forms import FLOAT, TEXT

LARGEST = 2**16  # bytes; the files in notebooks/params have some hundred


def parse(name: str, text: str) -> object:
    """The value of a parameter as it is written on a command line, in YAML; raises ValueError naming it.

    >>> parse("sizes", "[1, 2]")
    [1, 2]
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"{name} = {text!r} is no YAML value: quote text, and close brackets") from None


def read_parameters(path: str | Path) -> dict:
    """The parameters in a YAML file: text, numbers, true, false, null, and lists and mappings of them.

    Raises FileNotFoundError, and ValueError naming a file that holds something else. Neither tags that make objects nor
    aliases, of which a few lines stand for more than there is memory, are followed.
    """
    path = files.require_file(path, "YAML parameters")
    with path.open("rb") as file:
        text = file.read(LARGEST + 1)
    try:
        if len(text) > LARGEST:
            raise ValueError(f"it is longer than {LARGEST:,} bytes")
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
