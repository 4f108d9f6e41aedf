"""The steps of a comparison on a small log: lists, judgement, searches and contrasts, each against a direct calculation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jtm_core.behaviours import evaluation_histories, evaluation_truths, training_histories
from jtm_core.comparison_config import TuningConfig
from jtm_core.config import JtmConfig
from jtm_core.counting_config import CountingConfig
from jtm_core.formats.arrays import read_arrays, write_arrays
from jtm_core.list_measures import list_measures
from jtm_core.metrics import metrics_at
from jtm_core.systems import fitting
from jtm_core.systems.lessons import lessons_of
from jtm_core.systems.naming import settings_of
from jtm_core.tuning import planned_trials
from tasks.artefacts import read_categories, read_data, read_lists
from tasks.checkpoints import FitFolder
from tasks.contrast_systems import beside_variations, contrast_systems
from tasks.failures import Failure, RunsFailedError, held_back, raise_held_back
from tasks.fetch_log import fetch_log
from tasks.fit_system import fit_system
from tasks.ingest_log import ingest_log
from tasks.judge_lists import judge_lists
from tasks.prepare_behaviours import prepare_behaviours
from tasks.references import DataReferences, FittedRun, ReportRef
from tasks.report_tuning import Trial, choose, deciding_recall, trial_rows
from tasks.search_tree import search_tree
from tasks.store import open_store
from tasks.try_settings import try_settings

COUNTING = CountingConfig()


@pytest.fixture
def config(make_config: Callable[..., JtmConfig]) -> JtmConfig:
    """Settings for a small log, one iteration."""
    return make_config()


@pytest.fixture
def data(home: Path, config: JtmConfig) -> DataReferences:
    """Its prepared data."""
    return prepare_behaviours.compute(ingest_log.compute(fetch_log.fn(config), config), config, None)


def fitted(data: DataReferences, config: JtmConfig, system: str, seed: int = 1, counting: CountingConfig = COUNTING) -> FittedRun:
    return fit_system.compute(data, system, settings_of(system, replace(config, seed=seed)), counting, "")


def fitted_anew(data: DataReferences, config: JtmConfig, system: str) -> FittedRun:
    """Fitted once more if it has been fitted before."""
    key = fit_system.key(data, system, settings_of(system, config), COUNTING, "")
    (open_store().home / "steps" / f"{key}.json").unlink(missing_ok=True)
    return fitted(data, config, system)


def test_lists_are_whole_and_without_seen_items_where_filtered(data: DataReferences, config: JtmConfig) -> None:
    run, store = fitted(data, config, "item-cf"), open_store()
    lists = read_lists(store, run.lists)
    behaviours, split = read_data(store, data)
    known = evaluation_histories(behaviours, split.test)
    assert set(lists) == {"validation", "validation_filtered", "test", "test_filtered"}
    assert {(array.dtype, array.shape) for array in lists.values()} == {(np.dtype(np.int32), (6, 10))}
    for row, listed in enumerate(lists["test_filtered"]):
        assert not set(listed) & set(known.row(row))
    assert any(set(listed) & set(known.row(row)) for row, listed in enumerate(lists["test"]))
    assert (run.tree, run.model, run.first_level) == (None, None, None)


def test_equal_settings_give_equal_lists_and_another_seed_others(data: DataReferences, config: JtmConfig) -> None:
    first = fitted(data, config, "jtm")
    again = fitted_anew(data, config, "jtm")
    assert (first.lists, first.rounds, first.tree, first.model) == (again.lists, again.rounds, again.tree, again.model)
    assert fitted(data, config, "jtm", seed=2).lists != first.lists


class Killed(BaseException):
    """Stands in for ``kill -9``."""


@pytest.mark.parametrize(("system", "times"), [("jtm", 2), ("jtm", 9), ("product-dnn", 1)])
def test_a_killed_fit_goes_on_and_ends_with_the_same_lists(
    data: DataReferences, config: JtmConfig, system: str, times: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when it has kept something so many times; what it took before counts as time of the fit."""
    monkeypatch.setenv("JTM_CHECKPOINT_SECONDS", "0")
    straight = fitted(data, config, system)
    keep, kept = FitFolder.keep, []

    def keep_and_die(folder: FitFolder, name: str, state: Callable[[], Any]) -> None:
        keep(folder, name, state)
        kept.append(name)
        if len(kept) == times:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(FitFolder, "keep", keep_and_die)
        with pytest.raises(Killed):
            fitted_anew(data, config, system)
    (folder,) = (home / "checkpoints").iterdir()
    (path,) = folder.glob(f"{kept[-1]}.safetensors")
    arrays, metadata = read_arrays(path)
    write_arrays(path, arrays, {**metadata, "seconds": "1000.0"})
    resumed = fitted_anew(data, config, system)
    assert (resumed.lists, resumed.tree, resumed.model, resumed.rounds) == (straight.lists, straight.tree, straight.model, straight.rounds)
    assert 1000 < open_store().read_json(resumed.timings)["fit_seconds"] < 1500
    assert list((home / "checkpoints").iterdir()) == []


