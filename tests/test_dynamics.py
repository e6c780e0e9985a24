"""The log of a training run: just what its passes said, the same for the same seed, and whole or absent as a file."""

import math
from dataclasses import fields

import pytest
import safetensors.torch
import torch

from mdckit import CondensedSet, augment, files, training
from mdckit.config import TrainConfig
from mdckit.networks import fresh_convnet, fresh_network
from mdckit.pruning import dynamics
from mdckit.pruning.dynamics import Dynamics, record_dynamics, record_many

CONFIG = TrainConfig(epochs=3, batch=7, lr=0.05, augment="color_crop", cutmix=0.5, evaluations=1, width=4, depth=1)
PLAIN = CONFIG.replace(augment="", cutmix=0.0)
TENSORS = ("probabilities", "correct", "labels", "final", "features")


def make(seed=0):
    """Three classes of 8 patches; in epochs of 7 + 7 + 7 + 3."""
    images = torch.rand(3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return CondensedSet(images, 2, (0.4,), (0.3,), ("a", "b", "c"), "toys")


def record(condensed=None, config=CONFIG, seed=0):
    return record_dynamics(condensed or make(), config, seed, show_progress=False)


@pytest.fixture(scope="module")
def log():
    return record()


def softmax(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / math.fsum(powers) for power in powers]


def equal(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in TENSORS)


# -- what is logged


def test_every_epoch_says_what_the_training_passes_said_whatever_was_mixed_in(monkeypatch):
    condensed = make()
    images, labels = condensed.tensors()
    said, mixed = [], []
    train_step, cutmix = training.train_step, augment.cutmix

    def step(net, optimizer, batch, batch_labels, *settings):
        numbers = [next(i for i in range(len(images)) if torch.equal(images[i], image)) for image in batch]
        assert torch.equal(labels[numbers], batch_labels)
        logits = train_step(net, optimizer, batch, batch_labels, *settings)
        said.extend(zip(numbers, logits.double().tolist(), strict=True))
        return logits

    def mix(*settings):
        batch, order, share = cutmix(*settings)
        mixed.append(share < 1 and bool((order != torch.arange(len(order))).any()))
        return batch, order, share

    monkeypatch.setattr(training, "train_step", step)
    monkeypatch.setattr(augment, "cutmix", mix)
    log = record(condensed, CONFIG.replace(cutmix=1.0))
    assert sum(mixed) > 6
    for e in range(CONFIG.epochs):
        epoch = dict(said[24 * e : 24 * (e + 1)])
        assert sorted(epoch) == list(range(24))
        for i, row in epoch.items():
            wanted = torch.tensor(softmax(row), dtype=torch.float64)
            torch.testing.assert_close(log.probabilities[e, i].double(), wanted, rtol=2**-11, atol=2**-24)
            assert bool(log.correct[e, i]) == (row.index(max(row)) == i // 8)
    assert len(said) == 3 * 24


def test_correctness_is_judged_by_the_own_label(monkeypatch):
    def say(turn):
        def step(net, optimizer, batch, labels, *settings):
            optimizer.step()
            return torch.eye(3)[(labels + turn) % 3] * 4

        return step

    for turn, accuracy in enumerate([100, 0, 0]):
        monkeypatch.setattr(training, "train_step", say(turn))
        log = record()
        assert log.accuracy.tolist() == [accuracy] * 3
        assert log.probabilities.argmax(2).tolist() == [((log.labels + turn) % 3).tolist()] * 3


def test_the_first_pass_is_logged_before_its_update():
    condensed = make()
    images, _ = condensed.tensors()
    net = fresh_convnet((1, 8, 8), 3, PLAIN, 5, "dynamics")
    log = record(condensed, PLAIN.replace(batch=64), seed=5)
    torch.testing.assert_close(log.probabilities[0], net(images).softmax(1).half(), rtol=2**-10, atol=2**-24)
    assert not torch.equal(log.probabilities[1], log.probabilities[0])


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_trained_network_sees_the_patches_as_they_are_in_evaluation_mode(monkeypatch, norm):
    nets = []

    def remember(*settings, **more):
        nets.append(fresh_network(*settings, **more))
        return nets[-1]

    monkeypatch.setattr(dynamics, "fresh_network", remember)
    condensed = make()
    log = record(condensed, CONFIG.replace(norm=norm))
    images, _ = condensed.tensors()
    (net,) = nets
    net.eval()
    with torch.no_grad():
        maps = torch.cat([net.embed(image[None]) for image in images])
        final = [softmax(row) for row in net.classify(maps).double().tolist()]
    torch.testing.assert_close(log.features, maps.flatten(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(log.final.double(), torch.tensor(final, dtype=torch.float64), rtol=1e-4, atol=1e-6)


def test_a_log_has_a_row_for_every_epoch_and_patch(log):
    assert (log.epochs, len(log.accuracy)) == (3, 3)
    assert (log.probabilities.shape, log.probabilities.dtype) == ((3, 24, 3), torch.float16)
    assert (log.correct.shape, log.correct.dtype) == ((3, 24), torch.bool)
    assert (log.final.shape, log.final.dtype) == ((24, 3), torch.float32)
    assert (log.features.shape, log.features.dtype) == ((24, 4 * 6 * 6), torch.float32)
    assert log.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert (log.info["seed"], log.info["config"]["epochs"]) == (0, 3)
    right = [100 * sum(epoch) / 24 for epoch in log.correct.tolist()]
    assert log.accuracy.tolist() == pytest.approx(right, rel=1e-12)


def test_probabilities_sum_to_one_within_half_precision(log):
    assert (log.probabilities.double().sum(2) - 1).abs().max() < 3 * 2**-12
    assert (log.final.double().sum(1) - 1).abs().max() < 1e-6


def test_a_ragged_set_with_an_empty_class_is_recorded():
    part = make().select(torch.tensor([20, 3, 0, 17, 16]))
    log = record(part)
    assert log.labels.tolist() == [0, 0, 2, 2, 2]
    assert log.probabilities.shape == (3, 5, 3)
    log.check(part)


# -- repeated


def test_the_same_seed_gives_the_same_log_and_another_seed_another(log):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert equal(record(), log)
    assert torch.equal(torch.get_rng_state(), before)
    other = record(seed=1)
    for name in ("probabilities", "final", "features"):
        assert not torch.equal(getattr(other, name), getattr(log, name))


@pytest.fixture(params=[1, 3])
def cores(request):
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


@pytest.mark.usefixtures("cores")
def test_logs_recorded_beside_each_other_are_those_recorded_alone(log):
    logs = record_many(make(), CONFIG, [3, 0], show_progress=False)
    assert [found.info["seed"] for found in logs] == [3, 0]
    assert equal(logs[0], record(seed=3))
    assert equal(logs[1], log)


@pytest.mark.usefixtures("cores")
def test_the_error_of_one_recording_ends_the_others(monkeypatch):
    passes = []

    def step(net, optimizer, images, *settings):
        passes.append(len(images))
        if len(passes) >= 6:
            raise RuntimeError("out of memory")
        return training_step(net, optimizer, images, *settings)

    training_step = training.train_step
    monkeypatch.setattr(training, "train_step", step)
    with pytest.raises(RuntimeError, match="out of memory"):
        record_many(make(), CONFIG.replace(epochs=10_000), [0, 1, 2], show_progress=False)
    assert len(passes) < 5000  # of 120,000


def test_a_log_fits_its_own_set_alone(log):
    log.check(make())
    described = r"^these training dynamics are of another set \(24 patches, content \w{8}\) than the one given "
    for other in (make(1), make().take(1), make().select(torch.arange(24).flip(0))):
        with pytest.raises(ValueError, match=rf"{described}\({other.patches} patches, content {other.digest[:8]}\)"):
            log.check(other)


# -- files


def test_a_saved_log_comes_back_bit_for_bit(tmp_path, log):
    path = log.save(tmp_path / "new" / "log.safetensors")
    loaded = Dynamics.load(str(path))
    assert equal(loaded, log)
    for name in TENSORS:
        assert getattr(loaded, name).dtype == getattr(log, name).dtype
    assert loaded.digest == log.digest
    assert loaded.info.keys() == log.info.keys()
    assert TrainConfig(**loaded.info["config"]) == CONFIG
    loaded.check(make())
    assert [p.name for p in path.parent.iterdir()] == ["log.safetensors"]


@pytest.mark.parametrize("keep", [0, 8, 200, -1])
def test_a_truncated_log_is_named(tmp_path, log, keep):
    path = log.save(tmp_path / "log.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        ValueError, match=r"log\.safetensors is truncated or not a safetensors file, not a mdckit train"
    ):
        Dynamics.load(path)


def test_a_foreign_file_is_named(tmp_path, log):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.safetensors: expected a mdckit training dynamics"):
        Dynamics.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"set\.safetensors holds condensed set, not a mdckit training dynamics"):
        Dynamics.load(make().save(tmp_path / "set.safetensors"))
    with pytest.raises(ValueError, match=r"log\.safetensors holds training dynamics, not a mdckit condensed set"):
        CondensedSet.load(log.save(tmp_path / "log.safetensors"))
    safetensors.torch.save_file({"final": torch.rand(2, 2)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"weights\.safetensors holds a safetensors file of another program"):
        Dynamics.load(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"labels": torch.full((24,), 3)},
        {"labels": torch.full((24,), -1)},
        {"labels": torch.zeros(24)},
        {"correct": torch.ones(3, 24)},
        {"probabilities": torch.rand(3, 24, 3)},
        {"probabilities": torch.rand(3, 24, 3, 1).half()},
        {"features": torch.rand(24)},
    ],
)
def test_a_log_of_tensors_of_another_kind_is_refused(tmp_path, log, change):
    path = log.save(tmp_path / "log.safetensors")
    tensors, info = files.load_tensors(path, "training dynamics")
    files.save_tensors(path, tensors | change, info)
    with pytest.raises(ValueError, match=r"log\.safetensors holds training dynamics whose tensors do not fit each oth"):
        Dynamics.load(path)


@pytest.mark.parametrize("name", TENSORS)
def test_a_log_without_its_parts_is_named(tmp_path, log, name):
    path = log.save(tmp_path / "log.safetensors")
    tensors, info = files.load_tensors(path, "training dynamics")
    less = {other: tensor for other, tensor in tensors.items() if other != name}
    files.save_tensors(path, less, info)
    with pytest.raises(ValueError, match=rf"log\.safetensors holds {', '.join(sorted(less))}: expected {TENSORS[0]}, "):
        Dynamics.load(path)
    files.save_tensors(path, tensors | {name: tensors[name][:-1]}, info)
    with pytest.raises(ValueError, match=r"log\.safetensors holds training dynamics whose tensors do not fit each oth"):
        Dynamics.load(path)


def test_a_log_that_does_not_say_its_set_is_refused(tmp_path, log):
    path = log.save(tmp_path / "log.safetensors")
    tensors, info = files.load_tensors(path, "training dynamics")
    for digest in ({}, {"digest": 7}):
        files.save_tensors(path, tensors, {"kind": info["kind"]} | digest)
        with pytest.raises(ValueError, match=r"log\.safetensors holds .*: expected .* and a digest"):
            Dynamics.load(path)


def test_an_empty_log_is_refused(tmp_path, log):
    nothing = {name: getattr(log, name)[:0] for name in ("probabilities", "correct")}
    kept = {field.name: getattr(log, field.name) for field in fields(log)}
    with pytest.raises(ValueError, match="whose tensors do not fit each other"):
        Dynamics.load(Dynamics(**kept | nothing).save(tmp_path / "log.safetensors"))


def test_a_place_that_cannot_be_written_is_named_and_left_alone(tmp_path, log):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match=rf"cannot write {tmp_path}/file/log\.safetensors"):
        log.save(tmp_path / "file" / "log.safetensors")
    assert (tmp_path / "file").read_text() == "kept"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# -- limits


@pytest.fixture
def no_work(monkeypatch):
    def work(*settings, **more):
        raise AssertionError("work began")

    for name in ("pick_device", "fresh_network", "train_epochs"):
        monkeypatch.setattr(dynamics, name, work)


def test_a_log_over_the_limit_is_refused_before_any_work(no_work):
    message = "^a log of 30000000 epochs x 24 patches x 3 classes takes more than 4 GiB: ask for fewer epochs$"
    with pytest.raises(ValueError, match=message):
        record(config=CONFIG.replace(epochs=30_000_000))


def test_the_limit_is_that_of_the_log_itself(monkeypatch, log):
    size = 2 * log.probabilities.numel() + log.correct.numel()
    monkeypatch.setattr(dynamics, "MOST_BYTES", size)
    assert equal(record(), log)
    monkeypatch.setattr(dynamics, "MOST_BYTES", size - 1)
    with pytest.raises(ValueError, match="a log of 3 epochs x 24 patches x 3 classes takes more than"):
        record()
