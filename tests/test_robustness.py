"""LRS and ARS: the formulas by hand, and accuracies that are what `evaluate` gives."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mdckit import CondensedSet, TrainConfig, evaluate, robustness
from mdckit.data import to_float
from mdckit.robustness import ars, lrs

fraction = st.floats(0, 1)
FAST = TrainConfig(epochs=3, evaluations=2, width=4, depth=1, seeds=(0, 3), augment="color", cutmix=0.5)
NAMES = ["HLR", "IOR", "IOR, plain", "LRS", "ARS"]


@pytest.fixture(scope="module")
def condensed(rgb):
    return CondensedSet(rgb.first_images(2), 2, rgb.mean, rgb.std, rgb.classes, rgb.name)


@pytest.fixture(scope="module")
def measured(condensed, rgb):
    full = robustness.on_all_real(rgb, FAST.replace(epochs=2), show_progress=False)
    return robustness.measure(condensed, rgb, FAST, full, show_progress=False)


# -- the formulas


@pytest.mark.parametrize(
    ("accuracies", "score"),
    [
        ((0.5, 0.5, 0.5), 0.26894142137),  # a = 0: (1 - 1/e) / (e - 1/e) = 1 / (1 + e)
        ((1.0, 0.0, 0.0), 1.0),  # a = 1
        ((0.0, 1.0, 1.0), 0.0),  # a = -1
        ((0.48, 0.26, 0.85), 0.238181),  # a = 0.11 - 0.185 = -0.075: (0.927743 - 0.367879) / 2.350402
    ],
)
def test_lrs_by_hand(accuracies, score):
    assert lrs(*accuracies) == pytest.approx(score, abs=2e-5)


@pytest.mark.parametrize(
    ("accuracies", "score"),
    [
        ((0.5, 0.5, 0.3, 0.3), 0.26894142137),
        ((1.0, 0.0, 1.0, 0.0), 1.0),
        ((0.0, 1.0, 0.0, 1.0), 0.0),
        ((0.9, 0.7, 0.6, 0.5), 0.3377957),  # b = 0.15: (1.161834 - 0.367879) / 2.350402
    ],
)
def test_ars_by_hand(accuracies, score):
    assert ars(*accuracies) == pytest.approx(score, abs=2e-5)


def test_a_weight_of_one_keeps_the_first_term_alone():
    assert lrs(0.6, 0.2, 0.9, weight=1.0) == lrs(0.6, 0.2, 0.1, weight=1.0)
    assert lrs(0.6, 0.2, 0.9, weight=0.0) == lrs(0.6, 0.5, 0.9, weight=0.0)
    assert ars(0.6, 0.2, 0.9, 0.1, weight=1.0) == ars(0.6, 0.2, 0.1, 0.9, weight=1.0)


@given(fraction, fraction, fraction, fraction)
def test_scores_lie_in_0_to_1_and_grow_with_the_set(a, b, random, full):
    low, high = sorted((a, b))
    assert 0 <= lrs(low, random, full) <= lrs(high, random, full) <= 1 + 1e-12
    assert 0 <= ars(low, random, low, full) <= ars(high, random, high, full) <= 1 + 1e-12


@given(fraction, fraction, fraction)
def test_both_agree_where_the_terms_do(synthetic, random, other):
    assert ars(synthetic, random, synthetic, random) == pytest.approx(lrs(synthetic, random, other, weight=1.0))


@pytest.mark.parametrize("bad", [48.0, -0.1, math.nan, math.inf])
def test_percents_and_worse_are_refused(bad):
    with pytest.raises(ValueError, match=r"random is a fraction between 0 and 1, got .*: divide percents by 100"):
        lrs(0.5, bad, 0.9)
    with pytest.raises(ValueError, match="synthetic_plain is a fraction between 0 and 1"):
        ars(0.5, 0.4, bad, 0.4)
    with pytest.raises(ValueError, match="weight is a fraction between 0 and 1"):
        lrs(0.5, 0.5, 0.5, weight=bad)


# -- the accuracies behind them


def test_every_accuracy_is_that_of_evaluate(measured, condensed, rgb):
    plain = FAST.replace(augment="", cutmix=0.0)
    assert measured.synthetic.best == evaluate(condensed, rgb, FAST).best
    assert measured.synthetic_plain.last == evaluate(condensed, rgb, plain).last
    for i, seed in enumerate(FAST.seeds):
        random = robustness.real_images(rgb, (2, 2, 2), seed)
        assert measured.random.last[i] == evaluate(random, rgb, FAST.replace(seeds=(seed,))).last[0]
        assert measured.random_plain.best[i] == evaluate(random, rgb, plain.replace(seeds=(seed,))).best[0]
    whole = robustness.real_images(rgb, (20, 20, 20))
    assert measured.full.best == evaluate(whole, rgb, FAST.replace(epochs=2)).best
    assert (measured.images, measured.random.patches, measured.full.patches) == (6, 6, 60)
    assert measured.synthetic.config == measured.random.config == FAST


@pytest.mark.parametrize("which", ["best", "last"])
def test_scores_are_those_of_the_accuracies_seed_by_seed(measured, which):
    scores = measured.scores(which)
    assert list(scores) == NAMES
    for i in range(len(FAST.seeds)):
        syn, random, full, syn_plain, random_plain = (
            getattr(getattr(measured, name), which)[i] / 100
            for name in ("synthetic", "random", "full", "synthetic_plain", "random_plain")
        )
        expected = [full - syn, syn - random, syn_plain - random_plain]
        expected += [lrs(syn, random, full), ars(syn, random, syn_plain, random_plain)]
        assert [scores[name][i] for name in NAMES] == pytest.approx(expected)


def test_the_protocol_stands_beside_the_scores(measured):
    shown = str(measured)
    for fact in ("LRS 0.", "ARS 0.", "2 seeds", "best of 2", "3 epochs", "all real images: 2 epochs"):
        assert fact in shown
    assert measured.accuracies()["epochs"].tolist() == [3, 3, 3, 3, 2]


def test_random_images_are_real_different_and_of_their_class(rgb):
    one, two = (robustness.real_images(rgb, (3, 0, 2), seed) for seed in (0, 1))
    assert one.patches_per_class == (3, 0, 2)
    real = to_float(rgb.x_train)
    patches, labels = one.decode()
    for patch, label in zip(patches, labels, strict=True):
        found = [i for i in range(len(real)) if torch.equal(real[i], patch)]
        assert [rgb.y_train[i] for i in found] == [label]
    assert len({patch.numpy().tobytes() for patch in patches}) == 5
    assert not torch.equal(one.images, two.images)
    assert torch.equal(one.images, robustness.real_images(rgb, (3, 0, 2), 0).images)


def test_random_images_match_a_selection_class_by_class(condensed, rgb):
    chosen = condensed.select(torch.tensor([0, 1, 2, 3, 4, 8]))  # five patches of class 0 in two images, one of class 1
    found = robustness.measure(chosen, rgb, FAST.replace(epochs=2, seeds=(0,)), show_progress=False)
    assert (found.images, found.random.patches, found.synthetic.patches) == (3, 3, 6)
    assert (found.full.patches, found.full.config) == (60, FAST.replace(epochs=2, seeds=(0,)))  # by the same protocol


def test_protocols_that_say_nothing_are_refused(measured, condensed, rgb):
    with pytest.raises(ValueError, match="a protocol without augmentation asked"):
        robustness.measure(condensed, rgb, FAST.replace(augment="", cutmix=0.0))
    with pytest.raises(ValueError, match=r"seeds \(0, 3\) of all real images, \(0,\) of the set"):
        robustness.measure(condensed, rgb, FAST.replace(seeds=(0,)), measured.full)


def test_more_images_than_there_are_and_other_data_are_refused(condensed, rgb, grey):
    with pytest.raises(ValueError, match=r"21 real images of class '1' asked, rgb has 20"):
        robustness.real_images(rgb, (1, 21, 1))
    with pytest.raises(ValueError, match="given with grey: 3 classes"):
        robustness.measure(condensed, grey, FAST)