def test_what_is_done_again_after_a_kill_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept after 10 seconds; the next process learns the tree for 50 seconds again before it goes on, for 7 seconds more."""
    now = [100.0]
    monkeypatch.setattr("tasks.checkpoints.time.perf_counter", lambda: now[0])
    first = FitFolder(tmp_path / "x.fit")
    now[0] += 10
    first.keep("training-1", dict)
    now[0] = 1000.0
    second = FitFolder(tmp_path / "x.fit")
    now[0] += 50
    assert second.kept("training-1") == {}
    now[0] += 7
    assert second.seconds == 17
    assert second.kept("training-2") is None
    assert second.seconds == 17


def test_a_damaged_checkpoint_of_a_fit_is_passed_over(data: DataReferences, config: JtmConfig, home: Path) -> None:
    settings = settings_of("jtm", config)
    straight = fitted(data, config, "jtm")
    folder = home / "checkpoints" / f"{fit_system.key(data, 'jtm', settings, COUNTING, '')}.fit"
    folder.mkdir(parents=True)
    for name in ("rounds", "training-0"):
        (folder / f"{name}.safetensors").write_bytes(b"not a checkpoint")
    assert fitted_anew(data, config, "jtm").lists == straight.lists
    assert not folder.exists()


@pytest.mark.parametrize(
    ("system", "changes"),
    [
        ("item-cf", {"num_neighbours": 1}),
        ("item-cf-bm25", {"num_neighbours": 1}),
        ("als", {"als_factors": 2}),
        ("als", {"als_regularisation": 10.0}),
        ("als", {"als_confidence": 1.0}),
        ("als", {"als_iterations": 1}),
    ],
)
def test_counting_settings_reach_the_systems_that_count(
    data: DataReferences, config: JtmConfig, system: str, changes: dict[str, Any]
) -> None:
    assert fitted(data, config, system, counting=CountingConfig(**changes)).lists != fitted(data, config, system).lists


@pytest.mark.parametrize(("system", "share"), [("popularity", 0.2), ("recent-popularity", 0.1), ("product-dnn", 0.7)])
def test_a_system_learns_from_the_newest_share_that_its_own_settings_say(
    data: DataReferences, config: JtmConfig, system: Any, share: float
) -> None:
    behaviours, split = read_data(store := open_store(), data)
    own = settings_of(system, replace(config, iterations=1, training=replace(config.training, later_newest_share=0.7)))
    counting = CountingConfig(newest_share=0.2, recent_share=0.1)
    run = fit_system.compute(data, system, own, counting, "")
    made = {}
    for taught in (share, 1.0):
        lessons = lessons_of(behaviours, split, read_categories(store, data), taught)
        fitted_here = fitting.fit_system(system, lessons, own, lambda done, total, note: None, counting)
        lists = fitted_here.recommend(evaluation_histories(behaviours, split.test), 10).tolist()
        made[taught] = lists, [list(one.losses) for one in fitted_here.rounds]
    losses = [one["losses"] for one in store.read_json(run.rounds)["rounds"]]
    assert (read_lists(store, run.lists)["test"].tolist(), losses) == made[share] != made[1.0]
    assert losses[:1] == made[1.0][1][:1], "the first round learns from all"


def test_timings_are_no_part_of_what_later_steps_depend_on(data: DataReferences, config: JtmConfig) -> None:
    run = fitted(data, config, "popularity")
    slower = replace(run, timings=open_store().save_json("timings", {"fit_seconds": 1e6}))
    assert judge_lists.key(run, data, config) == judge_lists.key(slower, data, config)


def test_judged_metrics_are_those_of_the_lists(data: DataReferences, config: JtmConfig) -> None:
    run, store = fitted(data, config, "popularity"), open_store()
    judged = store.read_json(judge_lists.compute(run, data, config))
    behaviours, split = read_data(store, data)
    known, truths = evaluation_histories(behaviours, split.test), evaluation_truths(behaviours, split.test)
    lists = read_lists(store, run.lists)
    for prefix, name in (("", "test"), ("filtered/", "test_filtered")):
        expected = metrics_at(lists[name].astype(int), truths, known, [5, 10], "multiset")
        for metric, values in expected.items():
            assert judged["test"][prefix + metric] == pytest.approx(values.mean())
    listed = {int(item) for row in lists["test"] for item in row[:5]}
    assert judged["test"]["coverage_at_5"] == pytest.approx(len(listed) / data.num_items)
    assert judged["validation"].keys() == judged["test"].keys()
    popularity = np.bincount(training_histories(behaviours, split).values, minlength=data.num_items)
    name = "popularity_percentile_at_5"
    assert judged["test"][name] == pytest.approx(list_measures(lists["test"], popularity, [5])[name])
    everything = np.bincount(behaviours.items, minlength=data.num_items)
    assert judged["test"][name] != pytest.approx(list_measures(lists["test"], everything, [5])[name]), "what is judged by taught nobody"


def test_a_beam_over_all_leaves_finds_what_the_full_scan_finds(data: DataReferences, config: JtmConfig) -> None:
    run, store = fitted(data, config, "jtm"), open_store()
    searched = search_tree.compute(run, data, config, (5, 64))
    metrics, timings = store.read_json(searched.metrics)["test"], store.read_json(searched.timings)
    assert metrics["beam_0064/recall_at_10"] == pytest.approx(metrics["full_scan/recall_at_10"])
    assert {"beam_0005/recall_at_5", "beam_0005/recall_at_10", "search_loss/recall_at_10", "layer_recall/level_06"} <= set(metrics)
    assert set(timings) == {"beam_0005/milliseconds", "beam_0064/milliseconds"}
    assert min(timings.values()) > 0
    judged = store.read_json(judge_lists.compute(run, data, config))["test"]
    at_own_beam = store.read_json(search_tree.compute(run, data, config, (10,)).metrics)["test"]
    assert at_own_beam["beam_0010/recall_at_10"] == judged["recall_at_10"]


def test_a_system_without_a_tree_has_nothing_to_search(data: DataReferences, config: JtmConfig) -> None:
    searched = search_tree.compute(fitted(data, config, "popularity"), data, config, (5,))
    assert open_store().read_json(searched.metrics) == {"test": {}}


def two_way_variance(data: DataReferences, runs: list[FittedRun]) -> float:
    """Of recall at 10 of the first run less the mean of the others', by users, items and both, each target by itself."""
    behaviours, split = read_data(open_store(), data)
    truths = evaluation_truths(behaviours, split.test)
    lists = [read_lists(open_store(), run.lists)["test"][:, :10] for run in runs]
    parts = {}
    for user in range(len(truths)):
        wanted = truths.row(user).tolist()
        for item in set(wanted):
            first, *others = [float(item in each[user]) for each in lists]
            parts[user, item] = wanted.count(item) / len(wanted), first - sum(others) / len(others)
    mean = sum(share * found for share, found in parts.values()) / len(truths)
    sums: tuple[dict[Any, float], ...] = ({}, {}, {})
    for (user, item), (share, found) in parts.items():
        for groups, group in zip(sums, (user, item, (user, item)), strict=True):
            groups[group] = groups.get(group, 0.0) + share * (found - mean)
    users, items, both = (sum(value**2 for value in groups.values()) * len(groups) / (len(groups) - 1) for groups in sums)
    assert items > both, "or this log could not tell the two intervals apart"
    return (users + items - both) / len(truths) ** 2


