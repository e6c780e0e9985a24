"""The kernels against formulas and finite networks, the regression against a literal solve, and KIP on top of them."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from mdckit import CondensedSet
from mdckit.condensers import kip
from mdckit.condensers.kip import KIPConfig, condense_kip, feature_kernel, kernel_regression, ntk
from mdckit.config import CondenseConfig
from mdckit.data import normalize, to_float
from mdckit.networks import fresh_convnet
from mdckit.safety import DivergenceError
from mdckit.sources import load

CONFIG = KIPConfig(ipc=2, steps=3, targets=20, lr=0.01, depth=2, width=4)


def condense(data, config=CONFIG, **changes):
    return condense_kip(data, KIPConfig(**{**vars(config), **changes}), show_progress=False)


def points(count, size, seed=0):
    return torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# -- the kernels


def literal_ntk(x, y, depth, bias):
    """Theta of two lists of numbers, layer after layer, with the expectations of Cho and Saul written out."""
    products = ([p * q for p, q in zip(a, b, strict=True)] for a, b in ((x, y), (x, x), (y, y)))
    covariances = [math.fsum(product) / len(x) + bias**2 for product in products]
    theta = covariances[0]
    for _ in range(depth):
        cross, of_x, of_y = covariances
        angle = math.acos(cross / math.sqrt(of_x * of_y))
        both_active = (math.pi - angle) / (2 * math.pi)  # E[step(u) step(v)]
        product = math.sqrt(of_x * of_y) * (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)
        covariances = [2 * product + bias**2, of_x + bias**2, of_y + bias**2]
        theta = covariances[0] + 2 * both_active * theta
    return theta


@pytest.mark.parametrize(("depth", "bias"), [(1, 0.0), (3, 0.1), (6, 0.5)])
def test_the_ntk_is_the_recursion_written_out(depth, bias):
    a, b = points(4, 5), points(3, 5, seed=1)
    wanted = [[literal_ntk(x, y, depth, bias) for y in b.tolist()] for x in a.tolist()]
    torch.testing.assert_close(ntk(a, b, depth, bias), torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=0)
    assert torch.equal(ntk(a.view(4, 1, 5, 1), b, depth, bias), ntk(a, b, depth, bias))


def test_the_ntk_is_that_of_wide_networks():
    x, depth, bias, width = points(3, 6), 2, 0.3, 600
    kernels = []
    for seed in range(40):
        random = torch.Generator().manual_seed(seed)
        sizes = [6, *[width] * depth, 1]
        weights = [torch.randn(o, i, generator=random).double() for i, o in pairwise(sizes)]
        shifts = [torch.randn(o, generator=random).double() for o in sizes[1:]]
        parameters = [value.requires_grad_() for value in weights + shifts]
        rows = []
        for image in x:
            out = bias * shifts[0] + weights[0] @ image / math.sqrt(6)
            for weight, shift in zip(weights[1:], shifts[1:], strict=True):
                out = bias * shift + math.sqrt(2 / width) * weight @ out.relu()
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(out.sum(), parameters)]))
        kernels.append(torch.stack(rows) @ torch.stack(rows).T)
    torch.testing.assert_close(torch.stack(kernels).mean(0), ntk(x, x, depth, bias), rtol=0.05, atol=0.05)


def test_the_ntk_can_be_differentiated_where_images_meet_themselves():
    x = points(4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda images: ntk(images, images), (x,))
    assert torch.autograd.grad(ntk(x, x.detach()).sum(), x)[0].isfinite().all()
    assert torch.linalg.eigvalsh(ntk(x, x)).min() > 0


@pytest.mark.usefixtures("float64")
def test_the_feature_kernel_is_that_of_the_gradients_by_the_head():
    net = fresh_convnet((1, 8, 8), 3, CondenseConfig(width=4, depth=2), 0)
    a, b = torch.randn(3, 1, 8, 8), torch.randn(300, 1, 8, 8)
    found = feature_kernel(net, a, b)
    for i, j in ((0, 0), (2, 280)):
        one, other = (torch.autograd.grad(net(x[None])[0, 1], net.head.parameters()) for x in (a[i], b[j]))
        wanted = sum((g * h).sum() for g, h in zip(one, other, strict=True))
        torch.testing.assert_close(found[i, j], wanted)


# -- the regression and one step


def literal_regression(k_ts, k_ss, y_s, ridge):
    k_ts, k_ss, y_s = (np.array(values.detach()) for values in (k_ts, k_ss, y_s))
    return k_ts @ np.linalg.solve(k_ss + ridge * np.trace(k_ss) / len(k_ss) * np.eye(len(k_ss)), y_s)


@pytest.mark.parametrize("ridge", [1e-6, 0.5])
def test_the_regression_is_the_solution_of_its_equations(ridge):
    s, t, y = points(6, 8), points(9, 8, seed=1), points(6, 3, seed=2)
    found = kernel_regression(ntk(t, s), ntk(s, s), y, ridge)
    np.testing.assert_allclose(found, literal_regression(ntk(t, s), ntk(s, s), y, ridge), rtol=1e-9)


def test_the_support_predicts_its_own_labels_where_nothing_is_penalised():
    s, y = points(6, 8), points(6, 3, seed=2)
    torch.testing.assert_close(kernel_regression(ntk(s, s), ntk(s, s), y, 0.0), y)


def literal_loss(data, pixels):
    """Of pixels (6, 1, 8, 8) as two images of each of three classes, on all training images."""
    s, t = (normalize(x.double(), data.mean, data.std) for x in (pixels, to_float(data.x_train)))
    y_s = torch.eye(3).double().repeat_interleave(2, 0) - 1 / 3
    predicted = literal_regression(ntk(t, s, depth=2), ntk(s, s, depth=2), y_s, 1e-6)
    wanted = np.array([[(label == c) - 1 / 3 for c in range(3)] for label in data.y_train.tolist()])
    return float(((predicted - wanted) ** 2).mean() / 2)


@pytest.mark.usefixtures("float64")
def test_a_step_is_adam_down_the_literal_loss(grey):
    before = grey.first_images(2).flatten(0, 1)
    made = condense(grey, steps=1)
    assert made.info["losses"] == [pytest.approx(literal_loss(grey, before), rel=1e-7)]
    moved = made.images.flatten(0, 1) - before
    shift = torch.zeros_like(before)
    for place in [(0, 0, 3, 4), (3, 0, 5, 2), (5, 0, 0, 7)]:
        shift[place] = 1e-5
        slope = (literal_loss(grey, before + shift) - literal_loss(grey, before - shift)) / 2e-5
        shift[place] = 0
        first = 0.01 * slope / (abs(slope) + 1e-8)  # of Adam, whose means are those of one gradient
        assert moved[place].item() == pytest.approx(-first, rel=1e-3)


def test_targets_are_class_balanced_and_new_in_every_step(grey):
    targets = kip._Targets(grey, KIPConfig(targets=5), torch.device("cpu"))
    batches = [targets.batch(step) for step in range(4)]
    for images, labels in batches:
        assert images.dtype == labels.dtype == torch.float64
        torch.testing.assert_close(labels.sum(1), torch.zeros(15).double())
        assert labels.argmax(1).tolist() == [0] * 5 + [1] * 5 + [2] * 5
    seen = {tuple(image.flatten().tolist()) for images, _ in batches for image in images}
    assert len(seen) == 60


# -- condensing


@pytest.mark.parametrize("kernel", ["ntk", "features"])
def test_the_loss_falls_on_digits(kernel):
    made = condense(load("digits"), KIPConfig(1, 30, kernel, targets=40, lr=0.01, depth=2, width=8))
    losses = made.info["losses"]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert 0 <= float(made.images.min()) <= float(made.images.max()) <= 1


def test_a_set_says_how_it_was_made_and_survives_its_file(tmp_path, grey):
    made = condense(grey)
    assert (made.images.shape, made.images.dtype, made.factor) == ((3, 2, 1, 8, 8), torch.float32, 1)
    assert (made.counts, made.data_name, made.info["recipe"]) == (None, "grey", {"name": "kip"})
    loaded = CondensedSet.load(made.save(tmp_path / "kip.safetensors"))
    assert torch.equal(loaded.images, made.images)
    assert KIPConfig(**loaded.info["config"]) == CONFIG
    assert len(loaded.info["losses"]) == 3


@pytest.mark.parametrize("kernel", ["ntk", "features"])
def test_the_same_seed_gives_the_same_set_and_another_seed_another(grey, kernel):
    one = condense(grey, kernel=kernel, targets=5)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(condense(grey, kernel=kernel, targets=5).images, one.images)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(condense(grey, kernel=kernel, targets=5, seed=1).images, one.images)


def test_learned_labels_end_as_their_largest_entries(grey):
    hard = condense(grey, learn_labels=True, steps=20)
    assert hard.counts is None
    assert hard.info["losses"][-1] < condense(grey, steps=20).info["losses"][-1]


def test_images_stand_in_the_row_of_their_label(grey):
    support = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 8, 8)
    labels = torch.eye(3)[[1, 0, 1, 1, 0, 1]]
    made = kip._hard(grey, support, labels, {})
    patches, classes = made.decode()
    assert made.counts == (2, 4, 0)
    assert patches[:, 0, 0, 0].tolist() == [1, 4, 0, 2, 3, 5]
    assert classes.tolist() == [0, 0, 1, 1, 1, 1]


# -- errors


@pytest.fixture
def no_work(monkeypatch):
    def work(*settings, **more):
        raise AssertionError("work began")

    monkeypatch.setattr(kip, "pick_device", work)


@pytest.mark.usefixtures("no_work")
def test_a_run_that_is_too_large_is_refused_before_any_work(monkeypatch, grey):
    monkeypatch.setattr(kip, "MOST_BYTES", kip._bytes_needed(grey, CONFIG) - 1)
    message = r"^6 condensed and 60 real images of 64 numbers asked, whose kernels take about .* GB where .* GB are "
    with pytest.raises(ValueError, match=message):
        condense(grey)
    for name in ("ipc", "targets"):
        assert kip._bytes_needed(grey, KIPConfig(**vars(CONFIG) | {name: 1})) < kip.MOST_BYTES
    with pytest.raises(ValueError, match="6 condensed and 60 real images"):
        condense(grey, kernel="features", width=512)


@pytest.mark.usefixtures("no_work")
def test_too_few_images_and_networks_that_do_not_suit_are_named(grey):
    for change in ({"ipc": 21}, {"targets": 21}):
        with pytest.raises(ValueError, match="21 training images per class needed, class '0' of grey has 20"):
            condense(grey, **change)
    with pytest.raises(ValueError, match="depth 4 halves an image of 8 pixels away"):
        condense(grey, kernel="features", depth=4)


def test_a_loss_that_explodes_is_named(monkeypatch, grey):
    monkeypatch.setattr(kip, "kernel_regression", lambda k_ts, k_ss, y_s, ridge: k_ts @ y_s * float("nan"))
    with pytest.raises(DivergenceError, match=r"^kip has diverged in step 0 of \d+: its loss is nan.* or raise ridge"):
        condense(grey)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "batch"}, "norm 'batch' asked for condensation"),
        ({"network": "resnet18"}, "network 'resnet18' asked for condensation"),
        ({"kernel": "conv"}, "unknown kernel 'conv': choose one of ntk, features"),
        ({"ridge": -1.0}, "ridge must be a number >= 0, got -1.0"),
        ({"steps": 2.0}, "steps must be an integer >= 1, got 2.0"),
        ({"learn_labels": "yes"}, "unknown learn_labels 'yes'"),
    ],
)
def test_settings_that_cannot_be_run_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        KIPConfig(**change)
