"""JSON values that are wrong in one place, for whatever is described in JSON."""

import copy
from random import Random

NAN, INFINITY = float("nan"), float("inf")


def _nested(depth: int) -> list:
    value = []
    for _ in range(depth):
        value = [value]
    return value


ODD = (
    *(None, True, -1, 0, 1, 3, 2**31, 2**63, 10**400, 0.5, NAN, INFINITY, -INFINITY, 1e308, "", "x", "3"),
    *("../../out", "/out", "a\x00b", "\ud800", "é" * 300, "<script>alert(1)</script>", [], {}, [[]], [None]),
    *([1, 2], ["a", "a"], [1] * 1000, {"a": 1}, {"": {}}, _nested(60), _nested(400)),
)


def _paths(value: object, path: tuple = ()) -> list[tuple]:
    """Where the parts of a value are, itself included."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, part in list(parts)[:20] for deeper in _paths(part, (*path, key)))]


def wrong(value: object, random: Random) -> object:
    """A copy in which a part or two are odd, missing, there twice, or under another name."""
    value = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 2))):
        paths = [path for path in _paths(value) if path]
        if not paths:
            return random.choice(ODD)
        # short paths first: they are what a file says of itself, long ones are numbers in lists
        path = min((random.choice(paths) for _ in range(2)), key=len)
        at = value
        for key in path[:-1]:
            at = at[key]
        change = random.choice(("odd", "odd", "odd", "gone", "renamed", "longer"))
        if change == "gone":
            del at[path[-1]]
        elif change == "renamed" and isinstance(at, dict):
            at[random.choice(("x", "../x", "", path[-1].upper()))] = at.pop(path[-1])
        elif change == "longer" and isinstance(at, list):
            at.append(copy.deepcopy(random.choice((at[path[-1]], *ODD))))
        else:
            at[path[-1]] = copy.deepcopy(random.choice(ODD))
    return value


def texts(text: str, random: Random) -> str:
    """JSON text that is odd as text: nested, long, with names twice."""
    deep = random.choice((51, 990, 100_000))
    return random.choice(
        (
            "[" * deep + "]" * deep,
            '{"a":' * deep + "1" + "}" * deep,
            "[" * deep,
            "9" * 10_000,
            "-" + "9" * 4000,
            '{"a": 1, "a": 2}',
            text.replace(":", ":" + text + ",", 1),
            text.rstrip()[:-1] + "," + text.lstrip()[1:],  # every name twice
            "null",
            "[]",
            '"text"',
            "NaN",
            "\ufeff" + text,
            text.replace("[", "[[[[[[", 3),
            '"' + "\\u0041" * 50_000 + '"',
            "[" + "[]," * 200_000 + "[]]",
        )
    )
