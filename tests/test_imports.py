"""Condensed sets of other projects: files of each layout come back to the pixel, the rest is refused by name."""

import io
import os
import pickle
import re
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from mdckit import CondensedSet, sources
from mdckit.sharing import imports
from mdckit.sharing.imports import import_set

CIFAR, MNIST = sources.CIFAR_STATISTICS, sources.MNIST_STATISTICS
DC_CIFAR100 = {"mean": (0.5071, 0.4866, 0.4409), "std": (0.2673, 0.2564, 0.2762)}
LABELS = torch.arange(10).repeat_interleave(2)  # class-major, as IDC has it


def pixels(count=20, side=32, channels=3, seed=0):
    """Images that use the whole of 0..1, so that normalised ones leave it."""
    images = torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed))
    images[:, :, 0, 0], images[:, :, 0, 1] = 0, 1
    return images


def normalised(images, mean, std):
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def grouped(images, classes=10):
    return images.unflatten(0, (classes, -1))


def save(path, content):
    torch.save(content, path)
    return path


def save_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def quietly(*args, **settings):
    """Import a set where every warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return import_set(*args, **settings)


def spoken(*args, **settings):
    """The imported set and all that was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        condensed = import_set(*args, **settings)
    assert {warning.filename for warning in caught} == {__file__}
    return condensed, [str(warning.message) for warning in caught]


