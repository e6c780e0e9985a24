"""Scores that train networks: against a literal loop over those very networks."""

import copy

import pytest
import reference_scores as reference
import torch
from test_scores import equals

from mdckit import CondensedSet
from mdckit.config import TrainConfig
from mdckit.pruning import model_scores

CONFIG = TrainConfig(epochs=3, batch=4, lr=0.1, augment="color", evaluations=1, width=3, depth=1)


@pytest.fixture
def toys(float64):
    images = torch.rand(3, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return CondensedSet(images, 1, (0.5,), (0.5,), ("a", "b", "c"))


@pytest.fixture
def trainings(monkeypatch):
    """Every training of a score: [network, images, labels, epochs]; the network is as it is after the training."""
    seen = []
    train_epochs = model_scores.train_epochs

    def record(net, images, labels, config, seed, purpose):
        training = [net, images, labels, 0]
        seen.append(training)
        for logits in train_epochs(net, images, labels, config, seed, purpose):
            training[3] += 1
            yield logits

    monkeypatch.setattr(model_scores, "train_epochs", record)
    return seen


def gradient_length(net, image, label):
    net = copy.deepcopy(net)
    net.zero_grad()
    (-net(image[None]).log_softmax(1)[0, label]).backward()
    return sum(float(weight.grad.square().sum()) for weight in net.parameters()) ** 0.5


@pytest.mark.parametrize("models", [1, 3])
def test_grand_is_the_mean_gradient_length_of_young_networks(toys, trainings, models):
    found = model_scores.grand(toys, CONFIG, epochs=2, models=models)
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
    found = model_scores.memorization(toys, CONFIG, models, share)
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
    for score, options in ((model_scores.grand, {"epochs": 2}), (model_scores.memorization, {})):
        one, again, other = (score(toys, CONFIG, models=4, seed=seed, **options).values for seed in (1, 1, 2))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)


@pytest.mark.parametrize("models", [0, -1, True, 2.0])
def test_a_bad_number_of_models_is_named(toys, trainings, models):
    with pytest.raises(ValueError, match=rf"^models must be an integer >= 1, got {models!r}$"):
        model_scores.grand(toys, CONFIG, epochs=1, models=models)
    with pytest.raises(ValueError, match=rf"^models must be an integer >= 2, got {models!r}$"):
        model_scores.memorization(toys, CONFIG, models=models)
    assert not trainings


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, True, float("nan")])
def test_a_share_that_is_no_part_is_named(toys, trainings, share):
    with pytest.raises(ValueError, match=rf"^share {share} asked: every network trains on a part between 0 and 1"):
        model_scores.memorization(toys, CONFIG, share=share)
    assert not trainings


def test_more_epochs_than_the_schedule_has_are_refused(toys, trainings):
    with pytest.raises(ValueError, match=r"^the first 4 epochs asked of a schedule of 3: ask for fewer$"):
        model_scores.grand(toys, CONFIG, epochs=4)
    assert not trainings


def test_young_networks_see_the_learning_rate_of_the_schedule(toys, monkeypatch):
    rates = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))
    model_scores.grand(toys, CONFIG.replace(epochs=9), epochs=5, models=1)
    assert set(rates) == {0.1}
    rates.clear()
    model_scores.grand(toys, CONFIG.replace(epochs=1), epochs=1, models=1)
    assert set(rates) == {0.1}


def test_batch_norm_is_in_evaluation_mode_when_patches_are_scored(toys):
    config = CONFIG.replace(norm="batch")
    alone = toys.select(torch.tensor([0, 3, 6, 1]))
    assert bool((model_scores.grand(alone, config, epochs=1, models=1).values > 0).all())
    assert len(model_scores.memorization(toys, config, models=2).values) == 9
