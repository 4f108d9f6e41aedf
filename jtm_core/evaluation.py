"""Retrieval measured as the paper does, and where the losses come from.

Beside the beam's lists: the same lists without seen items, those of a small beam (there the tree decides), the full
leaf scan of the same network (what search could reach at best, so full scan minus beam is the search loss), and the
recall of each level on the way down (there one sees on which level a target is lost).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from jtm_core.beam import BeamSearch, blocks_of, full_scan, without_items
from jtm_core.behaviours import Behaviours, EvaluationUsers, Ints, Ragged, evaluation_histories, evaluation_truths
from jtm_core.codes import ancestors_up
from jtm_core.config import EvaluationConfig
from jtm_core.gate import deciding_cutoff
from jtm_core.metrics import mean_metrics, metrics_at
from jtm_core.model import JtmNetwork
from jtm_core.scoring import Scorer, make_scorer
from jtm_core.training import Validation
from jtm_core.tree import TreeIndex
from jtm_core.widening import widening_of
from jtm_core.windows import Reading, Windows, windows_of

MOST_LIST_PAIRS = 500
"""Pairs of users whose lists are compared for their overlap."""
MOST_SCANNED_LEAVES = 1 << 28
"""Leaves that a full scan scores over all its users at most, under a minute on two cores; with more, a part of the users is scanned."""

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one version.

    Parameters
    ----------
    metrics : dict of str to float
        ``recall_at_200`` and so on for the beam, and under the prefixes ``filtered/``, ``small_beam/``, ``full_scan/``,
        ``full_scan_filtered/`` for the other lists; ``full_scan/num_users`` says how many users were scanned: all, or at large
        corpora evenly spaced ones among them; ``search_loss/recall_at_200`` is full scan minus beam for just these users;
        ``layer_recall/level_07`` the share of targets whose ancestor on that level the beam kept.
    recalls : dict of str to float64 array (E,)
        Recall of each user at each cut-off of the beam's lists, in the order of the users.
    lists : dict of str to int64 array (E, M)
        The beam's lists down to the last cut-off, best first, and under ``filtered/`` those without seen items; for paired comparisons.
    """

    metrics: dict[str, float]
    recalls: dict[str, NDArray[np.float64]]
    lists: dict[str, Ints]


@dataclass(frozen=True, slots=True)
class Questions:
    """Evaluation users as the search sees them: what is known, what is to be found."""

    histories: Ragged
    truths: Ragged
    windows: Windows

    def __len__(self) -> int:
        return len(self.windows)

    def part(self, low: int, high: int) -> "Questions":
        """Users ``low .. high - 1``."""
        return Questions(self.histories.rows(low, high), self.truths.rows(low, high), self.windows.part(low, high))

    def take(self, users: Ints) -> "Questions":
        """Some users, in the order given."""
        return Questions(self.histories.take(users), self.truths.take(users), self.windows.take(users))


def questions_of(behaviours: Behaviours, users: EvaluationUsers, reading: Reading) -> Questions:
    """Histories, truths and windows of evaluation users."""
    histories = evaluation_histories(behaviours, users)
    return Questions(histories, evaluation_truths(behaviours, users), windows_of(histories, reading))


def evaluate(
    network: JtmNetwork, tree: TreeIndex, asked: Questions, config: EvaluationConfig, first_level: int, report: Report | None = None
) -> Evaluation:
    """Judge a version by what its users did next.

    Memory does not grow with the corpus beyond the network, the tree and the halves that a scorer keeps.

    Parameters
    ----------
    network : JtmNetwork
        Trained on ``tree`` from ``first_level`` down.
    tree : TreeIndex
    asked : Questions
        Who is asked; see :func:`questions_of`.
    config : EvaluationConfig
    first_level : int
    report : callable (done, total), optional
        Called after every block of users. The unit is a node scored, about, so that beam and full scan advance alike.

    Returns
    -------
    Evaluation
    """
    scorer, asked = make_scorer(network, tree), _counted(asked, config)
    scanned = _scanned_users(len(asked), tree.num_items)
    searches = [BeamSearch(scorer, width, first_level) for width in (config.beam_width, config.small_beam_width)]
    advance = _Advance(report, len(asked) * sum(search.most_scores for search in searches) + len(scanned) * tree.num_items)
    last, small = config.cutoffs[-1], config.small_beam_width
    beam, layers = _search(searches[0], asked, last, advance)
    small_beam, _ = _search(searches[1], asked, small, advance)
    measured = {
        prefix: _measure(items, asked, config)
        for prefix, items in zip(("", "filtered/", "small_beam/", "small_beam_filtered/"), (*beam, *small_beam), strict=True)
    }
    measured |= _scan(scorer, asked.take(scanned), config, advance)
    metrics = {f"{prefix}{name}": value for prefix, values in measured.items() for name, value in mean_metrics(values).items()}
    for name in [name for name in measured[""] if name.startswith("recall") and name in measured["full_scan/"]]:
        metrics[f"search_loss/{name}"] = metrics[f"full_scan/{name}"] - float(measured[""][name][scanned].mean())
    metrics |= {f"layer_recall/level_{level:02d}": value for level, value in layers.items()}
    metrics["full_scan/num_users"] = float(len(scanned))
    recalls = {name: values for name, values in measured[""].items() if name.startswith("recall")}
    return Evaluation(metrics, recalls, dict(zip(("", "filtered/"), beam, strict=True)))


def _counted(asked: Questions, config: EvaluationConfig) -> Questions:
    """What is asked, under ``set`` with each target once, so that levels count as the metrics do."""
    if config.truth == "multiset":
        return asked
    users, span = np.repeat(np.arange(len(asked)), np.diff(asked.truths.offsets)), int(asked.truths.values.max()) + 1
    owners, items = np.divmod(np.unique(users * span + asked.truths.values), span)
    return Questions(asked.histories, Ragged(items, np.searchsorted(owners, np.arange(len(asked) + 1))), asked.windows)


