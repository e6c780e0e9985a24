"""The papers' printed numbers as data."""

from importlib import resources

import pandas as pd


def table(paper: str, number: int) -> pd.DataFrame:
    """A table of a paper in tidy form: dataset, method, ipc, metric, value (as printed), std, note and so on.

    Raises ValueError naming the tables there are.

    >>> rows = table("mdc", 3)
    >>> rows.loc[(rows.method == "MDC ablation: calculate+compare+freeze") & (rows.ipc == "1"), "value"].item()
    49.66
    """
    folder = resources.files("mdckit") / "paper_tables"
    path = folder / f"{paper}_table{number}.csv"
    if not path.is_file():
        names = sorted(p.name.removesuffix(".csv") for p in folder.iterdir())
        raise ValueError(f"no table {number} of {paper!r} here: there are {', '.join(names)}")
    with path.open() as file:
        return pd.read_csv(file, dtype={"ipc": str})
