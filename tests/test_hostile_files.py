"""Files that are damaged or forged are refused by name, at once, within little memory and without running anything.

Each test stands for something that `python -m tests.fuzz` has found, or would find.
"""

import io
import json
import os
import signal
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from records import RESIZED, RUN

import mdckit
from mdckit import (
    CondensedSet,
    ExpertConfig,
    TrainConfig,
    baselines,
    condense,
    export,
    files,
    import_set,
    load_set,
    notebooks,
    results,
)
from mdckit.baselines import union
from mdckit.checkpoint import load_checkpoint
from mdckit.condensers.experts import load_experts, train_experts
from mdckit.papers import side_by_side
from mdckit.parameters import read_parameters
from mdckit.pruning.dynamics import Dynamics, record_dynamics
from mdckit.sources import load_folder


@pytest.fixture(autouse=True)
def impatient():
    """A reader that waits for a pipe fails its test."""

    def fail(*_):
        raise AssertionError("still waiting after ten minutes")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(600)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MDCKIT_DATA", str(tmp_path / "root"))


def made(**changes):
    images = torch.rand(3, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    info = {"mls_trace": [[1, 1], [2, 2]], "losses": [1.0], "versions": {"torch": "2"}}
    return CondensedSet(
        images,
        **{"factor": 2, "mean": (0.5,) * 3, "std": (0.5,) * 3, "classes": ("a", "b", "c"), "info": info} | changes,
    )


def refuse(path, read, message=None):
    with pytest.raises((ValueError, OSError), match=message) as caught:
        read(path)
    assert Path(path).name in str(caught.value)
    assert len(str(caught.value)) < 1500


def unsealed(path, tensors, info):
    """A file of an earlier version, which had no digest."""
    path.write_bytes(safetensors.torch.save(tensors, {"mdckit": json.dumps(info)}))
    return path


def forge(path, **changes):
    """The set in the file with other info and no digest."""
    tensors, info = files.load_tensors(path, "condensed set")
    return unsealed(path, tensors, info | changes)


# -- the kit's own files


def test_no_flipped_bit_in_a_file_of_the_kit_goes_unnoticed(tmp_path):
    path, whole = tmp_path / "set.safetensors", made()
    content = whole.save(path).read_bytes()
    header = int.from_bytes(content[:8], "little")
    tried = refused = harmless = 0
    for place in [*range(0, header, 23), *range(header, len(content), 501)]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        try:
            found = CondensedSet.load(path)
        except ValueError as error:
            refused += "set.safetensors" in str(error)
        else:
            harmless += found.digest == whole.digest and found.info == whole.info
        tried += 1
    assert refused + harmless == tried
    assert refused > harmless
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refuse(path, CondensedSet.load, "is damaged: its content is not what was written")


def test_files_of_earlier_versions_have_no_digest_and_are_read(tmp_path):
    path = made().save(tmp_path / "set.safetensors")
    assert json.loads(safetensors_info(path))["sha256"]
    assert CondensedSet.load(forge(path)).digest == made().digest
    assert "sha256" not in made().info
    for name in ("mnist5k", "cifar10"):
        assert mdckit.shipped(name).ipc == 10


def safetensors_info(path):
    with safetensors.safe_open(path, "pt") as file:
        return file.metadata()["mdckit"]


@pytest.mark.parametrize(
    "change",
    [
        {"classes": "abc"},
        {"classes": ["a", "b", "\ud800"]},
        {"mean": [float("nan"), 0.5, 0.5]},
        {"std": [float("inf")] * 3},
        {"mean": [10**400, 0, 0]},
        {"mls_trace": [[1]]},
        {"mls_trace": 5},
        {"recipe": None},
        {"config": []},
        {"dataset": ["../x"]},
        {"selected": {}},
        {"selected": {"patches": [0, 1], "of": "x"}},
        {"outer": "two"},
        {"versions": {"torch": 2}},
        {"import": "idc"},
    ],
)
def test_what_a_set_says_of_itself_is_checked_before_it_is_used(tmp_path, change):
    path = forge(made().save(tmp_path / "set.safetensors"), **change)
    refuse(path, CondensedSet.load, "holds a set that cannot be used: ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    key=st.sampled_from(
        ["factor", "mean", "std", "classes", "dataset", "counts", *("mls_trace", "config", "selected")]
    ),
    value=JSON,
)
def test_a_set_of_any_words_is_refused_or_can_be_used(tmp_path_factory, key, value):
    images, info = made().parts()
    try:
        found = CondensedSet.from_parts(images, json.loads(json.dumps(info | {key: value})), "some.safetensors")
    except ValueError as error:
        named = "some.safetensors" in str(error)
    else:
        named = True
        assert len(found.take(1).tensors()[0]) == found.take(1).patches
        assert all(history.mls(3) != 0 for history in mdckit.subsets.histories(found.info))
    assert named