def test_contrasts_pair_users_after_averaging_seeds(data: DataReferences, config: JtmConfig) -> None:
    runs = [fitted(data, config, system, seed) for system, seed in (("popularity", 1), ("jtm", 1), ("jtm", 2))]
    varied = replace(fitted(data, config, "jtm-h"), system="jtm", variation="tree_learning.method=fixed")
    held = open_store().read_json(contrast_systems.compute((*runs, varied), data, config, None))
    assert held["reference"] == "jtm"
    recall = [open_store().read_json(judge_lists.compute(run, data, config))["test"]["recall_at_10"] for run in (*runs, varied)]
    found = {(one["kind"], one["name"], one["measure"]): one for one in held["contrasts"]}
    difference = found["difference", "popularity", "test/recall_at_10"]
    assert difference["mean"] == pytest.approx(recall[0] - (recall[1] + recall[2]) / 2)
    assert difference["low"] <= difference["mean"] <= difference["high"]
    assert difference["two_way_high"] - difference["mean"] == pytest.approx(1.959964 * two_way_variance(data, runs) ** 0.5, rel=1e-6)
    sensitivity = found["sensitivity", "tree_learning.method=fixed", "test/recall_at_10"]
    assert sensitivity["mean"] == pytest.approx(recall[3] - recall[1])  # against the reference under the same, first seed
    assert {kind for kind, _, _ in found} == {"difference", "sensitivity"}


