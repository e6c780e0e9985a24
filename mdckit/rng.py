"""Stateless randomness: every draw is named, so it never depends on what else ran."""

import hashlib

import torch


def generator(seed: int, *keys: str | int) -> torch.Generator:
    """A CPU generator for one named purpose, equal whenever `seed` and `keys` are equal.

    The global random state is neither read nor changed. `keys` name the purpose and the position,
    such as ``("augment", outer, inner)``.

    >>> a = torch.rand(3, generator=generator(0, "augment", 1))
    >>> torch.equal(a, torch.rand(3, generator=generator(0, "augment", 1)))
    True
    """
    name = repr((seed, *keys)).encode()
    digest = hashlib.blake2b(name, digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


class ShuffledBatches:
    """An endless shuffled stream over `items` indices, addressable by batch number.

    Batch b is a pure function of (seed, keys, b), so a resumed run reads on where it stopped. Every
    epoch is a new permutation; `drop_last` leaves out the short batch at the end of an epoch.

    >>> stream = ShuffledBatches(5, 2, 0, "demo")
    >>> [len(stream[b]) for b in range(4)]
    [2, 2, 1, 2]
    """

    def __init__(self, items: int, size: int, seed: int, *keys: str | int, drop_last: bool = False):
        self.items, self.size = items, min(size, items)
        self.per_epoch = items // self.size if drop_last else -(-items // self.size)
        self.name = (seed, *keys)
        self._epoch, self._order = None, None

    def __getitem__(self, batch: int) -> torch.Tensor:
        epoch, position = divmod(batch, self.per_epoch)
        if epoch != self._epoch:
            self._order = torch.randperm(self.items, generator=generator(*self.name, epoch))
            self._epoch = epoch
        return self._order[position * self.size : (position + 1) * self.size]
