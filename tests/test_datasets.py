"""Every data set from its files in their true format to a tested condensed set: condense, take, prune, evaluate."""

import math

import pytest
import real_files
import torch

from mdckit import (
    CondenseConfig,
    CondensedSet,
    TrainConfig,
    baselines,
    condense,
    evaluate,
    load,
    record_dynamics,
    resize,
)

WRITE = {  # at least eight images of every class, 18 of ImageNet-10
    "cifar10": lambda root, patch: real_files.write_cifar10(root, patch, count=16),
    "cifar100": lambda root, patch: real_files.write_cifar100(root, patch, train=800),
    "svhn": lambda root, patch: real_files.write_svhn(root, patch, train=80),
    "mnist": lambda root, patch: real_files.write_mnist(root, "MNIST", train=80),
    "fashion-mnist": lambda root, patch: real_files.write_mnist(root, "FashionMNIST", train=80),
    "imagenet10": lambda root, patch: real_files.write_imagenet(root / "imagenet10", ("train", "test"), count=18),
}


@pytest.mark.parametrize("name", WRITE)
def test_a_data_set_goes_the_whole_way(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MDCKIT_DATA", str(tmp_path / "data"))
    WRITE[name](tmp_path / "data", monkeypatch)
    data, classes = load(name), 100 if name == "cifar100" else 10
    assert len(data.classes) == classes
    small = {"width": 4, "seeds": (0,), "epochs": 1, "evaluations": 1}
    settings = {"ipc": 2, "outer": 2, "inner": 1, "period": 1, "width": 4, "batch_real": 4, "net_images": 8}
    config, train = CondenseConfig.preset(name, "quick", **settings), TrainConfig.preset(name, "quick", **small)
    assert config.factor == {"imagenet10": 3, "mnist": 1, "fashion-mnist": 1}.get(name, 2)

    made = condense(data, [baselines.mdc()], config, device="cpu", show_progress=False)["mdc"]
    assert made.images.shape == (classes, 2, *data.shape)
    assert not torch.equal(made.take(1).images, made.images[:, 1:])
    kept = CondensedSet.load(made.save(tmp_path / "mdc.safetensors"))
    assert torch.equal(kept.images, made.images)

    log = record_dynamics(kept, train, device="cpu", show_progress=False)
    pruned = resize("lbpe", kept, log, 1, epochs=1, top=1)
    assert pruned.patches_per_class == (config.factor**2,) * classes
    for part in (kept.take(1), pruned):
        result = evaluate(part, data, train, device="cpu")
        assert result.patches == classes * config.factor**2
        assert math.isfinite(result.mean)
