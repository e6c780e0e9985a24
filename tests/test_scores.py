"""Every score against a literal loop over a tiny log, and what it says about its own direction."""

import pytest
import reference_scores as reference
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mdckit import scores
from mdckit.pruning.dynamics import Dynamics
from mdckit.pruning.scores import Score

EPOCHS, PATCHES, CLASSES = 6, 9, 3  # in a class of two, the patches are equally far from the mean: a tie


def make_log(seed=0, epochs=EPOCHS, patches=PATCHES, classes=CLASSES):
    """A log whose `correct` is not what its probabilities say and whose labels are not in order."""
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(epochs, patches, classes, generator=random)
    labels = torch.arange(patches).remainder(classes)[torch.randperm(patches, generator=random)]
    return Dynamics(
        probabilities=logits.softmax(2).half(),
        correct=torch.rand(epochs, patches, generator=random) < 0.5,
        labels=labels,
        final=torch.randn(patches, classes, generator=random).softmax(1),
        features=torch.randn(patches, 5, generator=random),
        digest="0123456789abcdef",
    )


def permuted(log, order):
    return Dynamics(
        log.probabilities[:, order],
        log.correct[:, order],
        log.labels[order],
        log.final[order],
        log.features[order],
        log.digest,
    )


def equals(score, wanted):
    assert score.values.dtype == torch.float64
    torch.testing.assert_close(score.values, torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=1e-12)


OF_LOG = {
    "lbpe": lambda log: scores.lbpe(log, 5, 2),
    "el2n": lambda log: scores.el2n(log, 4),
    "forgetting": scores.forgetting,
    "aum": scores.aum,
    "entropy": scores.entropy,
    "moderate": scores.moderate,
    "herding": scores.herding,
}
LITERAL = {
    "lbpe": lambda p, correct, y, final, features: reference.lbpe(p, correct, y, 5, 2),
    "el2n": lambda p, correct, y, final, features: reference.el2n(p, y, 4),
    "forgetting": lambda p, correct, y, final, features: reference.forgetting(correct),
    "aum": lambda p, correct, y, final, features: reference.aum(p, y),
    "entropy": lambda p, correct, y, final, features: reference.entropy(final),
    "moderate": lambda p, correct, y, final, features: reference.moderate(features, y),
    "herding": lambda p, correct, y, final, features: reference.herding(features, y),
}
each_score = pytest.mark.parametrize("name", OF_LOG)


def literal(name, log):
    tensors = (log.probabilities, log.correct, log.labels, log.final, log.features)
    return LITERAL[name](*(tensor.tolist() for tensor in tensors))


# -- values


@each_score
@pytest.mark.parametrize("seed", range(3))
def test_the_score_is_that_of_a_literal_loop(name, seed):
    log = make_log(seed)
    equals(OF_LOG[name](log), literal(name, log))


@each_score
def test_a_long_log_has_the_score_of_a_literal_loop(name):
    log = make_log(3, epochs=9, patches=60, classes=4)
    equals(OF_LOG[name](log), literal(name, log))


@pytest.mark.parametrize(("epochs", "top"), [(1, 1), (3, 1), (3, 3), (6, 2), (6, 6)])
def test_lbpe_averages_the_best_of_the_first_epochs(epochs, top):
    log = make_log(4)
    p, correct, labels = (tensor.tolist() for tensor in (log.probabilities, log.correct, log.labels))
    equals(scores.lbpe(log, epochs, top), reference.lbpe(p, correct, labels, epochs, top))


def test_lbpe_sees_no_epoch_after_its_early_stop():
    log = make_log()
    log.correct[:3] = False
    log.correct[3:] = True
    assert scores.lbpe_epochs(log, 3, 2).tolist() == [0, 1]
    assert scores.lbpe_epochs(log, 6, 2).tolist() == [3, 4]


def test_equally_accurate_epochs_go_to_the_earlier():
    log = make_log()
    right = torch.arange(PATCHES) < torch.tensor([1, 5, 3, 5, 3, 5])[:, None]
    log.correct.copy_(right)
    for top, wanted in [(1, [1]), (2, [1, 3]), (3, [1, 3, 5]), (4, [1, 2, 3, 5]), (5, [1, 2, 3, 4, 5])]:
        assert scores.lbpe_epochs(log, 6, top).tolist() == wanted


def test_the_error_is_between_0_and_the_root_of_2():
    log = make_log()
    log.probabilities.copy_(F.one_hot(log.labels, CLASSES).half().expand(EPOCHS, -1, -1))
    assert (scores.error_norms(log) == 0).all()
    log.labels.copy_((log.labels + 1) % CLASSES)
    equals(scores.el2n(log, EPOCHS), [2**0.5] * PATCHES)


