"""What is written beside a shared set: where it comes from, how to load and normalise it, what it is worth."""

import json
import re

import yaml

from ..condensed import CondensedSet
from . import loading
from .rounding import Measured, clipping

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
LONG = 40  # values of a record that are still shown


def hub_card(condensed: CondensedSet, name: str, license: str, measured: Measured | None = None) -> str:
    """The dataset card of the parquet folder `name`: front matter for the Hugging Face Hub, then `describe`."""
    size = next((span for limit, span in SIZES.items() if condensed.patches < limit), "10M<n<100M")
    front = {
        "pretty_name": _title(condensed),
        "license": license,
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "tags": ["dataset-condensation", "dataset-distillation", "mdckit"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
    }
    publish = "To publish this folder: hf auth login, then in it: hf upload USER/NAME . --repo-type dataset"
    header = f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n<!-- {publish} -->"
    return f"{header}\n\n{describe(condensed, loading.with_datasets(condensed, name), measured)}"


def check_license(license: str) -> None:
    """Raise ValueError unless `license` looks like an identifier of the Hub, such as "mit" or "cc-by-4.0"."""
    if not isinstance(license, str) or not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license):
        raise ValueError(
            f"license {license!r} given: name it as the Hub does, such as 'mit', 'cc-by-4.0' or 'other', and mind that "
            "of the real images"
        )


def describe(condensed: CondensedSet, lines: str, measured: Measured | None = None) -> str:
    """The card as Markdown; `lines` are the Python lines that read the export it lies beside.

    Raises ValueError for accuracies of a set with other sizes.
    """
    parts = [
        f"# {_title(condensed)}\n\n{_contents(condensed)}",
        f"## Load it\n\n{lines}",
        f"## Pixels and labels\n\n{_pixels(condensed)}",
        f"## Accuracy\n\n{_accuracy(condensed, measured)}",
        f"## Where it comes from\n\n{_provenance(condensed)}",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _title(condensed: CondensedSet) -> str:
    images = f"{condensed.ipc} image{'s' * (condensed.ipc > 1)} per class"
    return f"{condensed.data_name} condensed to {images} ({_method(condensed)})"


def _method(condensed: CondensedSet) -> str:
    """What made the set, as far as it tells."""
    recipe = condensed.info.get("recipe")
    name = recipe.get("name") if isinstance(recipe, dict) else recipe
    imported = condensed.info.get("import", {}).get("layout")
    made = name or (f"imported, {imported}" if imported else "method unknown")
    chosen = condensed.info.get("selected")
    return made if chosen is None else f"{made}, patches chosen by {chosen.get('method', 'hand')}"


def _contents(condensed: CondensedSet) -> str:
    shape, cells = " x ".join(map(str, condensed.images.shape[2:])), condensed.factor**2
    held = f"{len(condensed.classes)} classes, {condensed.ipc} synthetic images of {shape} (C x H x W) stored per class"
    if cells > 1:
        held += f", each holding {cells} smaller ones, which are decoded here to full size"
    if condensed.counts is not None:
        held += f"; classes have {min(condensed.counts)} to {max(condensed.counts)} training images"
    return f"""\
A condensed training set: {held}. In all {condensed.patches:,} training images.

They are ordered class by class, and within a class by rank: the number of the stored image, from 0. **S[n], the
training images with rank < n, is the set of n images per class**, for every n from 1 to {condensed.ipc}."""


def _pixels(condensed: CondensedSet) -> str:
    found, grey = clipping(condensed), condensed.images.shape[2] == 1
    span = f"{found['lowest']:.3f} to {found['highest']:.3f}, {100 * found['share']:.2f} % of them outside 0..1"
    moments = f"mean {list(condensed.mean)}, std {list(condensed.std)}"
    lines = {
        "pictures": f"8 bits, {'grey' if grey else 'RGB'}: a pixel p of the set is round(255 p), clipped to 0..255",
        "the set itself": f"`condensed.safetensors`, float32, not clipped: pixels from {span}",
        "to train on": f"(p - mean) / std with p in 0..1, {moments}",
        "labels": f"hard, one class per image: {_labels(condensed)}",
    }
    return _two_columns(lines)


def _two_columns(lines: dict[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in lines.items())])


