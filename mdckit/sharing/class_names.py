"""Names of classes where others set the rules: folders, and lists without repetition."""

import unicodedata
from collections.abc import Sequence

LENGTH = 40  # letters of a class's name in the name of its folder


def class_folders(classes: Sequence[str]) -> list[str]:
    """A folder name for every class: its number, with leading zeros, and what a file system takes of its name.

    A name that is the number is left out.

    >>> class_folders(["cat", "../x", "été", "cat", "???", "5"])
    ['0_cat', '1_x', '2_été', '3_cat', '4', '5']
    """
    digits = len(str(len(classes) - 1))
    plain = ["" if str(name) == str(c) else _plain(name) for c, name in enumerate(classes)]
    return [f"{c:0{digits}d}_{name}".rstrip("_") for c, name in enumerate(plain)]


def _plain(name: str) -> str:
    """Letters and digits of any script, everything else as single dashes."""
    name = unicodedata.normalize("NFC", str(name))
    words = "".join(letter if letter.isalnum() else " " for letter in name).split()
    return "-".join(words)[:LENGTH]


def distinct(classes: Sequence[str]) -> list[str]:
    """The names of the classes, each with its number if some are alike.

    >>> distinct(["crane", "cat", "crane"])
    ['0 crane', '1 cat', '2 crane']
    """
    names = list(map(str, classes))
    return names if len(set(names)) == len(names) else [f"{c} {name}" for c, name in enumerate(names)]
