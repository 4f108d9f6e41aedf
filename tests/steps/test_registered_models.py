"""Versions in MLflow's registry, and what comes of one where nothing of ours is at hand."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from prefect.logging import disable_run_logger

from jtm_core.config import JtmConfig
from jtm_core.lists_config import ListsConfig
from tasks.evaluate_model import evaluate_model
from tasks.fetch_log import fetch_log
from tasks.ingest_log import ingest_log
from tasks.mark_released import mark_released
from tasks.open_retriever import open_retriever
from tasks.plant_tree import plant_tree
from tasks.prepare_behaviours import prepare_behaviours
from tasks.record_version import record_version
from tasks.references import Candidate, VersionRef
from tasks.register_model import register_model
from tasks.registrations import register, registered_lists
from tasks.tracking.client import ensure_experiment, tracking_client
from tasks.tracking.nested import nested_run
from tasks.tracking.registered_models import NEEDED
from tasks.tracking.runs import open_parent_run
from tasks.train_model import train_model
from tasks.versions import UnknownVersionError, release

ASK = """
import ast, json, pathlib, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = json.loads(sys.argv[2])
answers = [json.loads(model.predict(pandas.DataFrame(columns), params=params).to_json(orient="records")) for columns, params in rows]
errors = []
for columns, params in json.loads(sys.argv[3]):
    try:
        model.predict(pandas.DataFrame(columns), params=params)
    except mlflow.exceptions.MlflowException as error:
        errors.append(str(error))
