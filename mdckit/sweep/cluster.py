"""A sweep on a Dask cluster: connect, check, and hand out the runs."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .collecting import finished
from .execution import Job, RunFailed, execute
from .report import Failure

LOOK = 2.0  # seconds between two looks at the cluster


def _dask():
    try:
        from dask import distributed
    except ImportError:
        raise ImportError("workers and clusters need the package dask: pip install 'mdckit[cluster]'") from None
    return distributed


@contextmanager
def local(workers: int) -> Iterator:
    """A client of `workers` processes on this machine that share its cores; an OMP_NUM_THREADS that is set stays."""
    dask = _dask()
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))
    options = {"n_workers": workers, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    with dask.LocalCluster(**options, env={"OMP_NUM_THREADS": threads}) as cluster, dask.Client(cluster) as client:
        yield client


@contextmanager
def connect(address: str, timeout: float = 10) -> Iterator:
    """A client of the scheduler at `address`; raises ConnectionError if none answers within `timeout` seconds."""
    dask = _dask()
    try:
        client = dask.Client(address, timeout=timeout)
    except (OSError, ValueError, TypeError) as error:
        message = f"no Dask scheduler answers at {address!r}: start one with `dask scheduler`, or check the address"
        raise ConnectionError(f"{message} ({type(error).__name__})") from None
    with client:
        yield client


def check(client, jobs: Sequence[Job]) -> None:
    """Raise ValueError if the workers cannot take these runs, ConnectionError if the scheduler is not there."""
    if client.status != "running":
        raise ConnectionError(f"the Dask client is {client.status}: connect to a scheduler first")
    workers = client.scheduler_info(n_workers=-1)["workers"]
    for address, worker in workers.items():
        if worker["nthreads"] > 1:
            threads = f"{address} has {worker['nthreads']} threads: start it with --nthreads 1"
            raise ValueError(f"a worker takes one run at a time, but {threads}")
    gpus = [worker for worker in workers.values() if worker["resources"].get("GPU", 0) >= 1]
    if workers and not gpus and any(job.gpu for job in jobs):
        raise ValueError(
            f"these runs ask for a GPU, which none of {len(workers)} workers declares: "
            "start one worker per GPU with --resources GPU=1, or set device to cpu"
        )


def run_all(client, jobs: Sequence[Job], retries: int) -> Iterator[tuple[list[tuple[Job, Failure | None]], int]]:
    """Execute `jobs` on the cluster; yields, every now and then, those that ended and how many may be running.

    A run whose worker is lost is handed to another one; one that failed is tried `retries` times more.
    """
    dask, sweep = _dask(), uuid.uuid4().hex[:8]
    futures = {}
    for number, job in enumerate(jobs):
        options = {"key": f"mdckit-{sweep}-{number}", "retries": retries, "pure": False}
        futures[client.submit(execute, job, **options, resources={"GPU": 1} if job.gpu else None)] = job
    try:
        while futures:
            with suppress(TimeoutError, dask.CancelledError):
                dask.wait(list(futures), timeout=LOOK, return_when="FIRST_COMPLETED")
            ended = [(futures.pop(future), future) for future in list(futures) if future.done()]
            ended = [(job, _failure(job, future)) for job, future in ended]
            yield ended, min(len(futures), _threads(client))
    finally:
        client.cancel(list(futures))


def _threads(client) -> int:
    """Of all workers; none where the scheduler does not answer any more, which the runs will tell."""
    try:
        return sum(client.nthreads().values())
    except OSError:
        return 0


def _failure(job: Job, future) -> Failure | None:
    if future.cancelled():
        return Failure("CancelledError", "the cluster gave the run up: is its scheduler still there?")
    error = future.exception()
    if isinstance(error, RunFailed):
        return error.args[0]
    if error is None and not finished(Path(job.folder)):
        return Failure("FileNotFoundError", f"a worker has finished the run, but {job.folder} is not seen from here")
    return error and Failure(type(error).__name__, str(error))
