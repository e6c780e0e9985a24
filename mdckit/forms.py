"""What values read from a file must look like: a form is drawn once, and one function compares.

A form is a `Leaf`, a list of one form (any number of such values), a tuple of forms (any of them) or a dict. The keys
of a dict are entries that must be there, or may be there where they end in ``?``; others are let pass. The one key
``*`` stands for every entry.
"""

import reprlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Leaf:
    """A value without parts: in words, and whether a value is one."""

    words: str
    fits: Callable[[object], bool]


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a character, which JSON can write and no other file takes
        return False
    return True


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30  # neither NaN nor infinite, nor an int beyond floats


TEXT = Leaf("text", _is_text)
NUMBER = Leaf("a finite number", _is_number)
FLOAT = Leaf("a number", lambda value: type(value) is float or _is_number(value))  # a loss may be NaN
POSITIVE = Leaf("a finite number above 0", lambda value: _is_number(value) and value > 0)
PERCENT = Leaf("a number in 0..100", lambda value: _is_number(value) and 0 <= value <= 100)
COUNT = Leaf("an integer >= 0", lambda value: type(value) is int and 0 <= value < 2**63)
SIZE = Leaf("an integer >= 1", lambda value: type(value) is int and 1 <= value < 2**63)
PAIR = Leaf("a pair of integers >= 0", lambda value: _is_list(value, 2) and all(map(COUNT.fits, value)))
NOTHING = Leaf("null", lambda value: value is None)

CONDENSED = {  # what a file says of a condensed set, as far as this kit uses it
    "factor?": SIZE,
    "mean?": [NUMBER],
    "std?": [POSITIVE],
    "classes?": [(TEXT, COUNT)],
    "dataset?": TEXT,
    "counts?": ([COUNT], NOTHING),
    "mls_trace?": ([PAIR], [[PAIR]]),
    "outer?": COUNT,
    "losses?": [FLOAT],
    "recipe?": {"name?": TEXT, "freeze?": TEXT},
    "config?": {"period?": SIZE},
    "selected?": {"patches": [COUNT], "of": TEXT},
    "import?": {"layout?": TEXT},
    "versions?": {"*": TEXT},
}


def check_form(value: object, form: object, at: str = "it") -> None:
    """Raise ValueError that names the first part of `value`, which is called `at`, that is not of the `form`.

    >>> check_form({"seeds": [0, 1], "ipc": "ten"}, {"seeds": [COUNT], "ipc": SIZE, "note?": TEXT}, "the record")
    Traceback (most recent call last):
    ...
    ValueError: the record['ipc'] is 'ten': expected an integer >= 1
    """
    if isinstance(form, tuple):
        _check_any(value, form, at)
    elif isinstance(form, Leaf):
        _require(form.fits(value), value, form.words, at)
    elif isinstance(form, list):
        _require(isinstance(value, list), value, "a list", at)
        for i, part in enumerate(value):
            check_form(part, form[0], f"{at}[{i}]")
    else:
        _require(isinstance(value, dict), value, "entries by name", at)
        expected = dict.fromkeys(value, form["*"]) if "*" in form else form
        for key, part in expected.items():
            name = key if "*" in form else key.removesuffix("?")
            if name in value:
                check_form(value[name], part, f"{at}[{name!r}]")
            elif not key.endswith("?"):
                raise ValueError(f"{at} has no {name!r}")


def _check_any(value: object, forms: tuple, at: str) -> None:
    for form in forms[:-1]:
        try:
            return check_form(value, form, at)
        except ValueError:
            continue
    return check_form(value, forms[-1], at)


def _require(fits: bool, value: object, words: str, at: str) -> None:
    if not fits:
        raise ValueError(f"{at} is {reprlib.repr(value)}: expected {words}")
