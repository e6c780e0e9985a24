"""A condensation under control: paused, stopped and taken up again, in the background or in this thread."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from .. import files
from ..baselines import Recipe
from ..checkpoint import load_checkpoint, save_checkpoint
from ..checks import check_count
from ..condense import Step, condense_steps, condensed_sets
from ..condensed import CondensedSet
from ..config import CondenseConfig, TrainConfig
from ..data import ImageData
from ..evaluate import evaluate_many
from ..initialisation import start
from ..parallel import Stopped
from ..progress import progress
from ..watch import keeping
from .control import Controlled
from .moment import Moment, still

SIZES = (1, 2, 5, 10, 20, 50)  # images per class that are tested on the way, where not told otherwise


class Run(Controlled):
    """A condensation that `start` does in the background and `work` in this thread; for its control see `Controlled`.

    Its start and every outer loop leave a checkpoint. Stopped inside a loop it goes back to the end of the one before;
    taken up again, in this object or in a new one with the same arguments, it does that loop again, bit for bit.

    With `evaluation` the first n images of every set are tested as that says, for every n in `sizes`, before the first
    and after every `every`-th outer loop (None: the period of the choices); this changes nothing in the sets. Raises
    what `condense` raises, and ValueError for sizes that no set has, before any work.

    >>> from tempfile import TemporaryDirectory
    >>> from mdckit import baselines, load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=2, outer=1, inner=1, width=8)
    >>> with TemporaryDirectory() as folder:
    ...     run = Run(load("digits"), [baselines.mdc()], config, checkpoint=f"{folder}/run.safetensors")
    ...     run.start()
    ...     run.wait()
    True
    >>> run.words
    'finished after outer loop 1 of 1'
    """

    def __init__(
        self,
        data: ImageData,
        recipes: Sequence[Recipe],
        config: CondenseConfig,
        *,
        checkpoint: str | Path,
        evaluation: TrainConfig | None = None,
        every: int | None = None,
        sizes: Sequence[int] | None = None,
        device: str | None = None,
    ):
        self.checkpoint = Path(checkpoint).absolute()
        super().__init__(key=self.checkpoint)
        files.check_writable(self.checkpoint.parent)
        self.data, self.recipes, self.config, self.device = data, list(recipes), config, device
        self.evaluation, self.every = evaluation, config.period if every is None else every
        check_count("every", self.every)
        if evaluation is not None:
            data.check_colours(evaluation.augment)
        self.seconds = {"condensing": 0.0, "testing": 0.0}
        self.iterations = 0  # that this object has done, given up or not
        self._take_up()
        self.sizes = self._sizes(sizes)

    def _take_up(self) -> None:
        """Read the checkpoint if there is one, else start anew."""
        asked = self.data, self.recipes, self.config
        state = load_checkpoint(self.checkpoint, *asked) if self.checkpoint.exists() else start(*asked)
        tests = [test for test in self._kept.tests if test[0] <= state.outer] if self.iterations else []
        self.moment = self._kept = Moment(self.config, still(state), tests=tuple(tests))
        self._state, self._untouched = state, True
        self._condensing = condense_steps(*asked, device=self.device, state=state, stopped=self._stop.is_set)

    def _sizes(self, asked: Sequence[int] | None) -> list[int]:
        most = max(s.images.shape[1] for s in self._state.sets.values())
        chosen = sorted({n for n in SIZES if n < most} | {most} if asked is None else set(asked))
        for n in chosen:
            check_count("a size", n)
        if not chosen or chosen[-1] > most:
            raise ValueError(f"sizes {chosen} asked of {most} images per class: give numbers from 1 to {most}")
        return chosen

    # --- what there is, at any time

    @property
    def sets(self) -> dict[str, CondensedSet]:
        """The sets as they are now, by recipe name; ``info["inner"]`` counts iterations after whole outer loops."""
        moment = self.moment
        sets = condensed_sets(moment.state, self.data, self.recipes, self.config)
        return {name: replace(s, info=s.info | {"inner": moment.inner}) for name, s in sets.items()}

    def save(self) -> list[Path]:
        """Write the sets as they are now, atomically, into the folder ``saved`` beside the checkpoint."""
        folder, paths = self.checkpoint.parent / "saved", []
        for name, condensed in self.sets.items():
            when = f"{condensed.info['outer']:04d}_{condensed.info['inner']:03d}"
            paths.append(files.inside(folder, f"{name}_{when}.safetensors"))
            condensed.save(paths[-1])
        return paths

    @property
    def words(self) -> str:
        """State and place in a line."""
        if self.state == "failed":
            return f"failed {self.moment.place}: {type(self.error).__name__}: {self.error}"
        return f"{self.state} {self.moment.place}"

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take at the pace so far; None before the first iteration."""
        if not self.iterations:
            return None
        rest = self.config.outer * self.config.inner - self.moment.done
        tests = sum(map(self._due, range(self.moment.state.outer + 1, self.config.outer + 1)))
        each = self.seconds["testing"] / max(1, len(self.moment.tests))
        return rest * self.seconds["condensing"] / self.iterations + tests * each

    # --- work

    def work(self, show_progress: bool = True) -> None:
        """Do it in this thread, with a progress bar; an interrupt leaves the checkpoint and is raised."""
        total, done = self.config.outer * self.config.inner, self.moment.done
        super().work(lambda steps: progress(steps, "condensing", total, done, show_progress))

    def start_over(self) -> None:
        """Begin anew; the checkpoint so far is kept beside the new one as ``*.old``."""
        self.stop()
        self.wait()
        if self.checkpoint.exists():
            self.checkpoint.replace(self.checkpoint.with_name(self.checkpoint.name + ".old"))
        self.iterations, self.seconds = 0, dict.fromkeys(self.seconds, 0.0)
        self.start()

    def _steps(self) -> Iterator[Moment]:
        """Condense, keep and test; yields after every inner iteration."""
        if not self._untouched:
            self._take_up()
        self._untouched = False
        if not self.checkpoint.exists():
            self._keep()
        self._test()
        while (step := self._timed("condensing", self._next)) is not None:
            self.iterations += 1
            self.moment = self.moment.after(step)
            if step.ends_outer:
                self._keep()
                self._test()
            yield self.moment

    def _next(self) -> Step | None:
        with keeping(self.checkpoint, self._state):
            return next(self._condensing, None)

    def _ended(self) -> None:
        self._condensing.close()
        self.moment = self._kept

    def _keep(self) -> None:
        save_checkpoint(self.checkpoint, self._state, self.data, self.recipes, self.config)
        self._kept = self.moment

    def _due(self, t: int) -> bool:
        """Whether the sets are tested after outer loop t."""
        return self.evaluation is not None and (t % self.every == 0 or t == self.config.outer)

    def _test(self) -> None:
        t, known = self.moment.state.outer, [t for t, _ in self.moment.tests]
        if self.evaluation is None or t in known or not (self._due(t) or not known):
            return
        sets = {(name, n): s.take(n) for name, s in self.sets.items() for n in self.sizes if n <= s.ipc}
        options = {"device": self.device, "show_progress": False, "stopped": lambda: not self._wanted()}
        found = None
        while found is None:
            self._turn(("running",), "testing")
            with suppress(Stopped):  # a pause gives the test up too, as it may take long
                found = self._timed("testing", lambda: evaluate_many(sets, self.data, self.evaluation, **options))
            self._hold()
        self.moment = self._kept = self.moment.tested(found)
        self._turn(("testing",), "running")

    def _timed(self, what: str, work: Callable):
        begin = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds[what] += time.perf_counter() - begin
