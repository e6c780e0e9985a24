"""Settings: the papers' tables as presets, and one error naming every value that cannot be run."""

import dataclasses

import pytest

import mdckit
from mdckit import CondenseConfig, TrainConfig, baselines
from mdckit.checks import check_count
from mdckit.presets import CONDENSE_PRESETS, TRAIN_PRESETS

NAMES = ("cifar10", "cifar100", "svhn", "mnist", "fashion-mnist")
L1 = dict.fromkeys(("mnist", "fashion-mnist"), "l1")
SETTINGS = [(scale, name) for scale in TRAIN_PRESETS for name in TRAIN_PRESETS[scale]]

# -- the paper presets, row by row


@pytest.mark.parametrize("name", NAMES)
def test_condensation_as_published(name):
    config = CondenseConfig.preset(name)
    assert (config.outer, config.inner, config.period) == (2000, 100, 100)
    assert (config.ipc, config.factor) == (10, 2)
    assert (config.batch_real, config.batch_syn_max) == (64, 128)
    assert config.distance == L1.get(name, "l2")
    assert config.lr == {"mnist": 1e-4, "fashion-mnist": 1e-4}.get(name, 5e-3)
    assert config.reference_size == {"mnist": 28}.get(name, 32)
    assert config.momentum == 0.5
    assert config.net_images == {"cifar10": 2000, "cifar100": 2000}.get(name, 500)
    assert config.pretrain == 0


def test_condensation_of_imagenet_as_published():
    config = CondenseConfig.preset("imagenet10")
    assert (config.outer, config.inner, config.period) == (500, 100, 50)
    assert (config.network, config.width, config.norm) == ("resnet10_ap", 64, "instance")
    assert (config.factor, config.batch_real, config.batch_syn_max) == (3, 64, 128)
    assert (config.distance, config.lr, config.reference_size) == ("l1", 3e-3, 224)
    assert (config.net_images, config.net_cutmix, config.pretrain) == (500, 1.0, 10)
    assert config.augment == "color_crop_cutout"
    assert CondenseConfig.preset("imagenet10", ipc=20, batch_syn_max=256).image_lr(20, 224) == pytest.approx(6e-3)


@pytest.mark.parametrize("name", NAMES)
def test_network_of_the_condensation_as_published(name):
    config = CondenseConfig.preset(name)
    assert (config.width, config.depth, config.norm) == (128, 3, "instance")
    assert (config.net_batch, config.net_lr, config.net_momentum, config.net_weight_decay) == (64, 0.01, 0.9, 5e-4)
    assert config.net_augment == "color_crop"


@pytest.mark.parametrize(
    ("name", "factor", "augment", "cutmix"),
    [
        ("cifar10", 2, "color_crop_cutout", 0.5),
        ("cifar100", 2, "color_crop_cutout", 0.5),
        ("svhn", 2, "color_crop_cutout", 0.5),
        ("fashion-mnist", 2, "color_crop_cutout", 0.5),
        ("mnist", 2, "color_crop", 0.0),
        ("mnist5k", 2, "color_crop", 0.0),
        ("mnist", 1, "color_crop_cutout", 0.5),
        ("mnist5k", 1, "color_crop_cutout", 0.5),
    ],
)
def test_augmentation_while_condensing_as_published(name, factor, augment, cutmix):
    config = CondenseConfig.preset(name, factor=factor)
    assert (config.augment, config.net_cutmix) == (augment, cutmix)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_as_published(name):
    config = TrainConfig.preset(name)
    assert (config.epochs, config.batch, config.evaluations, config.seeds) == (1000, 64, 4, (0, 1, 2))
    assert (config.lr, config.momentum, config.weight_decay) == (0.01, 0.9, 5e-4)
    assert (config.width, config.depth, config.norm) == (128, 3, "instance")


@pytest.mark.parametrize(
    ("name", "flip", "cutmix"),
    [
        ("cifar10", True, 0.5),
        ("cifar100", True, 0.5),
        ("svhn", False, 0.5),
        ("mnist", False, 0.0),
        ("mnist5k", False, 0.0),
        ("fashion-mnist", True, 0.5),
    ],
)
def test_augmentation_of_the_evaluation_as_published(name, flip, cutmix):
    config = TrainConfig.preset(name)
    assert config.augment == "flip_" * flip + "color_crop_scale_rotate"
    assert config.cutmix == cutmix


DSA = "flip_color_crop_scale_rotate_cutout"


@pytest.mark.parametrize(
    ("method", "augment", "cutmix"),
    [
        (None, "flip_color_crop_scale_rotate", 0.5),
        ("dream", "flip_color_crop_scale_rotate", 0.5),
        ("mtt", "flip_color_crop_scale_rotate", 0.5),
        ("dc", "flip_crop", 0.0),
        ("dsa", DSA, 0.0),
        ("dm", DSA, 0.0),
    ],
)
def test_sets_of_every_method_are_tested_as_published(method, augment, cutmix):
    config = TrainConfig.preset("cifar10", method=method)
    assert (config.augment, config.cutmix) == (augment, cutmix)
    digits = TrainConfig.preset("svhn", "quick", method=method)
    assert (digits.augment, digits.cutmix, digits.epochs) == (augment.removeprefix("flip_"), cutmix, 100)


