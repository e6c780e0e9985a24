"""Experts and the images that follow them: an unroll written out, files whole or refused, nothing left to chance."""

import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mdckit import CondensedSet, augment, files
from mdckit.arrays import from_arrays
from mdckit.condensers import experts, mtt
from mdckit.condensers.experts import ExpertConfig, load_experts, train_experts
from mdckit.condensers.mtt import MTTConfig, condense_mtt, trajectory_distance, unroll
from mdckit.config import CondenseConfig
from mdckit.data import normalize, to_float
from mdckit.networks import fresh_network
from mdckit.safety import DivergenceError
from mdckit.sources import load

EXPERTS = ExpertConfig(count=2, epochs=3, lr=0.05, batch=16, augment="color_crop", width=4, depth=2)
CONFIG = MTTConfig(ipc=2, iterations=2, syn_steps=3, expert_epochs=1, max_start=2, lr=0.1, step_size=0.05, step_lr=1e-3)


def trained(data, folder, **changes):
    config = ExpertConfig(**{**vars(EXPERTS), **changes})
    return train_experts(data, config, folder, show_progress=False)


def condense(data, given, config=CONFIG, **changes):
    return condense_mtt(data, given, MTTConfig(**{**vars(config), **changes}), show_progress=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, grey):
    folder = tmp_path_factory.mktemp("experts")
    trained(grey, folder)
    return folder


@pytest.fixture(scope="module")
def two(folder):
    return load_experts(folder)


# -- the unroll against a literal one, in float64


def plain_network():
    """The ConvNet of `EXPERTS` for grey images from PyTorch's own modules."""
    first = nn.Conv2d(1, 4, 3, padding=3), nn.GroupNorm(4, 4), nn.ReLU(), nn.AvgPool2d(2)
    second = nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(4, 4), nn.ReLU(), nn.AvgPool2d(2)
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(4 * 3 * 3, 3))


def literal_loss(images, labels, step_size, start, target, steps):
    """Steps of SGD on all images, by assignment to a network's weights, and the distance that is left."""
    values = start
    for _ in range(steps):
        logits = torch.func.functional_call(plain_network(), dict(zip(NAMES, values, strict=True)), (images,))
        loss = -logits.log_softmax(1)[range(len(labels)), labels].sum() / len(labels)
        gradients = torch.autograd.grad(loss, values, create_graph=True)
        values = [v - step_size * g for v, g in zip(values, gradients, strict=True)]
    left = sum(((v - t) ** 2).sum() for v, t in zip(values, target, strict=True))
    return left / sum(((v - t) ** 2).sum() for v, t in zip(start, target, strict=True))


NAMES = [name for name, _ in plain_network().named_parameters()]


@pytest.mark.usefixtures("float64")
def test_two_iterations_are_the_steps_written_out(tmp_path, grey):
    (expert,) = trained(grey, tmp_path, count=1)
    config = MTTConfig(2, 2, 3, 1, 1, lr=2.0, momentum=0.5, step_size=0.05, step_lr=1e-2, augment="")
    made = condense(grey, [expert], config)
    start = [value.clone().requires_grad_() for value in expert.at(0).values()]
    target = list(expert.at(1).values())
    pixels, labels = grey.first_images(2), torch.tensor([0, 0, 1, 1, 2, 2])
    step_size, speeds = torch.tensor(0.05), [0.0, 0.0]
    for i in range(2):
        known = [pixels.clone().requires_grad_(), step_size.clone().requires_grad_()]
        images = (known[0].flatten(0, 1) - grey.mean[0]) / grey.std[0]
        loss = literal_loss(images, labels, known[1], start, target, 3)
        assert made.info["losses"][i] == pytest.approx(loss.item(), rel=1e-10)
        speeds = [0.5 * v + g for v, g in zip(speeds, torch.autograd.grad(loss, known), strict=True)]
        pixels, step_size = (pixels - 2.0 * speeds[0]).clamp(0, 1), step_size - 1e-2 * speeds[1]
    torch.testing.assert_close(made.images, pixels, rtol=1e-9, atol=1e-11)
    assert made.info["step_size"] == pytest.approx(step_size.item(), rel=1e-10)
    assert (made.images - grey.first_images(2)).abs().max() > 1e-4
    assert abs(step_size.item() - 0.05) > 1e-6


