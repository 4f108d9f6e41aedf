"""Fit a system by its name."""

from typing import Literal, get_args

from jtm_core.baselines.als import ImplicitALS
from jtm_core.baselines.item_cf import ItemCF, Weighting
from jtm_core.baselines.personal_popularity import PersonalPopularity
from jtm_core.baselines.popularity import Popularity
from jtm_core.baselines.protocol import Recommender
from jtm_core.config import JtmConfig
from jtm_core.counting_config import CountingConfig
from jtm_core.keeping import Keeper, KeepNothing
from jtm_core.systems.fitted import FittedSystem, PlainSystem, TreeSystem
from jtm_core.systems.joint import JointLearning
from jtm_core.systems.lessons import Lessons
from jtm_core.systems.naming import SystemName
from jtm_core.systems.retrieval import ScanRecommender
from jtm_core.systems.rounds import Report
from jtm_core.systems.softmaxes import fit_hsm, fit_product_dnn

_Counted = Literal["popularity", "recent-popularity", "personal-popularity", "item-cf", "item-cf-bm25", "als"]

_COUNTING, _KEEP_NOTHING = CountingConfig(), KeepNothing()


def fit_system(
    name: SystemName,
    lessons: Lessons,
    config: JtmConfig,
    report: Report,
    counting: CountingConfig = _COUNTING,
    keeper: Keeper = _KEEP_NOTHING,
) -> FittedSystem:
    """Fit one system.

    Parameters
    ----------
    name : SystemName
    lessons : Lessons
        With the targets that :func:`newest_share_of` says.
    config : JtmConfig
        The system's own settings, see :func:`jtm_core.systems.naming.settings_of`.
    report : callable
        Progress of learned systems, see :data:`jtm_core.systems.rounds.Report`.
    counting : CountingConfig
        Settings of systems that count or factorise.
    keeper : Keeper
        What an earlier call with the same arguments has kept is not done again: of every learned system the rounds and of the training
        under way the batches, of product-DNN and HSM the epochs.

    Returns
    -------
    FittedSystem
        A :class:`~jtm_core.systems.fitted.TreeSystem` for TDM, JTM and its ablations. Equal lessons and settings give equal bits.
    """
    match name:
        case "popularity" | "recent-popularity" | "personal-popularity" | "item-cf" | "item-cf-bm25" | "als":
            return PlainSystem(_fit_by_counts(name, lessons, config.seed, counting))
        case "product-dnn":
            return fit_product_dnn(lessons, config, report, keeper)
        case "hsm":
            return fit_hsm(lessons, config, report, keeper)
        case _:
            return _fit_on_a_tree(name, lessons, config, report, keeper)


def newest_share_of(name: SystemName, config: JtmConfig, counting: CountingConfig) -> float:
    """What :func:`jtm_core.systems.lessons.lessons_of` is to leave a system as targets: ``counting`` says it of one that counts."""
    if name == "recent-popularity":
        return counting.recent_share
    return counting.newest_share if name in get_args(_Counted) else config.training.later_newest_share


def _fit_by_counts(
    name: _Counted,
    lessons: Lessons,
    seed: int,
    counting: CountingConfig,
) -> Recommender:
    counted, num_items = lessons.histories.targets(), lessons.num_items
    match name:
        case "popularity" | "recent-popularity":
            return Popularity.fit(counted, num_items)
        case "personal-popularity":
            return PersonalPopularity.fit(counted, num_items)
        case "item-cf" | "item-cf-bm25":
            weighting: Weighting = "bm25" if name == "item-cf-bm25" else "cosine"
            return ItemCF.fit(counted, num_items, counting.num_neighbours, weighting=weighting, own_items=counting.own_items)
        case "als":
            return ImplicitALS.fit(counted, num_items, seed, counting)


def _fit_on_a_tree(name: SystemName, lessons: Lessons, config: JtmConfig, report: Report, keeper: Keeper) -> FittedSystem:
    grown, rounds = JointLearning(lessons, config, report, keeper).run()
    if name == "dnn":
        return PlainSystem(ScanRecommender(grown.network, grown.tree), rounds)
    return TreeSystem(grown.network, grown.tree, min(config.first_level, grown.tree.height), config.evaluation.beam_width, rounds)
