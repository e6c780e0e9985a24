"""Which classes a gallery shows: those whose names are asked for, a page at a time."""

from collections.abc import Sequence

import ipywidgets

from .mosaic import per_page
from .panels import WHOLE


class ClassFilter:
    """Two controls over `classes`: a text that names some of them, and the page of those that are shown at a time."""

    def __init__(self, classes: Sequence[str]):
        self.classes = classes
        self.find = ipywidgets.Combobox(
            options=list(classes),
            description="classes",
            placeholder="all, or: cat, dog",
            style=WHOLE,
            layout={"width": "250px"},
        )
        self.page = ipywidgets.Dropdown(options=[("", 0)], description="page", style=WHOLE, layout={"width": "270px"})

    @property
    def matching(self) -> list[int]:
        """Numbers of the classes that are named: exactly, or else by a part of their name; all where nothing is."""
        terms = [term.strip().lower() for term in self.find.value.split(",") if term.strip()]
        names = [name.lower() for name in self.classes]
        if not terms:
            return list(range(len(names)))
        return [c for c, name in enumerate(names) if any(t == name if t in names else t in name for t in terms)]

    @property
    def problem(self) -> str:
        """Why no class is shown; nothing where some are."""
        if self.matching:
            return ""
        return f"no class is called {self.find.value!r}: a part of a name will do, commas between several"

    def visible(self, strips: int, columns: int) -> list[int]:
        """Numbers of the classes on this page, for a gallery of so many strips per class; none if none matches."""
        classes = self.matching
        if not classes:
            return []
        size = per_page(len(classes), strips, columns)
        firsts = range(0, len(classes), size)
        pages = [(self._name_page(classes[first : first + size], first, len(classes)), first) for first in firsts]
        if list(self.page.options) != pages:
            self.page.options = pages
        self.page.layout.display = None if len(pages) > 1 else "none"
        return classes[self.page.value : self.page.value + size]

    def _name_page(self, classes: Sequence[int], first: int, count: int) -> str:
        start, end = (self.classes[c] for c in (classes[0], classes[-1]))
        return f"{first + 1} to {first + len(classes)} of {count}: {start} to {end}"
