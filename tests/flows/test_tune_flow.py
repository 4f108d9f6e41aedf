"""The search for settings: as many trials a system, chosen on validation users, taken over by a comparison."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from flows.tune_systems import tune_systems
from jtm_core.comparison_config import ComparisonConfig
from tasks.versions import from_json

DATA_NAME = "tuned"


def test_a_tuning_ends_with_settings_that_a_comparison_takes(environment: Mapping[str, str], parameters: dict[str, dict[str, Any]]) -> None:
    state = tune_systems(config={"shared": parameters["config"], "systems": ["item-cf", "tdm"], "trials": 2}, return_state=True)
    assert state.is_completed()
    run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    with get_client(sync_client=True) as client:
        found = {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=run))}
    tables = [json.loads(artifact.data) for artifact in found.values() if artifact.type == "table"]
    trials = next(rows for rows in tables if rows and "system" in rows[0])
    assert {system: sum(row["system"] == system for row in trials) for system in ("item-cf", "tdm")} == {"item-cf": 2, "tdm": 2}
    text = next(artifact.data for artifact in found.values() if artifact.type == "markdown" and '"tuned"' in artifact.data)
    tuned = json.loads(text[text.index("{") : text.rindex("}") + 1])
    config = from_json(ComparisonConfig, {"shared": parameters["config"], **tuned})
    assert {own.system for own in config.tuned} <= {"item-cf", "tdm"}


@pytest.mark.parametrize("dials", [{"data.path": "x"}, {"training.learning_rates": 1.0}])
def test_foreign_or_misspelt_dials_are_refused(dials: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"data|learning_rates"):
        from_json(ComparisonConfig, {"tuned": [{"system": "tdm", "dials": dials}]})
