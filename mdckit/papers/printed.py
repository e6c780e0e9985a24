"""The papers' printed numbers as data, and which of our methods stands for which of their rows."""

import functools
from importlib import resources
from typing import NamedTuple

import pandas as pd

PAPERS = {"mdc": range(1, 13), "yoco": range(1, 8)}
DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN", "imagenet10": "ImageNet-10"}
NETWORKS = {"resnet10_ap": "ResNet10-AP", "resnet10": "ResNet", "densenet": "DenseNet"}
TESTS = {"cifar10": 10_000, "cifar100": 10_000, "svhn": 26_032, "imagenet10": 500}  # test images
OWN_SOURCES = ("n (own condensation)", "n x IPC1")  # Baselines A and B do not start from one set of N

_BASELINES = {"Baseline A": "baseline_a", "Baseline B": "baseline_b", "Baseline C": "baseline_c", "MDC (ours)": "mdc"}
_SCORES = {"SSP": "ssp", "Entropy": "entropy", "AUM": "aum", "EL2N": "el2n"}
_SELECTIONS = _SCORES | {
    "IDC (random subset)": "random",
    "Forgetting": "forgetting",
    "CCS": "ccs",
    "YOCO (ours)": "lbpe_balanced",
}


def _condensed(by: str, name: str) -> str:
    return name if by == "idc" else f"{by} {name}"


_RULES = {"no; balanced=no": "random", "no; balanced=yes": "random_balanced"}
_RULES |= {"yes; balanced=no": "lbpe", "yes; balanced=yes": "lbpe_balanced"}
_RANKED = {
    f"{label}; reversed(easy)={reverse}": name + suffix
    for label, name in (("AUM", "aum"), ("Forg.", "forgetting"), ("EL2N", "el2n"))
    for reverse, suffix in (("no", ""), ("yes", "_easy"))
} | {"Ours; reversed(easy)=n/a": "lbpe_balanced"}
# (paper, table) -> printed method: ours; "_easy" and "_balanced" are a selection's options, not its default, and a
# condenser other than IDC comes first: "dream mdc"
ROWS = {
    ("mdc", 1): _BASELINES,
    ("mdc", 2): {"IDC": "baseline_c", "MDC (ours)": "mdc"}
    | {method.upper(): f"{method} baseline_c" for method in ("dc", "dsa", "mtt", "dream")}
    | {"LFS (Slimmable DC)": "dc slimmable"},
    ("mdc", 3): {
        "MDC ablation: - / - / -": "baseline_c",
        "MDC ablation: calculate": "calculate",
        "MDC ablation: calculate+compare": "compare",
        "MDC ablation: calculate+compare+freeze": "mdc",
    },
    ("mdc", 4): _BASELINES,
    ("mdc", 5): {
        "MDC, metric=Feature Distance": "mdc",
        "MDC, metric=Gradient Distance": "mdc_gradient",
        "MDC, metric=Accuracy Difference": "mdc_accuracy",
    },
    ("mdc", 6): {"MDC mean of 6 runs": "mdc"},
    ("mdc", 8): {"MDC on IDC": "mdc", "MDC on DREAM": "dream mdc"},
    ("mdc", 9): _BASELINES,
    ("mdc", 12): {"MDC class-wise MLS": "mdc_class_wise", "MDC uniform MLS (default)": "mdc"},
    ("yoco", 1): _SELECTIONS | {"DREAM (random subset)": "dream random"},
    ("yoco", 2): {
        f"{by.upper()}; LBPE={rule}": _condensed(by, name)
        for by in ("idc", "dream", "mtt", "kip")
        for rule, name in _RULES.items()
    },
    ("yoco", 3): {"Random": "random", **_SCORES, "Forg.": "forgetting", "Ours": "lbpe_balanced"},
    ("yoco", 4): {
        f"{label}; condensed by {by.upper()}": _condensed(by, name)
        for by in ("idc", "dream", "mtt", "dsa")
        for label, name in _RANKED.items()
    },
    ("yoco", 5): {
        f"{label}; balanced={balance}": name + suffix
        for label, name in ({"Random": "random", "Forgetting": "forgetting", "YOCO (ours)": "lbpe"} | _SCORES).items()
        for balance, suffix in (("no", ""), ("yes", "_balanced"))
    },
    ("yoco", 7): _SELECTIONS | {"DREAM (random subset)": "dream random"},
}


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


class Block(NamedTuple):
    """What is the same for all accuracies that a table sets against each other."""

    dataset: str  # as printed: "CIFAR-10"
    ipc_source: int  # images per class of the set that smaller ones are taken from, the papers' N or IPC_F
    network: str  # that is tested, as printed: "ConvNet-D3"

    def __str__(self) -> str:
        return f"{self.dataset} from {self.ipc_source} images per class, {self.network}"


def blocks(paper: str, number: int) -> dict[Block, pd.DataFrame]:
    """The accuracies of a table by block: columns method, name, ipc ("1", ..., "avg"), printed, printed_std, recovered.

    `name` is our method for that row, NaN where there is none. `recovered` marks numbers that cannot be read in the
    table itself and are taken from another one of the same paper. A table without accuracies has no blocks.
    Raises ValueError as `table`.

    >>> [str(block) for block in blocks("mdc", 4)]
    ['CIFAR-10 from 10 images per class, ResNet', 'CIFAR-10 from 10 images per class, DenseNet']
    """
    return {block: rows.copy() for block, rows in _blocks(paper, number).items()}


@functools.cache
def _blocks(paper: str, number: int) -> dict[Block, pd.DataFrame]:
    rows = table(paper, number)
    rows = rows[rows["metric"].isin(("accuracy", "avg_accuracy")) & (rows["method"] != "(all)")]
    value = pd.to_numeric(rows["value"])
    rows = rows.assign(
        name=rows["method"].map(ROWS.get((paper, number), {})),
        source=rows["ipc_source"].astype(str),
        printed=value.fillna(rows["value_recovered"]),
        printed_std=rows["std"],
        recovered=value.isna() & rows["value_recovered"].notna(),
    )
    found = {}
    for (_, dataset, network), part in rows.groupby([rows["subtable"].fillna(""), "dataset", "network"], sort=False):
        own = part["source"].isin(OWN_SOURCES)
        for source in part.loc[~own, "source"].unique():
            chosen = part.loc[own | (part["source"] == source)]
            columns = ["method", "name", "ipc", "printed", "printed_std", "recovered"]
            found[Block(dataset, int(source), network)] = chosen[columns].reset_index(drop=True)
    return found
