"""What steps cost is measured, kept beside their results, and handed on where a result is found again."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from jtm_core.config import JtmConfig
from tasks.caching import step
from tasks.costs import Cost, StepCost, collected_costs, cost_metrics, cost_rows, costs_so_far, count_work, metered, orchestration_share
from tasks.references import ReportRef
from tasks.store import open_store


@step(run_name="count-{iteration}", uses=("seed",))
def count_sheep(iteration: int, config: JtmConfig) -> ReportRef:
    """Do 30 units of work in at least a tenth of a second."""
    count_work("sheep", 10)
    time.sleep(0.1)
    count_work("sheep", 20)
    return ReportRef(open_store().save_json("sheep", iteration))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JTM_HOME", str(tmp_path))


def test_a_step_keeps_its_cost_beside_its_result(tmp_path: Path) -> None:
    count_sheep.compute(3, JtmConfig())
    cost = json.loads((tmp_path / "steps" / f"{count_sheep.key(3, JtmConfig())}.json").read_text())["cost"]
    assert cost["work"] == {"sheep": 30}
    assert 0.1 <= cost["seconds"] < 30
    kept = count_sheep.kept(open_store(), count_sheep.key(3, JtmConfig()))
    assert kept is not None
    assert kept.cost == Cost(**cost)


def test_work_outside_of_a_step_counts_for_nobody() -> None:
    count_work("sheep", 7)
    with metered() as meter:
        assert meter.cost().work == {}


def test_memory_of_the_process_is_seen() -> None:
    with metered() as meter:
        small = meter.cost().peak_memory_gb
    with metered() as meter:
        block = np.ones(400_000_000 // 8)
        peak = meter.cost().peak_memory_gb
    assert block.nbytes == 400_000_000
    assert 0.35 < peak - small < 0.6


def test_memory_of_children_is_seen() -> None:
    program = "import time; block = bytearray(300_000_000); print('ready', flush=True); time.sleep(60)"
    with metered() as meter, subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            alone = psutil.Process().memory_info().rss / 1e9
            child.stdout.readline()
            peak = meter.cost().peak_memory_gb
        finally:
            child.kill()
    assert peak - alone > 0.28


def test_a_block_that_fails_leaves_no_thread_behind() -> None:
    others, own = set(threading.enumerate()), set()

    def fail() -> None:
        own.update(thread for thread in set(threading.enumerate()) - others if thread.name == "jtm-memory")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError), metered():
        fail()
    assert len(own) == 1
    assert not own.pop().is_alive()


def test_metrics_name_the_step_and_the_unit() -> None:
    costs = [
        StepCost("learn-tree", 2, Cost(4.0, 1.5, {"scores": 8}), is_kept=True),
        StepCost("check-log", None, Cost(1.0, 0.5), is_kept=False),
    ]
    assert cost_metrics(costs) == {
        "phase/learn_tree/seconds": 4.0,
        "phase/learn_tree/peak_memory_gb": 1.5,
        "phase/learn_tree/scores_per_second": 2.0,
        "phase/check_log/seconds": 1.0,
        "phase/check_log/peak_memory_gb": 0.5,
    }
    assert [row["result"] for row in cost_rows(costs)] == ["kept from an earlier run", "made in this run"]


def test_what_is_called_more_than_once_counts_whole() -> None:
    fits = [
        StepCost("fit-system", None, Cost(seconds, memory, {"users": 50}), is_kept=False) for seconds, memory in ((100.0, 1.0), (25.0, 0.5))
    ]
    assert cost_metrics(fits) == {
        "phase/fit_system/seconds": 125.0,
        "phase/fit_system/peak_memory_gb": 1.0,
        "phase/fit_system/users_per_second": 0.8,
    }


def test_kept_steps_and_checks_are_no_compute_of_this_run() -> None:
    kept, made = (StepCost("train-model", 0, Cost(6.0, 1.0), is_kept=is_kept) for is_kept in (True, False))
    check = StepCost("check-tree", None, Cost(2.0, 1.0), is_kept=False)
    assert orchestration_share([kept, made, check], 10.0) == pytest.approx(0.4)
    assert orchestration_share([], 10.0) == 1.0


def test_costs_are_collected_only_inside() -> None:
    with collected_costs() as costs:
        costs.append(StepCost("train-model", 0, Cost(1.0, 1.0), is_kept=False))
        assert len(costs_so_far()) == 1
    assert costs_so_far() == ()
