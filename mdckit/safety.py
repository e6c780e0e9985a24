"""Numbers that are none any more: found soon, and named with their likely cause and a way out."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

BEYOND = 0.25  # how far outside 0..1 the pixels of a set may lie before they are clamped, on average over all of them
READ = 10  # epochs whose flags are read together on an accelerator, where reading waits for all work so far


class DivergenceError(ValueError):
    """Training that has come to nothing: a loss, a pixel or a weight is no finite number, or pixels have run away.

    The message names the step, the likely cause and a value to try. `recipes` are the sets of a condensation that it
    is about. Nothing bad has been written: a condensation's last checkpoint is that of a good outer loop.

    >>> str(DivergenceError("recipe 'mdc' has diverged").kept_in("run.safetensors", 4))
    "recipe 'mdc' has diverged; run.safetensors keeps the sets after outer loop 4 (outer=4 returns them)"
    """

    def __init__(self, message: str, recipes: Sequence[str] = ()):
        super().__init__(message)
        self.recipes = tuple(recipes)

    def kept_in(self, checkpoint: str | Path, outer: int) -> "DivergenceError":
        """The same error, which also says where the last good state is."""
        kept = f"{checkpoint} keeps the sets after outer loop {outer} (outer={outer} returns them)"
        return DivergenceError(f"{self}; {kept}", self.recipes)


def lower(name: str, value: float) -> str:
    """Advice against a learning rate that is too large.

    >>> lower("net_lr", 0.5)
    'net_lr 0.5 is likely too large, try 0.05'
    """
    return f"{name} {value:g} is likely too large, try {value / 10:.2g}"


def finite(tensors: Iterable[Tensor]) -> Tensor:
    """Whether all numbers of all tensors are finite, as a 0-d tensor on their device: nothing waits for it."""
    return torch.stack([tensor.isfinite().all() for tensor in tensors]).all()


def beyond(images: Tensor) -> Tensor:
    """How far outside 0..1 pixels (K, ...) lie, on average over all of a row, inside or not: (K,).

    >>> beyond(torch.tensor([[0.5, 3.0], [0.0, 1.0]]))
    tensor([1., 0.])
    """
    return (images - images.clamp(0, 1)).abs().flatten(1).mean(1)


def sound(images: Tensor, *numbers: Tensor) -> bool:
    """Whether all numbers are finite and the pixels not further outside 0..1 than `BEYOND`; waits for the device.

    >>> [sound(torch.tensor([[0.5, value]])) for value in (1.1, torch.nan, 3.0)]
    [True, False, False]
    """
    return bool(finite([images, *numbers]) & (beyond(images).mean() <= BEYOND))


class Epochs:
    """Looks after a network in training, epoch by epoch, by the logits of each and by its weights in the end.

    >>> watch = Epochs("training", 3.0, 2, torch.device("cpu"))
    >>> watch.look(torch.zeros(4, 2), nn.Linear(1, 2))
    >>> watch.look(torch.full((4, 2), torch.nan), nn.Linear(1, 2))
    Traceback (most recent call last):
    ...
    mdckit.safety.DivergenceError: training gave NaN or infinite outputs in epoch 2 of 2: lr 3 is likely too large, ...
    """

    def __init__(self, what: str, lr: float, total: int, device: torch.device):
        self.what, self.lr, self.total = what, lr, total
        self.read = 1 if device.type == "cpu" else READ
        self.done, self.flags = 0, []

    def look(self, logits: Tensor, net: nn.Module) -> None:
        """One more epoch is done; raises `DivergenceError` on a CPU at once, on an accelerator within `READ` epochs."""
        self.done += 1
        last = self.done == self.total
        self.flags.append(finite([logits, *net.parameters()] if last else [logits]))
        if last or self.done % self.read == 0:
            flags, self.flags = torch.stack(self.flags).tolist(), []
            if not all(flags):
                epoch = self.done - len(flags) + flags.index(False) + 1
                where = f"epoch {epoch} of {self.total}"
                raise DivergenceError(f"{self.what} gave NaN or infinite outputs in {where}: {lower('lr', self.lr)}")
