"""The papers' tables with the results in a folder: what a notebook shows."""

import html as markup
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from .. import files as files_
from . import paper
from .printed import PAPERS, Block, blocks

PRINTED = "printed"


def read(*folders: str | Path) -> dict[str, dict]:
    """The JSON records in folders and below them, by name: the file's, or its folder's for a ``result.json``.

    A folder that does not exist has none. Raises ValueError or OSError naming a JSON file that cannot be read.
    """
    found = {}
    for folder in filter(None, folders):
        for path in sorted(Path(folder).rglob("*.json")):
            name = path.parent.name if path.stem == "result" else path.stem
            name = name if name not in found else str(path.with_suffix(""))
            content = files_.load_json(path)
            found[name] = content if isinstance(content, dict) else {}
    return found


def fitting(files: Mapping[str, dict]) -> dict[str, dict[tuple[str, int], str]]:
    """For every file and every table, (paper, number): why the two cannot be compared, empty where they can."""
    return {name: {at: _refusal(found, *at) for at in _all_tables()} for name, found in files.items()}


def _all_tables() -> list[tuple[str, int]]:
    return [(name, number) for name, numbers in PAPERS.items() for number in numbers]


def _refusal(found: Mapping | list[Mapping], name: str, number: int) -> str:
    try:
        paper.compare(found, name, number)
    except ValueError as error:
        return str(error)
    return ""


def overview(files: Mapping[str, dict]) -> pd.DataFrame:
    """A row per file: what it measures, at which scale, and in which tables it stands, or why in none.

    >>> overview({}).columns.tolist()
    ['data set', 'methods', 'scale', 'not as in the paper', 'tables']
    """
    rows = {}
    for name, refusals in fitting(files).items():
        found = files[name]
        fits = [f"{p.upper()} {number}" for (p, number), refusal in refusals.items() if not refusal]
        if fits:
            methods, settings = ", ".join(found["accuracy"]), paper.differences(found)
            rows[name] = (found["dataset"], methods, paper.scale(found), settings, ", ".join(fits))
        else:
            config = found.get("config")
            kind = "yoco" if isinstance(config, dict) and "recording" in config else "mdc"
            reason = refusals[kind, 1].split(f"; {kind.upper()} Table 1 prints")[0]
            rows[name] = (found.get("dataset", ""), "", "", "", f"none: {reason}")
    columns = ["data set", "methods", "scale", "not as in the paper", "tables"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


class Part(NamedTuple):
    """One block of a printed table, with what was measured of it."""

    block: Block
    title: str
    rows: pd.DataFrame  # method and source by images per class, as text
    verdict: str  # which printed orderings hold, a sentence per measurement; empty where nothing was measured
    compared: dict[str, pd.DataFrame]  # source -> what `paper.compare` returned


def parts(files: Mapping[str, dict], name: str, number: int) -> list[Part]:
    """The blocks of a printed table, every one with the measurements of it among `files`.

    Files of equal settings are pooled, others and repetitions of a run stand below each other: the level "source" of
    the rows says "printed" or which files. Printed cells in brackets cannot be read in that table and come from
    another one of the paper. Raises ValueError for a table that there is not.
    """
    groups: dict[Block, list[dict[str, dict]]] = {}
    for file, found in files.items():
        if not _refusal(found, name, number):
            own = groups.setdefault(paper.block_of(found, name, number), [])
            pooled = next((g for g in own if not _refusal([*g.values(), found], name, number)), None)
            own.append({file: found}) if pooled is None else pooled.update({file: found})
    made = []
    for block, rows in blocks(name, number).items():
        own = groups.get(block, [])
        compared = {" + ".join(records): paper.compare(records.values(), name, number) for records in own}
        said = [f"{source}: {paper.verdict(paper.orderings(found))}" for source, found in compared.items()]
        title = f"{name.upper()} Table {number}: {block}"
        made.append(Part(block, title, _pivot(rows, compared), "\n".join(said), compared))
    return made


def spread(rows: pd.DataFrame, pattern: str) -> pd.DataFrame:
    """The rows of a part with one size, what `pattern` calls "column" in a method's name spread over columns.

    >>> index = pd.MultiIndex.from_tuples([("IDC; a", "printed"), ("KIP; a", "printed")], names=["method", "source"])
    >>> rows = pd.DataFrame({"1": ["5.00", "6.00"]}, index=index).rename_axis(columns="images per class")
    >>> spread(rows, "(?P<column>.*); (?P<row>.*)").loc[("a", "printed"), "KIP"]
    '6.00'
    """
    cells = rows.stack().rename("cell").reset_index()
    cells = cells.join(cells["method"].str.extract(pattern))
    shown = cells.pivot_table(index=["row", "source"], columns="column", values="cell", aggfunc="first", sort=False)
    return shown.fillna("").rename_axis(index=["method", "source"], columns="condensed by")


def html(rows: pd.DataFrame) -> str:
    """The rows of a part as a compact HTML table, what was measured in bold; names of files are text, not HTML."""
    bold = rows.map("<b>{}</b>".format).where(rows != "", "")
    printed = rows.index.get_level_values("source") == PRINTED
    shown = rows.where(pd.Series(printed, rows.index), bold, axis=0).rename(index=markup.escape)
    return "".join(map(str.strip, shown.to_html(border=0, escape=False).splitlines()))


def summary(files: Mapping[str, dict]) -> pd.DataFrame:
    """For every part of a table that was measured: how many printed orderings there are, hold, and do not.

    >>> summary({}).empty
    True
    """
    found = []
    for name, number in _all_tables():
        for part in parts(files, name, number):
            for source, compared in part.compared.items():
                pairs = paper.orderings(compared)
                holds, clear = pairs["holds"].astype(bool), pairs["clear"].astype(bool)
                counts = (len(pairs), holds.sum(), (holds & clear).sum(), (~holds & clear).sum())
                found.append((part.title, source, *counts))
    columns = ["table", "source", "printed orderings", "hold", "clearly", "clearly reversed"]
    return pd.DataFrame(found, columns=columns).set_index("table")


def _pivot(rows: pd.DataFrame, compared: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Cells as text, two levels of rows, sizes as columns; methods and sizes in the printed order."""
    cells = [rows.assign(source=PRINTED, cell=[_printed_cell(row) for row in rows.itertuples()])]
    for source, found in compared.items():
        measured = found.dropna(subset="mean")
        cells.append(measured.assign(source=source, cell=[_measured_cell(row) for row in measured.itertuples()]))
    shown = pd.concat(cells).pivot(index=["method", "source"], columns="ipc", values="cell")
    order = [(m, s) for m in rows["method"].unique() for s in (PRINTED, *compared) if (m, s) in shown.index]
    sizes = sorted(rows["ipc"].unique(), key=lambda ipc: float("inf") if ipc == "avg" else int(ipc))
    return shown.loc[order, sizes].fillna("").rename_axis(columns="images per class")


def _printed_cell(row) -> str:
    if pd.isna(row.printed):
        return "-"
    text = f"{row.printed:.2f}" + (f" ± {row.printed_std:g}" if pd.notna(row.printed_std) else "")
    return f"({text})" if row.recovered else text


def _measured_cell(row) -> str:
    return f"{row.mean:.2f}" + (f" ± {row.std:.1f}" if pd.notna(row.std) else "")