def _labels(condensed: CondensedSet) -> str:
    count = len(condensed.classes)
    if condensed.classes == tuple(map(str, range(count))):
        return f"0 to {count - 1}"
    names = ", ".join(f"{c} {name}" for c, name in enumerate(condensed.classes))
    return re.sub(r"\s", " ", names).replace("|", r"\|")


def _accuracy(condensed: CondensedSet, measured: Measured | None) -> str:
    if measured is None:
        return "Not measured for this export."
    for n, result in measured.exact.items():
        if result.patches != condensed.take(n).patches:
            raise ValueError(
                f"an accuracy of {result.patches} training images given for S[{n}] of {condensed.take(n).patches}: "
                "measure this set"
            )
    return f"{protocol(measured)}\n\n{_markdown(measured)}"


def protocol(measured: Measured) -> str:
    """What the numbers of a table are: seeds, tests, network, training."""
    config, seeds, made = measured.config, measured.config.seeds, measured.made
    net = {
        "convnet": f"convnet (width {config.width}, depth {config.depth}, {config.norm} norm)",
        "resnet10_ap": f"resnet10_ap (width {config.width}, {config.norm} norm)",
    }.get(config.network, config.network)
    sentences = [
        f"Test accuracy in % on {measured.tested_on}: mean ± population standard deviation over {len(seeds)} "
        f"evaluation seed{'s' * (len(seeds) > 1)} ({', '.join(map(str, seeds))}) of this one set.",
        f"*Best* is the best of {config.evaluations} tests during training, as the field's papers report it, *last* "
        "the accuracy after the last epoch.",
        f"Each time a {net} is trained for {config.epochs} epochs by SGD: batches of {config.batch}, "
        f"learning rate {config.lr} divided by 5 after 2/3 and 5/6 of them, momentum {config.momentum}, weight decay "
        f"{config.weight_decay}, augmentation {config.augment or 'none'}, CutMix with probability {config.cutmix}.",
        "*Cost of 8 bits* is the last accuracy in float32 less that of the 8-bit pictures, in points, seed by seed."
        if measured.rounded
        else "",
        f"Measured with mdckit {made['mdckit']} and torch {made['torch']} on {made['machine']}.",
    ]
    return " ".join(filter(None, sentences))


def _markdown(measured: Measured) -> str:
    table = measured.table().reset_index()
    rows = [list(table.columns), ["---"] * len(table.columns), *table.values.tolist()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _provenance(condensed: CondensedSet) -> str:
    made = condensed.info.get("versions", {})
    trace = condensed.mls_trace if len(condensed.mls_trace) <= LONG else _shortened(condensed.mls_trace)
    lines = {
        "real data": condensed.data_name,
        "method": _method(condensed),
        "most learnable subset": f"[outer loop, images per class] {trace}" if trace else "none recorded",
        "made with": ", ".join(f"{name} {version}" for name, version in made.items()) or "not recorded",
        "digest": f"`{condensed.digest}`, which `mdckit.load_set(...).digest` gives again",
    }
    others = {name: value for name, value in condensed.info.items() if name not in ("mls_trace", "versions")}
    record = json.dumps(_shortened(others), indent=1, ensure_ascii=False)
    details = f"<details><summary>Settings and records</summary>\n\n```json\n{record}\n```\n\n</details>"
    return f"{_two_columns(lines)}\n\n{details}"


def _shortened(value: object) -> object:
    """The same with every list of many values told by their number alone."""
    if isinstance(value, dict):
        return {name: _shortened(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple) and _values(value) > LONG:
        return f"{_values(value)} values, in condensed.safetensors"
    return value


def _values(value: object) -> int:
    return sum(map(_values, value)) if isinstance(value, list | tuple) else 1
