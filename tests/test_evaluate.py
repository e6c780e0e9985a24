"""Training on a set and testing it: the protocol of the papers, and that equal seeds give equal numbers."""

import importlib
from itertools import chain

import pytest
import torch
from torch import nn

from mdckit import CondensedSet, Result, TrainConfig, evaluate, evaluate_many, from_arrays, load, training
from mdckit.evaluate import accuracy_curve
from mdckit.evaluate import test_accuracy as accuracy_on_test_images
from mdckit.parallel import Stopped

evaluation = importlib.import_module("mdckit.evaluate")  # the package's name for it is the function
CPU = torch.device("cpu")
SHORT = TrainConfig.preset("digits", "quick", epochs=4, seeds=(0,), width=8)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def real(data, n, factor=1, start=0):
    """The first n training images of every class as a set."""
    return CondensedSet(data.first_images(n, start), factor, data.mean, data.std, data.classes)


class Recorder:
    """Stands in for the training step and writes down what it is given."""

    def __init__(self, monkeypatch):
        self.weights, self.rates, self.labels, self.sums = [], [], [], []
        monkeypatch.setattr(training, "train_step", self)

    def __call__(self, net, optimizer, images, labels, strategy, cutmix, random):
        self.weights.append(torch.cat([p.detach().flatten().clone() for p in net.parameters()]))
        self.rates.append(optimizer.param_groups[0]["lr"])
        self.labels.append(labels.tolist())
        self.sums.append(images.sum().item())
        optimizer.step()
        return torch.zeros(len(images), 10)


# -- the result


def test_mean_and_std_are_those_of_the_best():
    result = Result((50.0, 60.0, 70.0), (40.0, 60.0, 65.0), 100, 1.0, TrainConfig())
    assert result.mean == pytest.approx(60)
    assert result.std == pytest.approx(8.16496580927726)  # population
    assert result.last_mean == pytest.approx(55)


def test_a_result_says_how_it_was_found():
    config = TrainConfig(epochs=12, evaluations=3)
    text = str(Result((50.0, 60.0), (40.0, 50.0), 100, 1.0, config))
    assert text == "55.0 ± 5.0 % (2 seeds, best of 3, 12 epochs; last 45.0 %)"
    assert "(1 seed, " in str(Result((50.0,), (40.0,), 100, 1.0, config))


def test_best_and_last_of_every_seed(monkeypatch, digits):
    curves = {3: [10.0, 40.0, 30.0, 20.0], 5: [1.0, 2.0, 3.0, 4.0]}
    monkeypatch.setattr(evaluation, "accuracy_curve", lambda x, y, data, config, seed, device, check: curves[seed])
    config = SHORT.replace(seeds=(3, 5))
    result = evaluate(real(digits, 2), digits, config)
    assert (result.best, result.last) == ((40.0, 4.0), (20.0, 4.0))
    assert (result.patches, result.config) == (20, config)


# -- the protocol


@pytest.mark.parametrize(("epochs", "first", "second"), [(12, 8, 10), (10, 6, 8), (6, 4, 5)])
def test_the_learning_rate_falls_by_5_after_two_thirds_and_five_sixths(monkeypatch, digits, epochs, first, second):
    recorder = Recorder(monkeypatch)
    evaluate(real(digits, 1), digits, SHORT.replace(epochs=epochs, lr=0.5))
    expected = [0.5] * first + [0.1] * (second - first) + [0.02] * (epochs - second)
    assert recorder.rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("epochs", "evaluations", "tested"),
    [(8, 4, [2, 4, 6, 8]), (10, 4, [2, 5, 7, 10]), (4, 4, [1, 2, 3, 4]), (5, 1, [5]), (7, 2, [3, 7])],
)
def test_equidistant_evaluations_end_with_the_last_epoch(monkeypatch, digits, epochs, evaluations, tested):
    recorder = Recorder(monkeypatch)
    monkeypatch.setattr(evaluation, "test_accuracy", lambda net, data, check: float(len(recorder.rates)))
    config = SHORT.replace(epochs=epochs, evaluations=evaluations)
    images, labels = real(digits, 1).tensors()
    assert accuracy_curve(images, labels, digits, config, 0, CPU) == tested


