"""Independent pieces of work, one CPU core each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


class Pool(ThreadPoolExecutor):
    """`size` threads in which every operation of PyTorch stays on one core.

    The networks here are small: two operations at a time on a core each are faster than one operation on two,
    and a result does not depend on the number of cores.
    """

    def __init__(self, size: int):
        super().__init__(size, initializer=torch.set_num_threads, initargs=(1,))
        self.size = size


@contextmanager
def cores(device: torch.device) -> Iterator[Pool]:
    """A pool with a thread for each of PyTorch's (``OMP_NUM_THREADS``) on a CPU, with one thread on an accelerator.

    >>> with cores(torch.device("cpu")) as pool:
    ...     list(pool.map(abs, [-1, 2]))
    [1, 2]
    """
    pool = Pool(torch.get_num_threads() if device.type == "cpu" else 1)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