def test_an_evaluation_after_an_unknown_method():
    with pytest.raises(ValueError, match="unknown method 'das': choose one of None, idc, dream, dc, dsa, dm, mtt, kip"):
        TrainConfig.preset("cifar10", method="das")


def test_defaults_are_those_of_cifar10():
    assert CondenseConfig() == CondenseConfig.preset("cifar10")
    assert TrainConfig() == TrainConfig.preset("cifar10")


def test_mnist5k_is_set_like_mnist():
    for preset in (CondenseConfig.preset, TrainConfig.preset):
        for scale in ("paper", "quick"):
            assert preset("mnist5k", scale) == preset("mnist", scale)


@pytest.mark.parametrize(("scale", "name"), SETTINGS)
def test_every_preset_has_both_parts_and_takes_changes(scale, name):
    assert CondenseConfig.preset(name, scale, seed=7, ipc=3).seed == 7
    assert TrainConfig.preset(name, scale, seeds=[4]).seeds == (4,)


@pytest.mark.parametrize("scale", ["paper", "quick"])
def test_every_dataset_has_presets_for_condensing_and_for_evaluating(scale):
    assert set(CONDENSE_PRESETS[scale]) == set(TRAIN_PRESETS[scale])


@pytest.mark.parametrize("name", TRAIN_PRESETS["paper"])
def test_quick_presets_are_shorter_and_narrower(name):
    quick, paper = CondenseConfig.preset(name, "quick"), CondenseConfig.preset(name)
    assert quick.outer * quick.inner * 100 < paper.outer * paper.inner
    assert quick.width < paper.width
    assert quick.width == TrainConfig.preset(name, "quick").width
    assert TrainConfig.preset(name, "quick").epochs < TrainConfig.preset(name).epochs
    assert quick.period < quick.outer


# -- learning rate and patches


@pytest.mark.parametrize(
    ("name", "ipc", "size", "lr"),
    [
        ("cifar10", 1, 32, 5e-4),
        ("cifar10", 10, 32, 5e-3),
        ("cifar100", 20, 32, 1e-2),
        ("svhn", 50, 32, 2.5e-2),
        ("mnist", 10, 28, 1e-4),
        ("fashion-mnist", 10, 28, 1e-4 * 0.765625),
        ("fashion-mnist", 1, 28, 1e-5 * 0.765625),
    ],
)
def test_learning_rate_of_the_pixels(name, ipc, size, lr):
    assert CondenseConfig.preset(name).image_lr(ipc, size) == pytest.approx(lr, rel=1e-12)


def test_learning_rate_of_large_images():
    config = CondenseConfig(lr=3e-3, reference_size=224)
    assert config.image_lr(20, 224) == pytest.approx(6e-3)
    assert config.image_lr(10, 112) == pytest.approx(3e-3 / 4)


def test_patches_are_images_times_cells():
    assert CondenseConfig(ipc=10, factor=3).patches == 90
    assert CondenseConfig(ipc=7, factor=1).patches == 7


# -- values that cannot be run

CONDENSE_COUNTS = (
    *("ipc", "factor", "outer", "inner", "period", "reference_size", "batch_real", "batch_syn_max"),
    *("width", "depth", "net_images", "net_batch"),
)
TRAIN_COUNTS = ("epochs", "batch", "evaluations", "width", "depth")
RATES = ("lr", "momentum", "net_lr", "net_momentum", "net_weight_decay")


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None])
@pytest.mark.parametrize("name", CONDENSE_COUNTS)
def test_counts_of_a_condensation_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be an integer >= 1, got {value!r}$"):
        CondenseConfig(**{name: value})


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None])
@pytest.mark.parametrize("name", TRAIN_COUNTS)
def test_counts_of_a_training_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be an integer >= 1, got {value!r}$"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("value", [-1, 0.5, False, "0", None])
@pytest.mark.parametrize("name", ["pretrain", "seed"])
def test_numbers_from_zero_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be an integer >= 0, got {value!r}$"):
        CondenseConfig(**{name: value})
    CondenseConfig(**{name: 0})


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), True, "0.1", None])
@pytest.mark.parametrize("name", RATES)
def test_rates_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a number >= 0, got {value!r}$"):
        CondenseConfig(**{name: value})
    train_name = name.removeprefix("net_")
    with pytest.raises(ValueError, match=f"^{train_name} must be a number >= 0, got {value!r}$"):
        TrainConfig(**{train_name: value})


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), True, "0.5", None])
def test_probabilities_are_checked(value):
    with pytest.raises(ValueError, match=f"^net_cutmix is a probability between 0 and 1, got {value!r}$"):
        CondenseConfig(net_cutmix=value)
    with pytest.raises(ValueError, match=f"^cutmix is a probability between 0 and 1, got {value!r}$"):
        TrainConfig(cutmix=value)


