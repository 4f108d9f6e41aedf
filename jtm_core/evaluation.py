"""Retrieval measured as the paper does, and where the losses come from.

Beside the beam's lists: the same lists without seen items, those of a small beam (there the tree decides), the full
leaf scan of the same network (what search could reach at best, so full scan minus beam is the search loss), and the
recall of each level on the way down (there one sees on which level a target is lost).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from jtm_core.beam import USERS_PER_BLOCK, BeamSearch, full_scan, without_items
from jtm_core.behaviours import Behaviours, EvaluationUsers, Ints, Ragged, evaluation_histories, evaluation_truths
from jtm_core.codes import ancestors_up
from jtm_core.config import EvaluationConfig
from jtm_core.metrics import mean_metrics, metrics_at
from jtm_core.model import JtmNetwork
from jtm_core.scoring import Windows, make_scorer, windows_of
from jtm_core.training import Validation
from jtm_core.tree import TreeIndex

MOST_LIST_PAIRS = 500
"""Pairs of users whose lists are compared for their overlap."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one version.

    Parameters
    ----------
    metrics : dict of str to float
        ``recall_at_200`` and so on for the beam, and under the prefixes ``filtered/``, ``small_beam/``, ``full_scan/``,
        ``full_scan_filtered/`` for the other lists; ``search_loss/recall_at_200`` is full scan minus beam;
        ``layer_recall/level_07`` the share of targets whose ancestor on that level the beam kept.
    recalls : dict of str to float64 array (E,)
        Recall of each user at each cut-off of the beam's lists, in the order of the users; for paired comparisons.
    """

    metrics: dict[str, float]
    recalls: dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Questions:
    """Evaluation users as the search sees them: what is known, what is to be found."""

    histories: Ragged
    truths: Ragged
    windows: Windows


def questions_of(behaviours: Behaviours, users: EvaluationUsers, window_sizes: tuple[int, ...]) -> Questions:
    """Histories, truths and windows of evaluation users."""
    histories = evaluation_histories(behaviours, users)
    return Questions(histories, evaluation_truths(behaviours, users), windows_of(histories, window_sizes))


def evaluate(
    network: JtmNetwork, tree: TreeIndex, behaviours: Behaviours, users: EvaluationUsers, config: EvaluationConfig, first_level: int
) -> Evaluation:
    """Judge a version by what its users did next.

    Parameters
    ----------
    network : JtmNetwork
        Trained on ``tree`` from ``first_level`` down.
    tree : TreeIndex
    behaviours : Behaviours
        Of all users.
    users : EvaluationUsers
        Who is asked.
    config : EvaluationConfig
    first_level : int

    Returns
    -------
    Evaluation
    """
    asked, scorer = questions_of(behaviours, users, network.config.window_sizes), make_scorer(network, tree)
    last, small = config.cutoffs[-1], config.small_beam_width
    beam, layers = _search(BeamSearch(scorer, config.beam_width, first_level), asked, last)
    small_beam, _ = _search(BeamSearch(scorer, small, first_level), asked, small)
    scan = full_scan(scorer, asked.windows, min(tree.num_items, last + int(np.diff(asked.histories.offsets).max()))).items
    lists = {
        "": beam[0],
        "filtered/": beam[1],
        "small_beam/": small_beam[0],
        "small_beam_filtered/": small_beam[1],
        "full_scan/": scan[:, :last],
        "full_scan_filtered/": without_items(scan, asked.histories, tree.num_items, last),
    }
    measured = {prefix: _measure(items, asked, config) for prefix, items in lists.items()}
    metrics = {f"{prefix}{name}": value for prefix, values in measured.items() for name, value in mean_metrics(values).items()}
    for name in [name for name in measured[""] if name.startswith("recall") and name in measured["full_scan/"]]:
        metrics[f"search_loss/{name}"] = metrics[f"full_scan/{name}"] - metrics[name]
    metrics |= {f"layer_recall/level_{level:02d}": value for level, value in layers.items()}
    return Evaluation(metrics, {name: values for name, values in measured[""].items() if name.startswith("recall")})


def validate(network: JtmNetwork, tree: TreeIndex, asked: Questions, config: EvaluationConfig, first_level: int) -> Validation:
    """The short judgement that decides: recall at the last cut-off, spread of scores, overlap of lists."""
    search, last = BeamSearch(make_scorer(network, tree), config.beam_width, first_level), config.cutoffs[-1]
    lists, spreads = [], []
    for low, part in _blocks(asked.windows):
        ranking = search.rank(part)
        seen = _rows(asked.histories, low, low + len(part))
        lists.append(without_items(ranking.items, seen, tree.num_items, last) if config.filter_seen else ranking.items[:, :last])
        spreads.append(np.nanstd(np.where(np.isfinite(ranking.logits), ranking.logits, np.nan)[:, :last], axis=1))
    items = np.concatenate(lists)
    recall = metrics_at(items, asked.truths, asked.histories, [min(last, items.shape[1])], config.truth)[
        f"recall_at_{min(last, items.shape[1])}"
    ]
    return Validation(float(recall.mean()), float(np.concatenate(spreads).mean()), list_overlap(items))


def list_overlap(items: Ints) -> float:
    """Mean share of items that neighbouring users' lists have in common, over at most 500 pairs; int64 (E, M) lists."""
    pairs = [np.intersect1d(one, other).size / items.shape[1] for one, other in pairwise(items[: MOST_LIST_PAIRS + 1])]
    return float(np.mean(pairs)) if pairs else 0.0


