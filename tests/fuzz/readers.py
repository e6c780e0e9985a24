"""Every reader of files: a sound example that the kit itself makes, how it is read, and what must then be true of it.

A `Reader` lays samples into folders; of each sample one file is damaged. `read` gives a value, `examine` proves that it
can be used (AssertionError else) and returns what two readings of the same content share.
"""

import ast
import io
import json
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from papermill.translators import PythonTranslator
from PIL import Image

import mdckit
from mdckit import baselines, checkpoint, export, files, results
from mdckit.arrays import from_arrays
from mdckit.condense import condense_steps, condensed_sets
from mdckit.condensers.experts import ExpertConfig, load_experts, train_experts
from mdckit.initialisation import start
from mdckit.papers import side_by_side
from mdckit.parameters import read_parameters
from mdckit.pruning import comparison, scores
from mdckit.pruning.dynamics import Dynamics
from mdckit.subsets import histories
from tests import real_files, records
from tests.fuzz import forged

Forger = Callable[[bytes, Random, Path], bytes]


@dataclass(frozen=True)
class Reader:
    """One way of reading, and files for it."""

    make: Callable[[Path], dict[str, Path]]  # an empty folder -> sample: the file in it that is damaged
    read: Callable[[Path, Path], object]  # the sample's folder, the file
    examine: Callable[[object, Path], object]  # the value, a folder to write in
    forgers: Sequence[Forger]
    sealed: bool = False  # a digest or check sums cover all: bytes that were changed are refused, or make no difference
    heals: bool = False  # reads the original whatever the file holds
    whole: bool = False  # an error may name the folder in place of the file


# -- what is condensed from, and to

torch.manual_seed(0)
Y = torch.arange(3).repeat(12)
X = (Y[:, None, None, None] * 60 + torch.randint(0, 60, (36, 3, 8, 8))).to(torch.uint8)
DATA = from_arrays(X, Y, X[:6], Y[:6], classes=("ant", "bee", "cow"), name="insects")
CONFIG = mdckit.CondenseConfig(
    **{"ipc": 3, "factor": 2, "outer": 2, "inner": 1, "period": 1, "reference_size": 8, "width": 4, "depth": 1},
    **{"batch_real": 4, "net_images": 4, "net_batch": 4},
)
RECIPES = [baselines.mdc(), baselines.mdc(name="wise", class_wise=True), baselines.baseline_c()]
TRAIN = mdckit.TrainConfig(epochs=4, width=4, depth=1)
EXPERTS = ExpertConfig(count=2, epochs=1, width=4, depth=1)


def _state(outer: int = 2):
    state = start(DATA, RECIPES, CONFIG)
    for step in condense_steps(DATA, RECIPES, CONFIG, device="cpu", state=state):
        if step.ends_outer and step.outer == outer:
            break
    return state


def _sets() -> dict[str, mdckit.CondensedSet]:
    return condensed_sets(_state(), DATA, RECIPES, CONFIG)


def _some() -> dict[str, mdckit.CondensedSet]:
    sets = _sets()
    return sets | {"part": sets["wise"].select(torch.tensor([0, 5, 9, 12, 30]), method="mine")}


def _plain(value: object) -> object:
    return json.loads(json.dumps(value))


def _set(value: mdckit.CondensedSet, place: Path) -> object:
    """All that is done with a set: smaller, decoded, listed, written and read again, exported."""
    first, (patches, labels) = value.take(1), value.decode()
    assert len(patches) == len(labels) == value.patches == sum(value.patches_per_class)
    assert bool(torch.isfinite(patches).all())
    assert first.patches <= value.patches
    assert set(labels.tolist()) <= set(range(len(value.classes)))
    assert len(value.dataset(augment="flip")) == value.patches
    assert all(history.mls(5) is None or history.mls(5) >= 0 for history in histories(value.info))
    assert isinstance(value.mls_trace, list)
    again = mdckit.CondensedSet.load(value.save(place / "again.safetensors"))
    assert again.digest == value.digest
    assert _plain(again.info) == _plain(value.info) or "NaN" in json.dumps(value.info)
    if value.images.shape[2] in (1, 3) and value.patches < 200:
        exported = export.to_image_folder(value, place / "exported")
        assert len(list(exported.rglob("*.png"))) == value.patches
    return value.digest, json.dumps([_plain(value.info), value.mean, value.std, value.classes, value.data_name])