@pytest.mark.parametrize("truth", ["multiset", "set"])
def test_repeats_and_seen_items_count_as_the_settings_say(data: DataReferences, config: JtmConfig, truth: Any) -> None:
    evaluation, store = replace(config.evaluation, truth=truth, cutoffs=(5, 20), beam_width=20), open_store()
    config = replace(config, evaluation=evaluation)
    runs = tuple(fitted(data, config, system) for system in ("popularity", "tdm"))
    first, second = (store.read_json(judge_lists.compute(run, data, config))["test"] for run in runs)
    behaviours, split = read_data(store, data)
    known, truths = evaluation_histories(behaviours, split.test), evaluation_truths(behaviours, split.test)
    lists = read_lists(store, runs[1].lists)["test"].astype(int)
    expected, other = (metrics_at(lists, truths, known, [5, 20], each) for each in (truth, {"set": "multiset", "multiset": "set"}[truth]))
    assert expected["recall_at_20"].mean() != pytest.approx(other["recall_at_20"].mean()), "or this log could not tell them apart"
    searched = store.read_json(search_tree.compute(runs[1], data, config, (20,)).metrics)["test"]
    for name in ("recall_at_5", "recall_at_20"):
        assert second[name] == searched[f"beam_0020/{name}"] == pytest.approx(expected[name].mean())
    gains = {one["measure"]: one["mean"] for one in store.read_json(contrast_systems.compute(runs, data, config, None))["contrasts"]}
    names = [f"{seen}recall_at_{cutoff}" for seen in ("", "filtered/") for cutoff in (5, 20)]
    assert gains == pytest.approx({f"test/{name}": second[name] - first[name] for name in names})
    assert gains["test/filtered/recall_at_20"] != pytest.approx(gains["test/recall_at_20"])


