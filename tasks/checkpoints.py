"""Checkpoints of long steps: when one is due, and where a fit keeps what it has done.

A step that is killed finds them under its own key, so under the same arguments, settings and code; when it ends they go. What nobody
goes on from is removed after 30 days (:meth:`tasks.store.Store.remove_abandoned`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jtm_core.formats.atomic import discard
from tasks.caching import checkpoint_path, step_logger
from tasks.settings import checkpoint_seconds

if TYPE_CHECKING:
    from jtm_core.keeping import State

SAVING_SHARE = 0.05
"""Share of the time that may go into checkpoints."""


class Pace:
    """When the next checkpoint is due: every ``JTM_CHECKPOINT_SECONDS``, more rarely where saving takes long."""

    def __init__(self) -> None:
        self._interval, self._pause, self._saved = checkpoint_seconds(), 0.0, time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() - self._saved >= max(self._interval, self._pause)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Save in this block; how long it takes sets when the next one is due."""
        begun = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._pause = (self._saved - begun) / SAVING_SHARE if self._interval else 0.0


class FitFolder:
    """Keeps a fit's states (:class:`jtm_core.keeping.Keeper`) as safetensors files in a folder.

    Parameters
    ----------
    folder : Path
        Made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._pace = folder, Pace()
        self._seconds, self._since = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """What the fit has taken so far, in all processes; what was done again after a kill counts once."""
        return self._seconds + time.perf_counter() - self._since

    def kept(self, name: str) -> "State | None":
        """The state under a name; None also if its file cannot be read, which is logged: that part is then done anew."""
        import torch

        from jtm_core.formats.arrays import read_arrays

        path = self._path(name)
        if not path.is_file():
            return None
        try:
            arrays, metadata = read_arrays(path)
        except ValueError as error:
            step_logger().warning("checkpoint %s cannot be used: %s", path, error)
            return None
        step_logger().info("the fit goes on from checkpoint %s", path)
        self._seconds, self._since = float(metadata["seconds"]), time.perf_counter()
        return {key: torch.from_numpy(array) for key, array in arrays.items()}

    def keep(self, name: str, state: "Callable[[], State]") -> None:
        """Write a state in place of the one before."""
        from jtm_core.formats.arrays import write_arrays

        with self._pace.saving():
            self._folder.mkdir(parents=True, exist_ok=True)
            arrays = {key: tensor.detach().cpu().numpy() for key, tensor in state().items()}
            write_arrays(self._path(name), arrays, {"kind": "fit", "seconds": repr(self.seconds)})

    def keep_if_due(self, name: str, state: "Callable[[], State]") -> None:
        """Write it if it is time."""
        if self._pace.is_due:
            self.keep(name, state)

    def forget(self, name: str) -> None:
        """Remove a state."""
        discard(self._path(name))

    def discard(self) -> None:
        """Remove all states, when what was made of them is stored."""
        discard(self._folder)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"


def fit_folder() -> FitFolder:
    """Where the running step keeps its fit."""
    return FitFolder(checkpoint_path().with_suffix(".fit"))
