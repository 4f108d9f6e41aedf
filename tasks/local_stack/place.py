"""Where a stack lives: its folder, its ports, and the environment that tells its processes."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from tasks.local_stack.groups import MARK
from tasks.settings import PROJECT_ROOT

LOOPBACK = "127.0.0.1"
PREFECT_PORT, MLFLOW_PORT = 4200, 5000

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
}
"""Settings that keep every library from calling home."""


@dataclass(frozen=True, slots=True)
class Place:
    """One stack's folder and ports.

    Parameters
    ----------
    home : Path
        ``JTM_HOME``, absolute.
    prefect_port, mlflow_port : int
        Ports on loopback, not alike.
    """

    home: Path
    prefect_port: int
    mlflow_port: int

    @property
    def prefect_url(self) -> str:
        """Address of the Prefect UI."""
        return f"http://{LOOPBACK}:{self.prefect_port}"

    @property
    def prefect_api(self) -> str:
        """Address of the Prefect API."""
        return f"{self.prefect_url}/api"

    @property
    def mlflow_url(self) -> str:
        """Address of the MLflow UI and API."""
        return f"http://{LOOPBACK}:{self.mlflow_port}"

    @property
    def logs(self) -> Path:
        """Folder of the processes' logs."""
        return self.home / "logs"

    def environment(self) -> dict[str, str]:
        """Environment of every process of the stack: ours, and above it where state and servers are."""
        cores = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        threads = {"OMP_NUM_THREADS": cores, "OMP_WAIT_POLICY": "PASSIVE"}  # spinning threads would starve the servers
        return {
            **threads,
            **{name: value for name, value in os.environ.items() if not _is_of_another_database(name)},
            **QUIET,
            "JTM_HOME": str(self.home),
            MARK: str(self.home),
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_API_URL": self.prefect_api,
            "PREFECT_UI_URL": self.prefect_url,
            "PREFECT_UI_API_URL": self.prefect_api,
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")])),
            "PYTHONUNBUFFERED": "1",
            **without_proxy(),
        }


def without_proxy() -> dict[str, str]:
    """Variables by which this machine is asked directly, beside whatever else goes past the proxy already."""
    known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy", "")
    direct = ",".join(dict.fromkeys([*filter(None, known.split(",")), LOOPBACK, "localhost"]))
    return {"NO_PROXY": direct, "no_proxy": direct}


def _is_of_another_database(name: str) -> bool:
    """Whether a variable would take Prefect's server to a database outside the stack's folder, whose runs are not ours to close."""
    return name.startswith("PREFECT_") and "DATABASE" in name


def choose_place(home: Path, before: tuple[int, int] | None = None) -> Place:
    """Choose free ports: those the stack had before, else 4200 and 5000, else any.

    Parameters
    ----------
    home : Path
        ``JTM_HOME``.
    before : pair of int, optional
        Prefect's and MLflow's port of this stack's last start; links kept in either UI stay true with them.
    """
    prefect, mlflow = before or (PREFECT_PORT, MLFLOW_PORT)
    prefect_port = free_port((prefect, PREFECT_PORT))
    return Place(home, prefect_port, free_port((mlflow, MLFLOW_PORT), taken=prefect_port))


def free_port(preferred: tuple[int, ...], taken: int = 0) -> int:
    """Find a port on loopback nobody listens on: the first free one of ``preferred``, else any but ``taken``."""
    for port in (*preferred, 0, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            found = int(probe.getsockname()[1])
        if found != taken:
            return found
    raise OSError(f"no free port on {LOOPBACK}; tried {preferred} and whatever the system offers")
