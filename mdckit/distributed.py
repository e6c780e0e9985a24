"""One large condensation over several processes, on one machine or on many: every rank has some of the classes.

torchrun --nproc-per-node 2 -m mdckit.distributed notebooks/params/mnist5k_quick.yaml --results results/large
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click
import torch
import torch.distributed as dist

from . import files, results
from .baselines import Recipe
from .batch import Parameters
from .checkpoint import RunState, SetState, describe, difference, load_checkpoint, save_checkpoint
from .condense import condense_steps, condensed_sets
from .condensed import CondensedSet
from .config import CondenseConfig
from .data import ImageData
from .initialisation import start
from .lockstep import classes_by_rank
from .machine import backend, device_of_rank
from .parallel import threads_on
from .progress import progress
from .ranks import Ranks
from .watch import keeping

LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TIMEOUT = 30.0  # minutes


def condense(
    data: ImageData,
    recipes: Sequence[Recipe],
    config: CondenseConfig,
    *,
    device: str | None = None,
    checkpoint: str | Path | None = None,
    show_progress: bool = True,
    timeout: float = TIMEOUT,
) -> dict[str, CondensedSet]:
    """`mdckit.condense` by all processes that torchrun started: each calls this with the same arguments.

    Returns the sets on rank 0, which alone reads and writes the checkpoint, and an empty dict on the others. With as
    many threads in all the sets are those of a single process, bit for bit on a CPU; `checkpoint` may come from, and be
    taken up by, any number of ranks. Every rank of a machine takes a GPU of its own where there are GPUs. A rank that
    does not answer for `timeout` minutes ends the run. Raises ValueError on all ranks where there are more than
    classes, where they differ in what they are asked, or without torchrun; other errors are those of
    `mdckit.condense`.

    >>> import mdckit
    >>> from mdckit import baselines, distributed
    >>> digits, quick = mdckit.load("digits"), CondenseConfig.preset("digits", "quick")
    >>> distributed.condense(digits, [baselines.mdc()], quick)
    Traceback (most recent call last):
    ValueError: RANK is not set: start with torchrun, such as torchrun --nproc-per-node 2 -m mdckit.distributed ...
    """
    with connected(device, timeout) as (chosen, ranks):
        return _condense(data, recipes, config, chosen, ranks, checkpoint, show_progress)


@contextmanager
def connected(device: str | None, timeout: float) -> Iterator[tuple[torch.device, Ranks]]:
    """The device of this process, and itself as one of those that torchrun started, connected until the block ends.

    Raises ValueError where torchrun did not start it, or for a device that it cannot have.
    """
    for name in LAUNCHED:
        if name not in os.environ:
            command = "torchrun --nproc-per-node 2 -m mdckit.distributed ..."
            raise ValueError(f"{name} is not set: start with torchrun, such as {command}")
    local, here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    chosen = device_of_rank(device, local)
    store, rank, count = next(dist.rendezvous("env://"))
    times = (store.add("connected", 1) - 1) // count  # all ranks have come as often: a store remembers old addresses
    store = dist.PrefixStore(f"connection {times}", store)
    dist.init_process_group(
        backend(chosen), store=store, rank=rank, world_size=count, timeout=timedelta(minutes=timeout)
    )
    try:
        yield chosen, Ranks(rank, count, local=local, here=here)
    finally:
        dist.destroy_process_group()


def _condense(data, recipes, config, device, ranks, checkpoint, show_progress) -> dict[str, CondensedSet]:
    ranks = _divide(data, recipes, config, device, ranks)
    state = _begin(data, recipes, config, ranks, checkpoint)
    asked = {"device": str(device), "state": state, "ranks": ranks}
    steps = ranks.agreed(lambda: condense_steps(data, recipes, config, **asked))
    done, total = state.outer * config.inner, config.outer * config.inner
    with keeping(checkpoint, state):
        for step in progress(steps, "condensing", total, done, show_progress and ranks.rank == 0):
            if step.ends_outer and checkpoint is not None:
                whole = _whole(step.state, ranks)
                if whole is not None:
                    save_checkpoint(checkpoint, whole, data, recipes, config)
    whole = _whole(state, ranks)
    return {} if whole is None else condensed_sets(whole, data, recipes, config)


def _divide(data, recipes, config, device, ranks: Ranks) -> Ranks:
    """The ranks with their classes, once they agree on what they do."""
    classes, threads = len(data.classes), threads_on(device)
    settings = {"outer": config.outer, "threads": threads, "device": device.type, "torch": torch.__version__}
    every = ranks.tell(describe(data, recipes, config) | settings | {"numbers": str(torch.get_default_dtype())})
    for rank, other in enumerate(every):
        if other != every[0]:
            raise ValueError(f"rank {rank} is asked for something else than rank 0 ({difference(other, every[0])})")
    if ranks.count > classes:
        raise ValueError(f"{ranks.count} ranks asked to share {classes} classes: start {classes} at most")
    return replace(ranks, classes=classes_by_rank(classes, threads, ranks.count))


def _begin(data, recipes, config, ranks: Ranks, checkpoint) -> RunState:
    """The state of this rank's classes: from rank 0's checkpoint, or before the first outer loop."""

    def load() -> RunState | None:
        files.check_writable(Path(checkpoint).parent)
        return load_checkpoint(checkpoint, data, recipes, config) if Path(checkpoint).exists() else None

    whole = ranks.agreed(lambda: load() if checkpoint is not None and ranks.rank == 0 else None)
    if not ranks.first(whole is not None):
        return ranks.agreed(lambda: start(data, recipes, config, ranks.own))
    outer, told = ranks.first(
        whole and (whole.outer, {name: (s.subsets, s.losses, s.distances) for name, s in whole.sets.items()})
    )
    sets = {}
    for name, (subsets, losses, distances) in told.items():
        of_all = (whole.sets[name].images, whole.sets[name].velocity) if whole else (None, None)
        images, velocity = map(ranks.deal, of_all)
        sets[name] = SetState(images, velocity, subsets, losses, distances, first=ranks.own.start)
    return RunState(outer, sets)


def _whole(state: RunState, ranks: Ranks) -> RunState | None:
    """The state of all classes, on rank 0."""
    sets = {
        name: replace(s, images=ranks.collect(s.images), velocity=ranks.collect(s.velocity), first=0)
        for name, s in state.sets.items()
    }
    return RunState(state.outer, sets) if ranks.rank == 0 else None


def _load(parameters: Parameters, ranks: Ranks) -> ImageData:
    """The real images: the first rank of every machine decodes them, the others then find them decoded."""
    data = ranks.agreed(lambda: parameters.load() if ranks.local == 0 else None)
    return ranks.agreed(lambda: data or parameters.load())


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option("-p", "--parameter", "pairs", multiple=True, nargs=2, help="NAME VALUE, the value read as YAML")
@click.option("--results", "folder", type=click.Path(file_okay=False), help="folder of the checkpoint and the sets")
@click.option("--timeout", default=TIMEOUT, help="minutes after which a rank that does not answer ends the run")
def main(paths, pairs, folder, timeout) -> None:
    """Condense with the parameters of 20_run in the YAML files PATHS, over all processes that torchrun started."""
    changes = {"results": folder} if folder else {}
    try:
        parameters = Parameters.read(paths, pairs, **changes)
        with connected(parameters.device or None, timeout) as (device, ranks):
            _condense_by_parameters(parameters, device, ranks)
    except (ValueError, OSError, MemoryError) as error:
        rank = int(os.environ.get("RANK", 0))
        raise click.ClickException(f"{error} (said by rank {rank})" if rank else str(error)) from None


def _condense_by_parameters(parameters: Parameters, device: torch.device, ranks: Ranks) -> None:
    folder = Path(parameters.results)
    checkpoint = folder / "checkpoint.safetensors"
    data = _load(parameters, ranks)
    asked = data, parameters.methods(), parameters.condense_config()
    sets = _condense(*asked, device, ranks, checkpoint, show_progress=True)
    if ranks.rank == 0:
        results.save_sets(folder, sets)
        path = parameters.write(folder / "params.yaml")
        command = f"python -m mdckit.notebooks run notebooks/20_run.ipynb {folder}/20_run.ipynb -f {path}"
        click.echo(f"{len(sets)} sets in {folder / 'sets'}; to test them at every size:\n{command}")


if __name__ == "__main__":
    main()