@pytest.mark.usefixtures("float64")
def test_the_gradients_are_those_of_finite_differences(tmp_path, grey):
    (expert,) = trained(grey, tmp_path, count=1)
    labels = torch.arange(3)

    def loss(images, step_size):
        start = {name: value.requires_grad_() for name, value in expert.at(1).items()}
        return trajectory_distance(unroll(net, start, [(images, labels)] * 3, step_size), start, expert.at(3))

    net, images = expert.network(), normalize(grey.first_images(1)[:, 0], grey.mean, grey.std)
    known = [images.requires_grad_(), torch.tensor(0.1, requires_grad=True)]
    by_images, by_step_size = torch.autograd.grad(loss(*known), known)
    small = 1e-6
    shift = torch.zeros_like(images)
    for place in [(0, 0, 3, 4), (1, 0, 5, 2), (2, 0, 0, 7)]:
        shift[place] = small
        found = (loss(images + shift, known[1]) - loss(images - shift, known[1])) / (2 * small)
        assert found.item() == pytest.approx(by_images[place].item(), rel=1e-5, abs=1e-9)
        shift[place] = 0
    found = (loss(images, known[1] + small) - loss(images, known[1] - small)) / (2 * small)
    assert found.item() == pytest.approx(by_step_size.item(), rel=1e-6)


def test_the_distance_is_one_at_the_start_and_none_at_the_target(two):
    start, target = two[0].at(0), two[0].at(2)
    assert trajectory_distance(start, start, target).item() == 1
    assert trajectory_distance(target, start, target).item() == 0


# -- augmentation


def test_dsa_takes_one_operation_as_often_as_another():
    random = torch.Generator().manual_seed(0)
    taken = [name for _ in range(3000) for name in augment.draw("color|crop|cutout", 1, 8, random)]
    assert {name: taken.count(name) for name in set(taken)} == pytest.approx(
        {"color": 1000, "crop": 1000, "cutout": 1000}, rel=0.1
    )
    assert len(taken) == 3000


def test_every_step_draws_a_shift_for_each_image(monkeypatch, grey, two):
    seen = []

    def per_sample(images, strategy, random):
        seen.append((strategy, images.detach().clone(), keep(images, strategy, random)))
        return seen[-1][2]

    keep = augment.per_sample
    monkeypatch.setattr(augment, "per_sample", per_sample)
    condense(grey, two, iterations=4, syn_steps=5, augment="crop|scale")
    assert [strategy for strategy, _, _ in seen] == ["crop|scale"] * 20
    before, after = next((b, a) for _, b, a in seen if all(fitting_shifts(*pair) for pair in zip(b, a, strict=True)))
    shifts = {tuple(s) for image, moved in zip(before, after, strict=True) for s in fitting_shifts(image, moved)}
    assert len(shifts) > 1


def fitting_shifts(image, moved):
    padded = F.pad(image, (1, 1, 1, 1))
    return [(y, x) for y in range(3) for x in range(3) if torch.equal(padded[:, y : y + 8, x : x + 8], moved)]


def test_a_student_sees_every_image_once_before_it_sees_one_again():
    images = torch.arange(6.0).view(3, 2, 1, 1, 1).expand(3, 2, 1, 8, 8)
    config = MTTConfig(ipc=2, syn_steps=6, batch_syn=2, augment="")
    batches = list(mtt._batches(images, config, 0))
    seen = [int(v) for x, _ in batches for v in x[:, 0, 0, 0]]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))
    assert [int(v) for _, y in batches for v in y] == [v // 2 for v in seen]


# -- experts


@pytest.mark.usefixtures("float64")
def test_an_expert_is_plain_sgd_from_its_own_initialisation(tmp_path, grey):
    (expert,) = trained(grey, tmp_path, count=1, batch=60, augment="")
    net = fresh_network((1, 8, 8), 3, EXPERTS, 0, "expert", 0)
    images = normalize(to_float(grey.x_train), grey.mean, grey.std)
    values = list(net.parameters())
    for epoch in range(4):
        torch.testing.assert_close(expert.at(epoch), dict(net.named_parameters()))
        gradients = torch.autograd.grad(F.cross_entropy(net(images), grey.y_train), values)
        with torch.no_grad():
            for value, gradient in zip(values, gradients, strict=True):
                value -= 0.05 * gradient


def test_an_expert_comes_back_bit_for_bit(tmp_path, two):
    path = two[1].save(tmp_path / "new" / "expert_001.safetensors")
    (loaded,) = load_experts(path.parent)
    assert (loaded.epochs, loaded.number, loaded.config, loaded.data) == (3, 1, EXPERTS, two[1].data)
    assert list(loaded.parameters) == list(two[1].parameters)
    assert all(torch.equal(loaded.parameters[name], value) for name, value in two[1].parameters.items())
    assert [p.name for p in path.parent.iterdir()] == ["expert_001.safetensors"]


def test_experts_differ_and_the_file_says_what_they_were_trained_on(folder, grey, two):
    assert sorted(p.name for p in folder.iterdir()) == ["expert_000.safetensors", "expert_001.safetensors"]
    assert not torch.equal(two[0].parameters["head.weight"][0], two[1].parameters["head.weight"][0])
    tensors, info = files.load_tensors(folder / "expert_000.safetensors", "expert trajectory")
    assert tensors["head.weight"].shape == (4, 3, 4 * 3 * 3)
    assert info["data"] == {**grey.identity, "shape": [1, 8, 8]}
    assert ExpertConfig(**info["config"]) == EXPERTS


def test_a_folder_is_filled_up_and_its_experts_are_not_trained_again(tmp_path, grey, two):
    trained(grey, tmp_path, count=1)
    first = tmp_path / "expert_000.safetensors"
    os.utime(first, (1, 1))
    both = trained(grey, tmp_path)
    assert first.stat().st_mtime == 1
    for expert, same in zip(both, two, strict=True):
        assert all(torch.equal(value, same.parameters[name]) for name, value in expert.parameters.items())


def test_an_interrupted_expert_leaves_no_file(tmp_path, monkeypatch, grey):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        trained(grey, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.1}, r"expert_000\.safetensors is an expert of another run \(lr: 0\.05 there, 0\.1 here\)"),
        ({"seed": 1}, r"\(seed: 0 there, 1 here\): keep it in another folder"),
        ({"width": 8}, r"\(width: 4 there, 8 here\)"),
    ],
)
def test_a_folder_of_other_experts_is_refused_before_any_work(monkeypatch, folder, grey, change, message):
    monkeypatch.setattr(experts, "train_step", None)
    with pytest.raises(ValueError, match=message):
        trained(grey, folder, count=3, **change)


