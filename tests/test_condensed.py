"""CondensedSet and its files: bit-exact, whole or absent, and clear about what they are not."""

import dataclasses
import json
import math
import os
import subprocess
import sys

import pytest
import reference_scores
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mdckit import CondensedSet, evaluate, files, union
from mdckit.config import TrainConfig

INFO = {"recipe": {"name": "mdc"}, "config": {"ipc": 4, "lr": 0.1}, "mls_trace": [[10, 1], [20, 3]], "seed": 7}


def make(k=3, n=4, side=8, dtype=torch.float32, seed=0, **settings):
    images = torch.rand(k, n, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    names = tuple("abcdefgh"[:k])
    return CondensedSet(images * 1.2 - 0.1, 2, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), names, "toys", INFO | settings)


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


# -- values


def test_a_set_is_shown_in_a_line():
    assert repr(make()) == "CondensedSet(toys: 3 classes x 4 images of 3 x 8 x 8, factor 2, 48 patches)"


@pytest.mark.parametrize("n", [1, 2, 4])
def test_take_is_the_first_images_of_every_class(n):
    whole = make()
    part = whole.take(n)
    assert part.ipc == n
    assert torch.equal(part.images, whole.images[:, :n])
    assert (part.factor, part.mean, part.std, part.classes) == (whole.factor, whole.mean, whole.std, whole.classes)
    assert (part.data_name, part.info) == ("toys", INFO)


@pytest.mark.parametrize("n", [0, -1, 5, 1.0, True, "2", None])
def test_take_beyond_the_set_is_named(n):
    with pytest.raises(ValueError, match=rf"^{n!r} images per class asked of a set with 4: take 1\.\.4$"):
        make().take(n)


def test_patches_of_a_prefix_are_a_prefix_of_the_patches():
    patches, labels = make().decode()
    first, few = make().take(2).decode()
    assert torch.equal(first.unflatten(0, (3, 8)), patches.unflatten(0, (3, 16))[:, :8])
    assert labels.tolist() == [0] * 16 + [1] * 16 + [2] * 16
    assert few.tolist() == [0] * 8 + [1] * 8 + [2] * 8


def test_tensors_are_the_normalised_patches():
    one = make()
    patches, labels = one.tensors()
    plain, expected = one.decode()
    mean, std = (torch.tensor(v)[:, None, None] for v in (one.mean, one.std))
    assert torch.allclose(patches, (plain - mean) / std)
    assert torch.equal(labels, expected)


def test_the_trace_comes_from_the_info():
    assert make().mls_trace == [[10, 1], [20, 3]]
    assert CondensedSet(torch.rand(2, 1, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b")).mls_trace == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_pixels_are_refused(bad):
    images = torch.rand(2, 1, 1, 8, 8)
    images[1, 0, 0, 3, 3] = bad
    with pytest.raises(ValueError, match="the condensed images hold NaN or infinite pixels"):
        CondensedSet(images, 1, (0.5,), (0.5,), ("a", "b"))


def test_integer_pixels_are_refused():
    with pytest.raises(ValueError, match=r"the condensed images are torch\.uint8: expected floats"):
        CondensedSet(torch.zeros(2, 1, 1, 8, 8, dtype=torch.uint8), 1, (0.5,), (0.5,), ("a", "b"))


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (3, 1, 1, 8, 8), (2, 0, 1, 8, 8), (1, 2, 1, 1, 8, 8)])
def test_a_shape_that_does_not_fit_is_named(shape):
    message = rf"images of shape \({', '.join(map(str, shape))}\) for 2 classes: expected \(K, N, C, H, W\)"
    with pytest.raises(ValueError, match=message):
        CondensedSet(torch.zeros(shape), 1, (0.5,), (0.5,), ("a", "b"))


