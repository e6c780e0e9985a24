"""Training dynamics: what a network says about every patch of a condensed set while it trains on it."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import torch
from torch import Tensor

from .. import files, parallel
from ..condensed import CondensedSet
from ..config import TrainConfig
from ..forms import COUNT, SIZE, TEXT, check_form
from ..machine import pick_device, versions
from ..networks import fresh_network
from ..parallel import Pool
from ..progress import progress
from ..training import train_epochs

MOST_BYTES = 4 * 2**30


@dataclass(frozen=True, eq=False)
class Dynamics:
    """The log of one training run on a set of P patches over E epochs (YOCO section 4.1, Algorithm 1).

    The epochs log the training passes themselves, so a patch is seen augmented and perhaps mixed with another, but
    judged by its own label. `final` and `features` are those of the trained network, patches as they are.

    >>> from mdckit import record_dynamics
    >>> made = CondensedSet(torch.rand(2, 4, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> log = record_dynamics(made, TrainConfig(epochs=4, width=4, depth=1), show_progress=False)
    >>> log.epochs, tuple(log.probabilities.shape)
    (4, (4, 8, 2))
    """

    probabilities: Tensor  # (E, P, K) float16, softmax outputs
    correct: Tensor  # (E, P) bool
    labels: Tensor  # (P,)
    final: Tensor  # (P, K) float32, softmax outputs after the last epoch
    features: Tensor  # (P, D) float32, of the last feature maps after the last epoch; ResNets' maps are averaged
    digest: str  # of the set
    info: Mapping = field(default_factory=dict, repr=False)

    @property
    def epochs(self) -> int:
        """Epochs recorded, E."""
        return len(self.probabilities)

    @property
    def accuracy(self) -> Tensor:
        """Training accuracy of every epoch in percent, (E,)."""
        return 100 * self.correct.double().mean(1)

    def check(self, condensed: CondensedSet) -> None:
        """Raise ValueError unless this is the log of just this set."""
        if self.digest != condensed.digest:
            raise ValueError(
                f"these training dynamics are of another set ({len(self.labels)} patches, content {self.digest[:8]}) "
                f"than the one given ({condensed.patches} patches, content {condensed.digest[:8]}): record them anew"
            )

    def save(self, path: str | Path) -> Path:
        """Write the log as one safetensors file, atomically; raises OSError naming the path."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        return files.save_tensors(path, tensors, {**self.info, "kind": "training dynamics", "digest": self.digest})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a log written by `save`; raises FileNotFoundError, or ValueError for a damaged or foreign file."""
        tensors, info = files.load_tensors(path, "training dynamics")
        del info["kind"]
        try:
            check_form(
                info, {"config?": {"epochs?": SIZE}, "seed?": COUNT, "versions?": {"*": TEXT}}, "its description"
            )
        except ValueError as error:
            raise ValueError(f"{path} holds training dynamics that cannot be used: {error}") from None
        if set(tensors) != set(_TENSORS) or not isinstance(info.get("digest"), str):
            raise ValueError(f"{path} holds {', '.join(sorted(tensors))}: expected {', '.join(_TENSORS)} and a digest")
        if not _fit(**tensors):
            raise ValueError(f"{path} holds training dynamics whose tensors do not fit each other: record them anew")
        return cls(**tensors, digest=info.pop("digest"), info=info)


_TENSORS = {  # name -> what it holds
    "probabilities": torch.float16,
    "correct": torch.bool,
    "labels": torch.int64,
    "final": torch.float32,
    "features": torch.float32,
}


def _fit(probabilities: Tensor, correct: Tensor, labels: Tensor, final: Tensor, features: Tensor) -> bool:
    found = [tensor.dtype for tensor in (probabilities, correct, labels, final, features)]
    if found != list(_TENSORS.values()) or probabilities.ndim != 3 or 0 in probabilities.shape:
        return False
    epochs, patches, classes = probabilities.shape
    return (
        correct.shape == (epochs, patches)
        and labels.shape == (patches,)
        and 0 <= int(labels.min()) <= int(labels.max()) < classes
        and final.shape == (patches, classes)
        and features.ndim == 2
        and len(features) == patches
        and all(_are_probabilities(values) for values in (probabilities, final))
        and bool(torch.isfinite(features).all())
    )


def _are_probabilities(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all()) and 0 <= float(values.min()) <= float(values.max()) <= 1


def record_dynamics(
    condensed: CondensedSet,
    config: TrainConfig,
    seed: int = 0,
    *,
    device: str | None = None,
    show_progress: bool = True,
) -> Dynamics:
    """Train one network on the decoded set for ``config.epochs`` epochs and log what it says about every patch.

    The same seed gives the same log. On a CPU it takes one core, as with `record_many`. Raises ValueError as it does.

    >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> record_dynamics(s, TrainConfig(epochs=4, width=4, depth=1), show_progress=False).probabilities.shape
    torch.Size([4, 6, 2])
    """
    return record_many(condensed, config, [seed], device=device, show_progress=show_progress)[0]


def record_many(
    condensed: CondensedSet,
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    device: str | None = None,
    show_progress: bool = True,
) -> list[Dynamics]:
    """The dynamics of one network for every seed, in the order of the seeds.

    On a CPU every core trains a network of its own; the logs do not depend on the number of cores. All are held at
    once, each of them E P (2 K + 1) bytes: raises ValueError, before any work, where one has more than 4 GiB. An error
    in one recording ends the others.

    >>> s = CondensedSet(torch.rand(2, 3, 1, 8, 8), 1, (0.5,), (0.5,), ("a", "b"))
    >>> logs = record_many(s, TrainConfig(epochs=4, width=4, depth=1), seeds=[0, 1], show_progress=False)
    >>> [log.info["seed"] for log in logs]
    [0, 1]
    """
    classes = len(condensed.classes)
    if config.epochs * condensed.patches * (2 * classes + 1) > MOST_BYTES:
        raise ValueError(
            f"a log of {config.epochs} epochs x {condensed.patches} patches x {classes} classes takes more than 4 GiB: "
            "ask for fewer epochs"
        )
    chosen = pick_device(device)
    images, labels = condensed.tensors(chosen)
    with parallel.cores(chosen) as pool:
        told: SimpleQueue[Future | None] = SimpleQueue()
        running = [pool.submit(_record, condensed, images, labels, config, seed, pool, told) for seed in seeds]
        for recording in running:
            recording.add_done_callback(told.put)
        epochs = _epochs(told, len(running))
        list(progress(epochs, "recording dynamics", config.epochs * len(running), show=show_progress))
    return [recording.result() for recording in running]


def _epochs(told: SimpleQueue, running: int) -> Iterator[None]:
    """One item an epoch, until all recordings have ended; raises what one of them has raised."""
    while running:
        ended = told.get()
        if ended is None:
            yield
        else:
            ended.result()
            running -= 1


def _record(
    condensed: CondensedSet,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    seed: int,
    pool: Pool,
    told: SimpleQueue,
) -> Dynamics:
    """One recording, on the set's normalised images (P, C, H, W); tells of every epoch."""
    shape = (config.epochs, len(images), len(condensed.classes))
    net = fresh_network(tuple(images.shape[1:]), shape[2], config, seed, "dynamics", device=images.device)
    probabilities, correct = torch.empty(shape, dtype=torch.float16), torch.empty(shape[:2], dtype=torch.bool)
    for e, logits in enumerate(train_epochs(net, images, labels, config, seed, "dynamics", pool.check)):
        probabilities[e] = logits.softmax(1)
        correct[e] = logits.argmax(1) == labels
        told.put(None)
    features, final = trained_outputs(net, images)
    info = {"config": asdict(config), "seed": seed, "versions": versions()}
    return Dynamics(probabilities, correct, condensed.labels, final, features, condensed.digest, info)


@torch.no_grad()
def trained_outputs(net: torch.nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (P, D) and softmax outputs (P, K) of normalised images as they are, on the CPU."""
    net.eval()
    seen = [net.embed(batch) for batch in images.split(256)]
    features = torch.cat([net.vectors(maps).cpu() for maps in seen])
    logits = torch.cat([net.classify(maps).cpu() for maps in seen])
    net.train()
    return features, logits.softmax(1)
