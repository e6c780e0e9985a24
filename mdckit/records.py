"""What a record of a run must look like, before anything is made of a file that claims to be one."""

from collections.abc import Iterator, Mapping

from .forms import COUNT, NOTHING, PAIR, PERCENT, SIZE, TEXT, check_form

RECORD = {  # what every record holds, of condensed sets or of one set made smaller
    "dataset": TEXT,
    "ipc": SIZE,
    "seeds": ([COUNT], [PAIR]),
    "accuracy": {"*": {"*": [PERCENT]}},
    "accuracy_last?": {"*": {"*": [PERCENT]}},
    "accuracy_by_loop?": {"*": {"*": {"*": [PERCENT]}}},
    "digest?": TEXT,
    "source?": TEXT,
    "condenser?": (NOTHING, TEXT),
    "test_images?": (NOTHING, SIZE),
    "config": {"train": {"epochs": SIZE, "evaluations": SIZE}},
}


def check(found: object) -> None:
    """Raise ValueError unless `found` is a record of `mdckit.results`: accuracies in percent, one for every seed."""
    check_form(found, RECORD, "the record")
    paired = "digest" in found
    if any(isinstance(seed, list) != paired for seed in found["seeds"]):
        raise ValueError(f"the record has {'no' if paired else ''} pairs of seeds, which are of sets made smaller")
    for what, sizes in _each_method(found):
        for size, values in sizes.items():
            _check_number(size, what, "images per class")
            if (count := len(values)) != (seeds := len(found["seeds"])):
                raise ValueError(f"{what} has {count} numbers at {size} images per class, there are {seeds} seeds")


def _each_method(found: Mapping) -> Iterator[tuple[str, Mapping]]:
    """The accuracies by size of every method, and of every loop of it, and what they are."""
    for which in ("accuracy", "accuracy_last"):
        for method, sizes in found.get(which, {}).items():
            yield f"{which} of {method[:40]!r}", sizes
    for method, loops in found.get("accuracy_by_loop", {}).items():
        for loop, sizes in loops.items():
            _check_number(loop, f"accuracy_by_loop of {method[:40]!r}", "outer loops")
            yield f"accuracy of {method[:40]!r} after outer loop {loop}", sizes


def _check_number(text: str, what: str, expected: str) -> None:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and str(int(text)) == text and text != "0"):
        raise ValueError(f"{what} has the key {text[:40]!r}: expected {expected}")