@settings(max_examples=100, deadline=None, derandomize=True)
@given(value=JSON)
def test_json_is_read_as_python_wrote_it(value):
    text = json.dumps(value)
    assert json.dumps(files.parse_json(text)) == text


def test_json_that_is_more_than_its_text_is_refused(tmp_path):
    path = tmp_path / "result.json"
    for text, message in (
        ("[" * 100_000, "nested more than 50 deep"),
        ("[" * 51 + "]" * 51, "nested more than 50 deep"),
        ('{"a": ' * 60 + "1" + "}" * 60, "nested more than 50 deep"),
        ('{"a": 1, "a": 2}', "the entry 'a' stands there twice"),
        (json.dumps({str(n): n for n in range(100_000)})[:-1] + ', "0": 1}', "the entry '0' stands there twice"),
        ("9" * 10_000, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"1" * (files.LARGEST_TEXT + 1), "is longer than"),
    ):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        refuse(path, files.load_json, message)
        refuse(path, results.load, message)
    assert files.parse_json("[" * 50 + "]" * 50)
    assert files.parse_json('["[[[", "\\"[", {}]') == ["[[[", '"[', {}]


def test_a_header_that_claims_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "set.safetensors"
    path.write_bytes((2**31).to_bytes(8, "little") + b"{}")
    refuse(path, CondensedSet.load, "its header claims 2,147,483,648 bytes of 10")
    path.write_bytes((50_000).to_bytes(8, "little") + b'"' + b"A" * 49_998 + b'"')
    refuse(path, CondensedSet.load, "invalid JSON in header: .*AAAA")


def test_a_checkpoint_of_a_past_that_cannot_have_been_is_refused(tmp_path, grey, tiny):
    path, recipes = tmp_path / "run.safetensors", [baselines.mdc()]
    config = tiny.replace(outer=1)
    condense(grey, recipes, config, checkpoint=path, show_progress=False)
    tensors, info = files.load_tensors(path, "checkpoint")
    mdc = info["sets"]["mdc"]
    for change in (
        {"outer": -1},
        {"outer": "one"},
        {"sets": {}},
        {"sets": {"mdc": mdc | {"losses": []}}},
        {"sets": {"mdc": mdc | {"subsets": []}}},
        {"sets": {"mdc": mdc | {"subsets": [{"distances": [1.0, 2.0], "choices": [[1, 9]]}]}}},
        {"sets": {"mdc": mdc | {"subsets": [{"distances": [1.0], "choices": [[1, 1]]}]}}},
    ):
        unsealed(path, tensors, info | change)
        refuse(path, lambda path: load_checkpoint(path, grey, recipes, config))
    for name, value in {
        "mdc/images": tensors["mdc/images"][:, :1],
        "mdc/velocity": torch.full((3, 3, 1, 8, 8), torch.nan),
    }.items():
        unsealed(path, tensors | {name: value.contiguous()}, info)
        refuse(path, lambda path: load_checkpoint(path, grey, recipes, config), "no usable images of 'mdc'")
    del info["run"]
    refuse(unsealed(path, tensors, info), lambda path: load_checkpoint(path, grey, recipes, config), "has no 'run'")


def test_an_expert_that_claims_a_giant_network_takes_no_memory(tmp_path, grey):
    train_experts(grey, ExpertConfig(count=1, epochs=1, width=4, depth=1), tmp_path, show_progress=False)
    path = tmp_path / "expert_000.safetensors"
    tensors, info = files.load_tensors(path, "expert trajectory")
    for part, change in (
        ("config", {"width": 10**7}),
        ("config", {"width": 2**62}),
        ("config", {"network": "resnet10_ap", "width": 10**6}),
        ("data", {"shape": [1, 2**40, 2**40]}),
        ("data", {"shape": [1]}),
        ("data", {"classes": 5}),
    ):
        unsealed(path, tensors, info | {part: info[part] | change})
        refuse(path, lambda path: load_experts(path.parent))
    name = next(iter(tensors))
    unsealed(path, tensors | {name: torch.full_like(tensors[name], torch.nan)}, info)
    refuse(path, lambda path: load_experts(path.parent), "not finite numbers")


