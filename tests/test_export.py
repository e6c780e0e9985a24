"""Exported sets, read by the library each is for: the same pixels, labels and order, whole or absent."""

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import torchvision
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mdckit import CondensedSet, TrainConfig, evaluate, export, import_set, load, load_set, rounding
from mdckit.data import normalize
from mdckit.networks import fresh_network
from mdckit.sharing.class_names import class_folders

NASTY = ("../x", "a/b", "a\\b", "", ".", "..", "\n|\x00", "鹿", "été", "x" * 300, "con", "cat", "cat", "cat ")
INFO = {"recipe": {"name": "mdc"}, "mls_trace": [[1, 1], [5, 2]], "versions": {"torch": "2"}, "losses": [0.5] * 99}


def make(classes=("a", "b", "c"), n=4, channels=3, side=8, factor=1, seed=0):
    """Pixels from -0.2 to 1.2, as unclamped runs leave them."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(len(classes), n, channels, side, side, generator=random) * 1.4 - 0.2
    return CondensedSet(images, factor, (0.3,) * channels, (0.2,) * channels, tuple(classes), "toys", INFO)


SETS = {
    "grey": make(channels=1),
    "colour": make(),
    "cells": make(factor=2),
    "odd sides": make(factor=3),
    "12 nasty names": make(NASTY, n=2),
    "one class, one image": make(("a",), n=1),
    "selection": make(factor=2).select(torch.tensor([20, 3, 0, 33, 30, 40, 47, 35])),
    "a class left out": make(channels=1).select(torch.tensor([9, 2, 8])),
}
every_set = pytest.mark.parametrize("condensed", SETS.values(), ids=SETS.keys())
FORMS = {
    "folder": lambda s, place: export.to_image_folder(s, place / "set"),
    "parquet": lambda s, place: export.to_parquet(s, place / "set", "cc-by-4.0"),
    "ddranking": lambda s, place: export.to_ddranking(s, place / "set"),
    "npz": lambda s, place: export.to_npz(s, place / "set.npz"),
}
every_form = pytest.mark.parametrize("form", FORMS)
every_folder = pytest.mark.parametrize("form", ["folder", "parquet", "ddranking"])


@pytest.fixture(autouse=True)
def hub_cache(tmp_path_factory, monkeypatch):
    """`datasets` keeps what it reads in a folder that goes with the tests."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("hub"))


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def listed(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def run_snippets(monkeypatch):
    """What the Python lines of a README.md define, run beside its folder, and what the last, mdckit's, load."""

    def run(folder, count):
        snippets = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        assert len(snippets) == count
        monkeypatch.chdir(folder.parent)
        names, own = {}, {}
        exec("\n".join(snippets[:-1]), names)
        exec(snippets[-1], own)
        return names, own["train"]

    return run


def rounded(condensed, n):
    """S[n] in 8 bits, normalised, and its labels: the literal oracle."""
    patches, labels = condensed.take(n).decode()
    return normalize((patches.clamp(0, 1) * 255).round() / 255, condensed.mean, condensed.std), labels


def stacked(items):
    images, labels = zip(*items, strict=True)
    return torch.stack(images), torch.tensor(labels)


# -- read by the library each is for, with the lines of its README


@every_set
def test_torchvision_reads_an_image_folder(condensed, tmp_path, run_snippets):
    folder, n = export.to_image_folder(condensed, tmp_path / "set"), min(3, condensed.ipc)
    names, own = run_snippets(folder, 2)
    images, labels = stacked(names["train"])
    expected, classes = rounded(condensed, n)
    assert torch.allclose(images, expected, atol=1e-5)  # a level is 0.02
    assert torch.equal(labels, classes)
    assert len(names["train"].classes) == len(condensed.classes)
    assert torch.equal(own.images, condensed.take(n).tensors()[0])


@every_set
def test_datasets_reads_parquet(condensed, tmp_path, run_snippets):
    folder, n = export.to_parquet(condensed, tmp_path / "set", "cc-by-4.0"), min(3, condensed.ipc)
    names, own = run_snippets(folder, 3)
    batch = names["train"][:]
    images, labels = rounded(condensed, n)
    assert torch.allclose(torch.stack(batch["image"]), images, atol=1e-5)
    assert batch["label"] == labels.tolist()
    assert batch["rank"] == export.ranks(condensed.take(n)).tolist()
    assert names["small"].features["label"].num_classes == len(condensed.classes)
    assert names["small"].features["rank"].dtype == "int32"
    assert torch.equal(own.images, condensed.take(n).tensors()[0])


@every_set
def test_numpy_reads_npz_to_the_bit(condensed, tmp_path):
    with np.load(export.to_npz(condensed, tmp_path / "set.npz")) as file:
        arrays = dict(file)
    patches, labels = condensed.decode()
    assert np.array_equal(arrays["images"], patches.numpy())
    assert arrays["labels"].tolist() == labels.tolist()
    assert arrays["classes"].tolist() == [name.rstrip("\x00") for name in condensed.classes]
    prefix = arrays["rank"] < 1
    assert np.array_equal(arrays["images"][prefix], condensed.take(1).decode()[0].numpy())
    ready = (arrays["images"] - arrays["mean"]) / arrays["std"]
    assert np.allclose(ready, condensed.tensors()[0].numpy(), atol=1e-6)
    assert json.loads(str(arrays["info"]))["order"].startswith("image-major")


@every_set
def test_ddranking_gets_normalised_tensors_and_five_digit_folders(condensed, tmp_path, run_snippets):
    folder = export.to_ddranking(condensed, tmp_path / "set")
    names, _ = run_snippets(folder, 2)
    expected, labels = condensed.tensors()
    assert names["images"].shape == (condensed.patches, 3, 8, 8)
    assert names["images"].dtype == torch.float32
    assert torch.equal(names["images"], expected.expand(-1, 3, -1, -1))
    assert torch.equal(names["labels"], labels)
    assert sorted(p.name for p in (folder / "images").iterdir()) == [f"{c:05d}" for c in range(len(condensed.classes))]
    pictures = torchvision.datasets.ImageFolder(folder / "images", allow_empty=True)
    assert pictures.targets == labels.tolist()


def test_nothing_is_written_outside_the_folder_whatever_the_names(tmp_path, run_snippets):
    for form, write in FORMS.items():
        write(SETS["12 nasty names"], tmp_path / form)
        assert listed(tmp_path / form) == ["set.npz" if form == "npz" else "set"]
    folder = export.to_image_folder(SETS["12 nasty names"], tmp_path / """it's a "set" {of} 鹿""")
    assert len(run_snippets(folder, 2)[0]["train"]) == 2 * len(NASTY)


@pytest.mark.parametrize("name", ["grey", "cells"])
def test_the_image_folder_is_one_of_the_hub_too(name, tmp_path):
    import datasets

    condensed = SETS[name]
    folder = export.to_image_folder(condensed, tmp_path / "set")
    rows = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train")
    assert rows["label"] == condensed.labels.tolist()
    assert rows.features["label"].names == ["0_a", "1_b", "2_c"]
    pixels = torch.stack([torchvision.transforms.functional.pil_to_tensor(i) for i in rows["image"]])
    assert torch.equal(pixels, rounding.to_bytes(condensed.decode()[0]))


@pytest.mark.parametrize("name", ["grey", "cells", "12 nasty names"])
@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_a_plain_reader_of_foreign_sets_finds_the_8_bit_set(name, form, tmp_path):
    condensed = SETS[name]
    patches, labels = condensed.decode()
    written = FORMS[form](condensed, tmp_path)
    source = written if form == "folder" else written / export.PARQUET
    data = replace(load("digits"), mean=condensed.mean, std=condensed.std, classes=condensed.classes, name="toys")
    found = import_set(source, data, factor=1)
    assert found.digest == rounding.eight_bit(condensed).digest
    assert torch.equal(found.decode()[0], (patches.clamp(0, 1) * 255).round() / 255)
    assert torch.equal(found.labels, labels)


# -- read back as the set itself


@every_form
@every_set
def test_an_export_is_loaded_as_the_same_set(condensed, form, tmp_path):
    again = load_set(FORMS[form](condensed, tmp_path))
    assert torch.equal(again.images, condensed.images)
    fields = ("factor", "mean", "std", "counts", "data_name")
    assert [getattr(again, name) for name in fields] == [getattr(condensed, name) for name in fields]
    assert json.dumps(again.info) == json.dumps(condensed.info)
    if form != "npz":  # NumPy's strings end before a final zero
        assert again.classes == condensed.classes
    assert load_set(str(condensed.save(tmp_path / "set.safetensors"))).digest == condensed.digest


def test_what_cannot_be_loaded_is_named(tmp_path):
    (tmp_path / "cats").mkdir()
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(export.to_npz(make(), tmp_path / "whole.npz").read_bytes()[:-200])
    for name, error, message in (
        ("cats", FileNotFoundError, r"no condensed\.safetensors in .*cats: read foreign sets with import_set"),
        ("none.npz", FileNotFoundError, r"no file .*none\.npz"),
        ("none", FileNotFoundError, r"no file .*none"),
        ("other.npz", ValueError, r"other\.npz is no npz file of mdckit"),
        ("broken.npz", ValueError, r"broken\.npz is no npz file of mdckit: .*truncated"),
    ):
        with pytest.raises(error, match=message):
            load_set(tmp_path / name)


# -- accuracy: every form trains a network as well as the set does


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def written(digits, tmp_path_factory):
    """Ten real digits of each class with noise beyond 0..1, in every form."""
    noise = torch.randn(10, 10, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.05
    images = digits.first_images(10) + noise
    condensed = CondensedSet(images, 1, digits.mean, digits.std, digits.classes, digits.name)
    return condensed, {form: FORMS[form](condensed, tmp_path_factory.mktemp(form)) for form in FORMS}


PROTOCOL = TrainConfig(epochs=20, batch=50, lr=0.1, augment="", cutmix=0.0, evaluations=1, width=8, depth=2)


def trained(dataset, digits, seed):
    """Test accuracy, in percent, after a plain PyTorch loop."""
    torch.manual_seed(seed)
    net = fresh_network((1, 8, 8), 10, PROTOCOL, seed, "test", device=torch.device("cpu"))
    optimizer = torch.optim.SGD(net.parameters(), PROTOCOL.lr, momentum=PROTOCOL.momentum, weight_decay=5e-4)
    for _ in range(PROTOCOL.epochs):
        for images, labels in DataLoader(dataset, PROTOCOL.batch, shuffle=True):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
    test = normalize(digits.x_test / 255, digits.mean, digits.std)
    return 100 * (net(test).argmax(1) == digits.y_test).double().mean().item()


def mean_accuracy(dataset, digits):
    return np.mean([trained(dataset, digits, seed) for seed in PROTOCOL.seeds])


def read(form, path, condensed):
    """The whole export as a Dataset, by the library it is for alone."""
    mean, std = condensed.mean, condensed.std
    if form == "npz":
        arrays = np.load(path)
        images = (torch.from_numpy(arrays["images"]) - torch.tensor(mean)) / torch.tensor(std)
        return list(zip(images, arrays["labels"].tolist(), strict=True))
    if form == "ddranking":
        return torch.utils.data.TensorDataset(torch.load(path / "images.pt")[:, :1], torch.load(path / "labels.pt"))
    v2 = torchvision.transforms.v2
    ready = [v2.Grayscale(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    if form == "folder":
        return torchvision.datasets.ImageFolder(path, v2.Compose(ready))
    import datasets

    rows = datasets.load_dataset(str(path), split="train")
    return [(v2.Compose(ready)(row["image"]), row["label"]) for row in rows]


@pytest.fixture(scope="module")
def reference(written, digits):
    return mean_accuracy(written[0].dataset(), digits)


def test_a_plain_loop_on_the_dataset_reaches_what_evaluate_does(written, digits, reference):
    measured = np.mean(evaluate(written[0], digits, PROTOCOL).last)
    assert measured > 65
    assert abs(reference - measured) < 4


@every_form
def test_every_export_trains_to_the_same_accuracy(form, written, digits, reference):
    condensed, paths = written
    accuracy = mean_accuracy(list(read(form, paths[form], condensed)), digits)
    if form in ("npz", "ddranking"):
        assert accuracy == reference  # the same floats
    assert abs(accuracy - reference) < 3


# -- order, names and pixels


def test_files_keep_class_order_and_rank(tmp_path):
    names = [f"c{c}" for c in range(11)]
    folder = export.to_image_folder(make(names, n=2, factor=2), tmp_path / "set")
    pictures = [name for name in files_in(folder) if name.endswith(".png")]
    assert pictures[:8] == [f"00_c0/000{rank}_{cell}.png" for rank in (0, 1) for cell in range(4)]
    assert pictures[-1] == "10_c10/0001_3.png"
    assert torchvision.datasets.ImageFolder(folder).classes == [f"{c:02d}_c{c}" for c in range(11)]


def test_a_selection_keeps_only_what_it_has(tmp_path):
    folder = export.to_image_folder(SETS["selection"], tmp_path / "set")
    pictures = [name for name in files_in(folder) if name.endswith(".png")]
    assert pictures == [
        *("0_a/0000_0.png", "0_a/0000_1.png", "1_b/0000_0.png", "1_b/0000_1.png"),
        *("2_c/0000_0.png", "2_c/0000_1.png", "2_c/0000_2.png", "2_c/0000_3.png")[: SETS["selection"].counts[2]],
    ]


@given(st.lists(st.text(max_size=60), min_size=1, max_size=40))
@example(list(NASTY))
@settings(deadline=None, max_examples=60)
def test_class_folders_are_plain_names_in_the_order_of_the_labels(classes):
    names = class_folders(classes)
    assert sorted(names) == names
    assert len({name.casefold() for name in names}) == len(classes)
    for c, name in enumerate(names):
        assert int(name.split("_")[0]) == c
        assert re.fullmatch(r"\d+(_[^\W_]+(-[^\W_]+)*-?)?", name)
        assert len(name.encode()) < 255


def test_two_channels_are_no_picture(tmp_path):
    for form in ("folder", "parquet", "ddranking"):
        with pytest.raises(ValueError, match="images with 2 channels asked as pictures, which have 1 or 3: use to_npz"):
            FORMS[form](make(channels=2), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert load_set(FORMS["npz"](make(channels=2), tmp_path)).digest == make(channels=2).digest


# -- whole or absent


@every_folder
def test_an_empty_folder_is_taken_and_missing_parents_are_made(form, tmp_path):
    (tmp_path / "set").mkdir()
    FORMS[form](SETS["grey"], tmp_path)
    FORMS[form](SETS["grey"], tmp_path / "a" / "b")
    assert files_in(tmp_path / "set") == files_in(tmp_path / "a" / "b" / "set")
    assert "README.md" in files_in(tmp_path / "set")
    assert listed(tmp_path) == ["a", "set"]
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o777 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@every_folder
def test_a_folder_with_files_is_refused_and_kept(form, tmp_path):
    FORMS[form](SETS["grey"], tmp_path)
    before = {name: (tmp_path / "set" / name).read_bytes() for name in files_in(tmp_path / "set")}
    with pytest.raises(FileExistsError, match=r"set is a folder with files in it: give a new folder"):
        FORMS[form](SETS["colour"], tmp_path)
    assert {name: (tmp_path / "set" / name).read_bytes() for name in files_in(tmp_path / "set")} == before
    assert listed(tmp_path) == ["set"]


@every_folder
def test_a_file_in_the_place_of_the_folder_or_above_it_is_named(form, tmp_path):
    (tmp_path / "set").write_text("kept")
    with pytest.raises(FileExistsError, match="set is a file: give a new folder"):
        FORMS[form](SETS["grey"], tmp_path)
    with pytest.raises(OSError, match=r"cannot write .*set/set: (Not a directory|File exists)"):
        FORMS[form](SETS["grey"], tmp_path / "set")
    assert (tmp_path / "set").read_text() == "kept"


@every_form
@pytest.mark.skipif(sys.platform != "linux", reason="/proc refuses new files on Linux")
def test_a_place_that_refuses_files_is_named(form):
    with pytest.raises(OSError, match=r"cannot write /proc/set"):
        FORMS[form](SETS["grey"], Path("/proc"))


@every_form
@pytest.mark.parametrize("step", ["first file", "last file", "rename"])
def test_a_full_disk_leaves_nothing(form, step, tmp_path, monkeypatch):
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or real(handle))
    FORMS[form](SETS["grey"], tmp_path / "counted")
    fails_at = {"first file": 1, "last file": len(synced) - 1, "rename": None}[step]  # after all, the folder around it
    synced.clear()

    def full(*args):
        synced.append(args)
        if len(synced) == fails_at or step == "rename":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((Path, "replace", full) if step == "rename" else (os, "fsync", full)))
    with pytest.raises(OSError, match=r"cannot write .*new/set.*: No space left on device") as caught:
        FORMS[form](SETS["grey"], tmp_path / "new")
    assert caught.value.errno == 28
    assert listed(tmp_path / "new") == []


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(picture):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "_png", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export.to_image_folder(SETS["grey"], tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_npz_file_is_replaced(tmp_path):
    FORMS["npz"](SETS["colour"], tmp_path)
    FORMS["npz"](SETS["grey"], tmp_path)
    assert load_set(tmp_path / "set.npz").digest == SETS["grey"].digest
    assert listed(tmp_path) == ["set.npz"]


# -- the extra


def test_parquet_without_datasets_names_the_extra_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'mdckit\[hub\]'"):
        FORMS["parquet"](SETS["grey"], tmp_path)
    assert list(tmp_path.iterdir()) == []
    FORMS["folder"](SETS["grey"], tmp_path)


# -- the card


def test_the_hub_reads_the_card(tmp_path):
    condensed = replace(make(("a | b", "c\nd", "e")), data_name="toys: [1] # 2")
    folder = export.to_parquet(condensed, tmp_path / "set", "cc-by-4.0")
    card = huggingface_hub.DatasetCard.load(folder / "README.md")
    assert (card.data.license, card.data.pretty_name) == (
        "cc-by-4.0",
        "toys: [1] # 2 condensed to 4 images per class (mdc)",
    )
    assert card.data.size_categories == ["n<1K"]
    assert card.data.configs[0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    assert r"0 a \| b, 1 c d, 2 e" in card.text
    for fact in (
        "mean [0.3, 0.3, 0.3], std [0.2, 0.2, 0.2]",
        condensed.digest,
        "[[1, 1], [5, 2]]",
        "torch 2",
        '"losses"',
    ):
        assert fact in card.text
    assert "99 values, in condensed.safetensors" in card.text
    assert "Not measured for this export." in card.text
    assert "hf upload USER/NAME . --repo-type dataset" in card.text


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({}, "method unknown"),
        ({"recipe": {"name": "kip"}}, "kip"),
        ({"import": {"layout": "idc"}}, "imported, idc"),
        ({"recipe": {"name": "mdc"}, "selected": {"method": "lbpe"}}, "mdc, patches chosen by lbpe"),
        ({"recipe": {"name": "mdc"}, "selected": {}}, "mdc, patches chosen by hand"),
    ],
)
def test_the_card_says_what_made_the_set(info, said, tmp_path):
    folder = export.to_image_folder(replace(make(), info=info), tmp_path / "set")
    assert f"({said})\n" in (folder / "README.md").read_text()


@pytest.mark.parametrize("license", ["", "MIT License", None, "a\nb"])
def test_a_license_that_the_hub_does_not_know_is_refused_before_anything(license, tmp_path):
    with pytest.raises(ValueError, match="given: name it as the Hub does, such as 'mit'"):
        export.to_parquet(SETS["grey"], tmp_path / "set", license)
    assert list(tmp_path.iterdir()) == []


FAST = TrainConfig(epochs=4, evaluations=2, width=4, depth=1, seeds=(0, 1), augment="", cutmix=0.0)


@pytest.fixture(scope="module")
def loud(grey):
    """Real images, of which every tenth pixel leaves 0..1."""
    random = torch.Generator().manual_seed(5)
    images = grey.first_images(3) + 2.0 * (torch.rand(3, 3, 1, 8, 8, generator=random) < 0.1)
    return CondensedSet(images, 1, grey.mean, grey.std, grey.classes, grey.name)


def test_the_card_has_the_accuracies_and_their_protocol(loud, grey, tmp_path):
    measured = rounding.measure(loud, grey, FAST, [1, 3], show_progress=False)
    for folder in (
        export.to_parquet(loud, tmp_path / "parquet", "mit", measured),
        export.to_image_folder(loud, tmp_path / "folder", measured),
    ):
        text = (folder / "README.md").read_text()
        for n in (1, 3):
            best, last = (np.array(getattr(measured.exact[n], which)) for which in ("best", "last"))
            cost = last - np.array(measured.rounded[n].last)
            row = next(line for line in text.splitlines() if line.startswith(f"| {n} | {3 * n} |"))
            assert f"| {best.mean():.1f} ± {best.std():.1f} | {last.mean():.1f} ± {last.std():.1f} |" in row
            assert row.endswith(f"| {cost.mean():+.1f} ± {cost.std():.1f} |")
        for fact in ("6 test images of grey", "2 evaluation seeds (0, 1)", "best of 2 tests", "4 epochs", "torch "):
            assert fact in text


def test_accuracies_of_another_set_are_refused(loud, grey, tmp_path):
    measured = rounding.measure(loud, grey, FAST, [1], show_progress=False)
    with pytest.raises(ValueError, match=r"an accuracy of 3 training images given for S\[1\] of 12: measure this set"):
        export.to_image_folder(make(factor=2), tmp_path / "set", measured)
    assert list(tmp_path.iterdir()) == []