@pytest.mark.parametrize("value", ["color_tilt", "tilt", "Color"])
def test_unknown_augmentations_are_named(value):
    unknown = value.removeprefix("color_")
    message = f"unknown operation in {{}} '{unknown}': choose one of zoom, flip, color, crop"
    for name in ("augment", "net_augment"):
        with pytest.raises(ValueError, match=message.format(name)):
            CondenseConfig(**{name: value})
    with pytest.raises(ValueError, match=message.format("augment")):
        TrainConfig(augment=value)


@pytest.mark.parametrize("value", [None, 3, ["color"]])
def test_augmentations_are_text(value):
    with pytest.raises(ValueError, match=r"^augment must be operation names joined by '_', got"):
        TrainConfig(augment=value)


def test_no_augmentation_is_allowed():
    assert TrainConfig(augment="").augment == ""


def test_unknown_distances_and_norms_are_named():
    with pytest.raises(ValueError, match="distance 'l3' asked of method 'idc', which compares by l2 or l1"):
        CondenseConfig(distance="l3")
    for config in (CondenseConfig, TrainConfig):
        with pytest.raises(ValueError, match="unknown norm 'group': choose one of instance, batch, none"):
            config(norm="group")


def test_batch_norm_is_refused_for_condensation_only():
    with pytest.raises(ValueError, match="norm 'batch' asked for condensation"):
        CondenseConfig(norm="batch")
    assert TrainConfig(norm="batch").norm == "batch"


@pytest.mark.parametrize(("ipc", "factor", "patches"), [(33, 2, 132), (129, 1, 129), (15, 3, 135)])
def test_more_patches_than_a_matching_step_takes_are_named(ipc, factor, patches):
    message = rf"ipc {ipc} at factor {factor} = {patches} patches per class exceed batch_syn_max 128"
    with pytest.raises(ValueError, match=message):
        CondenseConfig(ipc=ipc, factor=factor)
    assert CondenseConfig(ipc=ipc, factor=factor, batch_syn_max=patches).patches == patches


@pytest.mark.parametrize("seeds", [(), (0, -1), (0.0,), (True,), "01", 3, None])
def test_seeds_are_checked(seeds):
    with pytest.raises(ValueError, match=r"^seeds .* asked: give one or more integers >= 0$"):
        TrainConfig(seeds=seeds)


def test_more_evaluations_than_epochs_are_named():
    with pytest.raises(ValueError, match="5 evaluations asked of 4 epochs"):
        TrainConfig(epochs=4, evaluations=5)


@pytest.mark.parametrize("config", [CondenseConfig, TrainConfig])
def test_unknown_settings_are_named(config):
    with pytest.raises(ValueError, match=rf"unknown {config.__name__} setting 'learning_rate': choose one of .*\blr\b"):
        config().replace(learning_rate=1.0)
    with pytest.raises(ValueError, match=f"unknown {config.__name__} setting 'ipcs'"):
        config.preset("cifar10", ipcs=3)


@pytest.mark.parametrize("config", [CondenseConfig, TrainConfig])
def test_unknown_presets_and_scales_are_named(config):
    with pytest.raises(ValueError, match="unknown scale 'fast': choose one of paper, quick"):
        config.preset("cifar10", "fast")
    with pytest.raises(ValueError, match=r"unknown paper preset 'cifar': choose that of .* cifar10, cifar100, svhn"):
        config.preset("cifar")
    with pytest.raises(ValueError, match=r"unknown paper preset 'digits'"):
        config.preset("digits")


@pytest.mark.parametrize("factor", [0, 2.0, "2", None, True])
def test_a_bad_factor_is_named_for_every_preset(factor):
    for name in CONDENSE_PRESETS["quick"]:
        with pytest.raises(ValueError, match=f"^factor must be an integer >= 1, got {factor!r}$"):
            CondenseConfig.preset(name, "quick", factor=factor)


def test_replace_checks_the_new_values():
    with pytest.raises(ValueError, match="ipc must be an integer >= 1, got 0"):
        CondenseConfig().replace(ipc=0)
    assert CondenseConfig().replace(ipc=3).ipc == 3


def test_settings_cannot_be_changed_in_place():
    for config in (CondenseConfig(), TrainConfig()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.width = 3


def test_a_factor_larger_than_the_image_is_named():
    config = CondenseConfig.preset("digits", "quick", ipc=1, factor=9)
    with pytest.raises(ValueError, match="factor 9 asked of images with 8 pixels a side: use 8 at most"):
        mdckit.start(mdckit.load("digits"), [baselines.baseline_c()], config)


def test_check_count_names_what_was_asked():
    check_count("n", 5, 5)
    with pytest.raises(ValueError, match="n must be an integer >= 5, got 4"):
        check_count("n", 4, 5)