def test_a_log_of_impossible_probabilities_is_refused(tmp_path):
    log = record_dynamics(made(), TrainConfig(epochs=2, width=4, depth=1, evaluations=1), show_progress=False)
    path = log.save(tmp_path / "log.safetensors")
    tensors, info = files.load_tensors(path, "training dynamics")
    for name, odd in (("probabilities", 2.0), ("probabilities", torch.nan), ("final", -1.0), ("features", torch.inf)):
        unsealed(path, tensors | {name: torch.full_like(tensors[name], odd)}, info)
        refuse(path, Dynamics.load, "do not fit")
    refuse(unsealed(path, tensors, info | {"config": 3}), Dynamics.load, "'config'")


def test_a_cache_that_holds_something_else_is_made_again(tmp_path):
    folder = pictures(tmp_path / "insects")
    whole = load_folder(folder)
    (cache,) = (tmp_path / "root" / "decoded").iterdir()
    tensors, info = files.load_tensors(cache, "decoded folder")
    for change in (
        {"x_train": tensors["x_train"].float()},
        {"x_test": tensors["x_test"][:1].contiguous()},
        {"y_train": 1 - tensors["y_train"]},
        {"more": torch.zeros(1)},
    ):
        unsealed(cache, tensors | change, info)
        assert torch.equal(load_folder(folder).x_train, whole.x_train)
        assert set(files.load_tensors(cache, "decoded folder")[0]) == set(tensors)


def test_a_union_of_selections_can_be_made_smaller():
    part = made().select(torch.arange(16).repeat(3) + torch.arange(3).repeat_interleave(16) * 16)
    both = union([part, part])
    assert both.take(5).ipc == 5


# -- no files in the place of files


READERS = {
    "set.safetensors": CondensedSet.load,
    "set.npz": load_set,
    "result.json": results.load,
    "quick.yaml": read_parameters,
    "data_best.pt": lambda path: import_set(path, "cifar10"),
    "images.npz": lambda path: import_set(path, "cifar10"),
    "set.parquet": lambda path: import_set(path, "cifar10"),
    "expert_000.safetensors": lambda path: load_experts(path.parent),
    "other.json": lambda path: side_by_side.read(path.parent),
    "one.safetensors": lambda path: results.load_sets(path.parent),
}


@pytest.mark.parametrize("name", READERS)
def test_pipes_devices_and_links_to_nothing_are_not_waited_for(tmp_path, name):
    path = tmp_path / "here" / name
    path.parent.mkdir()
    for place in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path.name)):
        place(path)
        refuse(path, READERS[name])
        path.unlink()


@pytest.mark.parametrize("place", [os.mkfifo, lambda path: path.symlink_to("none")], ids=["pipe", "link"])
def test_an_image_that_is_no_file_is_not_left_out_in_silence(tmp_path, place):
    folder = pictures(tmp_path / "insects")
    path = folder / "train" / "ant" / "2.png"
    place(path)
    refuse(path, lambda _: load_folder(folder), "is no image file but a pipe, a device or a link to nothing")
    refuse(path, lambda _: import_set(folder / "train", load_two(folder)), "is no image file")


def load_two(folder):
    x = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    return mdckit.from_arrays(x, [0, 1], x, [0, 1], classes=("ant", "bee"))


# -- pictures


def pictures(folder):
    for i, place in enumerate(
        f"{part}/{c}/{i}.png" for part in ("train", "test") for c in ("ant", "bee") for i in "01"
    ):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 10 * i, 99)).save(folder / place)
    return folder


def png(width, height, pixels):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def scans(count):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    return content[:-2] + content[content.index(b"\xff\xda") : -2] * count + content[-2:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(9000, 9000, bytes(1000)), "claims 81,000,000 pixels in"),
        (png(8_000_000, 2, bytes(48_000_002)), "too long and narrow to be resized to 8"),
        (scans(100), "more than 100 scans"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "cannot identify image file"),
        (b"", "is not a readable image"),
    ],
    ids=["pixels", "narrow", "scans", "PostScript", "empty"],
)
def test_an_image_that_is_more_than_its_bytes_is_refused(tmp_path, content, message):
    folder = pictures(tmp_path / "insects")
    path = folder / "train" / "bee" / "0.png"
    path.write_bytes(content)
    refuse(path, lambda _: load_folder(folder, size=8), message)


# -- archives of other programs


def arrays(path, parts, packed=False):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def npy(array, header=None):
    buffer = io.BytesIO()
    np.save(buffer, array)
    content = buffer.getvalue()
    if header is None:
        return content
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content[-array.nbytes :]