# -- the kit's own files


def _make_sets(folder: Path) -> dict[str, Path]:
    return {name: s.save(folder / name / "set.safetensors") for name, s in _some().items()}


def _read_set(folder: Path, file: Path) -> mdckit.CondensedSet:
    found = mdckit.CondensedSet.load(file)
    _told(found, file)
    return found


def _told(found: mdckit.CondensedSet, file: Path) -> None:
    """The set is what the file's own words say, read here by other means."""
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    info = json.loads(header["__metadata__"]["mdckit"])
    told = [info[key] for key in ("factor", "mean", "std", "classes", "dataset")]
    assert told == _plain([found.factor, found.mean, found.std, found.classes, found.data_name])
    assert info.get("counts") in (None, list(found.patches_per_class))
    assert header["images"]["shape"][-3:] == list(found.images.shape[-3:])


def _make_folder_of_sets(folder: Path) -> dict[str, Path]:
    for name, s in _sets().items():
        s.save(folder / "run" / "sets" / "baseline_a" / f"{name}.safetensors")
    return {"run": folder / "run" / "sets" / "baseline_a" / "mdc.safetensors"}


def _many(values: dict, place: Path) -> object:
    assert all(".." not in Path(name).parts and not Path(name).is_absolute() for name in values)
    results.save(place / "saved", records.RUN, values)
    return {name: _set(s, place / "one" / str(i)) for i, (name, s) in enumerate(sorted(values.items()))}


def _make_exported(folder: Path) -> dict[str, Path]:
    return {"folder": export.to_image_folder(_sets()["mdc"], folder / "folder") / export.WHOLE}


def _make_npz_sets(folder: Path) -> dict[str, Path]:
    some = _some() | {"plain": replace(_some()["mdc"], factor=1)}
    return {name: export.to_npz(s, folder / name / "set.npz") for name, s in some.items()}


def _make_dynamics(folder: Path) -> dict[str, Path]:
    log = mdckit.record_dynamics(_sets()["mdc"], TRAIN, device="cpu", show_progress=False)
    return {"log": log.save(folder / "log" / "log.safetensors")}


def _dynamics(log: Dynamics, place: Path) -> object:
    made = (scores.lbpe(log, epochs=2, top=1), scores.el2n(log, epochs=1), scores.forgetting(log), scores.aum(log))
    for score in (*made, scores.entropy(log), scores.moderate(log)):
        assert score.values.shape == log.labels.shape
    assert 0 <= float(log.accuracy.min()) <= float(log.accuracy.max()) <= 100
    again = Dynamics.load(log.save(place / "again.safetensors"))
    assert torch.equal(again.probabilities, log.probabilities)
    numbers = (log.probabilities, log.correct, log.labels, log.final, log.features)
    return [t.numpy().tobytes() for t in numbers], log.digest, json.dumps(log.info)


def _make_checkpoint(folder: Path) -> dict[str, Path]:
    file = folder / "run" / "run.safetensors"
    return {"run": checkpoint.save_checkpoint(file, _state(outer=1), DATA, RECIPES, CONFIG)}


def _checkpoint(state: checkpoint.RunState, place: Path) -> object:
    kept = [(s.images.clone(), s.velocity.clone(), s.subsets, list(s.losses)) for s in state.sets.values()]
    outer = state.outer
    for _ in condense_steps(DATA, RECIPES, CONFIG, device="cpu", state=state):
        pass
    for condensed in condensed_sets(state, DATA, RECIPES, CONFIG).values():
        _set(condensed, place / str(condensed.info["recipe"]["name"]))
    return outer, [(i.numpy().tobytes(), v.numpy().tobytes(), *rest) for i, v, *rest in kept]


