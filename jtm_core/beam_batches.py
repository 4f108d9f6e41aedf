"""Batches of the nodes that beam search really visits, with targets re-estimated for it: OTM's training (section 4.3).

A network trained on evenly drawn nodes hardly sees those between which a beam has to choose. Here the negatives of a
sample are drawn, evenly and without replacement, from the *visited* nodes of each level: the children of the beam that
the network, as it is now, keeps on the level above; on levels that no beam prunes, from all of them. No gradient passes
through the search. Targets of inner nodes are re-estimated from the leaves up (:mod:`jtm_core.pseudo_targets`): of the
target's ancestors only those are positives, *wanted*, from which the network's own scores lead down to it; the others
are nodes like any other and may be drawn as negatives.

Where we leave OTM: wanted ancestors always take part, visited or not, or else what fell off the beam would never come
back; a share of the negatives is drawn from all nodes of a level (OTM, section 4.3, names that as the way to keep its
optimality); visited nodes are drawn within the budget of negatives that :class:`~jtm_core.batches.BatchMaker` has, and
by default the samples of a user share one search. Where fewer nodes are visited than drawn, rows are masked.

With ``negative_draw: popularity`` the share from all nodes is drawn by popularity, and the loss corrects for both draws together: a node
is drawn as often as from all nodes and, if it was visited, from among these as well, and the logarithm of how many times that is what even
draws would bring is taken off its logit. What a perfect network's logits are is then that of even draws, as with
:class:`~jtm_core.sampling.PopularitySampler`; which nodes are visited only decides how well they are learned.

Shape letters: S samples, L trained levels, C candidates of a level, U searches, R rows per sample, N nodes of the tree.
"""

from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.batches import BatchMaker, NodeRows, TrainingBatch, chunk_edges, equal_share, gather_runs
from jtm_core.beam import BeamSearch
from jtm_core.behaviours import Ints, Ragged
from jtm_core.codes import children_of, first_code
from jtm_core.config import TrainingConfig
from jtm_core.features import Samples
from jtm_core.kernels import MASKED, Rows
from jtm_core.model import JtmNetwork
from jtm_core.network_arrays import half_width
from jtm_core.pseudo_targets import targets_of_parents
from jtm_core.sampling import NegativeSampler, PopularitySampler, negatives_per_level
from jtm_core.scoring import CACHE_BYTES, Scorer, make_scorer
from jtm_core.tree import TreeIndex
from jtm_core.windows import Windows, sample_windows

Floats = NDArray[np.float32]

_SCORES_PER_KEPT_HALF = 4
"""A node's half is worth making for all to read if a batch scores that many times as many nodes as there are."""

_SAMPLES_PER_USER = 16
"""So many samples a user has in a batch, about; only decides how many halves are kept."""


@numba.njit(fastmath=False, cache=True, nogil=True)
def _draw_visited(visited: tuple[Ints, Ints], excluded: Ints, uniforms: NDArray[np.float64], out: Ints) -> None:
    """Fill each row of ``out`` with distinct visited nodes but the excluded one, every subset equally likely; -1 behind."""
    codes, searches = visited
    pool = np.empty(codes.shape[1], np.int64)
    for s in range(len(out)):
        size = 0
        for code in codes[searches[s]]:
            if code >= 0 and code != excluded[s]:
                pool[size] = code
                size += 1
        count = min(out.shape[1], size)
        for k in range(count):
            pick = k + min(int(uniforms[s, k] * (size - k)), size - k - 1)
            pool[k], pool[pick] = pool[pick], pool[k]
            out[s, k] = pool[k]
        out[s, count:] = -1


@numba.njit(fastmath=False, cache=True, nogil=True)
def _has(codes: Ints, code: int) -> bool:
    """Whether a code is among rising ones."""
    place = np.searchsorted(codes, code)
    return bool(place < len(codes) and codes[place] == code)


