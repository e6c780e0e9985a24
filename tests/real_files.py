"""Files of every data set in their true formats, only smaller and full of noise."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
import scipy.io
import torchvision
from PIL import Image

from mdckit.sources import IMAGENET10


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar10(root, monkeypatch, count=20):
    """CIFAR-10's pickled batches, as torchvision reads them; returns all images and labels, training first."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rows = pixels(count * 6, 3072)
    labels = [(3 * i) % 10 for i in range(count * 6)]
    md5s = []
    for b, name in enumerate([f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]):
        part = slice(b * count, (b + 1) * count)
        batch = {"batch_label": name, "labels": labels[part], "data": rows[part], "filenames": ["x.png"] * count}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        md5s.append([name, md5(folder / name)])
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names, "num_vis": 3072}, protocol=2))
    dataset = torchvision.datasets.CIFAR10
    monkeypatch.setattr(dataset, "train_list", md5s[:5])
    monkeypatch.setattr(dataset, "test_list", md5s[5:])
    monkeypatch.setattr(dataset, "meta", dataset.meta | {"md5": md5(folder / "batches.meta")})
    return rows.reshape(-1, 3, 32, 32), labels


def write_cifar100(root, monkeypatch, train=200):
    """CIFAR-100's pickled files, as torchvision reads them; returns all images and labels, those for training first."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    rows, labels = pixels(train + 100, 3072), [(7 * i) % 100 for i in range(train + 100)]
    parts = {"train": slice(0, train), "test": slice(train, None)}
    for name, part in parts.items():
        batch = {"fine_labels": labels[part], "coarse_labels": [0] * len(labels[part]), "data": rows[part]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    meta = {"fine_label_names": [f"fine{c}" for c in range(100)], "coarse_label_names": ["coarse"] * 20}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    dataset = torchvision.datasets.CIFAR100
    monkeypatch.setattr(dataset, "train_list", [["train", md5(folder / "train")]])
    monkeypatch.setattr(dataset, "test_list", [["test", md5(folder / "test")]])
    monkeypatch.setattr(dataset, "meta", dataset.meta | {"md5": md5(folder / "meta")})
    return rows.reshape(-1, 3, 32, 32), labels


def write_svhn(root, monkeypatch, train=20):
    """SVHN's MATLAB files, as torchvision reads them; returns all images and labels, those for training first."""
    root.mkdir(parents=True)
    images = pixels(32, 32, 3, train + 10)  # height, width, channel, image
    labels = np.array([10, *range(1, 10)] * (train // 10 + 1), dtype=np.uint8)[:, None]  # 10 stands for the digit 0
    lists = {}
    for name, part in {"train": slice(0, train), "test": slice(train, None)}.items():
        file = root / f"{name}_32x32.mat"
        scipy.io.savemat(file, {"X": images[..., part], "y": labels[part]}, do_compression=True)
        lists[name] = ["http://no.where/", file.name, md5(file)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", lists)
    return images.transpose(3, 2, 0, 1), (labels[:, 0] % 10).tolist()


def idx(array):
    return struct.pack(f">i{array.ndim}i", 0x800 + array.ndim, *array.shape) + array.tobytes()


def write_mnist(root, class_name, suffix="", train=40):
    """MNIST's idx files, as torchvision reads them; returns all images and labels, those for training first."""
    raw = root / class_name / "raw"
    raw.mkdir(parents=True)
    images, labels = pixels(train + 20, 28, 28), np.arange(train + 20, dtype=np.uint8) % 10
    for name, part in {"train": slice(0, train), "t10k": slice(train, None)}.items():
        for kind, array in {"images-idx3": images, "labels-idx1": labels}.items():
            content = idx(array[part])
            file = raw / f"{name}-{kind}-ubyte{suffix}"
            file.write_bytes(gzip.compress(content) if suffix else content)
    return images[:, None], labels.tolist()


def write_imagenet(folder, parts=("train", "val"), count=1):
    """JPEGs of several sizes, one grey and one CMYK among them, and a class that is not of the ten."""
    for number, wnid in enumerate([*IMAGENET10, "n00000001"]):
        for part in parts:
            place = folder / part / wnid
            place.mkdir(parents=True)
            for k in range(count):
                small = Image.fromarray(pixels(3, 4, 3, seed=number + 100 * k))
                image = small.resize((250 + 10 * number, 300), Image.Resampling.BICUBIC)
                mode = {1: "L", 2: "CMYK"}.get(number, "RGB")
                image.convert(mode).save(place / f"{wnid}_{part}_{k + 1}.JPEG")
