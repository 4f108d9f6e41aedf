"""The search's inner loops on the CPU: one user's whole walk down the tree, and the scan of all leaves, without Python.

A user's walk needs nobody else's: its halves for all levels come from one small product, its candidates pass through the
head in tiles, and the best are kept by a threshold. So a user gets the same bits alone and in any company, on any thread,
and the buffers are as large as a beam. :meth:`jtm_core.beam.BeamSearch.walk` is the readable twin.

Candidates always stand in ascending order of code and every choice keeps that order, so ties go to the smaller code.

Shape letters: S users, A levels walked, C candidates, H units of the first hidden layer, W windows, D vector width, V leaves.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.first_layer import IN_ORDER, activate_tile
from jtm_core.history_matches import Near, empty_histories, note_history
from jtm_core.kernels import TILE_ROWS
from jtm_core.selection import LOWEST_KEY, Best, keep_best, make_keys, take_better, write_ranked
from jtm_core.tiles import Buffers, Scoring, activate_matches, make_user_halves, multiply_halves, score_codes, score_tile

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Plan(NamedTuple):
    """Which nodes a walk may see."""

    start: Ints
    """(C,) candidates of the first level, ascending."""
    is_used: NDArray[np.bool_]
    """(2**(height + 1) - 1,) by code: whether some item that may be returned hangs below."""
    first_level: int
    height: int
    beam_width: int


class Found(NamedTuple):
    """What comes out; filled by the kernels."""

    items: Ints
    """(S, count), best first, -1 behind."""
    logits: Floats
    """(S, count), -inf behind."""
    kept: Ints
    """(S, A, beam_width) codes kept per level, ascending, -1 behind; (S, 0, 0) keeps no record."""


@numba.njit(fastmath=False, cache=True, nogil=True)
def _expand(codes: Ints, is_used: NDArray[np.bool_], out: Ints) -> int:
    """Used children of ``codes``, ascending; returns how many there are."""
    count = 0
    for i in range(len(codes)):
        left = 2 * codes[i] + 1
        if is_used[left]:
            out[count] = left
            count += 1
        if is_used[left + 1]:
            out[count] = left + 1
            count += 1
    return count


@numba.njit(fastmath=False, cache=True, nogil=True)
def _note_kept(codes: Ints, out: Ints) -> None:
    """Write down what a level kept."""
    out[: len(codes)] = codes
    out[len(codes) :] = -1


@numba.njit(fastmath=False, cache=True, nogil=True)
def walk_users(asked: tuple[Ints, Ints, Near], scoring: Scoring, plan: Plan, buffers: Buffers, found: Found) -> None:
    """Beam search for users, one after the other (JTM, section 2.1; TDM, algorithm 1).

    Parameters
    ----------
    asked : int64 arrays (N,) and (S, W + 1), int32 array (S, K)
        Flat histories, windows as positions in them, and near items.
    scoring : Scoring
    plan : Plan
    buffers : Buffers
        For all levels of the plan and ``max(len(plan.start), 2 * plan.beam_width)`` candidates.
    found : Found
        Receives the best leaves' items, and the codes kept on each level if it has room for them.
    """
    items, bounds, near = asked
    is_used, beam_width, users = plan.is_used, plan.beam_width, scoring.users
    logits, keys = buffers.logits, buffers.keys
    num_levels = plan.height - plan.first_level + 1
    for s in range(len(bounds)):
        make_user_halves(users, items, bounds[s], buffers)
        if len(scoring.head.match_1):
            note_history(users.leaf_of_item, (items, bounds[s], near[s]), users.near_edges, buffers.histories, 0)
        codes, below, count = buffers.codes, buffers.below, len(plan.start)
        codes[:count] = plan.start
        for a in range(num_levels):
            score_codes(codes[:count], buffers.user_halves[a], scoring, buffers, num_levels - 1 - a)
            make_keys(logits[:count], keys[:count])
            if a == num_levels - 1:
                break
            kept = keep_best(codes[:count], logits[:count], keys[:count], beam_width)
            if found.kept.shape[1]:
                _note_kept(codes[:kept], found.kept[s, a])
            count = _expand(codes[:kept], is_used, below)
            codes, below = below, codes
        leaves = codes[:count], logits[:count], keys[:count], buffers.order
        count = write_ranked(leaves, scoring.nodes.item_of_leaf, found.items[s], found.logits[s])
        if found.kept.shape[1]:
            kept = keep_best(codes[:count], logits[:count], keys[:count], beam_width)
            _note_kept(codes[:kept], found.kept[s, num_levels - 1])


@numba.njit(fastmath=False, cache=True, nogil=True)
def scan_users(asked: tuple[Ints, Ints, Near], leaves: Ints, scoring: Scoring, buffers: Buffers, best: Best, found: Found) -> None:
    """Score all leaves for users, and keep the best of each as they come.

    A tile of leaves is made once and passed by all users, so the nodes' share of the first layer costs next to nothing.

    Parameters
    ----------
    asked : int64 arrays (N,) and (S, W + 1), int32 array (S, K)
        Flat histories, windows as positions in them, and near items.
    leaves : int64 array (V,)
        Codes of the used leaves, ascending.
    scoring : Scoring
    buffers : Buffers
        For 1 level and as many candidates as ``best`` has room for.
    best : Best
        Of S users and room for ``count + TILE_ROWS`` leaves each or more.
    found : Found
        Receives the ``count`` best.
    """
    items, bounds, near = asked
    count, item_of_leaf = found.items.shape[1], scoring.nodes.item_of_leaf
    user_halves, head, users = np.empty((len(bounds), len(scoring.users.bias)), np.float32), scoring.head, scoring.users
    histories = empty_histories(len(bounds), head.match_1, users.most_behaviours + users.near_edges[-1])
    for s in range(len(bounds)):
        make_user_halves(users, items, bounds[s], buffers)
        if len(head.match_1):
            note_history(users.leaf_of_item, (items, bounds[s], near[s]), users.near_edges, histories, s)
        user_halves[s] = buffers.user_halves[0]
        best.sizes[s], best.bounds[s] = 0, LOWEST_KEY
    for low in range(0, len(leaves), TILE_ROWS):
        codes = leaves[low : low + TILE_ROWS]
        rows = len(codes)
        logits, keys, halves = buffers.logits[:rows], buffers.keys[:rows], buffers.tile_halves[:rows]
        multiply_halves(codes, scoring.nodes, buffers.tile_vectors, halves)
        for s in range(len(user_halves)):
            activate_tile(halves, user_halves[s], head, buffers.layers.first)
            if len(head.match_1):
                activate_matches(codes, (user_halves[s : s + 1], halves, IN_ORDER[:rows]), head, histories, (s, 0), buffers.layers.first)
            score_tile(head, buffers.layers, logits)
            make_keys(logits, keys)
            take_better((codes, logits, keys), count, s, best)
    for s in range(len(user_halves)):
        size = best.sizes[s]
        kept = best.codes[s, :size], best.logits[s, :size], best.keys[s, :size], buffers.order
        write_ranked(kept, item_of_leaf, found.items[s], found.logits[s])