def test_every_epoch_shows_every_image_once_and_keeps_the_short_batch(monkeypatch, digits):
    recorder = Recorder(monkeypatch)
    evaluate(real(digits, 10), digits, SHORT.replace(epochs=2, evaluations=1, batch=64))
    assert [len(labels) for labels in recorder.labels] == [64, 36, 64, 36]
    epochs = [list(chain(*recorder.labels[:2])), list(chain(*recorder.labels[2:]))]
    assert [sorted(labels) for labels in epochs] == [sorted(list(range(10)) * 10)] * 2
    assert epochs[0] != epochs[1]
    assert sum(recorder.sums[:2]) == pytest.approx(sum(recorder.sums[2:]), rel=1e-4)


def test_the_optimiser_is_sgd_with_momentum_and_weight_decay(monkeypatch, digits):
    made = []
    sgd = torch.optim.SGD
    monkeypatch.setattr(
        torch.optim, "SGD", lambda *args, **kwargs: made.append((args[1:], kwargs)) or sgd(*args, **kwargs)
    )
    evaluate(real(digits, 1), digits, SHORT.replace(lr=0.03, momentum=0.7, weight_decay=0.002))
    assert made == [((0.03,), {"momentum": 0.7, "weight_decay": 0.002})]


def test_cells_are_decoded_before_training(digits):
    whole = digits.first_images(8).unflatten(1, (2, 4))[:, :, 0]
    result = evaluate(CondensedSet(whole, 2, digits.mean, digits.std, digits.classes), digits, SHORT)
    assert result.patches == 80


# -- paired and repeatable


def test_equal_seeds_give_equal_results(digits):
    config = SHORT.replace(seeds=(0, 1))
    torch.manual_seed(1)
    first = evaluate(real(digits, 2), digits, config)
    torch.manual_seed(2)
    evaluate(real(digits, 1), digits, config)
    second = evaluate(real(digits, 2), digits, config)
    assert (first.best, first.last) == (second.best, second.last)


def test_a_seed_does_not_depend_on_the_others(digits):
    both = evaluate(real(digits, 2), digits, SHORT.replace(seeds=(0, 1)))
    alone = [evaluate(real(digits, 2), digits, SHORT.replace(seeds=(seed,))) for seed in (0, 1)]
    assert both.best == alone[0].best + alone[1].best
    assert both.last == alone[0].last + alone[1].last


def test_the_global_random_state_is_left_alone(digits):
    before = torch.get_rng_state()
    evaluate(real(digits, 1), digits, SHORT)
    assert torch.equal(before, torch.get_rng_state())


def test_equal_seeds_start_from_equal_networks_whatever_the_set(monkeypatch, digits):
    recorder = Recorder(monkeypatch)
    starts = []
    for n, seed in ((1, 0), (3, 0), (1, 1)):
        recorder.weights.clear()
        evaluate(real(digits, n), digits, SHORT.replace(seeds=(seed,)))
        starts.append(recorder.weights[0])
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_equally_large_sets_are_shown_in_the_same_order(monkeypatch, digits):
    recorder = Recorder(monkeypatch)
    orders, sums = [], []
    for start in (0, 5):
        recorder.labels.clear()
        recorder.sums.clear()
        evaluate(real(digits, 3, start=start), digits, SHORT.replace(batch=8))
        orders.append(list(recorder.labels))
        sums.append(list(recorder.sums))
    assert orders[0] == orders[1]
    assert sums[0] != sums[1]


# -- the test accuracy