files = {pathlib.Path(module.__file__) for name, module in sys.modules.items() if name.split(".")[0] == "jtm_core"}
trees = [ast.parse(file.read_text()) for file in files]
named = [alias.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
named += [node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
packages = {name.split(".")[0] for name in named} & {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(json.dumps([answers, errors, sorted(packages), str(min(files))]))
"""


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of MLflow's own, and its artefacts beside it."""
    uri = f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    (tmp_path / "mlflow").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture
def versions(home: Path, database: str, make_config: Callable[..., JtmConfig]) -> tuple[VersionRef, VersionRef]:
    """Two recorded versions of one data set with a run of MLflow each."""
    config = make_config()
    data = prepare_behaviours.compute(ingest_log.compute(fetch_log.fn(config), config), config, None)
    grown = plant_tree.compute(data, config, None)
    trained = train_model.compute(0, data, grown, config)
    made, experiment = [], ensure_experiment("jtm")
    for iteration in (0, 1):
        evaluation = evaluate_model.compute(iteration, data, grown.tree, trained.model, config)
        version = record_version.fn(data, Candidate(iteration, grown, trained, evaluation), None, None, config)
        parent = open_parent_run(experiment, key=version.version, name="test", config={}, tags={"jtm.data_name": "small"})
        run = nested_run(tracking_client(), tracking_client().get_run(parent), {"jtm.kind": "iteration"}, "of a version")
        tracking_client().set_tag(run.info.run_id, "jtm.version", version.version)
        made.append(version)
    return made[0], made[1]


def ask(database: str, folder: Path, address: str, *calls: object) -> SimpleNamespace:
    """Answers of a served model, in a process that has nothing of ours but what MLflow keeps with it."""
    command = [sys.executable, "-I", "-c", ASK, address, *map(json.dumps, calls)]
    environment = {"MLFLOW_TRACKING_URI": database, "MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(folder)}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    answers, errors, packages, file = json.loads(done.stdout.splitlines()[-1])
    return SimpleNamespace(answers=answers, errors=errors, packages=packages, file=file)


def test_a_registered_version_recommends_where_nothing_of_ours_is_at_hand(
    versions: tuple[VersionRef, VersionRef], database: str, tmp_path: Path
) -> None:
    release(versions[0])
    made = register(versions[0], ListsConfig(count=4))
    assert (made.name, made.number, made.is_released) == ("jtm-small", "1", True)
    retriever = open_retriever("small")
    first, second, third = retriever.keys[:3]
    (model,) = tracking_client().search_logged_models([tracking_client().get_experiment_by_name("jtm").experiment_id])
    assert model.source_run_id == tracking_client().get_model_version("jtm-small", "1").run_id
    calls = [
        ({"history": [[first, second], [], [third]]}, {}),
        ({"history": [[first]], "exclude": [[second]]}, {"count": 7, "without_seen": True}),
        ({"history": [[first], [second]], "exclude": [[second], None]}, {"count": 2}),
    ]
    wrong = [({"history": [["a"]]}, {}), ({"history": [[first]]}, {"count": 11}), ({"history": [first]}, {}), ({"items": [[first]]}, {})]
    found = ask(database, tmp_path, "models:/jtm-small@released", calls, wrong)
    expected = [
        retriever.recommend_batch([[first, second], [], [third]], 4),
        retriever.recommend_batch([[first]], 7, [[second, first]]),
        retriever.recommend_batch([[first], [second]], 2, [[second], []]),
    ]
    for answers, lists in zip(found.answers, expected, strict=True):
        assert [answer["items"] for answer in answers] == [one.items for one in lists]
        assert [answer["is_personal"] for answer in answers] == [one.is_personal for one in lists]
        for answer, one in zip(answers, lists, strict=True):
            if one.is_personal:
                np.testing.assert_allclose(answer["logits"], one.logits, rtol=1e-6)
            else:
                assert answer["logits"] == [None] * len(one.items)
    for error, words in zip(found.errors, ("of type str", "count is 11; allowed are 1 .. 10", "list", "missing inputs"), strict=True):
        assert words in error
    assert not Path(found.file).is_relative_to(Path(__file__).parents[2]), "its own copy of the core"
    assert {package.replace("_", "-") for package in found.packages} - {"jtm-core"} <= set(NEEDED)


def test_what_is_released_later_is_registered_by_itself_and_once(
    versions: tuple[VersionRef, VersionRef], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = versions

    def numbers() -> dict[str, str]:
        return {str(one.version): one.tags["jtm.version"] for one in tracking_client().search_model_versions("name = 'jtm-small'")}

    with disable_run_logger():
        release(first)
        mark_released.fn("small")
        assert registered_lists("small") is None, "nobody asked for a model"
        assert numbers() == {}
        lists = ListsConfig(count=3, without_seen=True, beam_width=8)
        for _ in range(2):
            register(first, lists)
        assert not register(second, lists).is_released
        assert numbers() == {"1": first.version, "2": second.version}
        release(second)
        mark_released.fn("small")
        assert registered_lists("small") == lists
        assert numbers() == {"1": first.version, "2": second.version}
        assert str(tracking_client().get_model_version_by_alias("jtm-small", "released").version) == "2"
        register(second, ListsConfig(count=5))
        release(first)
        mark_released.fn("small")
        tracking_client().set_registered_model_tag("jtm-small", "jtm.lists", '{"count": 50}')
        with pytest.raises(
            ValueError, match=rf"{first.version} is released, but the registered model of small .* count is 50; .*register-model"
        ):
            mark_released.fn("small")
    assert numbers() == {"1": first.version, "2": second.version, "3": second.version, "4": first.version}, "lists as last asked for"
    assert str(tracking_client().get_model_version_by_alias("jtm-small", "released").version) == "4"


def test_what_cannot_be_registered_is_refused_before_anything_is_logged(
    versions: tuple[VersionRef, VersionRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("tasks.register_model.create_markdown_artifact", lambda text, **shown_as: shown.append(text))
    with disable_run_logger():
        with pytest.raises(UnknownVersionError, match="no run on 'small' has finished"):
            register_model.fn("small", "", ListsConfig())
        release(versions[0])
        with pytest.raises(ValueError, match=r"count is 100; allowed are 1 \.\. 10"):
            register_model.fn("small", "", ListsConfig())
        stranger = dataclasses.replace(versions[0], version="small-00-of-another-server")
        with pytest.raises(ValueError, match="MLflow has no run of version small-00-of-another-server"):
            register(stranger, ListsConfig(count=5))
        assert tracking_client().search_registered_models() == []
        register_model.fn("small", "", ListsConfig(count=5))
    assert "models serve -m models:/jtm-small@released" in shown[0]