def test_a_bad_factor_is_named():
    with pytest.raises(ValueError, match="factor 9 asked of images with 8 pixels a side"):
        CondensedSet(torch.zeros(2, 1, 1, 8, 8), 9, (0.5,), (0.5,), ("a", "b"))
    with pytest.raises(ValueError, match=r"factor must be an integer >= 1, got 2\.0"):
        CondensedSet(torch.zeros(2, 1, 1, 8, 8), 2.0, (0.5,), (0.5,), ("a", "b"))


# -- union


def test_union_keeps_the_order_of_the_sets():
    one, two, three = make(n=1), make(n=2, seed=1), make(n=1, seed=2)
    whole = union([one, two, three])
    assert whole.ipc == 4
    assert torch.equal(whole.images, torch.cat([one.images, two.images, three.images], 1))
    assert torch.equal(whole.take(1).images, one.images)
    assert whole.info == one.info
    assert whole.info is not one.info


@pytest.mark.parametrize(
    "change", [{"factor": 4}, {"classes": ("x", "y", "z")}, {"mean": (0.0,) * 3}, {"std": (1.0,) * 3}]
)
def test_union_of_unlike_sets_is_refused(change):
    one = make()
    settings = {name: getattr(one, name) for name in ("images", "factor", "mean", "std", "classes")}
    with pytest.raises(ValueError, match="the sets differ"):
        union([one, CondensedSet(**settings | change)])
    with pytest.raises(ValueError, match="the sets differ"):
        union([one, make(side=10)])


def test_union_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no sets to unite"):
        union([])


# -- files


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_round_trip_is_bit_exact_with_provenance(tmp_path, dtype):
    saved = make(dtype=dtype)
    path = saved.save(tmp_path / "new" / "folder" / "set.safetensors")
    loaded = CondensedSet.load(str(path))
    assert loaded.images.dtype == dtype
    assert torch.equal(loaded.images, saved.images)
    assert {**vars(loaded), "images": None} == {**vars(saved), "images": None}
    assert loaded.mls_trace == INFO["mls_trace"]


def test_a_prefix_is_saved_alone(tmp_path):
    whole = make()
    part = CondensedSet.load(whole.take(2).save(tmp_path / "two.safetensors"))
    assert torch.equal(part.images, whole.images[:, :2])
    sizes = [path.stat().st_size for path in (whole.save(tmp_path / "four.safetensors"), tmp_path / "two.safetensors")]
    assert sizes[0] - sizes[1] == whole.images[:, 2:].numel() * 4


def test_a_file_says_how_to_read_it(tmp_path):
    with safetensors.safe_open(make().save(tmp_path / "set.safetensors"), framework="pt") as file:
        info = json.loads(file.metadata()["mdckit"])
    assert info["kind"] == "condensed set"
    assert "not normalised" in info["pixels"]
    assert "hard" in info["labels"]
    assert "image-major" in info["order"]
    assert (info["mean"], info["factor"], info["dataset"]) == ([0.1, 0.2, 0.3], 2, "toys")


def test_saving_again_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = make().save(tmp_path / "set.safetensors")
    make(seed=1).save(path)
    assert torch.equal(CondensedSet.load(path).images, make(seed=1).images)
    assert names_in(tmp_path) == ["set.safetensors"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "Input/output error")])