def test_a_damaged_or_foreign_file_is_named(tmp_path, two):
    path = two[0].save(tmp_path / "expert_000.safetensors")
    tensors, info = files.load_tensors(path, "expert trajectory")
    files.save_tensors(path, tensors | {"head.bias": tensors["head.bias"][1:]}, info)
    with pytest.raises(ValueError, match=r"expert_000\.safetensors holds parameters that are not those of 3 epochs of"):
        load_experts(tmp_path)
    files.save_tensors(path, tensors, info | {"config": info["config"] | {"norm": "batch"}})
    with pytest.raises(ValueError, match=r"expert_000\.safetensors holds an expert that cannot be used: norm 'batch'"):
        load_experts(tmp_path)
    files.save_tensors(path, tensors, {"kind": info["kind"]})
    with pytest.raises(ValueError, match=r"expert_000\.safetensors holds an expert that cannot be used: 'config'"):
        load_experts(tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"expert_000\.safetensors is truncated"):
        load_experts(tmp_path)


def test_a_folder_of_several_runs_is_refused(tmp_path, grey, two):
    two[0].save(tmp_path / "expert_000.safetensors")
    (other,) = trained(grey, tmp_path / "other", count=1, epochs=1, lr=0.1)
    other.save(tmp_path / "expert_001.safetensors")
    with pytest.raises(ValueError, match=r"expert_001\.safetensors is an expert of another run \(epochs: 1 there, 3 h"):
        load_experts(tmp_path)


# -- condensing


def test_the_loss_falls_on_digits(tmp_path):
    digits = load("digits")
    given = trained(digits, tmp_path, count=1, epochs=2, batch=64, width=8, augment="crop")
    config = MTTConfig(2, 40, 5, 1, 1, lr=5.0, step_size=0.05, step_lr=1e-4, augment="crop")
    made = condense(digits, given, config)
    losses = made.info["losses"]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    assert 0 <= float(made.images.min()) <= float(made.images.max()) <= 1


def test_a_set_says_how_it_was_made_and_survives_its_file(tmp_path, grey, two):
    made = condense(grey, two)
    assert (made.images.shape, made.factor, made.data_name) == ((3, 2, 1, 8, 8), 1, "grey")
    loaded = CondensedSet.load(made.save(tmp_path / "mtt.safetensors"))
    assert torch.equal(loaded.images, made.images)
    assert MTTConfig(**loaded.info["config"]) == CONFIG
    assert ExpertConfig(**loaded.info["experts"]) == EXPERTS
    assert loaded.info["step_size"] == made.info["step_size"] != 0.05
    assert (loaded.info["recipe"], len(loaded.info["losses"])) == ({"name": "mtt"}, 2)


def test_the_same_seed_gives_the_same_set_and_another_seed_another(grey, two):
    one = condense(grey, two)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = condense(grey, two)
    assert torch.equal(one.images, again.images)
    assert one.info["step_size"] == again.info["step_size"]
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(condense(grey, two, seed=1).images, one.images)