def refused(path, message, dataset="cifar10", error=ValueError, **settings):
    """The import must fail with one sentence that names the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=message) as caught:
            import_set(path, dataset, **settings)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


# -- IDC, MDC, DREAM


@pytest.mark.parametrize("container", [list, tuple])
@pytest.mark.parametrize("name", ["data_best.pt", "data.pth"])
def test_an_idc_file_comes_back_to_the_bit(tmp_path, container, name):
    images = pixels() * 1.4 - 0.2  # the last steps were not clamped
    condensed = quietly(save(tmp_path / name, container([images, LABELS])), "cifar10", factor=2)
    assert torch.equal(condensed.images, grouped(images))
    assert (condensed.factor, condensed.counts, condensed.data_name) == (2, None, "cifar10")
    assert (condensed.mean, condensed.std) == (CIFAR["mean"], CIFAR["std"])
    assert condensed.classes[:2] == ("airplane", "automobile")
    assert condensed.info["import"] == {
        "file": name,
        "layout": "idc",
        "normalized": False,
        "factor_guessed": False,
    }


@pytest.mark.parametrize(
    ("dataset", "side", "channels", "factor"), [("svhn", 32, 3, 2), ("imagenet10", 224, 3, 3), ("mnist", 28, 1, 2)]
)
def test_a_factor_left_out_is_guessed_and_said(tmp_path, dataset, side, channels, factor):
    path = save(tmp_path / "data.pt", [pixels(10, side, channels), torch.arange(10)])
    condensed, said = spoken(path, dataset)
    assert (condensed.factor, condensed.info["import"]["factor_guessed"]) == (factor, True)
    assert len(said) == 1
    assert said[0].startswith(f"data.pt: factor {factor} is a guess (IDC's for {side} pixels)")


def test_images_in_any_order_are_grouped_and_keep_their_order_in_the_class(tmp_path):
    images, order = pixels(), torch.randperm(20, generator=torch.Generator().manual_seed(3))
    condensed = quietly(save(tmp_path / "data.pt", [images[order], LABELS[order]]), "svhn", factor=1)
    for c in range(10):
        first, second = [i for i in order.tolist() if LABELS[i] == c]
        assert torch.equal(condensed.images[c], torch.stack([images[first], images[second]]))


@pytest.mark.parametrize("factor", [1, 2])
def test_unequal_classes_give_counts_of_patches(tmp_path, factor):
    images, labels = pixels(19), LABELS[:19]  # one image of class 9
    condensed = quietly(save(tmp_path / "data.pt", [images, labels]), "cifar10", factor=factor)
    assert condensed.patches_per_class == (2 * factor**2,) * 9 + (factor**2,)
    assert torch.equal(condensed.images[:9], grouped(images[:18], 9))
    assert torch.equal(condensed.images[9, 0], images[18])
    assert bool((condensed.images[9, 1] == 0.5).all())
    if factor == 1:
        assert torch.equal(condensed.decode()[0], images)


def test_8_bit_tensors_are_divided_by_255(tmp_path):
    images = (pixels() * 255).round().to(torch.uint8)
    condensed = quietly(save(tmp_path / "data.pt", [images, LABELS]), "cifar10", factor=2)
    assert torch.equal(condensed.images, grouped(images) / 255)


def test_an_imported_set_is_saved_with_what_was_done(tmp_path):
    condensed, _ = spoken(save(tmp_path / "res.pt", {"data": [[normalised(pixels(), **CIFAR), LABELS]]}), "cifar10")
    loaded = CondensedSet.load(condensed.save(tmp_path / "set.safetensors"))
    assert torch.equal(loaded.images, condensed.images)
    assert loaded.info["import"] == condensed.info["import"]
    assert loaded.info["import"]["undone"] == {"mean": list(CIFAR["mean"]), "std": list(CIFAR["std"])}


# -- data sets and classes


def test_image_data_gives_statistics_and_classes(tmp_path, grey):
    images = pixels(6, 8, 1)
    condensed = quietly(save(tmp_path / "data.pt", [images, torch.arange(3).repeat(2)]), grey, factor=2)
    assert (condensed.mean, condensed.std, condensed.classes) == (grey.mean, grey.std, grey.classes)
    assert condensed.data_name == "grey"


def test_given_classes_overrule_those_of_the_data_set(tmp_path):
    path = save(tmp_path / "data.pt", [pixels(4), torch.tensor([0, 0, 1, 1])])
    assert quietly(path, "cifar10", factor=1, classes=["cat", "dog"]).classes == ("cat", "dog")


@pytest.mark.parametrize("name", imports.DATASETS)
def test_every_data_set_with_statistics_of_its_own_can_be_named(name):
    statistics, classes = imports.DATASETS[name]
    assert set(statistics) == {"mean", "std"}
    assert len(classes) == (100 if name == "cifar100" else 10)
    assert name in sources.SOURCES


def test_an_unknown_data_set_is_named(tmp_path):
    path = save(tmp_path / "data.pt", [pixels(), LABELS])
    with pytest.raises(ValueError, match=r"^unknown data set 'digits': give ImageData, or one of cifar10, cifar100, "):
        import_set(path, "digits")


# -- DC, DSA


@pytest.mark.parametrize("experiment", [0, 3])
def test_an_experiment_of_a_dsa_file_is_unnormalised(tmp_path, experiment):
    sets = [pixels(seed=seed) for seed in range(5)]
    content = {
        "data": [[normalised(images, **CIFAR), LABELS] for images in sets],
        "accs_all_exps": {"ConvNet": [np.float64(0.5), 0.52]},  # numpy numbers, as DC's script has them
    }
    path = save(tmp_path / "res_DSA_CIFAR10_ConvNet_2ipc.pt", content)
    condensed, said = spoken(path, "cifar10", experiment=experiment)
    assert torch.allclose(condensed.images, grouped(sets[experiment]), atol=1e-6)
    assert condensed.factor == 1
    assert len(said) == 1
    assert "normalised pixels were brought back as x * (0.2023, 0.1994, 0.201) + (0.4914" in said[0]
    assert "ZCA" not in said[0]
    told = condensed.info["import"]
    assert (told["layout"], told["normalized"], told["factor_guessed"]) == ("dsa", True, False)
    assert (told["experiment"], told["experiments"]) == (experiment, 5)


@pytest.mark.parametrize(("layout", "statistics"), [("dsa", DC_CIFAR100), ("mtt", DC_CIFAR100), ("idc", CIFAR)])
def test_cifar100_of_the_dc_code_base_has_statistics_of_its_own(tmp_path, layout, statistics):
    images, labels = pixels(100), torch.arange(100)
    content = normalised(images, **statistics)
    if layout == "mtt":
        path = save(tmp_path / "labels_best.pt", labels).with_name("images_best.pt")
        save(path, content)
    else:
        path = save(tmp_path / "data.pt", {"data": [[content, labels]]} if layout == "dsa" else [content, labels])
    condensed, _ = spoken(path, "cifar100", normalized=True)
    assert torch.allclose(condensed.images, grouped(images, 100), atol=1e-6)
    assert (condensed.mean, condensed.std) == (CIFAR["mean"], CIFAR["std"])
    assert condensed.info["import"]["undone"]["mean"] == list(statistics["mean"])


def test_noise_that_was_never_clamped_is_imported(tmp_path):
    images = torch.randn(10, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2
    condensed, _ = spoken(save(tmp_path / "res.pt", {"data": [[images, torch.arange(10)]]}), "mnist")
    assert torch.allclose(condensed.images[:, 0], images * 0.3081 + 0.1307, atol=1e-6)
    assert condensed.images.min() < -1


# -- MTT


@pytest.mark.parametrize("asked", [".", "images_best.pt", "labels_best.pt"])
def test_an_mtt_pair_is_found_by_folder_or_either_file(tmp_path, asked):
    save(tmp_path / "images_best.pt", normalised(pixels(), **CIFAR).requires_grad_())
    save(tmp_path / "labels_best.pt", LABELS)
    condensed, said = spoken(tmp_path / asked, "cifar10")
    assert torch.allclose(condensed.images, grouped(pixels()), atol=1e-6)
    assert not condensed.images.requires_grad
    assert (condensed.factor, condensed.info["import"]["layout"]) == (1, "mtt")
    assert "ZCA" in said[0]


@pytest.mark.parametrize(
    ("asked", "missing"), [("images_best.pt", "labels_best.pt"), ("labels_best.pt", "images_best.pt")]
)
@pytest.mark.parametrize("folder", [False, True])
def test_half_an_mtt_pair_is_named(tmp_path, asked, missing, folder):
    save(tmp_path / asked, pixels())
    with pytest.raises(
        FileNotFoundError, match=rf"no file .*{missing}: an MTT set needs both images_best\.pt and labels"
    ):
        import_set(tmp_path if folder else tmp_path / asked, "cifar10")


def test_a_pair_without_tensors_is_named(tmp_path):
    save(tmp_path / "labels.pt", LABELS.tolist())
    refused(save(tmp_path / "images.pt", pixels()), r"images\.pt and labels\.pt hold no tensors, one each")


def test_soft_labels_of_a_pair_are_refused(tmp_path):
    save(tmp_path / "labels_best.pt", torch.rand(20, 10))
    path = save(tmp_path / "images_best.pt", normalised(pixels(), **CIFAR))
    refused(path, r"its labels are torch\.float32 of shape \(20, 10\): expected one integer per image, 0\.\.9")


# -- npz


@pytest.mark.parametrize("kind", ["one-hot", "centred", "learned"])
def test_a_kip_file_is_unnormalised_and_its_labels_hardened(tmp_path, kind):
    matrix = np.eye(10)[LABELS] - (0 if kind == "one-hot" else 0.1)
    if kind == "learned":
        matrix = matrix * 0.4 + np.random.default_rng(0).uniform(-0.15, 0.15, matrix.shape)
    images = normalised(pixels(), **CIFAR).permute(0, 2, 3, 1).double().numpy()
    condensed, said = spoken(save_npz(tmp_path / "kip.npz", images=images, labels=matrix), "cifar10")
    assert torch.allclose(condensed.images, grouped(pixels()), atol=1e-6)
    assert condensed.images.dtype == torch.float32
    assert (condensed.factor, condensed.info["import"]["layout"]) == (1, "kip")
    assert "largest of each row" in condensed.info["import"]["labels"]
    assert "ZCA" in said[0]


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_a_plain_npz_file_keeps_its_pixels(tmp_path, order, dtype):
    images = (pixels() * 255).round()
    stored = images.numpy().astype(dtype) if np.dtype(dtype).kind != "f" else (images / 255).numpy().astype(dtype)
    stored = stored if order == "NCHW" else stored.transpose(0, 2, 3, 1)
    condensed = quietly(save_npz(tmp_path / "set.npz", images=stored, labels=LABELS.numpy()), "cifar10", factor=2)
    assert torch.equal(condensed.images, grouped(images) / 255)
    assert condensed.info["import"]["layout"] == "npz"


def test_8_bit_images_with_one_hot_labels_are_not_normalised(tmp_path):
    images = (pixels() * 255).round().to(torch.uint8)
    condensed, said = spoken(save_npz(tmp_path / "set.npz", images=images, labels=np.eye(10)[LABELS]), "cifar10")
    assert torch.equal(condensed.images, grouped(images) / 255)
    assert said == [
        "set.npz: factor 1 is a guess (whole images, which the file does not tell): "
        "give the factor that the set was condensed with"
    ]


def test_npz_files_that_hold_something_else_are_named(tmp_path):
    images, labels = pixels().numpy(), LABELS.numpy()
    refused(
        save_npz(tmp_path / "a.npz", x=images, labels=labels), "it holds x, labels: expected the arrays images and la"
    )
    refused(
        save_npz(tmp_path / "b.npz", images=images, labels=labels.astype(str)), "its labels are <U21: expected numbers"
    )
    matrix = np.eye(10)[labels]
    matrix[3, 3] = np.nan
    refused(save_npz(tmp_path / "c.npz", images=images, labels=matrix), "its labels hold NaN")
    refused(save_npz(tmp_path / "d.npz", images=images, labels=np.eye(11)[labels]), r"its labels are .* \(20, 11\)")


def test_an_npz_file_with_objects_is_not_unpickled(tmp_path):
    path = save_npz(tmp_path / "set.npz", images=pixels().numpy(), labels=np.array([Malice(tmp_path)], dtype=object))
    refused(path, "truncated or no npz file of plain arrays .*allow_pickle=False")
    assert not (tmp_path / "ran").exists()


# -- image files


def write_png(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()).save(path)


def write_folder(folder, names, images):
    """Two images for each class, the files written last first."""
    for label, name in reversed(list(enumerate(names))):
        for i in (1, 0):
            write_png(folder / name / f"{i:03}.png", images[2 * label + i])
    return folder


@pytest.mark.parametrize("names", [imports.CIFAR10_CLASSES, [f"{c:05}" for c in range(10)]])
def test_an_image_folder_is_read_by_the_names_of_its_classes(tmp_path, names):
    images = (pixels(side=8) * 255).round().to(torch.uint8)
    (tmp_path / "set" / ".cache").mkdir(parents=True)
    condensed = quietly(write_folder(tmp_path / "set", names, images), "cifar10", factor=2)
    assert torch.equal(condensed.images, grouped(images) / 255)
    assert condensed.classes == imports.CIFAR10_CLASSES
    assert condensed.info["import"]["layout"] == "folder"


def test_wnids_have_the_order_of_imagenet10(tmp_path):
    images = (pixels(side=8) * 255).round().to(torch.uint8)
    condensed = quietly(write_folder(tmp_path / "set", list(sources.IMAGENET10), images), "imagenet10", factor=1)
    assert torch.equal(condensed.images, grouped(images) / 255)
    assert condensed.classes[0] == "poke bonnet"


def test_sorted_folders_name_classes_that_are_only_numbered(tmp_path):
    images = (pixels(side=8, channels=1) * 255).round().to(torch.uint8)
    names = tuple("abcdefghij")
    condensed, said = spoken(write_folder(tmp_path / "set", names, images), "mnist", factor=1)
    assert torch.equal(condensed.images, grouped(images) / 255)
    assert condensed.classes == names
    assert said == ["set: labels follow the sorted folder names a, b, c, d, e, f, g, h, i, j"]


def test_folders_that_are_no_sets_are_named(tmp_path):
    images = (pixels(side=8) * 255).round().to(torch.uint8)
    refused(tmp_path, "it holds neither class folders nor images_best.pt")
    refused(
        write_folder(tmp_path / "set", list("abcdefghij"), images), "its class folders a, .* are not those of cifar10"
    )
    folder = write_folder(tmp_path / "other", list("0123456789"), images)
    write_png(folder / "7" / "large.png", torch.zeros(3, 9, 9, dtype=torch.uint8))
    refused(folder, r"images differ: .*large\.png is 9x9")
    (folder / "7" / "large.png").write_text("no image")
    refused(folder, r"large\.png is not a readable image")
    for path in (folder / "7").iterdir():
        path.unlink()
    refused(folder, "its class folder 7 holds no images")


def png(image):
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "png")
    return file.getvalue()


def cells(kind="struct"):
    images = (pixels(side=8) * 255).round().to(torch.uint8)
    content = [png(image) for image in images]
    return images, content if kind == "raw" else [{"bytes": c, "path": f"{i}.png"} for i, c in enumerate(content)]


@pytest.fixture
def parquet(tmp_path):
    """A function that writes columns to a parquet file."""
    pytest.importorskip("pyarrow")
    import pandas as pd

    def write(name="train-00000-of-00001.parquet", **columns):
        pd.DataFrame(columns).to_parquet(tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("kind", ["struct", "raw"])
def test_a_parquet_file_is_read(parquet, kind):
    images, column = cells(kind)
    condensed = quietly(parquet(image=column, label=LABELS.tolist()), "cifar10", factor=2)
    assert torch.equal(condensed.images, grouped(images) / 255)
    assert condensed.info["import"]["layout"] == "parquet"


@pytest.mark.parametrize("names", [("img", "label"), ("img", "fine_label"), ("image", "fine_label")])
def test_a_parquet_file_with_the_columns_of_the_hubs_cifar_is_read(parquet, names):
    images, column = cells()
    columns = dict(zip(names, (column, LABELS.tolist()), strict=True))
    assert torch.equal(quietly(parquet(**columns), "cifar10", factor=2).images, grouped(images) / 255)


def test_parquet_files_that_cannot_be_used_are_named(parquet):
    _, column = cells()
    refused(
        parquet(pixels=column, label=LABELS.tolist()), "it holds 20 rows of the columns pixels, label: expected image"
    )
    refused(parquet(image=column, label=list("abcdefghijklmnopqrst")), "its labels are .*: expected numbers")
    column[3] = {"bytes": None, "path": "3.png"}
    refused(parquet(image=column, label=LABELS.tolist()), "row 3 of its column image holds no bytes")
    column[3] = {"bytes": b"no image", "path": "3.png"}
    refused(parquet(image=column, label=LABELS.tolist()), "row 3 of its column image is not a readable image")
    path = parquet(image=column, label=LABELS.tolist())
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, "it is truncated or no parquet file")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "set.parquet").write_bytes(b"PAR1")
    refused(tmp_path / "set.parquet", r"needs pyarrow to be read: pip install 'mdckit\[hub\]'$", error=ImportError)


def test_parquet_in_this_environment_is_read_or_refused_with_advice(tmp_path):
    path = tmp_path / "set.parquet"
    path.write_bytes(b"PAR1")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        refused(path, r"pip install 'mdckit\[hub\]'", error=ImportError)
    else:
        refused(path, "truncated or no parquet file")


# -- value ranges


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pixels() * 255, r"an IDC, MDC or DREAM file with pixels in 0\.\.255, not in 0\.\.1: give normalized=True if"),
        (normalised(pixels(), **CIFAR), r"pixels in -2\.429\.\.2\.754, not in 0\.\.1: give normalized=True if"),
        (pixels() * 1.01 + 0.5, r"pixels in 0\.5\.\.1\.51, not in"),
        (pixels() * 1.01 - 0.51, r"pixels in -0\.51\.\.0\.5, not in"),
        (torch.full((20, 3, 32, 32), 256), r"pixels in 256\.\.256 of torch\.int64: integers must be 0\.\.255"),
        (torch.full((20, 3, 32, 32), -1), r"pixels in -1\.\.-1 of torch\.int64: integers must be 0\.\.255"),
    ],
)
def test_pixels_that_are_not_in_0_to_1_are_refused(tmp_path, content, message):
    refused(save(tmp_path / "data.pt", [content, LABELS]), message)
    refused(save(tmp_path / "data.pt", [content, LABELS]), message, normalized=False)


@pytest.mark.parametrize(
    ("dataset", "side", "channels"), [("mnist", 28, 1), ("fashion-mnist", 28, 1), ("svhn", 32, 3), ("cifar10", 32, 3)]
)
def test_the_tolerance_tells_normalised_pixels_apart(tmp_path, dataset, side, channels):
    content = normalised(pixels(20, side, channels), **imports.DATASETS[dataset][0])
    refused(save(tmp_path / "data.pt", [content, LABELS]), "give normalized=True", dataset)
    spoken(save(tmp_path / "res.pt", {"data": [[content, LABELS]]}), dataset)


def test_normalised_layouts_with_plain_pixels_are_questioned(tmp_path):
    path = save(tmp_path / "res.pt", {"data": [[pixels(), LABELS]]})
    refused(
        path, r"a DC or DSA file with pixels in 0\.\.1, but such sets are normalised and these look plain: give norm"
    )
    condensed = quietly(path, "cifar10", normalized=False)
    assert torch.equal(condensed.images, grouped(pixels()))
    assert condensed.info["import"]["normalized"] is False
    assert "undone" not in condensed.info["import"]
    condensed, _ = spoken(path, "cifar10", normalized=True)
    assert torch.allclose(condensed.images[:, :, 0], grouped(pixels())[:, :, 0] * 0.2023 + 0.4914, atol=1e-6)


def test_an_idc_file_can_be_said_to_be_normalised(tmp_path):
    path = save(tmp_path / "data.pt", [normalised(pixels(), **CIFAR), LABELS])
    condensed, said = spoken(path, "cifar10", normalized=True)
    assert torch.allclose(condensed.images, grouped(pixels()), atol=1e-6)
    assert len(said) == 2
    assert condensed.info["import"]["normalized"] is True


def test_pixels_that_do_not_fit_the_normalisation_are_refused(tmp_path):
    path = save(tmp_path / "res.pt", {"data": [[pixels() * 255, LABELS]]})
    message = r"a DC or DSA file with pixels in 0\.\.255 does not fit the normalisation of cifar10: check the data set"
    refused(path, message)
    refused(path, message, normalized=True)
    refused(
        save(tmp_path / "res.pt", {"data": [[-1 - pixels() * 254, LABELS]]}), r"in -255\.\.-1 does not fit the normalis"
    )


def test_integers_are_never_normalised(tmp_path):
    path = save(tmp_path / "res.pt", {"data": [[(pixels() * 255).to(torch.uint8), LABELS]]})
    refused(path, r"of torch\.uint8: integers must be 0\.\.255 and are never normalised")
    quietly(path, "cifar10", normalized=False)


# -- bad input


def test_a_missing_file_is_named(tmp_path):
    for name in ("none.pt", "none.xyz", "none"):
        refused(tmp_path / name, rf"no file .*{name}: expected \[data, targets\] \.pt", error=FileNotFoundError)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (pixels()[0], r"its images have shape \(3, 32, 32\): expected square ones, \(M, 3, H, H\)"),
        (pixels()[None], r"its images have shape \(1, 20, 3, 32, 32\): expected"),
        (pixels()[..., :30], r"its images have shape \(20, 3, 32, 30\): expected square"),
        (pixels()[:0], r"its images have shape \(0, 3, 32, 32\)"),
        (pixels()[:, :1], "its images have 1 channels, cifar10 has 3: check the data set"),
        (pixels() > 0.5, r"its images are torch\.bool: expected floats, or integers 0\.\.255"),
        (pixels().to(torch.complex64), r"its images are torch\.complex64: expected floats"),
        (pixels().clone().fill_(torch.nan), "its images hold NaN or infinite pixels"),
        (pixels() / 0, "its images hold NaN or infinite pixels"),
    ],
)
def test_images_that_do_not_fit_are_named(tmp_path, images, message):
    refused(save(tmp_path / "data.pt", [images, LABELS]), rf"data\.pt cannot be imported: {message}")
    refused(save(tmp_path / "res.pt", {"data": [[images, LABELS]]}), rf"res\.pt cannot be imported: {message}")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:19], "it holds 19 labels for 20 images: expected one for each"),
        (torch.cat([LABELS, LABELS]), "it holds 40 labels for 20 images"),
        (LABELS - 1, r"it holds labels -1\.\.8: expected 0\.\.9"),
        (LABELS + 1, r"it holds labels 1\.\.10: expected 0\.\.9"),
        (LABELS.float(), r"its labels are torch\.float32 of shape \(20,\): expected one integer per image, 0\.\.9"),
        (LABELS > 3, r"its labels are torch\.bool of shape"),
        (LABELS[:, None], r"its labels are torch\.int64 of shape \(20, 1\)"),
        (LABELS.clamp(max=8), r"it holds no image of class 9 of 0\.\.9: check data set and classes"),
    ],
)
def test_labels_that_do_not_fit_are_named(tmp_path, labels, message):
    refused(save(tmp_path / "data.pt", [pixels(), labels]), rf"data\.pt cannot be imported: {message}")


def test_a_set_of_fewer_classes_than_the_data_set_is_refused(tmp_path):
    path = save(tmp_path / "data.pt", [pixels(), LABELS])
    refused(path, r"it holds no image of class 10 of 0\.\.99: check data set and classes", "cifar100")


@pytest.mark.parametrize("factor", [0, 2.0, True])
def test_a_factor_that_is_no_count_is_named(tmp_path, factor):
    with pytest.raises(ValueError, match=rf"^factor must be an integer >= 1, got {factor}$"):
        import_set(save(tmp_path / "data.pt", [pixels(), LABELS]), "cifar10", factor=factor)


def test_a_factor_beyond_the_side_is_named(tmp_path):
    path = save(tmp_path / "data.pt", [pixels(), LABELS])
    refused(path, "factor 33 asked of images with 32 pixels a side: use 32 at most", factor=33)


def test_experiments_that_are_not_there_are_named(tmp_path):
    path = save(tmp_path / "res.pt", {"data": [[normalised(pixels(), **CIFAR), LABELS]] * 2})
    refused(path, "experiment 2 asked, it holds 2, counted from 0", experiment=2)
    with pytest.raises(ValueError, match="experiment must be an integer >= 0, got -1"):
        import_set(path, "cifar10", experiment=-1)
    idc = save(tmp_path / "data.pt", [pixels(), LABELS])
    refused(idc, "experiment 3 asked, but an IDC, MDC or DREAM file holds one set: leave it out", experiment=3)
    refused(save(tmp_path / "res.pt", {"data": []}), "experiment 0 asked, it holds 0")


@pytest.mark.parametrize(
    "content",
    [
        {"images": pixels(2)},
        {"data": pixels(2)},
        {"data": [pixels(2)]},
        [pixels(2)],
        [pixels(2), [0, 1]],
        pixels(2),
        "text",
        None,
    ],
)
def test_an_unknown_layout_is_named(tmp_path, content):
    refused(save(tmp_path / "set.pt", content), r"its content has an unknown layout: expected \[data, targets\]")


@pytest.mark.parametrize("name", ["set.safetensors", "set.pkl", "set"])
def test_an_unknown_extension_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"content")
    refused(tmp_path / name, r"its file name extension '(\.\w+)?' is unknown: expected \[data, targets\]")


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("keep", [0, 1, 10, 500, 5000, -1])
def test_a_truncated_torch_file_is_named(tmp_path, new_format, keep):
    path = tmp_path / "data.pt"
    torch.save([pixels(), LABELS], path, _use_new_zipfile_serialization=new_format)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, r"data\.pt is truncated or damaged: ask for a file of torch\.save that holds only tensors$")


@pytest.mark.parametrize("keep", [0, 1, 10, 5000, -1])
def test_a_truncated_npz_file_is_named(tmp_path, keep):
    path = save_npz(tmp_path / "set.npz", images=pixels().numpy(), labels=LABELS.numpy())
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "it is truncated or no npz file of plain arrays")


@pytest.mark.parametrize("suffix", ["pt", "npz"])
def test_other_files_under_a_known_name_are_named(tmp_path, suffix):
    path = tmp_path / f"set.{suffix}"
    path.write_text("id,label\n1,2\n")
    refused(path, "is truncated or ")
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(path)
    refused(path, "is truncated or ")


# -- code in files


class Malice:
    """An object whose unpickling makes a file."""

    def __init__(self, folder):
        self.command = f"{sys.executable} -c \"open(r'{folder / 'ran'}', 'w')\""

    def __reduce__(self):
        return os.system, (self.command,)


def test_malice_works_where_it_is_let(tmp_path):
    pickle.loads(pickle.dumps(Malice(tmp_path)))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("layout", ["idc", "dsa", "pair"])
def test_code_in_a_torch_file_is_refused_and_does_not_run(tmp_path, new_format, layout):
    evil = Malice(tmp_path)
    content = {"idc": [pixels(), LABELS, evil], "dsa": {"data": [], "accs_all_exps": evil}, "pair": evil}[layout]
    path = tmp_path / "images_best.pt"
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    save(tmp_path / "labels_best.pt", LABELS)
    name = re.escape(f"{os.system.__module__}.system")
    refused(path, rf"images_best\.pt needs code to be opened \({name}\), which mdckit does not run: ask for")
    refused(tmp_path, rf"images_best\.pt needs code to be opened \({name}\)")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_code_in_a_bare_pickle_is_refused_and_does_not_run(tmp_path, protocol):
    for name in ("data.pt", "set.npz"):
        (tmp_path / name).write_bytes(pickle.dumps(Malice(tmp_path), protocol))
        refused(tmp_path / name, "cannot be imported: ")
    assert not (tmp_path / "ran").exists()


def test_numpy_arrays_in_a_torch_file_are_refused(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    path = save(tmp_path / "data.pt", [pixels().numpy(), LABELS])
    refused(path, r"needs code to be opened \(numpy\._core\.multiarray\._reconstruct\)")
    assert set(torch.serialization.get_safe_globals()) == before