class Scripted(nn.Module):
    """Answers with the class written in the first pixel."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.modes, self.sizes = [], []

    def forward(self, images):
        self.modes.append(self.training)
        self.sizes.append(len(images))
        return nn.functional.one_hot((images[:, 0, 0, 0] * 255).round().long(), 256).float() + self.weight


def test_accuracy_counts_every_test_image_once_in_evaluation_mode():
    answers, labels = torch.arange(230) % 10, torch.arange(230) % 10
    answers[:69] = (answers[:69] + 1) % 10
    x = answers.to(torch.uint8)[:, None, None].expand(-1, 4, 4)
    data = from_arrays(x, labels, x, labels, mean=(0.0,), std=(1.0,))
    net = Scripted().train()
    assert accuracy_on_test_images(net, data, lambda: None) == 70.0
    assert sum(net.sizes) == 230
    assert not any(net.modes)
    assert net.training


def test_test_images_are_normalised_like_the_set(digits):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    seen = []
    net.register_forward_pre_hook(lambda module, images: seen.append(images[0]))
    accuracy_on_test_images(net, digits)
    first = (digits.x_test[:1] / 255 - digits.mean[0]) / digits.std[0]
    assert torch.allclose(seen[0][:1], first, atol=1e-6)


def test_batch_norm_is_tested_with_its_running_statistics(digits):
    config = SHORT.replace(norm="batch", width=16, epochs=30, batch=16, lr=0.05)
    assert evaluate(real(digits, 10), digits, config).mean > 50


# -- that it works


def test_real_digits_are_learned(digits):
    config = TrainConfig.preset("digits", "quick", epochs=30, batch=16, seeds=(0,), lr=0.05)
    few, many = (evaluate(real(digits, n), digits, config) for n in (1, 10))
    assert few.mean > 30
    assert many.mean > 60
    assert many.last_mean > few.last_mean + 10
    assert many.best[0] >= many.last[0]
    assert many.seconds > 0


def test_every_size_is_evaluated(digits):
    whole = real(digits, 3)
    sizes = {n: whole.take(n) for n in (1, 3)}
    results = evaluate_many(sizes, digits, SHORT, show_progress=False)
    assert {n: result.patches for n, result in results.items()} == {1: 10, 3: 30}
    assert results[3].best == evaluate(whole, digits, SHORT).best


# -- sets that do not fit


def test_a_set_of_other_classes_is_named(digits):
    five = CondensedSet(digits.first_images(1)[:5], 1, digits.mean, digits.std, digits.classes[:5])
    message = r"a set with 5 classes of images \(1, 8, 8\) given with digits: 10 classes of images \(1, 8, 8\)"
    with pytest.raises(ValueError, match=message):
        evaluate(five, digits, SHORT)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 9, 9)])
def test_a_set_of_other_images_is_named(digits, shape):
    other = CondensedSet(torch.rand(10, 1, *shape), 1, (0.5,) * shape[0], (0.5,) * shape[0], digits.classes)
    message = rf"images \({', '.join(map(str, shape))}\) given with digits"
    with pytest.raises(ValueError, match=message):
        evaluate(other, digits, SHORT)


def test_no_size_is_evaluated_where_one_does_not_fit(monkeypatch, digits):
    monkeypatch.setattr(evaluation, "accuracy_curve", None)
    other = CondensedSet(torch.rand(10, 2, 3, 8, 8), 1, (0.5,) * 3, (0.5,) * 3, digits.classes)
    with pytest.raises(ValueError, match="given with digits"):
        evaluate_many({1: real(digits, 1), 2: other}, digits, SHORT, show_progress=False)


def test_an_unknown_device_is_named_before_any_work(monkeypatch, digits):
    monkeypatch.setattr(evaluation, "accuracy_curve", None)
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        evaluate(real(digits, 1), digits, SHORT, device="gpu")


def test_results_do_not_depend_on_the_number_of_cores(digits):
    sizes = {n: real(digits, n) for n in (1, 2)}
    found = []
    for cores in (1, 2):
        torch.set_num_threads(cores)
        results = evaluate_many(sizes, digits, SHORT.replace(seeds=(0, 1)), device="cpu", show_progress=False)
        found.append([(result.best, result.last) for result in results.values()])
    torch.set_num_threads(1)
    assert found[0] == found[1]


def test_an_evaluation_is_given_up_when_its_result_is_not_wanted_any_more(digits):
    asked = []
    whole = evaluate_many({1: real(digits, 1)}, digits, SHORT, show_progress=False, stopped=lambda: asked.append(1))
    assert len(asked) == SHORT.epochs * (1 + 4)  # per epoch a batch of 10 images, and a test on 359 in batches of 100
    assert len(whole[1].best) == 1
    asked = iter([False] * 7 + [True])
    with pytest.raises(Stopped):
        evaluate_many({1: real(digits, 1)}, digits, SHORT, show_progress=False, stopped=lambda: next(asked))
    assert next(asked, None) is None
