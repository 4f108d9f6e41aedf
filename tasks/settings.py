"""What the environment says: where the project keeps its state, and how often it saves a training in progress."""

import os
import shlex
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent


def jtm_home() -> Path:
    """Folder of everything that outlives a run: ``JTM_HOME``, or ``.jtm`` in the project's root."""
    named = os.environ.get("JTM_HOME", "")
    return Path(named).expanduser().resolve() if named else PROJECT_ROOT / ".jtm"


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints inside an epoch: ``JTM_CHECKPOINT_SECONDS``, 20 if unset; 0 saves at every batch.

    Raises
    ------
    ValueError
        If the variable is not a number of 0 or more.
    """
    return _seconds("JTM_CHECKPOINT_SECONDS", 20.0)


def progress_seconds() -> float:
    """Least seconds between two updates of a progress artifact: ``JTM_PROGRESS_SECONDS``, 2 if unset."""
    return _seconds("JTM_PROGRESS_SECONDS", 2.0)


def torchrun_options() -> list[str]:
    """Options of ``torchrun`` for trainings on several machines: ``JTM_TORCHRUN``, none if unset."""
    return shlex.split(os.environ.get("JTM_TORCHRUN", ""))


def _seconds(variable: str, default: float) -> float:
    text = os.environ.get(variable, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(f"{variable} is {text!r}; it must be a number of seconds, 0 or more")
    return seconds
