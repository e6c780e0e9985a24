"""Every score against a literal loop over a tiny log, and what it says about its own direction."""

import copy

import pytest
import reference_scores as reference
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mdckit import CondensedSet, scores
from mdckit.config import TrainConfig
from mdckit.dynamics import Dynamics
from mdckit.scores import Score

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


# -- scores that train networks

CONFIG = TrainConfig(epochs=3, batch=4, lr=0.1, augment="color", evaluations=1, width=3, depth=1)


@pytest.fixture
def toys(float64):
    images = torch.rand(3, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return CondensedSet(images, 1, (0.5,), (0.5,), ("a", "b", "c"))


@pytest.fixture
def trainings(monkeypatch):
    """Every training of a score: [network, images, labels, epochs]; the network is as it is after the training."""
    seen = []
    train_epochs = scores.train_epochs

    def record(net, images, labels, config, seed, purpose):
        training = [net, images, labels, 0]
        seen.append(training)
        for logits in train_epochs(net, images, labels, config, seed, purpose):
            training[3] += 1
            yield logits

    monkeypatch.setattr(scores, "train_epochs", record)
    return seen


def gradient_length(net, image, label):
    net = copy.deepcopy(net)
    net.zero_grad()
    (-net(image[None]).log_softmax(1)[0, label]).backward()
    return sum(float(weight.grad.square().sum()) for weight in net.parameters()) ** 0.5


@pytest.mark.parametrize("models", [1, 3])
def test_grand_is_the_mean_gradient_length_of_young_networks(toys, trainings, models):
    found = scores.grand(toys, CONFIG, epochs=2, models=models)
    images, labels = toys.tensors()
    assert [epochs for *_, epochs in trainings] == [2] * models
    lengths = [[gradient_length(net, x, y) for x, y in zip(images, labels, strict=True)] for net, *_ in trainings]
    assert len({tuple(row) for row in lengths}) == models
    torch.testing.assert_close(found.values, torch.tensor(lengths).mean(0), rtol=1e-10, atol=1e-12)
    assert (found.name, found.easy, found.keep, found.digest) == ("grand", "low", "hard", toys.digest)


@pytest.mark.parametrize(("models", "share", "inside"), [(2, 0.5, 4), (6, 0.7, 6), (3, 0.01, 1), (3, 0.99, 8)])
def test_memorization_is_right_when_trained_with_less_right_when_trained_without(
    toys, trainings, models, share, inside
):
    found = scores.memorization(toys, CONFIG, models, share)
    images, labels = toys.tensors()
    runs = []
    for net, used, used_labels, epochs in trainings:
        members = [any(torch.equal(image, other) for other in used) for image in images]
        assert (epochs, sum(members), len(used)) == (CONFIG.epochs, inside, inside)
        assert torch.equal(labels[torch.tensor(members)], used_labels)
        runs.append((members, [int(net(x[None]).argmax()) == y for x, y in zip(images, labels.tolist(), strict=True)]))
    assert len({tuple(members) for members, _ in runs}) > 1
    equals(found, reference.memorization(runs))
    assert (found.name, found.easy, found.keep, found.digest) == ("memorization", "low", "hard", toys.digest)


def test_training_scores_are_those_of_their_seed(toys):
    for score, options in ((scores.grand, {"epochs": 2}), (scores.memorization, {})):
        one, again, other = (score(toys, CONFIG, models=4, seed=seed, **options).values for seed in (1, 1, 2))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)


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


@pytest.mark.parametrize("models", [0, -1, True, 2.0])
def test_a_bad_number_of_models_is_named(toys, trainings, models):
    with pytest.raises(ValueError, match=rf"^models must be an integer >= 1, got {models!r}$"):
        scores.grand(toys, CONFIG, epochs=1, models=models)
    with pytest.raises(ValueError, match=rf"^models must be an integer >= 2, got {models!r}$"):
        scores.memorization(toys, CONFIG, models=models)
    assert not trainings


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, True, float("nan")])
def test_a_share_that_is_no_part_is_named(toys, trainings, share):
    with pytest.raises(ValueError, match=rf"^share {share} asked: every network trains on a part between 0 and 1"):
        scores.memorization(toys, CONFIG, share=share)
    assert not trainings


@pytest.mark.parametrize("end", [{"easy": "high "}, {"keep": "esay"}, {"keep": None}])
def test_a_direction_that_is_none_is_named(end):
    with pytest.raises(ValueError, match=r"given: easy is low or high, keep is easy or hard$"):
        Score("mine", torch.rand(4), **end)


@pytest.mark.parametrize("values", [[1.0, float("nan")], [1.0, float("inf")], [[1.0, 2.0]]])
def test_values_that_do_not_rank_patches_are_refused(values):
    with pytest.raises(ValueError, match=r"^the score 'mine' holds NaN or is not one value per patch"):
        Score("mine", torch.tensor(values))


def test_more_epochs_than_the_schedule_has_are_refused(toys, trainings):
    with pytest.raises(ValueError, match=r"^the first 4 epochs asked of a schedule of 3: ask for fewer$"):
        scores.grand(toys, CONFIG, epochs=4)
    assert not trainings


def test_young_networks_see_the_learning_rate_of_the_schedule(toys, monkeypatch):
    rates = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))
    scores.grand(toys, CONFIG.replace(epochs=9), epochs=5, models=1)
    assert set(rates) == {0.1}
    rates.clear()
    scores.grand(toys, CONFIG.replace(epochs=1), epochs=1, models=1)
    assert set(rates) == {0.1}


def test_batch_norm_is_in_evaluation_mode_when_patches_are_scored(toys):
    config = CONFIG.replace(norm="batch")
    alone = toys.select(torch.tensor([0, 3, 6, 1]))
    assert bool((scores.grand(alone, config, epochs=1, models=1).values > 0).all())
    assert len(scores.memorization(toys, config, models=2).values) == 9
