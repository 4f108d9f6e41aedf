"""Fit one system of a comparison under one seed, and keep what it recommends to every evaluation user.

Only lists, trees, weights and rounds are made here, equal where the work was equal. What it took is in an artefact of its own,
which no later step's key depends on. A fit that is killed goes on from its checkpoint (:mod:`tasks.checkpoints`).
"""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jtm_core.config import JtmConfig
from jtm_core.counting_config import CountingConfig
from jtm_core.systems.naming import SystemName
from tasks.artefacts import read_categories, read_data, save_lists, save_network, save_report, save_tree
from tasks.caching import step, step_logger
from tasks.checkpoints import fit_folder
from tasks.costs import metered
from tasks.fingerprints import key_part
from tasks.progress import Progress, artifact_key
from tasks.references import DataReferences, FittedRun, ModelRef, TreeRef
from tasks.store import Store, open_store

if TYPE_CHECKING:
    from jtm_core.baselines.protocol import Recommender
    from jtm_core.behaviours import Behaviours, Split
    from jtm_core.formats.arrays import Arrays
    from jtm_core.systems.fitted import FittedSystem
    from jtm_core.systems.rounds import Round


@step(
    run_name="fit-system-{data.name}-{system}-{config.seed}{variation}",
    uses=("first_tree", "model", "training", "tree_learning", "evaluation", "iterations", "seed"),
)
def fit_system(data: DataReferences, system: SystemName, config: JtmConfig, counting: CountingConfig, variation: str) -> FittedRun:
    """Fit a system and list the last cut-off's number of items for validation and test users, seen items left in and taken out.

    Parameters
    ----------
    data : DataReferences
    system : SystemName
    config : JtmConfig
        The system's own settings, with the seed of this run.
    counting : CountingConfig
        Those of systems that count.
    variation : str
        Empty, or which dial the settings vary.

    Returns
    -------
    FittedRun
    """
    from jtm_core.experiment import what_a_system_reads
    from jtm_core.systems import fitting
    from jtm_core.systems.lessons import lessons_of

    store = open_store()
    behaviours, split = read_data(store, data)
    own, keeper = what_a_system_reads(config), fit_folder()
    lessons = lessons_of(behaviours, split, read_categories(store, data), fitting.newest_share_of(system, own, counting))
    with Progress(artifact_key("fit-system", data.name, system, str(config.seed), variation), "epochs") as progress:
        with metered() as meter:
            fitted = fitting.fit_system(system, lessons, own, progress.show, counting, keeper)
            fitting_cost, fit_seconds = meter.cost(), keeper.seconds
        with metered() as meter:
            lists = lists_of(fitted, behaviours, split, config.evaluation.cutoffs[-1])
            listing_cost = meter.cost()
    step_logger().info("%s, seed %d: fitted in %.1f s, listed in %.1f s", system, config.seed, fit_seconds, listing_cost.seconds)
    timings = {
        "fit_seconds": fit_seconds,
        "list_seconds": listing_cost.seconds,
        "peak_memory_gb": max(fitting_cost.peak_memory_gb, listing_cost.peak_memory_gb),
    }
    settings, (tree, model, first_level) = {**key_part(own), "counting": key_part(counting)}, _save_searched(store, fitted)
    run = FittedRun(
        system=system,
        seed=config.seed,
        variation=variation,
        lists=save_lists(store, lists),
        rounds=save_report(store, "rounds", {"rounds": [round_values(one) for one in fitted.rounds], "settings": settings}),
        tree=tree,
        model=model,
        first_level=first_level,
        timings=save_report(store, "timings", timings),
    )
    keeper.discard()
    return run


def _save_searched(store: Store, fitted: "FittedSystem") -> tuple[TreeRef | None, ModelRef | None, int | None]:
    """Tree, network and first level of a system that JTM's beam searches."""
    from jtm_core.systems.fitted import TreeSystem

    if not isinstance(fitted, TreeSystem):
        return None, None, None
    return save_tree(store, fitted.tree), save_network(store, fitted.network), fitted.first_level


def lists_of(recommender: "Recommender", behaviours: "Behaviours", split: "Split", count: int) -> "Arrays":
    """Lists of all evaluation users: int32 (E, count) arrays ``validation``, ``test`` and, without seen items, ``..._filtered``."""
    import numpy as np

    from jtm_core.behaviours import evaluation_histories

    lists: Arrays = {}
    for role, users in {"validation": split.validation, "test": split.test}.items():
        known = evaluation_histories(behaviours, users)
        lists[role] = recommender.recommend(known, count).astype(np.int32)
        lists[f"{role}_filtered"] = recommender.recommend(known, count, known).astype(np.int32)
    return lists


def round_values(one: "Round") -> dict[str, Any]:
    """A round as JSON values; what was not measured is null."""
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in asdict(one).items()}
