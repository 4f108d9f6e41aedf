"""Worlds whose truth is known: one in which there is something to learn, one in which there is nothing.

Every item hangs on a leaf of a planted tree and has a Zipf-like popularity that has nothing to do with its place. A user
has two favourite subtrees of the tree, the *groups*. A behaviour stays, with momentum, in the small subtree of the one
before; else it starts anew in a favourite group; a share of behaviours is noise, drawn from the popularity of all items.
So the tree is what predicts a user, popularity alone is weak, and lists by what a user likes are known:
:func:`true_lists`. In the noise world all behaviours are noise: nothing beats the popularity order but luck or a leak.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Behaviours, EvaluationUsers, Ints, evaluation_truths
from jtm_core.codes import height_for
from jtm_core.tree import TreeIndex, tree_from_order

_SHORTEST, _LONGEST = 20, 60
_ZIPF_EXPONENT = 0.5
_FIRST_FAVOURITE_SHARE = 0.7
_MOMENTUM = 0.6
_NEIGHBOURHOOD_LEVELS = 2
_WRONG_CATEGORIES = 0.2
_FIRST_TIME = 1_500_000_000
_USERS_PER_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class World:
    """Behaviours and the truth they were drawn from.

    Parameters
    ----------
    behaviours : Behaviours
        20 to 60 behaviours a user.
    categories : int64 array (num_items,)
        A coarse and noisy view of the planted tree: pairs of groups, every fifth item in a wrong one.
    groups : int64 array (num_items,)
        Planted group of every item.
    tree : TreeIndex
        The planted tree.
    popularity : float64 array (num_items,)
        Share of each item in noise, and within its group; sums to 1.
    favourites : int64 array (num_users, 2)
        Favourite groups of every user; they may be one.
    noise : float
        Share of behaviours that are noise; 1 in the noise world.
    """

    behaviours: Behaviours
    categories: Ints
    groups: Ints
    tree: TreeIndex
    popularity: NDArray[np.float64]
    favourites: Ints
    noise: float


def planted_world(rng: np.random.Generator, num_users: int = 2000, num_items: int = 512, num_groups: int = 16, noise: float = 0.1) -> World:
    """Make a world in which users walk within their favourite subtrees.

    Parameters
    ----------
    rng : Generator
        All randomness.
    num_users, num_items : int
        Size of the world.
    num_groups : int
        Groups, a power of two, at most ``num_items / 4``.
    noise : float
        Share of behaviours drawn from the popularity of all items, 0 .. 1.

    Raises
    ------
    ValueError
        If there is no user, the groups do not fit the items, or ``noise`` is no share.
    """
    if num_users < 1 or not 0 <= noise <= 1:
        raise ValueError(f"num_users is {num_users}, noise {noise}; allowed are 1 and more, 0 .. 1")
    if num_groups < 2 or num_groups & (num_groups - 1) or num_groups > num_items / 4:
        raise ValueError(f"num_groups is {num_groups}; allowed are powers of two from 2 to num_items / 4 = {num_items / 4}")
    tree = tree_from_order(rng.permutation(num_items), height_for(num_items))
    ranks = rng.permutation(num_items) + 1.0
    popularity = ranks**-_ZIPF_EXPONENT / (ranks**-_ZIPF_EXPONENT).sum()
    favourites = rng.integers(num_groups, size=(num_users, 2))
    group_level = num_groups.bit_length() - 1
    groups = _subtrees(tree, group_level)
    lengths = rng.integers(_SHORTEST, _LONGEST + 1, num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    walked = _walk(rng, tree, popularity, np.repeat(favourites, lengths, axis=0), group_level, offsets)
    is_noise = rng.random(len(walked)) < noise
    items = np.where(is_noise, rng.choice(num_items, len(walked), p=popularity), walked)
    behaviours = Behaviours(items, offsets, _times(rng, offsets), num_items)
    is_wrong = rng.random(num_items) < _WRONG_CATEGORIES
    categories = np.where(is_wrong, rng.integers(num_groups // 2, size=num_items), groups // 2)
    return World(behaviours, categories, groups, tree, popularity, favourites, noise)


def noise_world(rng: np.random.Generator, num_users: int = 2000, num_items: int = 512) -> World:
    """Make a world in which behaviours are drawn from one popularity law, whatever the user or the past.

    The ceiling of recall is :func:`true_recall`, plus what luck allows: nothing learned can be better than the true
    popularity order, and who is far above it has seen the truth.
    """
    return planted_world(rng, num_users, num_items, num_groups=2, noise=1.0)


def true_lists(world: World, users: Ints, num_recommended: int) -> Ints:
    """Items by their probability for each user, whatever the user did last; lower ids first among equals; int64 (E, M)."""
    group_shares = np.bincount(world.groups, weights=world.popularity)
    within_group = world.popularity / group_shares[world.groups]
    lists = np.empty((len(users), min(num_recommended, world.behaviours.num_items)), dtype=np.int64)
    for first in range(0, len(users), _USERS_PER_BLOCK):
        favourites = world.favourites[users[first : first + _USERS_PER_BLOCK]]
        is_favourite = favourites[:, :, None] == world.groups
        likings = _FIRST_FAVOURITE_SHARE * is_favourite[:, 0] + (1 - _FIRST_FAVOURITE_SHARE) * is_favourite[:, 1]
        probabilities = (1 - world.noise) * likings * within_group + world.noise * world.popularity
        lists[first : first + _USERS_PER_BLOCK] = np.argsort(-probabilities, axis=1, kind="stable")[:, :num_recommended]
    return lists


def true_recall(world: World, users: EvaluationUsers, cutoff: int) -> float:
    """Recall at a cut-off of the lists by the true distribution, repeats counted: what a perfect learner reaches."""
    truths = evaluation_truths(world.behaviours, users)
    rows = np.repeat(np.arange(len(users)), users.truth_lengths)
    is_hit = (true_lists(world, users.users, cutoff)[rows] == truths.values[:, None]).any(axis=1)
    hits = np.bincount(rows, weights=is_hit, minlength=len(users))
    return float((hits / users.truth_lengths).mean())


def _subtrees(tree: TreeIndex, level: int) -> Ints:
    """Position from the left of every item's ancestor on a level."""
    positions: Ints = tree.ancestors(level) - ((1 << level) - 1)
    return positions


