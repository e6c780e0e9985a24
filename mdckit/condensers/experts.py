"""Experts: networks trained on real images, kept after every epoch, for a condensation to follow (MTT).

An expert's file is a safetensors file with one tensor (E + 1, ...) for every parameter, by its PyTorch name: row 0 is
the initialisation, row e what it was after epoch e. Its JSON metadata hold the `ExpertConfig`, the expert's number and
which images it was trained on: data set, digest of the pixels, shape, classes, mean and std.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor, nn

from .. import files
from ..checkpoint import difference
from ..checks import Settings, check_condenser, check_count, check_number, check_operations
from ..data import ImageData, normalize, to_float
from ..forms import COUNT, NUMBER, POSITIVE, SIZE, TEXT, check_form
from ..machine import pick_device, versions
from ..networks import fresh_network, outline
from ..progress import progress
from ..rng import ShuffledBatches, generator
from ..safety import DivergenceError, finite, lower
from ..training import train_step

KIND = "expert trajectory"
IMAGES = {
    "dataset": TEXT,
    "images": TEXT,
    "classes": [(TEXT, COUNT)],
    "mean": [NUMBER],
    "std": [POSITIVE],
    "shape": [SIZE],
}
DESCRIPTION = {"config?": {}, "data?": IMAGES, "number?": COUNT}


@dataclass(frozen=True)
class ExpertConfig(Settings):
    """How experts are trained; the defaults are MTT's: plain SGD, neither momentum nor weight decay nor schedule.

    By default every batch gets one operation (DSA), with a draw of its own for each image. Raises ValueError for a
    value that cannot be run.

    >>> ExpertConfig(network="vit")
    Traceback (most recent call last):
    ...
    ValueError: network 'vit' asked for condensation, where images must not depend on each other: use ...
    """

    count: int = 100
    epochs: int = 50
    lr: float = 0.01
    batch: int = 256
    augment: str = "flip|color|crop|cutout|scale|rotate"
    network: str = "convnet"  # or "resnet10_ap"
    width: int = 128
    depth: int = 3  # of the ConvNet
    norm: Literal["instance", "none"] = "instance"
    seed: int = 0

    def __post_init__(self):
        for name in ("count", "epochs", "batch", "width", "depth"):
            check_count(name, getattr(self, name))
        check_count("seed", self.seed, 0)
        check_number("lr", self.lr)
        check_operations("augment", self.augment)
        check_condenser(self.network, self.norm)


@dataclass(frozen=True, eq=False)
class Expert:
    """The trajectory of one network: its parameters before training and after each of E epochs on real images."""

    parameters: dict[str, Tensor]  # name -> (E + 1, ...)
    config: ExpertConfig
    data: dict  # which images: `ImageData.identity` and "shape"
    number: int = 0
    info: dict = field(default_factory=dict, repr=False)

    @property
    def epochs(self) -> int:
        """Epochs of training, E."""
        return len(next(iter(self.parameters.values()))) - 1

    def at(self, epoch: int, device: torch.device | None = None) -> dict[str, Tensor]:
        """The parameters after `epoch` epochs; 0 is the initialisation."""
        return {name: values[epoch].to(device) for name, values in self.parameters.items()}

    def network(self, device: torch.device | None = None) -> nn.Module:
        """A network of the expert's kind, as it was initialised."""
        return _network(self.data, self.config, device, "expert", self.number)

    def save(self, path: str | Path) -> Path:
        """Write the trajectory as one safetensors file, atomically; raises OSError naming the path."""
        info = {**self.info, "config": asdict(self.config), "data": self.data, "number": self.number, "kind": KIND}
        return files.save_tensors(path, self.parameters, info)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file written by `save`; raises FileNotFoundError, or ValueError for a damaged or foreign file."""
        tensors, info = files.load_tensors(path, KIND)
        del info["kind"]
        try:
            check_form(info, DESCRIPTION, "its description")
            config, data, number = ExpertConfig(**info.pop("config")), info.pop("data"), info.pop("number")
            # sizes that a file claims are no reason to take the memory for them
            expected = dict(outline(tuple(data["shape"]), len(data["classes"]), config).named_parameters())
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{path} holds an expert that cannot be used: {files.brief(error)}") from None
        shapes = {name: (config.epochs + 1, *value.shape) for name, value in expected.items()}
        if {name: tuple(value.shape) for name, value in tensors.items()} != shapes:
            raise ValueError(f"{path} holds parameters that are not those of {config.epochs} epochs of its network")
        if not all(value.is_floating_point() and bool(torch.isfinite(value).all()) for value in tensors.values()):
            raise ValueError(f"{path} holds parameters that are not finite numbers: train it anew")
        return cls({name: tensors[name] for name in expected}, config, data, number, info)


def train_experts(
    data: ImageData,
    config: ExpertConfig,
    folder: str | Path,
    *,
    device: str | None = None,
    show_progress: bool = True,
) -> list[Expert]:
    """Train ``config.count`` networks on all real images and keep each in `folder` as ``expert_NNN.safetensors``.

    Expert k depends on (data, config, k) alone, so a folder that holds some of these experts is filled up, and those
    are not trained again. Raises ValueError for data that do not suit the network and for a folder with other experts,
    OSError where it cannot be written, before any work, and `DivergenceError` for an expert that turns to NaN, which
    leaves no file (MTT: Cazenavette et al., CVPR 2022).

    >>> import tempfile
    >>> from mdckit import load
    >>> config = ExpertConfig(count=1, epochs=1, width=4, depth=1, augment="color_crop")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     train_experts(load("digits"), config, folder, show_progress=False)[0].epochs
    1
    """
    folder, described = files.check_writable(folder), _describe(data)
    _network(described, config)
    paths = [folder / f"expert_{k:03d}.safetensors" for k in range(config.count)]
    for path in paths:
        if path.exists():
            _require_same(path, Expert.load(path), config, described)
    chosen, missing = pick_device(device), [k for k, path in enumerate(paths) if not path.exists()]
    epochs = (row for k in missing for row in _train(data, config, k, chosen, paths[k]))
    for _ in progress(epochs, "training experts", len(missing) * config.epochs, show=show_progress):
        pass
    return [Expert.load(path) for path in paths]


def load_experts(folder: str | Path) -> list[Expert]:
    """All experts in `folder`, in the order of their numbers.

    Raises FileNotFoundError where there are none, and ValueError for a damaged file or experts of different runs.

    >>> from tempfile import TemporaryDirectory
    >>> from mdckit import load
    >>> config = ExpertConfig(count=2, epochs=1, width=4, depth=1)
    >>> with TemporaryDirectory() as folder:
    ...     _ = train_experts(load("digits"), config, folder, show_progress=False)
    ...     len(load_experts(folder))
    2
    """
    paths = sorted(Path(folder).glob("expert_*.safetensors"))
    if not paths:
        raise FileNotFoundError(f"no experts (expert_NNN.safetensors) in the folder {folder}: train_experts makes them")
    experts = [Expert.load(path) for path in paths]
    for path, expert in zip(paths, experts, strict=True):
        _require_same(path, expert, experts[0].config, experts[0].data)
    return experts


def _train(data: ImageData, config: ExpertConfig, k: int, device: torch.device, path: Path) -> Iterator[int]:
    """Train expert `k` and write it to `path`; yields after every epoch."""
    keys, described = ("expert", k), _describe(data)
    net = _network(described, config, device, *keys)
    optimizer = torch.optim.SGD(net.parameters(), config.lr)
    batches = ShuffledBatches(len(data.y_train), config.batch, config.seed, *keys)
    trajectory = {name: [value.detach().cpu().clone()] for name, value in net.named_parameters()}
    for epoch in range(config.epochs):
        for b in range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch):
            index, random = batches[b], generator(config.seed, *keys, "augment", b)
            images = normalize(to_float(data.x_train[index].to(device)), data.mean, data.std)
            train_step(net, optimizer, images, data.y_train[index].to(device), config.augment, 0.0, random)
        for name, value in net.named_parameters():
            trajectory[name].append(value.detach().cpu().clone())
        if not finite(values[-1] for values in trajectory.values()):
            where = f"epoch {epoch + 1} of {config.epochs} (seed {config.seed})"
            raise DivergenceError(f"expert {k} has turned NaN or infinite in {where}: {lower('lr', config.lr)}")
        if epoch == config.epochs - 1:
            parameters = {name: torch.stack(values) for name, values in trajectory.items()}
            Expert(parameters, config, described, k, {"versions": versions()}).save(path)
        yield epoch


def _describe(data: ImageData) -> dict:
    return data.identity | {"shape": list(data.shape)}


def _network(data: dict, config: ExpertConfig, device: torch.device | None = None, *keys: str | int) -> nn.Module:
    return fresh_network(tuple(data["shape"]), len(data["classes"]), config, config.seed, *keys, device=device)


def _require_same(path: Path, expert: Expert, config: ExpertConfig, data: dict) -> None:
    """Raise ValueError unless the expert in `path` was trained like this on these images, however many there are."""
    pairs = (expert.data, expert.config), (data, config)
    there, here = (of_data | asdict(settings) | {"count": None} for of_data, settings in pairs)
    if there != here:
        raise ValueError(
            f"{path} is an expert of another run ({files.brief(difference(there, here))}): keep it in another folder"
        )