def test_an_interrupted_save_keeps_the_earlier_file(tmp_path, monkeypatch, error):
    path = make().save(tmp_path / "set.safetensors")

    def fail(handle):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    expected = KeyboardInterrupt if error is KeyboardInterrupt else OSError
    with pytest.raises(expected):
        make(seed=1).save(path)
    assert names_in(tmp_path) == ["set.safetensors"]
    assert torch.equal(CondensedSet.load(path).images, make().images)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_named(tmp_path, keep):
    path = make().save(tmp_path / "set.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"set\.safetensors is truncated or not a safetensors file, not a mdckit cond"):
        CondensedSet.load(path)


@pytest.mark.parametrize("content", ["", "id,label\n1,2\n", "{" * 5000])
def test_a_text_file_is_named(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"notes\.txt is truncated or not a safetensors file"):
        CondensedSet.load(path)


def test_a_pickled_file_is_not_opened(tmp_path):
    for new_format in (True, False):
        path = tmp_path / f"set{new_format}.pt"
        torch.save({"images": torch.rand(2, 2)}, path, _use_new_zipfile_serialization=new_format)
        with pytest.raises(ValueError, match=rf"{path.name} is a pickle or zip archive \(which mdckit does not open\)"):
            CondensedSet.load(path)


def test_a_safetensors_file_of_another_program_is_named(tmp_path):
    for number, metadata in enumerate((None, {"format": "pt"}, {"mdckit": "[]"})):
        path = tmp_path / f"weights{number}.safetensors"
        safetensors.torch.save_file({"images": torch.rand(2, 2)}, path, metadata)
        with pytest.raises(ValueError, match=rf"{path.name} holds a safetensors file of another program"):
            CondensedSet.load(path)


def test_another_kind_of_file_is_named(tmp_path):
    path = files.save_tensors(tmp_path / "run.safetensors", {"images": torch.rand(2)}, {"kind": "checkpoint"})
    with pytest.raises(ValueError, match=r"run\.safetensors holds checkpoint, not a mdckit condensed set"):
        CondensedSet.load(path)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match=rf"no file {path}: expected a mdckit condensed set"):
            CondensedSet.load(path)


def rewrite(path, tensors=None, **info):
    """The file again, with other tensors or metadata."""
    old, saved = files.load_tensors(path, "condensed set")
    kept = {name: value for name, value in (saved | info).items() if value is not None}
    return files.save_tensors(path, old if tensors is None else tensors, kept)


def test_a_file_with_nan_pixels_is_named(tmp_path):
    path = make().save(tmp_path / "set.safetensors")
    rewrite(path, {"images": torch.full((3, 4, 3, 8, 8), torch.nan)})
    with pytest.raises(ValueError, match=rf"{path} holds a set that cannot be used: .* NaN or infinite pixels"):
        CondensedSet.load(path)


def test_a_file_without_its_parts_is_named(tmp_path):
    path = make().save(tmp_path / "set.safetensors")
    rewrite(path, factor=None)
    with pytest.raises(ValueError, match=rf"{path} holds no 'factor'"):
        CondensedSet.load(path)
    rewrite(make().save(path), {"pictures": torch.rand(2)})
    with pytest.raises(ValueError, match=rf"{path} holds no 'images'"):
        CondensedSet.load(path)


# -- places that cannot be written


def test_a_path_under_a_file_is_named(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("kept")
    for path in (blocker / "set.safetensors", blocker / "deeper" / "set.safetensors"):
        with pytest.raises(OSError, match=rf"cannot write {path}: "):
            make().save(path)
    with pytest.raises(OSError, match=rf"cannot write in the folder {blocker}"):
        files.check_writable(blocker)
    assert blocker.read_text() == "kept"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc refuses new files on Linux")
def test_a_folder_that_refuses_files_is_named():
    with pytest.raises(OSError, match=r"cannot write /proc/set\.safetensors"):
        make().save("/proc/set.safetensors")
    with pytest.raises(OSError, match=r"cannot write in the folder /proc: "):
        files.check_writable("/proc")


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path):
    (tmp_path / "set.safetensors").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*set\.safetensors: Is a directory"):
        make().save(tmp_path / "set.safetensors")
    assert names_in(tmp_path) == ["set.safetensors"]


