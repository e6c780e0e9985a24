"""Independent pieces of work, one CPU core each, of one process or of several."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from .ranks import ALONE, Ranks


class Stopped(Exception):  # noqa: N818 - it is no error
    """Work was given up before its end, because its results are not wanted any more."""


def never() -> bool:
    """What `stopped` is for work that is always wanted."""
    return False


class Pool(ThreadPoolExecutor):
    """`size` threads in which every operation of PyTorch stays on one core.

    The networks here are small: two operations at a time on a core each are faster than one operation on two. A piece
    of work does not depend on the number of cores, but how many pieces a caller makes may, and so the last digits.
    Each of `ranks` has such a pool.
    """

    def __init__(self, size: int, stopped: Callable[[], bool] = never, ranks: Ranks = ALONE):
        super().__init__(size, initializer=torch.set_num_threads, initargs=(1,))
        self.size, self.stopped, self.ranks = size, stopped, ranks
        self.closing = threading.Event()

    @property
    def workers(self) -> int:
        """Threads of all ranks together."""
        return self.size * self.ranks.count

    def share(self, pieces: Sequence) -> Sequence:
        """Those of all pieces of work that are this rank's."""
        return self.ranks.share(pieces, self.size)

    def check(self) -> None:
        """Raise `Stopped` if the results are not wanted any more: long work calls this between its parts."""
        if self.closing.is_set() or self.stopped():
            raise Stopped


class Here:
    """A pool without threads: who asks does the work."""

    size = workers = 1
    ranks = ALONE
    map = staticmethod(map)
    share = staticmethod(list)
    check = staticmethod(lambda: None)


def threads_on(device: torch.device) -> int:
    """How many threads work for a device: each of PyTorch's (``OMP_NUM_THREADS``) for a CPU, one for an accelerator."""
    return torch.get_num_threads() if device.type == "cpu" else 1


@contextmanager
def cores(device: torch.device, stopped: Callable[[], bool] = never, ranks: Ranks = ALONE) -> Iterator[Pool]:
    """A pool of as many threads as work for the device.

    Work in it that calls `Pool.check` is given up once `stopped` says so.

    >>> with cores(torch.device("cpu")) as pool:
    ...     list(pool.map(abs, [-1, 2]))
    [1, 2]
    """
    threads = torch.get_num_threads()
    pool = Pool(threads_on(device), stopped, ranks)
    try:
        yield pool
    finally:
        pool.closing.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the workers' setting is also the default of threads to come