def test_four_cells_make_an_ablation(data: DataReferences, config: JtmConfig) -> None:
    runs = {system: fitted(data, config, system) for system in ("tdm", "jtm-j", "jtm-h", "jtm")}
    held = open_store().read_json(contrast_systems.compute(tuple(runs.values()), data, config, None))
    recall = {name: open_store().read_json(judge_lists.compute(run, data, config))["test"]["recall_at_5"] for name, run in runs.items()}
    gains = {one["name"]: one["mean"] for one in held["contrasts"] if one["kind"] == "ablation" and one["measure"] == "test/recall_at_5"}
    assert gains == pytest.approx(
        {
            "J: jtm-j - tdm": recall["jtm-j"] - recall["tdm"],
            "H: jtm-h - tdm": recall["jtm-h"] - recall["tdm"],
            "J + H": recall["jtm-j"] + recall["jtm-h"] - 2 * recall["tdm"],
            "both: jtm - tdm": recall["jtm"] - recall["tdm"],
            "both - (J + H)": recall["jtm"] - recall["jtm-j"] - recall["jtm-h"] + recall["tdm"],
        }
    )


@pytest.mark.parametrize(("asked", "taken"), [("tdm", "tdm"), (None, "jtm"), ("als", "jtm")])
def test_others_are_held_against_what_is_asked_for_if_it_is_there(
    data: DataReferences, config: JtmConfig, asked: str | None, taken: str
) -> None:
    runs = tuple(fitted(data, config, system) for system in ("popularity", "tdm", "jtm"))
    held = open_store().read_json(contrast_systems.compute(runs, data, config, asked))
    assert held["reference"] == taken
    assert {one["name"] for one in held["contrasts"]} == {"popularity", "tdm", "jtm"} - {taken}


def test_without_jtm_the_first_system_is_the_reference_and_one_run_has_no_contrast(data: DataReferences, config: JtmConfig) -> None:
    held = open_store().read_json(contrast_systems.compute((fitted(data, config, "popularity"),), data, config, None))
    assert held == {"reference": "popularity", "contrasts": []}


def test_a_trial_measures_validation_users_only(data: DataReferences, config: JtmConfig) -> None:
    tried = open_store().read_json(try_settings.compute(data, "item-cf", config, COUNTING))
    judged = open_store().read_json(judge_lists.compute(fitted(data, config, "item-cf"), data, config))
    assert tried["deciding"] == "recall_at_10"
    assert tried["metrics"] == pytest.approx({name: value for name, value in judged["validation"].items() if "recall_at_" in name})


@pytest.mark.parametrize("system", ["jtm", "dnn", "product-dnn", "hsm"])
def test_a_training_that_diverges_is_a_trial_worth_nothing_and_no_run(data: DataReferences, config: JtmConfig, system: Any) -> None:
    high = replace(config, training=replace(config.training, learning_rate=1e30))
    with pytest.raises(FloatingPointError, match=r"after epoch 1.* the training diverged"):
        fitted(data, high, system)
    tried = try_settings.compute(data, system, settings_of(system, high), COUNTING)
    held = open_store().read_json(tried)
    assert (held["deciding"], held["metrics"]) == ("recall_at_10", {})
    assert "the training diverged" in held["diverged"]


def test_trials_that_diverged_or_failed_are_listed_and_not_chosen(data: DataReferences, config: JtmConfig) -> None:
    """Also where another trial found nothing."""
    store = open_store()
    outcomes: list[dict[str, Any]] = [{"metrics": {}, "diverged": "so it did"}, {"metrics": {"recall_at_10": 0.0}, "diverged": ""}]
    planned = planned_trials(TuningConfig(systems=("als", "tdm"), trials=2))[:3]
    reports = [ReportRef(store.save_json("trial", {"deciding": "recall_at_10", **one})) for one in (*outcomes, outcomes[0])]
    trials = [Trial(one, report) for one, report in zip(planned, reports, strict=True)]
    recalls = [deciding_recall(trial) for trial in trials]
    assert recalls == [None, 0.0, None]
    chosen = choose(trials, recalls)
    assert chosen == [trials[1]], "TDM has nothing to choose"
    rows = trial_rows(trials, recalls, chosen, [Failure(planned[0].planned, "OSError: no room")])
    assert [(row["system"], row["chosen"]) for row in rows] == [
        ("als", "diverged"),
        ("als", "chosen"),
        ("tdm", "diverged"),
        ("als", "failed"),
    ]
    assert rows[3]["settings"] == "OSError: no room"


