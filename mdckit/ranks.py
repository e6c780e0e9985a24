"""Processes that condense together, each with classes of its own: what each does and what they tell each other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from .safety import DivergenceError

Value = TypeVar("Value")


@contextmanager
def _heard() -> Iterator[None]:
    """Messages between ranks, which fail where one died or is silent."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(f"another rank died or did not answer in time, which ends the run: {error}") from error


@dataclass(frozen=True)
class Ranks:
    """This process, number `rank` of `count`, and the `classes` of each; alone it neither waits nor tells.

    Every rank must call the same methods in the same order. What they give is the same on all ranks, bit for bit.
    ConnectionError is raised where another rank died or does not answer in time.

    >>> Ranks(rank=1, count=3).share("abcdefgh", threads=1)
    'def'
    >>> Ranks().tell("here")
    ['here']
    """

    rank: int = 0
    count: int = 1
    classes: tuple[range, ...] = ()  # of every rank, one after the other; empty: all are this process's
    local: int = 0  # this process among those on its machine
    here: int = 1  # processes on this machine

    @property
    def own(self) -> range:
        """The classes of this rank."""
        return self.classes[self.rank]

    def share(self, pieces: Sequence, threads: int) -> Sequence:
        """The pieces of work of this rank's `threads`: consecutive ones, so many that all threads get equally many."""
        each = self._each(len(pieces), threads)
        return pieces[self.rank * each : (self.rank + 1) * each]

    def _each(self, pieces: int, threads: int) -> int:
        """How many pieces of work a rank has, the last ones apart."""
        return threads * -(-pieces // (threads * self.count))

    def tell(self, value: Value) -> list[Value]:
        """The values of all ranks, in their order."""
        if self.count == 1:
            return [value]
        values = [None] * self.count
        with _heard():
            dist.all_gather_object(values, value)
        return values

    def join(self, rows: Tensor) -> Tensor:
        """The rows (K, ...) of all classes, in their order, from every rank's own."""
        if self.count == 1:
            return rows
        padded = self._padded(rows)
        every = rows.new_empty(self.count, *padded.shape)
        if padded.numel():
            with _heard():
                dist.all_gather_into_tensor(every.flatten(0, 1), padded)
        return self._joined(every)

    def collect(self, rows: Tensor) -> Tensor | None:
        """The rows (K, ...) of all classes in main memory, on rank 0 alone."""
        if self.count == 1:
            return rows.cpu()
        padded = self._padded(rows.cpu())
        every = [torch.empty_like(padded) for _ in range(self.count)] if self.rank == 0 else None
        with _heard():
            dist.gather(padded, every)
        return self._joined(every) if every else None

    def deal(self, rows: Tensor | None) -> Tensor:
        """This rank's rows of those (K, ...) of all classes that rank 0 has in main memory: undoes `collect`."""
        if self.count == 1:
            return rows
        shape, dtype = self.first(None if rows is None else (rows.shape[1:], rows.dtype))
        parts = None if rows is None else [self._padded(rows[own.start : own.stop]) for own in self.classes]
        mine = torch.empty(max(map(len, self.classes)), *shape, dtype=dtype)
        with _heard():
            dist.scatter(mine, parts)
        return mine[: len(self.own)].clone()

    def _padded(self, rows: Tensor) -> Tensor:
        """One rank's rows and then zeros, as many as the rank with most classes has."""
        most = max(map(len, self.classes))
        return torch.cat([rows, rows.new_zeros(most - len(rows), *rows.shape[1:])])

    def _joined(self, every: Sequence[Tensor]) -> Tensor:
        return torch.cat([rows[: len(own)] for rows, own in zip(every, self.classes, strict=True)])

    def sum(
        self, parts: Sequence[Sequence[Tensor]], like: Sequence[Tensor], count: int, threads: int
    ) -> Sequence[Tensor]:
        """Tensors of the shapes of `like`, summed over `count` parts in their order, whichever rank they are on.

        `parts` are this rank's share. Every rank sums one section of the numbers of all parts, so the order is that of
        a single process, and the traffic that of an ordinary all-reduce, for each thread.
        """
        if self.count == 1:
            return [reduce(torch.add, of_parts) for of_parts in zip(*parts, strict=True)]
        sizes = [tensor.numel() for tensor in like]
        section = -(-sum(sizes) // self.count)
        sent = like[0].new_zeros(self.count, self._each(count, threads), section)
        for i, part in enumerate(parts):
            flat = torch.cat([tensor.flatten() for tensor in part])
            sent[:, i] = F.pad(flat, (0, self.count * section - len(flat))).view(self.count, section)
        found = torch.empty_like(sent)  # this rank's section, of all ranks and their parts
        with _heard():
            dist.all_to_all_single(found, sent)
        whole = sent.new_empty(self.count * section)
        with _heard():
            dist.all_gather_into_tensor(whole, reduce(torch.add, found.flatten(0, 1)[:count]))
        split = whole[: sum(sizes)].split(sizes)
        return [numbers.view(tensor.shape) for numbers, tensor in zip(split, like, strict=True)]

    def first(self, value: Value) -> Value:
        """The value of rank 0."""
        return self.tell(value)[0]

    def agreed(self, prepare: Callable[[], Value]) -> Value:
        """What `prepare` gives here, once it has succeeded on all ranks; else the error of the first that failed.

        Errors are ValueError, OSError and MemoryError: any other ends the process, and with it the run.
        """
        made, error = None, None
        try:
            made = prepare()
        except (ValueError, OSError, MemoryError) as caught:
            error = caught
        errors = [(rank, e) for rank, e in enumerate(self.tell(error)) if e is not None]
        if not errors:
            return made
        rank, found = errors[0]
        said = f"{found} (on rank {rank})" if rank else str(found)
        if isinstance(found, OSError):
            raise OSError(found.errno, said) from error
        kind = next(kind for kind in (DivergenceError, ValueError, MemoryError) if isinstance(found, kind))
        raise kind(said) from error


ALONE = Ranks()
