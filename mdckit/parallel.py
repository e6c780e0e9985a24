"""Independent pieces of work, one CPU core each."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


class Stopped(Exception):  # noqa: N818 - it is no error
    """Work was given up before its end, because its results are not wanted any more."""


def never() -> bool:
    """What `stopped` is for work that is always wanted."""
    return False


class Pool(ThreadPoolExecutor):
    """`size` threads in which every operation of PyTorch stays on one core.

    The networks here are small: two operations at a time on a core each are faster than one operation on two. A piece
    of work does not depend on the number of cores, but how many pieces a caller makes may, and so the last digits.
    """

    def __init__(self, size: int, stopped: Callable[[], bool] = never):
        super().__init__(size, initializer=torch.set_num_threads, initargs=(1,))
        self.size, self.stopped = size, stopped
        self.closing = threading.Event()

    def check(self) -> None:
        """Raise `Stopped` if the results are not wanted any more: long work calls this between its parts."""
        if self.closing.is_set() or self.stopped():
            raise Stopped


@contextmanager
def cores(device: torch.device, stopped: Callable[[], bool] = never) -> Iterator[Pool]:
    """A pool with a thread for each of PyTorch's (``OMP_NUM_THREADS``) on a CPU, with one thread on an accelerator.

    Work in it that calls `Pool.check` is given up once `stopped` says so.

    >>> with cores(torch.device("cpu")) as pool:
    ...     list(pool.map(abs, [-1, 2]))
    [1, 2]
    """
    threads = torch.get_num_threads()
    pool = Pool(threads if device.type == "cpu" else 1, stopped)
    try:
        yield pool
    finally:
        pool.closing.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the workers' setting is also the default of threads to come
