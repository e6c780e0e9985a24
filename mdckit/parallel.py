"""Independent pieces of work, one CPU core each."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


class Pool(ThreadPoolExecutor):
    """`size` threads in which every operation of PyTorch stays on one core.

    The networks here are small: two operations at a time on a core each are faster than one operation on two. A piece
    of work does not depend on the number of cores, but how many pieces a caller makes may, and so the last digits.
    """

    def __init__(self, size: int):
        super().__init__(size, initializer=torch.set_num_threads, initargs=(1,))
        self.size = size
        self.stopped = threading.Event()  # set when the results are not wanted any more: long work looks at it


@contextmanager
def cores(device: torch.device) -> Iterator[Pool]:
    """A pool with a thread for each of PyTorch's (``OMP_NUM_THREADS``) on a CPU, with one thread on an accelerator.

    >>> with cores(torch.device("cpu")) as pool:
    ...     list(pool.map(abs, [-1, 2]))
    [1, 2]
    """
    threads = torch.get_num_threads()
    pool = Pool(threads if device.type == "cpu" else 1)
    try:
        yield pool
    finally:
        pool.stopped.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the workers' setting is also the default of threads to come
