"""Work in many small steps that can be paused, stopped and taken up again: in a thread of its own, or in this one."""

import atexit
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence

import torch

from ..parallel import Stopped

ACTIVE = ("running", "testing", "pausing", "paused")
FAREWELL = 5  # seconds that the end of the process waits for work to end


class Controlled:
    """Work that `_steps` does, a step between two of its yields, and that can be told to wait or to end.

    `state` is one of "ready", "running", "testing", "pausing", "paused", "stopping", "stopped", "finished" and
    "failed", where `error` holds the exception with its traceback. Of all work with the same `key` in this process only
    one is in the background: making or starting another stops it. Every method may be called from any thread.
    """

    def __init__(self, key: Hashable):
        self.key, self.state = key, "ready"
        self.error: Exception | None = None
        self.answered: float | None = None  # seconds from the last `stop` until the work had ended
        self.on_step: Callable[[], None] = lambda: None  # called after every step, in the thread that works
        self.on_state: Callable[[], None] = lambda: None  # called after `state` has changed, in any thread
        self._changing, self._starting = threading.Lock(), threading.Lock()
        self._go, self._stop = threading.Event(), threading.Event()
        self._thread, self._asked = None, None
        self._stop_others()

    def _steps(self) -> Iterator:
        """The work; `parallel.Stopped` may be raised in it once ``_stop`` is set."""
        raise NotImplementedError

    def _ended(self) -> None:
        """Called when the work has ended, whichever way, before `state` says so."""

    def start(self) -> None:
        """Work in the background, unless that is under way."""
        with self._starting:
            if self.state in ACTIVE:
                return
            self._begin()
            self._thread = _Background(self, torch.get_num_threads())
            self._thread.start()

    def pause(self) -> None:
        """Hold on after the step that is under way, with everything in memory."""
        self._turn(("running", "testing"), "pausing", self._go.clear)

    def resume(self) -> None:
        """Go on after a pause; after a stop, an end or an error the same as `start`."""
        if not self._turn(("pausing", "paused"), "running", self._go.set):
            self.start()

    def stop(self) -> None:
        """Give up the step that is under way; returns at once, `wait` waits for the end."""

        def stop():
            self._asked = time.perf_counter()
            self._stop.set()
            self._go.set()

        self._turn(ACTIVE, "stopping", stop)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the work in the background has ended, or so many seconds; returns whether it has."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def work(self, show: Callable[[Iterator], Iterator] = iter) -> None:
        """Work in this thread, the steps passed through `show`; raises what goes wrong, also an interrupt."""
        self._begin()
        self._run(show(self._steps()))
        if self.error is not None:
            raise self.error

    def _stop_others(self) -> None:
        for thread in threading.enumerate():
            if isinstance(thread, _Background) and thread.work.key == self.key:
                thread.work.stop()
                thread.join()

    def _begin(self) -> None:
        self._stop_others()
        self._stop.clear()
        self._go.set()
        self.error = self.answered = self._asked = None
        self._turn(None, "running")

    def _run(self, steps: Iterator) -> None:
        """Go through all steps; leaves a state that tells how they ended."""
        end = "stopped"
        try:
            for _ in steps:
                self.on_step()
                self._hold()
            end = "finished"
        except Stopped:
            pass
        except Exception as error:
            self.error, end = error, "failed"
        finally:
            self._ended()
            self.answered = time.perf_counter() - self._asked if self._asked else None
            self._turn(None, end)

    def _wanted(self) -> bool:
        """Whether to go on: neither paused nor stopped."""
        return self._go.is_set() and not self._stop.is_set()

    def _hold(self) -> None:
        """Between two steps: wait while paused, raise `Stopped` if stopped."""
        if not self._go.is_set():
            self._turn(("pausing",), "paused")
            self._go.wait()
        if self._stop.is_set():
            raise Stopped

    def _turn(self, states: Sequence[str] | None, state: str, act: Callable[[], None] = lambda: None) -> bool:
        """Change the state and act, if it is one of `states`; returns whether it was."""
        with self._changing:
            if states is not None and self.state not in states:
                return False
            self.state = state
            act()
        self.on_state()
        return True


class _Background(threading.Thread):
    """The thread of some work, with as many cores as its starter: last digits depend on their number."""

    def __init__(self, work: Controlled, cores: int):
        super().__init__(name=f"work on {work.key}", daemon=True)
        self.work, self.cores = work, cores

    def run(self) -> None:
        atexit.register(self._leave)
        torch.set_num_threads(self.cores)
        self.work._run(self.work._steps())
        atexit.unregister(self._leave)

    def _leave(self) -> None:
        """A process must not end while PyTorch is at work in it."""
        self.work.stop()
        self.join(FAREWELL)
