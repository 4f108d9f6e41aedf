"""``python -m benchmarks.rivals.pecos FOLDER``: sets up PECOS beside the project, runs XR-Linear there, judges its lists here.

libpecos 1.2.8 needs numpy below 2 and scipy below 1.13, and asks for a torch that XR-Linear does not use, so it is installed without its
dependencies into ``.venv-pecos`` (once; about 330 MB). If that fails the reason is recorded in place of figures.
"""

import subprocess
import sys
import venv
from pathlib import Path

import numpy as np

from benchmarks.records import Record, emit
from benchmarks.rivals.judging import judge_lists
from benchmarks.rivals.pecos_settings import BEAM_WIDTH, LISTS
from benchmarks.rivals.world import read_world

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-pecos"
PYTHON = FOLDER / "bin" / "python"
STAMP = FOLDER / ".set-up"
INSTALLS = (("numpy<2", "scipy<1.13", "scikit-learn<1.6"), ("--no-deps", "libpecos==1.2.8"))
SYSTEM = f"pecos xr-linear, beam {BEAM_WIDTH}"


def set_up() -> str:
    """Make the environment if it is not there; why not, if it cannot be made."""
    if STAMP.exists():
        return ""
    venv.create(FOLDER, with_pip=True, clear=True)
    for packages in INSTALLS:
        command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"pip install {' '.join(packages)}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    STAMP.touch()
    return ""


def main(folder: str) -> None:
    """Set up, run, judge."""
    reason = set_up()
    if reason:
        for name, unit in (("recall_at_200", "share"), ("users_per_s", "users/s"), ("build_s", "s")):
            emit(Record(name, None, unit, {"system": SYSTEM, "reason": reason}))
        return
    sys.stdout.flush()
    subprocess.run([str(PYTHON), "-m", "benchmarks.rivals.pecos_xlinear", folder], cwd=ROOT, check=True)
    judge_lists(SYSTEM, np.load(Path(folder) / LISTS), read_world(Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
