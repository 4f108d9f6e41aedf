"""The three things to do with a stack: run the demo, keep it up, prove that it works."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from rich.console import Console

from tasks.local_stack.children import Children, StackFailed, tail
from tasks.local_stack.following import Follower
from tasks.local_stack.orchestration import client_of, deployment_names, scheduled_runs, start_run
from tasks.local_stack.place import Place
from tasks.local_stack.stack import local_stack
from tasks.local_stack.terminal import TABLE_WIDTH, follow, results_table

DEPLOYMENTS = (
    "backtest-version",
    "compare-systems",
    "demo",
    "evaluate-version",
    "prune-store",
    "register-model",
    "release-version",
    "retrain-jtm",
    "train-jtm",
    "tune-systems",
    "write-lists",
)
_SCHEDULE_SECONDS = 60.0
_SMOKE_SECONDS = 300.0
SMOKE_CONFIG: dict[str, Any] = {
    "data": {"name": "smoke", "format": "planted_world"},
    "split": {"num_validation_users": 20, "num_test_users": 20},
    "model": {"window_sizes": [4, 2, 1], "embedding_width": 8, "hidden_widths": [16, 8, 8]},
    "training": {"epochs": 1, "later_epochs": 1, "negatives": 20},
    "tree_learning": {"maximum_samples_per_item": 20},
    "evaluation": {"cutoffs": [10, 20], "beam_width": 20, "small_beam_width": 10},
    "iterations": 1,
}
"""A world small enough for a proof of the path, not of quality."""


def run(home: Path, *, keep: bool) -> int:
    """Run the demo on a stack of its own and show how it went; 0 if it completed."""
    console = Console(soft_wrap=True, highlight=False)
    with local_stack(home, console.print) as (place, children), client_of(place.prefect_api) as client:
        run_id = start_run(client, "demo/demo", {})
        page = f"{place.prefect_url}/runs/flow-run/{run_id}"
        console.print(f"The demo runs; watch it at {page}")
        follower = Follower(client, run_id)
        ended = follow(follower, console, children.check)
        results = follower.results()
        if results:
            Console(width=max(console.width, TABLE_WIDTH), highlight=False).print(results_table(results.rows, results.title))
            console.print(results.data, markup=False)
        if not ended.is_completed:
            console.print(f"[red]{ended.state}[/red]: {ended.message}")
        pages = [page, *(follower.links() or [place.mlflow_url])]
        console.print("\n".join(["See also", *(f"  {address}" for address in pages)]))
        if keep:
            _wait(console, place, children)
    console.print("Everything is stopped; `make serve-ui` brings these pages back.")
    return 0 if ended.is_completed and results else 1


def serve(home: Path) -> int:
    """Keep the stack up until a signal ends it."""
    console = Console(soft_wrap=True, highlight=False)
    with local_stack(home, console.print) as (place, children):
        _wait(console, place, children)
    return 0


def smoke() -> int:
    """Prove the real path in a temporary folder: servers, worker, deployments, a schedule's runs, one run by the CLI."""
    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="jtm-smoke-") as folder, local_stack(Path(folder), console.print) as (place, children):
        with client_of(place.prefect_api) as client:
            found = deployment_names(client)
            if not set(DEPLOYMENTS) <= set(found):
                raise StackFailed(f"deployed are {found}; there should be {list(DEPLOYMENTS)}")
            console.print(f"Deployed: {', '.join(found)}")
            console.print(f"The schedule of retrain-jtm has created {_wait_for_schedule(client, children)} runs")
        console.print("Running train-jtm on a small planted world ...")
        command = ["prefect", "deployment", "run", "train-jtm/train-jtm", "--watch", "--params", json.dumps({"config": SMOKE_CONFIG})]
        started = time.monotonic()
        try:
            children.run("smoke-run", command, _SMOKE_SECONDS)
        except StackFailed:
            console.print(f"The worker's log ends with\n{tail(place.logs / 'worker.log')}", markup=False)
            raise
        console.print(f"Smoke passed: train-jtm completed after {time.monotonic() - started:.0f} s")
    return 0


def _wait(console: Console, place: Place, children: Children) -> None:
    console.print(f"Prefect  {place.prefect_url}\nMLflow   {place.mlflow_url}")
    console.print(
        f"In another terminal run\nexport PREFECT_API_URL={place.prefect_api} MLFLOW_TRACKING_URI={place.mlflow_url}", soft_wrap=True
    )
    console.print("Ctrl-C stops everything.")
    while True:
        children.check()
        time.sleep(1)


def _wait_for_schedule(client: SyncPrefectClient, children: Children) -> int:
    deadline = time.monotonic() + _SCHEDULE_SECONDS
    while not (runs := scheduled_runs(client, "retrain-jtm/retrain-jtm")):
        children.check()
        if time.monotonic() > deadline:
            raise StackFailed(f"the schedule of retrain-jtm created no runs within {_SCHEDULE_SECONDS:.0f} s")
        time.sleep(1)
    return len(runs)