def _make_experts(folder: Path) -> dict[str, Path]:
    train_experts(DATA, EXPERTS, folder / "experts", device="cpu", show_progress=False)
    return {"experts": folder / "experts" / "expert_001.safetensors"}


def _experts(found: list, place: Path) -> object:
    described = []
    for expert in found:
        network = expert.network()
        network.load_state_dict(expert.at(expert.epochs))
        assert network(torch.rand(2, *expert.data["shape"])).shape == (2, len(expert.data["classes"]))
        described.append([v.numpy().tobytes() for v in expert.parameters.values()])
        described.append(json.dumps([asdict(expert.config), expert.data, expert.number, expert.info]))
    return described


# -- images


def _picture(seed: int, suffix: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(real_files.pixels(8, 8, 3, seed=seed)).save(buffer, suffix, **options)
    return buffer.getvalue()


def _write_pictures(folder: Path, suffix: str, **options) -> Path:
    """train and test of two classes with two pictures each; the first one is damaged."""
    for number, place in enumerate(
        f"{part}/{c}/{i}" for part in ("train", "test") for c in ("ant", "bee") for i in "01"
    ):
        path = folder / f"{place}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_picture(number, suffix, **options))
    return folder / "train" / "ant" / f"0.{suffix}"


def _make_pictures(*suffixes: str) -> Callable[[Path], dict[str, Path]]:
    def make(folder: Path) -> dict[str, Path]:
        samples = {suffix: _write_pictures(folder / suffix, suffix) for suffix in suffixes}
        if "jpeg" in suffixes:
            samples["grown"] = _write_pictures(
                folder / "grown", "jpeg", progressive=True, exif=b"Exif\x00\x00" + bytes(40)
            )
        return samples

    return make


def _images(data: mdckit.ImageData, place: Path) -> object:
    assert data.x_train.dtype == data.x_test.dtype == torch.uint8
    assert (len(data.x_train), len(data.x_test)) == (len(data.y_train), len(data.y_test))
    assert 0 <= int(data.y_train.min()) <= int(data.y_train.max()) < len(data.classes)
    assert data.first_images(1).shape == (len(data.classes), 1, *data.shape)
    parts = (data.x_train, data.y_train, data.x_test, data.y_test)
    return [(tuple(part.shape), part.numpy().tobytes()) for part in parts], data.classes, data.mean, data.std


def _load_folder(folder: Path, file: Path) -> mdckit.ImageData:
    """Decoded anew; or from the cache beside the images, where there is one."""
    os.environ["MDCKIT_DATA"] = str(folder / "root")
    return mdckit.load(folder / "images" if (folder / "images").is_dir() else folder)


def _make_cache(folder: Path) -> dict[str, Path]:
    _write_pictures(folder / "cache" / "images", "png")
    _load_folder(folder / "cache", folder)
    return {"cache": next((folder / "cache" / "root" / "decoded").iterdir())}


def _resized(folder: Path, file: Path) -> mdckit.ImageData:
    os.environ["MDCKIT_DATA"] = str(folder / "root")
    return mdckit.load(folder, size=8)


# -- other projects' files


IMAGES, LABELS = torch.rand(6, 3, 8, 8), torch.arange(3).repeat(2)


def _make_torch(folder: Path) -> dict[str, Path]:
    accuracies = {"ConvNet": [np.float64(50.0), np.float64(51.0)]}
    dsa = {"data": [[IMAGES * 4 - 2, LABELS]], "accs_all_exps": accuracies}
    samples = {
        "idc": ("data_best.pt", [IMAGES, LABELS], True),
        "old": ("data_best.pt", [IMAGES, LABELS], False),
        "dsa": ("res_DSA.pt", dsa, True),
        "mtt": ("labels_best.pt", LABELS, True),
    }
    files = {name: folder / name / file for name, (file, *_) in samples.items()}
    for name, (_, value, zipped) in samples.items():
        files[name].parent.mkdir(parents=True)
        torch.save(value, files[name], _use_new_zipfile_serialization=zipped)
    torch.save(IMAGES * 4 - 2, folder / "mtt" / "images_best.pt")
    return files


def _make_npz(folder: Path) -> dict[str, Path]:
    made = {
        "plain": {"images": IMAGES.numpy(), "labels": LABELS.numpy()},
        "kip": {"images": IMAGES.numpy() * 4 - 2, "labels": np.eye(3)[LABELS.numpy()] - 0.1},
        "bytes": {"images": (IMAGES.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8), "labels": LABELS.numpy()},
    }
    for name, arrays in made.items():
        (folder / name).mkdir(parents=True)
        (np.savez_compressed if name == "kip" else np.savez)(folder / name / "set.npz", **arrays)
    return {name: folder / name / "set.npz" for name in made}


def _make_parquet(folder: Path) -> dict[str, Path]:
    import pyarrow
    from pyarrow import parquet

    cells = [{"bytes": _picture(number, "png"), "path": None} for number in range(6)]
    table = pyarrow.table({"image": cells, "label": LABELS.numpy(), "rank": np.arange(6) // 3})
    for name, how in {"snappy": {}, "zstd": {"compression": "zstd"}}.items():
        (folder / name).mkdir(parents=True)
        parquet.write_table(table, folder / name / "set.parquet", **how)
    return {name: folder / name / "set.parquet" for name in ("snappy", "zstd")}


def _make_import_folder(folder: Path) -> dict[str, Path]:
    for number, label in enumerate(LABELS.tolist()):
        path = folder / "set" / f"{label}_{DATA.classes[label]}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_picture(number, "png"))
    return {"set": folder / "set" / "0_ant" / "0.png"}


def _import(folder: Path, file: Path) -> mdckit.CondensedSet:
    asked = folder if file.name == "labels_best.pt" or file.suffix == ".png" else file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mdckit.import_set(asked, DATA)


# -- text


PARAMETERS = "# a run\ndataset: mnist5k\nrecipes: [baseline_c, mdc]\nipc: 10\ntrain: {epochs: 3, lr: 0.5}\nlive: true\n"


def _make_parameters(folder: Path) -> dict[str, Path]:
    (folder / "params").mkdir(parents=True)
    (folder / "params" / "quick.yaml").write_text(PARAMETERS)
    return {"params": folder / "params" / "quick.yaml"}


def _parameters(found: dict, place: Path) -> object:
    """The code that hands them to a notebook stands for just these values."""
    assert isinstance(found, dict)
    names = {name: f"x{i}" for i, name in enumerate(found)}
    lines = PythonTranslator.codify({names[name]: value for name, value in found.items()})
    body = ast.parse(lines).body
    assert len(body) == len(found)
    for name, line in zip(found, body, strict=True):
        assert ast.unparse(line.targets[0]) == names[name]
        assert repr(forged.literal(ast.unparse(line.value))).replace("'nan'", "nan") == repr(found[name])
    return repr(found)


def _make_results(folder: Path) -> dict[str, Path]:
    for name, record in {"run": records.RUN, "resized": records.RESIZED}.items():
        files.save_json(folder / name / "result.json", record)
    return {name: folder / name / "result.json" for name in ("run", "resized")}


def _result(found: dict, place: Path) -> object:
    """Its table can be printed, and set beside a paper's or be refused."""
    assert (comparison if "digest" in found else results).summary(found)
    assert results.accuracies(found)["accuracy"].between(0, 100).all()
    for at in (("mdc", 1), ("mdc", 3), ("yoco", 1)):
        side_by_side.parts({"<b>run</b>": found}, *at)
    return json.dumps(found)


def _side_by_side(found: dict, place: Path) -> object:
    assert len(side_by_side.overview(found)) == len(found)
    (part,) = side_by_side.parts(found, "mdc", 3)
    assert "<script" not in side_by_side.html(part.rows)
    return json.dumps(found)


# -- torchvision's files


class _Setter:
    """What pytest's monkeypatch is to `real_files`: these data sets' check sums are those of the files made here."""

    setattr = staticmethod(setattr)


def _make_mnist(folder: Path) -> dict[str, Path]:
    raw = folder / "mnist" / "MNIST" / "raw"
    real_files.write_mnist(folder / "mnist", "MNIST")
    return {"mnist": raw / "train-images-idx3-ubyte", "mnist_labels": _moved(folder, "mnist", "mnist_labels", raw)}


def _moved(folder: Path, one: str, other: str, raw: Path) -> Path:
    shutil.copytree(folder / one, folder / other)
    return folder / other / raw.relative_to(folder / one) / "train-labels-idx1-ubyte"


def _make_checked(folder: Path) -> dict[str, Path]:
    real_files.write_svhn(folder / "svhn", _Setter)
    real_files.write_cifar10(folder / "cifar10", _Setter)
    return {
        "svhn": folder / "svhn" / "train_32x32.mat",
        "cifar10": folder / "cifar10" / "cifar-10-batches-py" / "data_batch_1",
    }


def _load_named(folder: Path, file: Path) -> mdckit.ImageData:
    os.environ["MDCKIT_DATA"] = str(folder)
    return mdckit.load(folder.name.removesuffix("_labels"))


PICTURES = (forged.pictures, forged.pictures, forged.code)
READERS: dict[str, Reader] = {
    "condensed set": Reader(_make_sets, _read_set, _set, (*forged.SAFETENSORS, forged.code), sealed=True),
    "folder of sets": Reader(
        _make_folder_of_sets,
        lambda folder, _: results.load_sets(folder / "sets"),
        _many,
        forged.SAFETENSORS,
        sealed=True,
    ),
    "exported folder": Reader(
        _make_exported, lambda folder, _: mdckit.load_set(folder), _set, forged.SAFETENSORS, sealed=True
    ),
    "npz of the kit": Reader(
        _make_npz_sets,
        lambda _, file: mdckit.load_set(file),
        _set,
        (*forged.ZIP, forged.npz_header, forged.npz_arrays, forged.npz_info, forged.npz_info, forged.code),
        sealed=True,
    ),
    "dynamics": Reader(
        _make_dynamics, lambda _, file: Dynamics.load(file), _dynamics, (*forged.SAFETENSORS, forged.code), sealed=True
    ),
    "checkpoint": Reader(
        _make_checkpoint,
        lambda _, file: checkpoint.load_checkpoint(file, DATA, RECIPES, CONFIG),
        _checkpoint,
        (*forged.SAFETENSORS, forged.code),
        sealed=True,
    ),
    "experts": Reader(
        _make_experts, lambda folder, _: load_experts(folder), _experts, (*forged.SAFETENSORS, forged.code), sealed=True
    ),
    "decoded folder": Reader(_make_cache, _load_folder, _images, (*forged.SAFETENSORS, forged.code), heals=True),
    "PNG": Reader(_make_pictures("png"), _load_folder, _images, PICTURES),
    "JPEG": Reader(_make_pictures("jpeg"), _load_folder, _images, PICTURES),
    "other pictures": Reader(_make_pictures("bmp", "gif", "tiff", "webp", "ppm"), _load_folder, _images, PICTURES),
    "resized pictures": Reader(_make_pictures("png", "jpeg"), _resized, _images, PICTURES),
    "parameters": Reader(_make_parameters, lambda _, file: read_parameters(file), _parameters, (forged.yaml_text,)),
    "torch": Reader(_make_torch, _import, _set, (*forged.TORCH, forged.code)),
    "npz": Reader(
        _make_npz, _import, _set, (*forged.ZIP, forged.npz_header, forged.npz_arrays, forged.code), sealed=True
    ),
    "parquet": Reader(_make_parquet, _import, _set, (forged.parquet, forged.parquet, forged.code)),
    "folder of pictures": Reader(_make_import_folder, _import, _set, PICTURES),
    "result": Reader(_make_results, lambda _, file: results.load(file), _result, (forged.json_text,)),
    "side by side": Reader(
        _make_results, lambda folder, _: side_by_side.read(folder.parent), _side_by_side, (forged.json_text,)
    ),
    "MNIST": Reader(_make_mnist, _load_named, _images, (forged.idx, forged.code), whole=True),
    "CIFAR-10 and SVHN": Reader(_make_checked, _load_named, _images, (forged.code,), sealed=True, whole=True),
}