class _Advance:
    """Adds up what is done and reports it."""

    def __init__(self, report: Report | None, total: int) -> None:
        self._report, self._done, self._total = report, 0, total

    def __call__(self, done: int) -> None:
        self._done += done
        if self._report is not None:
            self._report(self._done, self._total)


def _scanned_users(num_users: int, num_items: int) -> Ints:
    """Places of the users that are scanned in full: all, or evenly spaced ones whose leaves do not exceed the bound."""
    count = max(1, min(num_users, MOST_SCANNED_LEAVES // num_items))
    return np.arange(count) * num_users // count


def _scan(scorer: Scorer, asked: Questions, config: EvaluationConfig, advance: _Advance) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Metrics of the full scan, without and with the filter of seen items."""
    num_items, last = scorer.tree.num_items, config.cutoffs[-1]
    count = min(num_items, last + int(np.diff(asked.histories.offsets).max()))
    plain, filtered = [], []
    for low, windows in blocks_of(asked.windows):
        items = full_scan(scorer, windows, count).items
        plain.append(items[:, :last])
        filtered.append(without_items(items, asked.histories.rows(low, low + len(windows)), num_items, last))
        advance(len(windows) * num_items)
    return {
        "full_scan/": _measure(np.concatenate(plain), asked, config),
        "full_scan_filtered/": _measure(np.concatenate(filtered), asked, config),
    }


def validate(network: JtmNetwork, tree: TreeIndex, asked: Questions, config: EvaluationConfig, first_level: int) -> Validation:
    """The short judgement that decides: recall as :func:`jtm_core.gate.deciding_metric` has it, spread of scores, overlap of lists."""
    search, last = BeamSearch(make_scorer(network, tree), config.beam_width, first_level), config.cutoffs[-1]
    widening, lists, spreads = widening_of(search), [], []
    for low, part in blocks_of(asked.windows):
        ranking = search.rank(part, None if config.filter_seen else min(last, tree.num_items))
        seen = asked.histories.rows(low, low + len(part))
        lists.append((widening.without(ranking, part, last, seen) if config.filter_seen else ranking).items[:, :last])
        spreads.append(np.nanstd(np.where(np.isfinite(ranking.logits), ranking.logits, np.nan)[:, :last], axis=1))
    items = np.concatenate(lists)
    cutoff = min(deciding_cutoff(config.cutoffs, tree.num_items), items.shape[1])
    recall = metrics_at(items, asked.truths, asked.histories, [cutoff], config.truth)[f"recall_at_{cutoff}"]
    return Validation(float(recall.mean()), float(np.concatenate(spreads).mean()), list_overlap(items, tree.num_items))


def list_overlap(items: Ints, num_items: int) -> float:
    """How much neighbouring users' lists have in common beyond chance, over at most 500 pairs: 1 all, 0 as lists drawn at random.

    Parameters
    ----------
    items : int64 array (E, M)
        Lists.
    num_items : int
        Of the catalogue; lists that hold all of it say nothing and count as 0.

    Examples
    --------
    >>> list_overlap(np.array([[0, 1], [0, 1]]), num_items=8), list_overlap(np.array([[0, 1], [1, 0]]), num_items=2)
    (1.0, 0.0)
    """
    pairs = [np.intersect1d(one, other).size / items.shape[1] for one, other in pairwise(items[: MOST_LIST_PAIRS + 1])]
    by_chance = items.shape[1] / num_items
    return (float(np.mean(pairs)) - by_chance) / (1 - by_chance) if pairs and by_chance < 1 else 0.0


def _search(search: BeamSearch, asked: Questions, count: int, advance: _Advance) -> tuple[tuple[Ints, Ints], dict[int, float]]:
    """Lists without and with the filter of seen items, and the recall of each level."""
    plain, filtered, found, widening = [], [], dict.fromkeys(search.levels, 0.0), widening_of(search)
    for low, windows in blocks_of(asked.windows):
        part = asked.part(low, low + len(windows))
        ranking, kept = search.rank_with_levels(windows)
        plain.append(ranking.items[:, :count])
        filtered.append(widening.without(ranking, windows, count, part.histories).items)
        for level, codes in kept.items():
            found[level] += _found_share(search.tree, level, codes, part.truths)
        advance(len(windows) * search.most_scores)
    return (np.concatenate(plain), np.concatenate(filtered)), {level: total / len(asked) for level, total in found.items()}


def _found_share(tree: TreeIndex, level: int, codes: Ints, truths: Ragged) -> float:
    """Sum over users of the share of targets whose ancestor is among the kept codes: (S, beam width), ascending, -1 behind."""
    users = np.repeat(np.arange(len(truths)), np.diff(truths.offsets))
    wanted, size = ancestors_up(tree.leaf_of_item[truths.values], tree.height - level), 2 << tree.height
    kept = (np.arange(len(codes))[:, None] * size + codes)[codes >= 0]
    places = np.minimum(np.searchsorted(kept, users * size + wanted), len(kept) - 1)
    is_found = kept[places] == users * size + wanted
    return float((np.bincount(users, weights=is_found, minlength=len(truths)) / np.diff(truths.offsets)).sum())


def _measure(items: Ints, asked: Questions, config: EvaluationConfig) -> dict[str, NDArray[np.float64]]:
    cutoffs = [cutoff for cutoff in config.cutoffs if cutoff <= items.shape[1]]
    return metrics_at(items, asked.truths, asked.histories, cutoffs, config.truth) if cutoffs else {}