def test_check_writable_makes_the_folder_and_leaves_it_empty(tmp_path):
    folder = files.check_writable(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert names_in(folder) == []


FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from mdckit import CondenseConfig, CondensedSet, baselines, condense, load, start
from mdckit.checkpoint import save_checkpoint

folder = Path(sys.argv[1])
digits, recipes = load("digits"), [baselines.mdc()]
config = CondenseConfig.preset("digits", "quick", ipc=2)
state = start(digits, recipes, config)
condensed = CondensedSet(torch.rand(4, 8, 3, 16, 16), 1, (.5,) * 3, (.5,) * 3, tuple("abcd"))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for save in (
    lambda: condensed.save(folder / "set.safetensors"),
    lambda: condensed.save(folder / "other.safetensors"),
    lambda: save_checkpoint(folder / "run.ckpt", state, digits, recipes, config),
    lambda: save_checkpoint(folder / "new.ckpt", state, digits, recipes, config),
):
    try:
        save()
        print("saved")
    except OSError as error:
        print(type(error).__name__, error)
"""


def test_a_full_disk_names_the_path_and_keeps_the_earlier_files(tmp_path):
    path = make().save(tmp_path / "set.safetensors")
    before = path.read_bytes()
    (tmp_path / "run.ckpt").write_bytes(b"an earlier checkpoint")
    run = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=True)
    first, second, third, fourth = run.stdout.splitlines()
    full = "OSError [Errno 27] cannot write {}: File too large"
    assert first == full.format(path)
    assert second == full.format(tmp_path / "other.safetensors")
    kept = f"; the checkpoint of an earlier outer loop is kept in {tmp_path / 'run.ckpt'}"
    assert third == full.format(tmp_path / "run.ckpt") + kept
    assert fourth == full.format(tmp_path / "new.ckpt")
    assert names_in(tmp_path) == ["run.ckpt", "set.safetensors"]
    assert path.read_bytes() == before
    assert (tmp_path / "run.ckpt").read_bytes() == b"an earlier checkpoint"


# -- some of the patches


def pixels(condensed):
    """The pixels of every patch in use as stored, class by class."""
    return [
        cell.numpy().tobytes()
        for images, count in zip(condensed.images, condensed.patches_per_class, strict=True)
        for cell in reference_scores.cells(images, condensed.factor)[:count]
    ]


RAGGED = torch.tensor([37, 4, 0, 32, 15, 9, 7])  # of classes of 16 patches: five, none and two


def ragged(**changes):
    return make(**changes).select(RAGGED)


@pytest.mark.parametrize(("side", "factor"), [(8, 1), (8, 2), (28, 2)])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_selection_holds_just_the_patches_asked_for_in_their_order(side, factor, data):
    whole = dataclasses.replace(make(side=side), factor=factor)
    index = data.draw(st.lists(st.integers(0, whole.patches - 1), min_size=1, unique=True))
    part = whole.select(torch.tensor(index))
    wanted = sorted(index, key=lambda i: i // (whole.patches // 3))
    source = pixels(whole)
    assert pixels(part) == [source[i] for i in wanted]
    patches, labels = part.decode()
    assert torch.equal(patches, whole.decode()[0][wanted])
    assert labels.tolist() == part.labels.tolist() == [i // (whole.patches // 3) for i in wanted]
    assert part.patches_per_class == tuple(labels.tolist().count(c) for c in range(3))
    assert part.patches == len(index)
    assert part.ipc == math.ceil(max(part.patches_per_class) / factor**2)
    assert (part.factor, part.mean, part.std, part.classes) == (factor, whole.mean, whole.std, whole.classes)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_all_patches_in_order_are_the_set(factor):
    whole = dataclasses.replace(make(), factor=factor)
    same = whole.select(torch.arange(whole.patches))
    assert torch.equal(same.images, whole.images)
    assert same.counts is None
    assert same.digest == whole.digest


def test_a_selection_of_a_selection_is_one_of_the_whole():
    twice = ragged().select(torch.tensor([6, 0, 3]))
    assert twice.patches_per_class == (2, 0, 1)
    source = pixels(make())
    assert pixels(twice) == [source[i] for i in (4, 9, 32)]


def test_the_first_images_of_a_ragged_set_hold_its_first_patches():
    part = ragged().take(1)
    assert (part.images.shape[1], part.patches_per_class) == (1, (4, 0, 2))
    source = pixels(make())
    assert pixels(part) == [source[i] for i in (4, 0, 15, 9, 37, 32)]
    nearly = make().select(torch.tensor([0, 1, 2, 3, 4, 16, 17, 18, 19, 32, 33, 34, 35]))
    assert nearly.take(1).counts is None
    assert torch.equal(nearly.take(1).images, make().take(1).images)


def test_cells_that_hold_no_patch_are_grey():
    images = ragged().images
    free = [*reference_scores.cells(images[0], 2)[5:], *reference_scores.cells(images[2], 2)[2:]]
    assert (torch.stack(free) == 0.5).all()
    assert (images[1] == 0.5).all()


def test_a_ragged_set_with_an_empty_class_is_normalised_and_evaluated(grey):
    whole = CondensedSet(grey.first_images(2), 2, grey.mean, grey.std, grey.classes)
    part = whole.select(torch.tensor([0, 1, 2, 3, 4, 16, 23]))
    patches, labels = part.tensors()
    torch.testing.assert_close(patches, whole.tensors()[0][[0, 1, 2, 3, 4, 16, 23]], rtol=0, atol=0)
    assert labels.tolist() == [0] * 5 + [2] * 2
    config = TrainConfig(epochs=2, evaluations=1, width=4, depth=1, seeds=(0,))
    result = evaluate(part, grey, config)
    assert result.patches == 7
    assert 0 <= result.mean <= 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_ragged_set_comes_back_bit_for_bit(tmp_path, dtype):
    saved = ragged(dtype=dtype)
    loaded = CondensedSet.load(saved.save(tmp_path / "set.safetensors"))
    assert loaded.images.dtype == dtype
    assert torch.equal(loaded.images, saved.images)
    assert {**vars(loaded), "images": None} == {**vars(saved), "images": None}
    assert loaded.counts == (5, 0, 2)
    assert loaded.digest == saved.digest


def test_the_file_of_a_ragged_set_holds_no_unused_images(tmp_path):
    part = make(n=20, side=32).select(torch.arange(70))
    assert part.patches_per_class == (70, 0, 0)
    path = part.save(tmp_path / "set.safetensors")
    image = 3 * 32 * 32 * 4
    assert 18 * image < path.stat().st_size < 18 * image + 3000
    assert CondensedSet.load(path).images.shape == part.images.shape == (3, 18, 3, 32, 32)


def test_a_ragged_file_whose_counts_do_not_fit_is_named(tmp_path):
    path = ragged().save(tmp_path / "set.safetensors")
    for counts in ([5, 0, 0], [5, 0, 5], [5, 2], [2.0, 0, 5], [-1, 0, 9], [0, 0, 0]):
        rewrite(path, counts=counts)
        with pytest.raises(ValueError, match=rf"{path} holds a set that cannot be used: "):
            CondensedSet.load(path)


@pytest.mark.parametrize("change", [{"counts": []}, {"counts": "502"}, {"counts": 5}, {"factor": 0}, {"factor": "2"}])
def test_a_ragged_file_with_damaged_counts_is_named(tmp_path, change):
    path = rewrite(ragged().save(tmp_path / "set.safetensors"), **change)
    with pytest.raises(ValueError, match=rf"{path} holds a set that cannot be used: "):
        CondensedSet.load(path)


def test_a_set_that_leaves_its_last_images_unused_can_be_saved(tmp_path):
    few = dataclasses.replace(make(), counts=(1, 2, 0))
    loaded = CondensedSet.load(few.save(tmp_path / "set.safetensors"))
    assert torch.equal(loaded.decode()[0], few.decode()[0])
    assert loaded.digest == few.digest


def test_the_digest_is_that_of_the_pixels_the_factor_and_the_counts():
    half = make(dtype=torch.float16)
    sets = [make(), make(seed=1), make().take(3), half, dataclasses.replace(make(), factor=1), ragged()]
    sets += [dataclasses.replace(ragged(), counts=counts) for counts in ((5, 0, 1), (6, 0, 2))]
    sets += [make().select(torch.arange(48).flip(0))]
    assert len({one.digest for one in sets}) == len(sets)
    for one in sets:
        assert dataclasses.replace(one, info={}, images=one.images.clone()).digest == one.digest
    assert dataclasses.replace(half, images=half.images.float()).digest == half.digest


def test_ragged_sets_are_not_united():
    for sets in ([ragged(), make()], [make(), ragged()], [ragged(), ragged()]):
        with pytest.raises(ValueError, match=r"^a set that uses only some of its cells cannot be united"):
            union(sets)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((16, 16), r"patches per class \[16, 16\] given for 3 classes of up to 16 patches"),
        ((17, 0, 0), r"patches per class \[17, 0, 0\] given for 3 classes of up to 16 patches"),
        ((0, 0, 0), r"patches per class \[0, 0, 0\] given for 3 classes of up to 16 patches"),
        ((), r"patches per class \[\] given for 3 classes of up to 16 patches"),
        ((1, -1, 2), r"patches of a class must be an integer >= 0, got -1"),
        ((1, 2.0, 2), r"patches of a class must be an integer >= 0, got 2\.0"),
        ((1, True, 2), r"patches of a class must be an integer >= 0, got True"),
    ],
)
def test_counts_that_do_not_fit_are_named(counts, message):
    with pytest.raises(ValueError, match=rf"^{message}$"):
        dataclasses.replace(make(), counts=counts)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([3, 4, 3], "3 patches asked, only 2 of them different: give each once"),
        ([0, 48], r"patches 0 to 48 asked of a set with 48: 0\.\.47"),
        ([-1, 2], r"patches -1 to 2 asked of a set with 48: 0\.\.47"),
        ([], r"index of shape \(0,\) and torch\.float32 given: expected patch numbers, at least one"),
        ([1.0, 2.0], r"index of shape \(2,\) and torch\.float32 given: expected patch numbers, at least one"),
        ([True] * 48, r"index of shape \(48,\) and torch\.bool given: expected patch numbers, at least one"),
        ([[1, 2]], r"index of shape \(1, 2\) and torch\.int64 given: expected patch numbers, at least one"),
    ],
)
def test_an_index_that_names_no_patches_is_refused(index, message):
    with pytest.raises(ValueError, match=rf"^{message}$"):
        make().select(torch.tensor(index))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_an_index_of_any_integers_counts_patches(dtype):
    for index in (torch.arange(48).flip(0), RAGGED):
        assert make().select(index.to(dtype)).digest == make().select(index).digest


def test_a_set_that_is_not_square_keeps_all_its_rows():
    tall = CondensedSet(torch.rand(2, 2, 1, 12, 8), 2, (0.5,), (0.5,), ("a", "b"))
    assert torch.equal(tall.select(torch.arange(16)).images, tall.images)


def test_a_prefix_of_a_selection_says_which_patches_it_holds():
    part = make().select(torch.tensor([37, 4, 0, 32, 15, 9, 7, 33, 34, 35]), method="mine")
    assert part.info["selected"]["patches"] == [4, 0, 15, 9, 7, 37, 32, 33, 34, 35]
    assert part.take(1).info["selected"] == {
        "patches": [4, 0, 15, 9, 37, 32, 33, 34],
        "of": make().digest,
        "method": "mine",
    }
    assert part.info["selected"]["patches"][-1] == 35


@pytest.mark.parametrize("change", [{"mean": 5}, {"classes": 7}, {"std": [None] * 3}])
def test_a_file_with_damaged_settings_is_named(tmp_path, change):
    path = rewrite(make().save(tmp_path / "set.safetensors"), **change)
    with pytest.raises(ValueError, match=rf"{path} holds a set that cannot be used: "):
        CondensedSet.load(path)