def test_npz_files_that_claim_more_than_they_hold_are_refused(tmp_path):
    path, images, labels = tmp_path / "set.npz", np.zeros((20, 3, 32, 32), np.float32), npy(np.arange(10).repeat(2))
    for parts, message in (
        ({"images": b"no array", "labels": b"none"}, "truncated or no npz file"),
        ({"images.npy": npy(images) + bytes(10**8), "labels.npy": labels}, "it claims .* bytes in 2 parts"),
        (
            {"images.npy": npy(images, "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}")},
            "takes 4000000000000",
        ),
        (
            {"images.npy": npy(images, "{'descr': ('<f4', (1000000,)), 'fortran_order': False, 'shape': (20,)}")},
            "truncated or",
        ),
        ({"images.npy": npy(images, "-" * 9000 + "1")}, "truncated or no npz file"),
        ({"images.npy": npy(images.astype(np.longdouble)), "labels.npy": labels}, "expected numbers"),
    ):
        arrays(path, parts, packed=True)
        refuse(path, lambda path: import_set(path, "cifar10"), message)


def test_a_picture_that_is_written_once_and_stands_in_every_row_is_not_copied_a_thousand_times(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1000), pyarrow.array([bytes(10**7)]))
    parquet.write_table(pyarrow.table({"image": column, "label": [0] * 1000}), tmp_path / "set.parquet")
    refuse(tmp_path / "set.parquet", lambda path: import_set(path, "cifar10"), r"its first \d+ rows are|it claims")


def test_a_file_of_the_kit_in_npz_is_checked_as_one(tmp_path):
    path = export.to_npz(made(), tmp_path / "set.npz")
    with np.load(path) as file:
        whole = dict(file)
    info = json.loads(str(whole["info"]))
    for change in (
        {"info": "[" * 100_000},
        {"info": json.dumps({key: value for key, value in info.items() if key != "classes"})},
        {"info": json.dumps(info | {"classes": ["a", "b", "c", "d", "e"]})},
        {"info": json.dumps(info | {"factor": "2"})},
        {"stored": np.zeros((7, 3, 8, 8), np.float32)},
        {"stored": np.array(["a"])},
    ):
        np.savez(path, **whole | {name: np.array(value) for name, value in change.items()})
        refuse(path, load_set)


