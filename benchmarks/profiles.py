"""``python -m benchmarks.profiles training|tree|search``: where the time of one step, one pass, one search goes.

Every function of the core that has a name of its own is a phase; its time is what it spent itself, compiled kernels, numpy,
torch and the wait for its threads included, phases it calls left out. So the phases sum up to the whole. The table goes
to stderr, the records to stdout. A profile hook on Python calls costs some microseconds a call, far below these phases.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from benchmarks.measures import BEAM_WIDTH, FIRST_LEVEL, training_steps
from benchmarks.records import Record, emit
from benchmarks.search_growth import USERS_TOGETHER
from benchmarks.worlds import make_world, usual_lengths
from jtm_core.config import TreeLearningConfig
from jtm_core.serving import Retriever
from jtm_core.tree_learning import TreeLearner, target_samples

CORE = Path(__file__).parents[1] / "jtm_core"
PASSED_OVER = {"threads.run_chunks", "threads.single_threaded_blas"}
"""These only wait for the work of their caller."""
LEAST_SHARE = 0.005


class Clock:
    """Attributes the time of the calling thread to the innermost phase that runs in it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack = ["outside the core"]
        self._last = 0.0
        self._names: dict[object, str] = {}

    def run(self, work: Callable[[], object]) -> float:
        """Do the work under the clock; seconds it took."""
        begun = self._last = time.perf_counter()
        sys.setprofile(self._on_event)
        try:
            work()
        finally:
            sys.setprofile(None)
        self._charge()
        return time.perf_counter() - begun

    def _charge(self) -> None:
        now = time.perf_counter()
        self.seconds[self._stack[-1]] += now - self._last
        self._last = now

    def _on_event(self, frame: FrameType, event: str, argument: object) -> None:
        if event not in ("call", "return"):
            return
        name = self._names.get(frame.f_code)
        if name is None:
            name = self._names[frame.f_code] = phase_of(frame)
        if not name:
            return
        self._charge()
        if event == "call":
            self._stack.append(name)
        else:
            self._stack.pop()


def phase_of(frame: FrameType) -> str:
    """``module.function`` of a frame of the core; empty for all others, and for functions within functions."""
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(CORE) or "<" in frame.f_code.co_qualname:
        return ""
    name = f"{'.'.join(path.relative_to(CORE).with_suffix('').parts)}.{frame.f_code.co_qualname}"
    return "" if name in PASSED_OVER else name


def training_work(items: int) -> Callable[[], object]:
    """One step."""
    steps = training_steps(make_world(items, usual_lengths(5000)))
    return lambda: next(steps)


def tree_work(items: int) -> Callable[[], object]:
    """One sweep of tree learning."""
    world = make_world(items, usual_lengths(600))
    samples = target_samples(world.histories, 0.0, 1, None, 1, 1)
    return TreeLearner(world.network, world.tree, world.histories, samples, TreeLearningConfig(sweeps=1), 1).learn


def search_work(items: int) -> Callable[[], object]:
    """One search for 64 users."""
    world = make_world(items, usual_lengths(1000))
    retriever, users = Retriever(world.network, world.tree, BEAM_WIDTH, FIRST_LEVEL), world.histories.rows(0, USERS_TOGETHER)
    return lambda: retriever.recommend_batch(users, 200)


WORKS = {"training": (training_work, 30), "tree": (tree_work, 2), "search": (search_work, 30)}


def profile(kind: str, items: int) -> None:
    """Warm up, run under the clock, print."""
    maker, repeats = WORKS[kind]
    work = maker(items)
    for _ in range(2):
        work()
    clock = Clock()
    total = sum(clock.run(work) for _ in range(repeats))
    rows = sorted(((seconds, name) for name, seconds in clock.seconds.items()), reverse=True)
    small = sum(seconds for seconds, _ in rows if seconds < LEAST_SHARE * total)
    rows = [row for row in rows if row[0] >= LEAST_SHARE * total] + [(small, "all smaller phases")]
    sys.stderr.write(f"\n{kind}, {items:,} items: {1000 * total / repeats:.1f} ms\n")
    for seconds, name in rows:
        sys.stderr.write(f"  {100 * seconds / total:5.1f} %  {1000 * seconds / repeats:9.2f} ms  {name}\n")
        about = {"profile": kind, "items": items, "phase": name, "milliseconds": round(1000 * seconds / repeats, 3), "repeats": repeats}
        emit(Record("share_of_time", seconds / total, "share", about))


def main(arguments: list[str]) -> None:
    """Profile one kind of work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=[*WORKS])
    parser.add_argument("--items", type=int, default=100_000)
    chosen = parser.parse_args(arguments)
    profile(chosen.kind, chosen.items)


if __name__ == "__main__":
    main(sys.argv[1:])
