"""Beam search and full leaf scan on the CPU: the kernels on our own threads, with memory that does not grow with the users.

What is made here is :class:`~jtm_core.beam_kernels.Found` records; :mod:`jtm_core.beam` turns them into rankings.

Shape letters: S users, A levels walked, W windows.
"""

import threading

import numpy as np

from jtm_core.beam_kernels import Found, Plan, scan_users, walk_users
from jtm_core.kernels import TILE_ROWS
from jtm_core.scoring import FusedScorer
from jtm_core.selection import make_best
from jtm_core.threads import num_threads, run_chunks
from jtm_core.tiles import Buffers, make_buffers
from jtm_core.windows import Windows

_USERS_PER_WALK = 4
_MOST_USERS_PER_SCAN = 64


def make_found(num_users: int, count: int, kept_shape: tuple[int, int] = (0, 0)) -> Found:
    """Room for ``count`` items a user and, if asked for, ``(A, beam_width)`` codes kept."""
    items, logits = np.empty((num_users, count), dtype=np.int64), np.empty((num_users, count), dtype=np.float32)
    return Found(items, logits, np.empty((num_users, *kept_shape), dtype=np.int64))


def _users_of(found: Found, part: slice) -> Found:
    """Views of some users' places."""
    return Found(found.items[part], found.logits[part], found.kept[part])


class FusedSearch:
    """Walks down one tree by one scorer; many threads may call it at once, each has buffers of its own.

    Parameters
    ----------
    scorer : FusedScorer
    plan : Plan
    """

    def __init__(self, scorer: FusedScorer, plan: Plan) -> None:
        self._plan, self._scoring = plan, scorer.scoring(range(plan.first_level, plan.height + 1))
        self._own = threading.local()

    @property
    def num_levels(self) -> int:
        """Levels walked."""
        return self._plan.height - self._plan.first_level + 1

    @property
    def most_leaves(self) -> int:
        """Leaves that a walk can end with at most."""
        count = len(self._plan.start)
        for _ in range(self.num_levels - 1):
            count = 2 * min(count, self._plan.beam_width)
        return count

    def search(self, windows: Windows, count: int, keeps_levels: bool = False) -> Found:
        """Search for users, on all threads.

        Parameters
        ----------
        windows : Windows
            S users.
        count : int
            Items wanted of each; with ``keeps_levels`` at least the beam's width.
        keeps_levels : bool
            Whether the codes kept on each level are wanted too.
        """
        windows.require(int(self._scoring.users.near_edges[-1]))
        found = make_found(len(windows), count, (self.num_levels, self._plan.beam_width) if keeps_levels else (0, 0))

        def walk(k: int) -> None:
            part = slice(k * _USERS_PER_WALK, (k + 1) * _USERS_PER_WALK)
            asked = windows.items, windows.bounds[part], windows.near[part]
            walk_users(asked, self._scoring, self._plan, self._buffers(), _users_of(found, part))

        run_chunks(walk, -(-len(windows) // _USERS_PER_WALK))
        return found

    def _buffers(self) -> Buffers:
        """Buffers of the calling thread, made when it first comes."""
        if not hasattr(self._own, "buffers"):
            room = max(len(self._plan.start), 2 * self._plan.beam_width)
            self._own.buffers = make_buffers(self._scoring, self.num_levels, room)
        buffers: Buffers = self._own.buffers
        return buffers


def fused_scan(scorer: FusedScorer, windows: Windows, count: int) -> Found:
    """The ``count`` best of all leaves for every user, leaves in tiles, users in blocks on all threads."""
    scoring, leaves = scorer.scoring(range(0)), np.sort(scorer.tree.leaf_of_item)
    windows.require(int(scoring.users.near_edges[-1]))
    found, room = make_found(len(windows), count), 2 * count + 2 * TILE_ROWS
    size = max(1, min(_MOST_USERS_PER_SCAN, -(-len(windows) // num_threads())))

    def scan(k: int) -> None:
        part = slice(k * size, (k + 1) * size)
        bounds = windows.bounds[part]
        best, buffers = make_best(len(bounds), room), make_buffers(scoring, 1, room)
        scan_users((windows.items, bounds, windows.near[part]), leaves, scoring, buffers, best, _users_of(found, part))

    run_chunks(scan, -(-len(windows) // size))
    return found