def repickled(path, change):
    """A file of torch.save with another pickle."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in parts if name.endswith(".pkl"))
    return arrays(path, parts | {name: change(parts[name])})


def test_torch_files_that_claim_more_than_they_hold_are_refused(tmp_path):
    path, images, labels = tmp_path / "data_best.pt", torch.rand(20, 3, 32, 32), torch.arange(10).repeat(2)

    def damaged():
        refuse(path, lambda path: import_set(path, "cifar10"), r"data_best\.pt is truncated or damaged")

    torch.save([images, labels], path)
    size = b"M" + struct.pack("<H", images.numel())
    repickled(path, lambda pickled: pickled.replace(size, b"J" + struct.pack("<i", 10 * images.numel()), 1))
    damaged()  # torch would read beyond the end of the numbers
    torch.save([torch.rand(1).expand(10**6, 3, 32, 32), labels], path)
    damaged()
    torch.save([images.to_sparse(), labels], path)
    with pytest.raises(ValueError, match="data_best"):
        import_set(path, "cifar10")
    torch.save([images, labels], path)
    content = bytearray(path.read_bytes())
    content[content.index(images.numpy().tobytes()[:16])] ^= 1
    path.write_bytes(content)
    damaged()


@pytest.mark.parametrize(
    "pickled", [b"K\x01" + b"q\x01h\x01\x86" * 60, b"K\x01" + b"\x85" * 100_000], ids=["wide", "deep"]
)
def test_tuples_that_take_years_to_look_up_are_not_looked_up(tmp_path, pickled):
    path = tmp_path / "data_best.pt"
    torch.save([torch.rand(2), torch.rand(2)], path)
    repickled(path, lambda _: b"\x80\x02}" + pickled + b"K\x01s.")
    refuse(path, lambda path: import_set(path, "cifar10"), "truncated or damaged")


# -- text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\n", "it has an alias, .a: write the value out"),
        ("ipc: !!python/object/apply:os.mkdir ['ran']\n", "could not determine a constructor"),
        ("ipc: 1\nipc: 2\n", "a name stands there twice"),
        ("- ipc\n", "it is a list: expected lines of NAME: VALUE"),
        ("ipc: 2001-01-01\n", "the value of 'ipc' is no text, number"),
        ("1: 2\n", "the value of '1' is no text"),
        ("ipc: " + "9" * 10_000, "holds no parameters"),
        ("ipc: 0x" + "f" * 5000, "the value of 'ipc' is no text"),
        ("ipc: " + "[" * 5000 + "]" * 5000, "holds no parameters"),
        ("ipc: " + "[" * 30 + "]" * 30, "the value of 'ipc' is no text"),
        ("ipc: " + "a" * 10**5, "longer than 65,536 bytes"),
        ("ipc: \xff".encode("latin1"), "holds no parameters"),
        ("ipc: [1", "holds no parameters"),
    ],
)
def test_parameter_files_that_are_more_than_parameters_are_refused(tmp_path, text, message):
    path = tmp_path / "quick.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refuse(path, read_parameters, message)
    notebook = Path(__file__).parents[1] / "notebooks" / "20_run.ipynb"
    run = CliRunner().invoke(notebooks.main, ["run", str(notebook), str(tmp_path / "out.ipynb"), "-f", str(path)])
    assert run.exit_code == 1
    assert run.output.startswith("Error: ")
    assert not (tmp_path / "out.ipynb").exists()


def test_parameter_files_of_the_repository_are_read():
    paths = sorted((Path(__file__).parents[1] / "notebooks" / "params").glob("*.yaml"))
    assert all(read_parameters(path)["dataset"] for path in paths)
    assert len(paths) > 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": []}, r"\['accuracy'\] is \[\]"),
        ({"accuracy": {"mdc": {"1": [50.0]}}}, "has 1 numbers at 1 images per class, there are 2 seeds"),
        ({"accuracy": {"mdc": {"1": [50.0, float("nan")]}}}, "expected a number in 0..100"),
        ({"accuracy": {"mdc": {"1": [50.0, 1e9]}}}, "expected a number in 0..100"),
        ({"accuracy": {"mdc": {"one": [50.0, 51.0]}}}, "has the key 'one': expected images per class"),
        ({"accuracy_by_loop": {"mdc": {"end": {"1": [50.0, 51.0]}}}}, "has the key 'end': expected outer loops"),
        ({"accuracy_by_loop": {"mdc": {"5": {"1": [50.0]}}}}, "after outer loop 5 has 1 numbers at 1 images"),
        ({"seeds": [[0, 1], [0, 2]]}, "seeds"),
        ({"config": {}}, "has no 'train'"),
        ({"ipc": "10"}, r"\['ipc'\] is '10'"),
    ],
)
def test_records_that_are_none_are_refused_and_named(tmp_path, change, message):
    path = files.save_json(tmp_path / "result.json", RUN | change)
    refuse(path, results.load, message)
    found = side_by_side.read(tmp_path)
    assert side_by_side.overview(found)["tables"].item().startswith("none: no accuracies")
    assert results.load(files.save_json(path, RESIZED)) == RESIZED


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../../out"])
def test_names_of_sets_lead_nowhere_else(tmp_path, name):
    with pytest.raises(ValueError, match="leads out of the folder"):
        results.save(tmp_path / "run", RUN, {name: made()})
    assert list(tmp_path.rglob("*out*")) == []


def test_names_of_files_are_no_html(tmp_path):
    files.save_json(tmp_path / "<script>alert(1)<" / "result.json", RUN)
    (part,) = side_by_side.parts(side_by_side.read(tmp_path), "mdc", 3)
    shown = side_by_side.html(part.rows)
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "<b>40.00" in shown


def test_torchvision_files_that_make_no_data_set_are_named(tmp_path, monkeypatch):
    from tests import real_files

    root = tmp_path / "data"
    monkeypatch.setenv("MDCKIT_DATA", str(root))
    real_files.write_mnist(root, "MNIST")
    labels = root / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    content = labels.read_bytes()
    for damaged in (content[:2] + b"\x0a" + content[3:], content[:-1] + b"\xff", content[:2] + b"\x0d" + content[3:]):
        labels.write_bytes(damaged)
        with pytest.raises(FileNotFoundError, match=f"no whole mnist in {root}"):
            mdckit.load("mnist")


def test_warnings_of_hostile_files_do_not_hide_the_error(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, images=np.zeros((20, 3, 32, 32)), labels=np.arange(20))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refuse(path, lambda path: import_set(path, "cifar10"), "it holds labels 0..19: expected 0..9")