def test_a_patch_that_was_never_right_is_never_forgotten():
    log = make_log()
    history = ["000000", "111111", "000111", "111000", "101010", "010101", "110110", "011011", "000001"]
    log.correct.copy_(torch.tensor([[right == "1" for right in patch] for patch in history]).T)
    assert scores.forgetting(log).values.tolist() == [0, 0, 0, 1, 3, 2, 2, 1, 0]


def test_equal_features_are_herded_and_ranked_by_index():
    log = make_log(patches=12)
    log.features.fill_(0.25)
    labels = log.labels.tolist()
    turns = [labels[:i].count(y) for i, y in enumerate(labels)]
    assert scores.herding(log).values.tolist() == turns
    assert scores.moderate(log).values.tolist() == [abs(turn - 1.5) for turn in turns]


def test_a_class_of_one_patch_and_a_class_without_have_scores():
    log = make_log()
    log.labels.copy_(torch.tensor([0, 0, 2, 0, 0, 0, 0, 0, 0]))
    for name in OF_LOG:
        equals(OF_LOG[name](log), literal(name, log))


@each_score
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), order=st.permutations(range(PATCHES)))
def test_permuting_the_patches_permutes_the_scores(name, seed, order):
    log = make_log(seed)
    equals(OF_LOG[name](permuted(log, order)), OF_LOG[name](log).values[order].tolist())


def test_a_random_score_is_that_of_its_seed():
    assert torch.equal(scores.random(100, 3).values, scores.random(100, 3).values)
    assert not torch.equal(scores.random(100, 3).values, scores.random(100, 4).values)
    assert len(scores.random(100).values.unique()) == 100


# -- directions


@given(values=st.lists(st.integers(-2, 2), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_patches_are_ranked_from_the_end_that_is_kept_with_ties_by_index(values):
    for easy in ("low", "high"):
        for keep in ("easy", "hard"):
            high_first = (easy, keep) in (("low", "hard"), ("high", "easy"))
            order = Score("mine", torch.tensor(values, dtype=torch.float64), easy, keep).ranked()
            assert order.tolist() == reference.ranked(values, high_first)


@each_score
def test_reversing_keeps_the_other_end_and_twice_is_the_identity(name):
    one = OF_LOG[name](make_log())
    assert vars(one.reversed().reversed()) == vars(one)
    assert one.reversed().keep != one.keep
    assert one.reversed().values is one.values
    distinct = Score("mine", torch.rand(50, dtype=torch.float64), one.easy, one.keep)
    assert distinct.reversed().ranked().tolist() == distinct.ranked().tolist()[::-1]


def test_every_method_keeps_its_end():
    """Sections 11.3 and 12 of the spec: which values come first, and whether the classes are balanced."""
    log = make_log(5)
    first = {"lbpe": min, "el2n": max, "forgetting": max, "aum": min, "entropy": max, "moderate": min, "herding": min}
    for name, end in first.items():
        score = OF_LOG[name](log)
        values = score.values.tolist()
        assert score.name == name
        assert score.digest == log.digest
        assert score.balanced == (name == "lbpe")
        assert values[score.ranked()[0]] == end(values)
    assert scores.aum(log).easy == "high"


# -- bad input


@pytest.mark.parametrize("epochs", [0, -1, True, 2.0, None])
def test_a_count_of_epochs_that_is_none_is_named(epochs):
    for score in (scores.lbpe, scores.el2n):
        with pytest.raises(ValueError, match=rf"^epochs must be an integer >= 1, got {epochs!r}$"):
            score(make_log(), epochs)


def test_more_epochs_than_recorded_are_refused():
    for score in (scores.lbpe, scores.el2n):
        with pytest.raises(ValueError, match=r"^the first 7 epochs asked of dynamics with 6: record more or ask fewer"):
            score(make_log(), 7)


@pytest.mark.parametrize("top", [0, -1, True, 2.0])
def test_a_bad_number_of_best_epochs_is_named(top):
    with pytest.raises(ValueError, match=rf"^top must be an integer >= 1, got {top!r}$"):
        scores.lbpe(make_log(), 4, top)


def test_more_best_epochs_than_epochs_are_refused():
    with pytest.raises(ValueError, match=r"^the best 5 of 4 epochs asked: K must not be larger than E"):
        scores.lbpe(make_log(), 4, 5)


@pytest.mark.parametrize("end", [{"easy": "high "}, {"keep": "esay"}, {"keep": None}])
def test_a_direction_that_is_none_is_named(end):
    with pytest.raises(ValueError, match=r"given: easy is low or high, keep is easy or hard$"):
        Score("mine", torch.rand(4), **end)


@pytest.mark.parametrize("values", [[1.0, float("nan")], [1.0, float("inf")], [[1.0, 2.0]]])
def test_values_that_do_not_rank_patches_are_refused(values):
    with pytest.raises(ValueError, match=r"^the score 'mine' holds NaN or is not one value per patch"):
        Score("mine", torch.tensor(values))