def test_failures_are_held_back_and_raised_together() -> None:
    from jtm_core.comparison_config import ComparisonConfig, planned_runs

    first, second = planned_runs(ComparisonConfig(systems=("tdm", "jtm"), seeds=(3,)))
    failures: list[Failure] = []
    with held_back(failures, first):
        raise MemoryError("too large")
    with held_back(failures, second):
        pass
    assert [str(failure) for failure in failures] == ["tdm, seed 3: MemoryError: too large"]
    with pytest.raises(RunsFailedError, match="1 runs failed"):
        raise_held_back(failures)
    raise_held_back([])


def test_an_interrupt_is_not_held_back() -> None:
    from jtm_core.comparison_config import ComparisonConfig, planned_runs

    failures: list[Failure] = []
    with pytest.raises(KeyboardInterrupt), held_back(failures, planned_runs(ComparisonConfig(systems=("tdm",), seeds=(3,)))[0]):
        raise KeyboardInterrupt
    assert failures == []


def test_where_runs_failed_each_contrast_takes_the_seeds_its_systems_have(data: DataReferences, config: JtmConfig) -> None:
    """ALS lacks a seed, which is no matter to TDM; DNN has none in common with JTM."""
    made = (("popularity", 1), ("tdm", 1), ("tdm", 2), ("jtm", 1), ("jtm", 2), ("als", 1), ("dnn", 3))
    runs = {(system, seed): fitted(data, config, system, seed) for system, seed in made}
    held = open_store().read_json(contrast_systems.compute(tuple(runs.values()), data, config, None))
    recall = {key: open_store().read_json(judge_lists.compute(run, data, config))["test"]["recall_at_10"] for key, run in runs.items()}
    found = {one["name"]: one for one in held["contrasts"] if one["measure"] == "test/recall_at_10"}
    assert {name: one["seeds"] for name, one in found.items()} == {"popularity": [1, 2], "tdm": [1, 2], "als": [1]}
    both = (recall["jtm", 1] + recall["jtm", 2]) / 2
    assert found["tdm"]["mean"] == pytest.approx((recall["tdm", 1] + recall["tdm", 2]) / 2 - both)
    assert found["popularity"]["mean"] == pytest.approx(recall["popularity", 1] - both)
    assert found["als"]["mean"] == pytest.approx(recall["als", 1] - recall["jtm", 1])


def test_the_four_cells_share_their_seeds(data: DataReferences, config: JtmConfig) -> None:
    runs = [fitted(data, config, system, seed) for system in ("tdm", "jtm-j", "jtm-h", "jtm") for seed in (1, 2)]
    held = open_store().read_json(contrast_systems.compute(tuple(runs[:1] + runs[2:]), data, config, None))
    gains = {one["name"]: one for one in held["contrasts"] if one["kind"] == "ablation" and one["measure"] == "test/recall_at_5"}
    assert {tuple(one["seeds"]) for one in gains.values()} == {(1,)}
    surplus = gains["both: jtm - tdm"]["mean"] - gains["J + H"]["mean"]
    assert gains["both - (J + H)"]["mean"] == pytest.approx(surplus)


def test_variations_are_held_against_the_reference_under_their_own_seed() -> None:
    first, second, varied = ({"": np.array([rank], dtype=np.int32)} for rank in range(3))
    assert beside_variations({2: second, 1: first}, {"tree_learning.gap=1": {1: varied}}) == {1: first}
    assert beside_variations({2: second}, {"tree_learning.gap=1": {1: varied}}) == {}
    assert beside_variations({2: second, 1: first}, {}) == {}