@numba.njit(fastmath=False, cache=True, nogil=True)
def _log_rates(
    visited: tuple[Ints, Ints], excluded: Ints, codes: Ints, from_level: NDArray[np.float64], budget: tuple[float, float], out: Floats
) -> None:
    """Logarithm of how many times oftener than by even draws each node of a sample's rows is drawn.

    ``visited`` are candidates in rising order (U, C), -1 for none, and the search of each sample; ``from_level`` has by code the expected
    draws of a node from all of its level; ``budget`` how many are drawn from the visited nodes, and how often even draws alone meet a node.
    An excluded node, the wanted one, counts like another of its kind.
    """
    candidates, searches = visited
    num_drawn, by_even_draws = budget
    for s in range(len(codes)):
        own = candidates[searches[s]]
        size = float(len(own) - np.searchsorted(own, 0) - _has(own, excluded[s]))
        from_visited = min(num_drawn, size) / max(size, 1.0)
        for row in range(codes.shape[1]):
            code = codes[s, row]
            out[s, row] = np.log((from_level[code] + from_visited * _has(own, code)) / by_even_draws)


def searched_samples(samples: Samples) -> Ints:
    """Whose search serves each sample if users are searched for once: the middle one of a user's neighbouring samples; int64 (S,)."""
    first = np.flatnonzero(np.append(True, samples.starts[1:] != samples.starts[:-1]))
    lengths = np.diff(np.append(first, len(samples)))
    return np.repeat(first + lengths // 2, lengths)


class BeamBatchMaker:
    """Turns samples into :class:`~jtm_core.batches.TrainingBatch` by the network as it is when asked.

    Parameters
    ----------
    network : JtmNetwork
        The one that is trained; its weights are read anew for every batch.
    tree : TreeIndex
    config : TrainingConfig
    first_level : int
        First level trained.
    histories : Ragged
        Of training: they tell how popular items are, and whose samples are at hand.
    """

    reads_network = True
    """See :attr:`~jtm_core.batches.BatchMaker.reads_network`."""

    def __init__(self, network: JtmNetwork, tree: TreeIndex, config: TrainingConfig, first_level: int, histories: Ragged) -> None:
        self._network, self._tree, self._config = network, tree, config
        self._reading, counts = network.reading.of_training(histories.offsets), np.bincount(histories.values, minlength=tree.num_items)
        self.levels = range(first_level, tree.height + 1)
        self._table = NodeRows(tree, self.levels, network.config.features)
        self._used = [tree.used_nodes(level) for level in self.levels]
        self._is_used = np.zeros(first_code(tree.height + 1), dtype=np.bool_)
        self._is_used[np.concatenate(self._used)] = True
        self._search = BeamSearch(make_scorer(network, tree, cache_bytes=0), config.training_beam, first_level)
        from_level = min(round(config.negatives * config.level_share), config.negatives - 1)
        self._sampler = make_sampler(tree, config, first_level, from_level, counts) if from_level else None
        pruned = range(self._search.levels[0] + 1, tree.height + 1)
        most = [2 * config.training_beam if level in pruned else len(used) for level, used in zip(self.levels, self._used, strict=True)]
        limits = [min(count, len(used)) for count, used in zip(most, self._used, strict=True)]
        self.counts = negatives_per_level(config.negatives - from_level, [limit + 1 for limit in limits])
        self.level_counts = self._sampler.counts if self._sampler else [0] * len(self.counts)
        self._from_level = self._draws_from_level()
        self._level_of_row = np.repeat(np.arange(len(self.levels)), np.array(self.counts) + np.array(self.level_counts) + 1)
        searches = config.batch_samples // (1 if config.searches == "sample" else _SAMPLES_PER_USER)
        scores = self._search.most_scores * searches
        self._cache_bytes = min(CACHE_BYTES, 4 * half_width(network.config) * scores // _SCORES_PER_KEPT_HALF)

    @property
    def rows_per_sample(self) -> int:
        """(sample, node) rows of one sample, masked ones included."""
        return len(self._level_of_row)

    def share(self, num_samples: int, rank: int, size: int) -> slice:
        """As :meth:`jtm_core.batches.BatchMaker.share`."""
        return equal_share(num_samples, self._config.negatives_block, rank, size)

    def make(self, items: Ints, samples: Samples, rng: np.random.Generator, share: slice | None = None) -> TrainingBatch:
        """Build the batch of some samples, as :meth:`jtm_core.batches.BatchMaker.make` does: a share has the nodes of the whole batch."""
        share = share or slice(0, len(samples))
        from_level = self._draw_from_level(rng, len(samples), share)
        uniforms = [rng.random((len(samples), count))[share] for count in self.counts]
        asked = searched_samples(samples) if self._config.searches == "user" else np.arange(len(samples))
        asked, search_of_sample = np.unique(asked[share], return_inverse=True)
        own = samples.part(share)
        windows = sample_windows(items, own, self._reading)
        scorer = make_scorer(self._network, self._tree, cache_bytes=self._cache_bytes)
        is_here = asked[0] >= share.start and asked[-1] < share.stop
        searched = windows.take(asked - share.start) if is_here else sample_windows(items, samples.take(asked), self._reading)
        visited = self.visited_nodes(scorer, searched)
        positives = self._table.lift(own.targets)
        wanted = self.wanted_ancestors(scorer, windows, positives)
        columns = list[tuple[Ints, Floats, Floats]]()
        for place, candidates in enumerate(visited):
            drawn = np.empty(uniforms[place].shape, dtype=np.int64)
            choice, excluded = (candidates, search_of_sample % len(candidates)), np.where(wanted[place], positives[place], -1)
            _draw_visited(choice, excluded, uniforms[place], drawn)
            negatives = np.concatenate([drawn, from_level[place]], axis=1)
            codes, labels = _labelled(positives[place][:, None], wanted[place][:, None], negatives)
            columns.append((codes, labels, self._offsets(place, choice, excluded, codes)))
        rows, nodes = self._rows(columns)
        runs, bounds = gather_runs(items, own, self._reading.window_sizes)
        return TrainingBatch(self._table, runs.offsets, Windows(runs.values, bounds, windows.near), nodes, rows)

    def visited_nodes(self, scorer: Scorer, windows: Windows) -> list[Ints]:
        """What a beam's choice lies between, per trained level.

        Parameters
        ----------
        scorer : Scorer
        windows : Windows
            U users.

        Returns
        -------
        list of int64 array (U, C)
            Children of the beam kept above, -1 where there is no item under one; (1, C) on levels where all used nodes are visited.
        """
        search = self._search.renewed(scorer)
        kept = search.rank_with_levels(windows)[1]
        return [
            search.candidates_below(kept[level - 1], level) if level > search.levels[0] else used[None]
            for level, used in zip(self.levels, self._used, strict=True)
        ]

    def wanted_ancestors(self, scorer: Scorer, windows: Windows, positives: Ints) -> NDArray[np.bool_]:
        """Re-estimated targets of the targets' ancestors (OTM, eq. 15): bool (L, S).

        Parameters
        ----------
        scorer : Scorer
        windows : Windows
            S samples.
        positives : int64 array (L, S)
            The targets' ancestors on every trained level; on the last one their leaves, which are always wanted.
        """
        wanted = np.ones(positives.shape, dtype=np.bool_)
        for place in reversed(range(len(positives) - 1)):
            children = children_of(positives[place])
            logits = scorer.score_level(windows, self.levels[place + 1], np.where(self._is_used[children], children, -1))
            targets = (children == positives[place + 1][:, None]) & wanted[place + 1][:, None]
            wanted[place] = targets_of_parents(targets, logits)
        return wanted

    def _draw_from_level(self, rng: np.random.Generator, num_samples: int, share: slice) -> list[Ints]:
        """Negatives drawn from all nodes, of the samples of a share, per level (S, count), as many columns as there are."""
        block = self._config.negatives_block
        if self._sampler is None:
            return [np.empty((share.stop - share.start, 0), dtype=np.int64)] * len(self.levels)
        block_of_sample = np.arange(share.start, share.stop) // block
        return [codes[block_of_sample] for codes in self._sampler.draw(rng, -(-num_samples // block))]

    def _draws_from_level(self) -> NDArray[np.float64] | None:
        """By code how often a node is expected among the negatives from all nodes of its level; None if nothing is corrected for."""
        if self._sampler is None or self._sampler.offsets is None:
            return None
        expected = np.exp(self._sampler.offsets.astype(np.float64))
        for used, count in zip(self._used, self.level_counts, strict=True):
            expected[used] *= count / len(used)
        return expected

    def _offsets(self, place: int, choice: tuple[Ints, Ints], excluded: Ints, codes: Ints) -> Floats:
        """What the loss takes off the logits of a level's rows (S, R of the level); nothing where no draw by popularity takes part."""
        offsets, num_drawn = np.zeros(codes.shape, dtype=np.float32), self.counts[place] + self.level_counts[place]
        if self._from_level is not None and num_drawn and len(self._used[place]) > 1:  # a node alone on its level has no rival to draw
            candidates, searches = choice
            budget = (float(self.counts[place]), num_drawn / len(self._used[place]))
            _log_rates((np.sort(candidates, axis=1), searches), excluded, codes, self._from_level, budget, offsets)
        return offsets

    def _rows(self, columns: list[tuple[Ints, Floats, Floats]]) -> tuple[Rows, Ints]:
        """Rows of all levels' codes, labels and offsets, each (S, R of the level); codes of the nodes, each once a chunk."""
        codes, labels, offsets = (np.concatenate(parts, axis=1).ravel() for parts in zip(*columns, strict=True))
        num_samples = len(columns[0][0])
        chunks = chunk_edges(num_samples, 1, self.rows_per_sample)
        places, nodes, count = np.empty(len(codes), dtype=np.int32), list[Ints](), 0
        for low, high in pairwise(chunks):
            distinct, inverse = np.unique(codes[low:high], return_inverse=True)
            places[low:high] = inverse + count
            nodes.append(distinct)
            count += len(distinct)
        users = self._level_of_row * num_samples + np.arange(num_samples)[:, None]
        return Rows(users.astype(np.int32).ravel(), places, labels, offsets, chunks), np.concatenate(nodes)


def _labelled(positives: Ints, wanted: NDArray[np.bool_], negatives: Ints) -> tuple[Ints, Floats]:
    """Codes and labels of a level's rows, the target's ancestor (S, 1) first; masked where no node was drawn, or the wanted one."""
    is_none = (negatives < 0) | (wanted & (negatives == positives))
    labels = [np.where(wanted, np.float32(1), np.float32(MASKED)), np.where(is_none, np.float32(MASKED), np.float32(0))]
    return np.concatenate([positives, np.where(is_none, positives, negatives)], axis=1), np.concatenate(labels, axis=1)


def make_maker(
    network: JtmNetwork, tree: TreeIndex, config: TrainingConfig, first_level: int, histories: Ragged
) -> BatchMaker | BeamBatchMaker:
    """What makes batches of the nodes that the settings ask for; ``histories`` are those of training."""
    if config.nodes == "beam":
        return BeamBatchMaker(network, tree, config, first_level, histories)
    sampler = make_sampler(tree, config, first_level, config.negatives, np.bincount(histories.values, minlength=tree.num_items))
    return BatchMaker(tree, sampler, network.config.features, network.reading.of_training(histories.offsets), config.negatives_block)


def make_sampler(tree: TreeIndex, config: TrainingConfig, first_level: int, total: int, counts: Ints) -> NegativeSampler:
    """Draws ``total`` negatives a sample from all nodes as ``negative_draw`` says; ``counts`` are the behaviours of each item."""
    if config.negative_draw == "popularity":
        return PopularitySampler(tree, first_level, total, counts)
    return NegativeSampler(tree, first_level, total)
