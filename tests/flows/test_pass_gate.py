"""The gate behind the data checks: what it says aloud, and what it stops."""

from collections.abc import Mapping

import pytest
from prefect import flow

from tasks import pass_gate as gate_module
from tasks.pass_gate import DataRefusedError, pass_gate
from tasks.references import CheckOutcome, ReportRef, RunRef
from tasks.store import open_store


@pytest.mark.parametrize(("num_failures", "num_warnings"), [(0, 0), (0, 1), (1, 1)])
def test_broken_soft_rules_are_in_the_flow_runs_log(
    num_failures: int,
    num_warnings: int,
    environment: Mapping[str, str],
    flow_log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody opens an artifact of a retraining that ran at night and went well."""
    monkeypatch.setattr(gate_module, "_log_to_mlflow", lambda store, run, outcome, content: None)
    report = {"suite": "log", "is_passed": not num_failures, "num_failures": num_failures, "num_warnings": num_warnings, "rules": []}
    text = "volume_near_previous: 4,264 rows"
    stored = ReportRef(open_store().save_json("checks", {"report": report, "table": [{"rule": "a"}], "text": text}))
    outcome = CheckOutcome("log", not num_failures, stored, stored, None)

    @flow
    def checked() -> None:
        pass_gate(RunRef(run_id="1", url="http://127.0.0.1/1"), outcome)

    if num_failures:
        with pytest.raises(DataRefusedError, match=text):
            checked()
    else:
        checked()
    warnings = [record.getMessage() for record in flow_log.records if record.levelname == "WARNING"]
    assert (text in warnings) == (num_warnings > 0 and not num_failures)