def _blocks(windows: Windows) -> list[tuple[int, Windows]]:
    return [(low, windows.part(low, min(low + USERS_PER_BLOCK, len(windows)))) for low in range(0, len(windows), USERS_PER_BLOCK)]


def _rows(ragged: Ragged, low: int, high: int) -> Ragged:
    offsets = ragged.offsets[low : high + 1]
    return Ragged(ragged.values[offsets[0] : offsets[-1]], offsets - offsets[0])


def _search(search: BeamSearch, asked: Questions, count: int) -> tuple[tuple[Ints, Ints], dict[int, float]]:
    """Lists without and with the filter of seen items, and the recall of each level."""
    plain, filtered, found = [], [], dict.fromkeys(search.levels, 0.0)
    for low, part in _blocks(asked.windows):
        seen, truths = (_rows(ragged, low, low + len(part)) for ragged in (asked.histories, asked.truths))
        ranking, kept = search.rank_with_levels(part)
        plain.append(ranking.items[:, :count])
        filtered.append(without_items(ranking.items, seen, search.tree.num_items, count))
        for level, codes in kept.items():
            found[level] += _found_share(search.tree, level, codes, truths)
    return (np.concatenate(plain), np.concatenate(filtered)), {level: total / len(asked.windows) for level, total in found.items()}


def _found_share(tree: TreeIndex, level: int, codes: Ints, truths: Ragged) -> float:
    """Sum over users of the share of targets whose ancestor is among the kept codes."""
    users = np.repeat(np.arange(len(truths)), np.diff(truths.offsets))
    wanted = ancestors_up(tree.leaf_of_item[truths.values], tree.height - level)
    size = 2 << tree.height
    is_found = np.isin(users * size + wanted, (np.arange(len(codes))[:, None] * size + codes)[codes >= 0])
    return float((np.bincount(users, weights=is_found, minlength=len(truths)) / np.diff(truths.offsets)).sum())


def _measure(items: Ints, asked: Questions, config: EvaluationConfig) -> dict[str, NDArray[np.float64]]:
    cutoffs = [cutoff for cutoff in config.cutoffs if cutoff <= items.shape[1]]
    return metrics_at(items, asked.truths, asked.histories, cutoffs, config.truth) if cutoffs else {}