def test_the_experts_stay_as_they_were(grey, two):
    before = {name: value.clone() for name, value in two[0].parameters.items()}
    condense(grey, two)
    assert all(torch.equal(value, before[name]) for name, value in two[0].parameters.items())
    assert not any(value.requires_grad for value in two[0].parameters.values())


def test_starts_lie_within_the_experts(grey, two):
    starts = {mtt._segment(two, CONFIG, i, None)[0]["head.bias"].tolist()[0] for i in range(40)}
    allowed = {expert.at(s)["head.bias"].tolist()[0] for expert in two for s in range(2)}
    assert starts == allowed


# -- errors


def test_no_experts_are_named(tmp_path, grey):
    with pytest.raises(ValueError, match=r"^no experts given: train_experts makes them, load_experts reads them$"):
        condense(grey, [])
    for empty in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileNotFoundError, match=r"no experts \(expert_NNN\.safetensors\) in the folder"):
            load_experts(empty)


def test_experts_that_do_not_fit_are_refused(tmp_path, grey, rgb, two):
    with pytest.raises(ValueError, match=r"expert 0 does not fit \(dataset: grey there, rgb here\): all must"):
        condense(rgb, two)
    narrow = trained(grey, tmp_path, count=1, epochs=1, width=2)
    with pytest.raises(ValueError, match=r"expert 0 does not fit \(width: 2 there, 4 here\)"):
        condense(grey, [*two, *narrow])
    others = from_arrays(grey.x_train, grey.y_train.flip(0), grey.x_test, grey.y_test, name="grey")
    with pytest.raises(ValueError, match=r"expert 0 does not fit \(images: "):
        condense(others, two)
    shifted = from_arrays(grey.x_train, grey.y_train, grey.x_test, grey.y_test, mean=(0.1,), std=grey.std, name="grey")
    with pytest.raises(ValueError, match=r"expert 0 does not fit \(mean: "):
        condense(shifted, two)


def test_an_unroll_beyond_the_experts_is_refused(grey, two):
    message = r"^starts up to epoch 2 and 2 epochs from there asked of experts of 3 epochs: lower max_start or exp"
    with pytest.raises(ValueError, match=message):
        condense(grey, two, max_start=3, expert_epochs=2)
    assert condense(grey, two, max_start=3, expert_epochs=1, iterations=1).ipc == 2


def test_too_few_images_and_a_loss_that_explodes_are_named(grey, two):
    with pytest.raises(ValueError, match="21 training images per class needed, class '0' of grey has 20"):
        condense(grey, two, ipc=21)
    message = r"^mtt has diverged in iteration 0 of 2, with a loss of (nan|inf) .*step_size 1e\+30 is likely too large"
    with pytest.raises(DivergenceError, match=message):
        condense(grey, two, step_size=1e30)


def test_a_student_that_does_not_fit_is_refused_before_any_work(monkeypatch, grey, two):
    monkeypatch.setattr(mtt, "unroll", None)
    monkeypatch.setattr(mtt, "free_memory", lambda device: 10**6)
    message = r"^400 steps of 5 images at width 4 asked, which take about .* GB of memory where 0\.0 GB are free on c"
    with pytest.raises(MemoryError, match=message):
        condense(grey, two, syn_steps=400, batch_syn=5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExpertConfig(norm="batch"), "norm 'batch' asked for condensation, where images must not depend on"),
        (lambda: ExpertConfig(network="densenet"), "network 'densenet' asked for condensation"),
        (lambda: ExpertConfig(epochs=0), "epochs must be an integer >= 1, got 0"),
        (lambda: ExpertConfig(lr=-1), "lr must be a number >= 0, got -1"),
        (lambda: MTTConfig(batch_syn=0), "batch_syn must be an integer >= 1, got 0"),
        (lambda: MTTConfig(augment="blur"), "unknown operation in augment 'blur'"),
        (lambda: MTTConfig(step_size=float("nan")), "step_size must be a number >= 0, got nan"),
    ],
)
def test_settings_that_cannot_be_run_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_error_about_batch_norm_is_that_of_condensation():
    with pytest.raises(ValueError, match="norm 'batch'") as one:
        ExpertConfig(norm="batch")
    with pytest.raises(ValueError, match="norm 'batch'") as other:
        CondenseConfig(norm="batch")
    assert str(one.value) == str(other.value)


def test_the_network_of_an_expert_is_its_initialisation(two):
    net = two[1].network()
    torch.testing.assert_close(dict(net.named_parameters()), two[1].at(0), rtol=0, atol=0)