def _walk(
    rng: np.random.Generator, tree: TreeIndex, popularity: NDArray[np.float64], favourites: Ints, group_level: int, offsets: Ints
) -> Ints:
    """Draw all behaviours but the noise: int64 (N,). Subtrees are ranges of the leaf order, so a draw is a search in its running sum."""
    order, count = tree.items_in_leaf_order(), len(favourites)
    running = np.concatenate([[0.0], np.cumsum(popularity[order])])

    def draw(level: int, subtrees: Ints) -> Ints:
        bounds = np.searchsorted(_subtrees(tree, level)[order], np.arange((1 << level) + 1))
        first, end = bounds[subtrees], bounds[subtrees + 1]
        drawn = running[first] + rng.random(count) * (running[end] - running[first])
        places: Ints = np.clip(np.searchsorted(running, drawn, side="right") - 1, first, end - 1)
        return places

    starts = draw(group_level, np.where(rng.random(count) < _FIRST_FAVOURITE_SHARE, favourites[:, 0], favourites[:, 1]))
    is_start = rng.random(count) >= _MOMENTUM
    is_start[offsets[:-1]] = True
    last_start = np.maximum.accumulate(np.where(is_start, np.arange(count), 0))
    near_level = min(tree.height, group_level + _NEIGHBOURHOOD_LEVELS)
    places = draw(near_level, _subtrees(tree, near_level)[order][starts[last_start]])
    items: Ints = order[places]
    return items


def _times(rng: np.random.Generator, offsets: Ints) -> Ints:
    """Seconds since 1970, rising within a user: int64 (N,)."""
    steps = rng.integers(1, 7200, size=offsets[-1])
    running = np.cumsum(steps)
    firsts = np.repeat(running[offsets[:-1]], np.diff(offsets))
    begins = np.repeat(rng.integers(0, 86_400 * 30, size=len(offsets) - 1), np.diff(offsets))
    times: Ints = _FIRST_TIME + begins + running - firsts
    return times
