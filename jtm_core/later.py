"""What users did after a version was made, as questions to it: the first to answer for what it served.

Judges of a run are users held out from the behaviours it was made of. Here all users judge, those who taught among them, by
behaviours that nobody could learn from, as they came later: whether a version has aged shows here and not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Behaviours, EvaluationUsers, Ints, count_by_user
from jtm_core.seeding import generator

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Later:
    """Users of a newer log and what they did since.

    Parameters
    ----------
    behaviours : Behaviours
        Of the items that the version knows alone.
    users : EvaluationUsers
        E judges: known is what came up to the moment, asked for what came after it.
    truth_shares : float64 array (E,)
        Share, above 0 and up to 1, of what a judge did since that is of items which the version knows.
    num_candidates : int
        Users who could judge, of whom E were drawn.
    num_active : int
        Users with a behaviour after the moment, of whatever item.
    num_strangers : int
        Those of them of whom the version knows no earlier behaviour; they get the popular items and do not judge.
    known_truth_share : float
        Share, 0 .. 1, of all that the others did since that is of items which the version knows.
    """

    behaviours: Behaviours
    users: EvaluationUsers
    truth_shares: Floats
    num_candidates: int
    num_active: int
    num_strangers: int
    known_truth_share: float

    def of_all(self, recalls: Mapping[str, Floats]) -> dict[str, float]:
        """Recall of everything that active users did since, what the version cannot know included, strangers aside.

        Its denominator is nearly the same for every version, so that versions can be compared by it: they differ in who is a stranger.

        Parameters
        ----------
        recalls : mapping of str to float64 array (E,)
            Recall of the judges, of items that the version knows.

        Returns
        -------
        dict of str to float
            ``of_all/recall_at_10`` and so on.
        """
        judging = self.num_candidates / (self.num_active - self.num_strangers)  # who did nothing since that it knows counts as 0
        return {f"of_all/{name}": float((values * self.truth_shares).mean() * judging) for name, values in recalls.items()}


def later_of(
    behaviours: Behaviours, num_known_items: int, since: int, draw: tuple[int, int], truth: Literal["multiset", "set"] = "multiset"
) -> Later:
    """Divide a newer log at a moment.

    Parameters
    ----------
    behaviours : Behaviours
        Of the newer log; items that the version does not know are ``num_known_items`` and above.
    num_known_items : int
    since : int
        Time, in the log's unit, not before the last behaviour that the version was made of: behaviours up to it are known,
        later ones asked for.
    draw : (int, int)
        Judges at most, at least 1, and the seed they are drawn by.
    truth : "multiset" or "set"
        Whether an item that a user came back to counts as often in shares, or once.

    Raises
    ------
    ValueError
        If nothing came after the moment, or nobody has known items on both sides of it.
    """
    is_later = behaviours.times > since
    if not is_later.any():
        latest = behaviours.times.max() if len(behaviours.times) else "nothing"
        raise ValueError(f"the log ends at {latest}, and what came up to {since} is known; give a log with later behaviours")
    is_known = behaviours.items < num_known_items
    earlier, later = (count_by_user(behaviours, mask & is_known) for mask in (~is_later, is_later))
    count = _distinct_counts if truth == "set" else count_by_user
    known_truths, all_truths = count(behaviours, is_later & is_known), count(behaviours, is_later)
    candidates = np.flatnonzero((earlier > 0) & (later > 0))
    if not len(candidates):
        raise ValueError(
            f"of {np.count_nonzero(all_truths)} users with behaviours after {since} none has one of a known item before and after it; "
            f"does the log hold what came before, and is its time in the unit of the version's log?"
        )
    most, seed = draw
    drawn = candidates if len(candidates) <= most else np.sort(generator(seed, "later").choice(candidates, most, replace=False))
    is_personal = earlier > 0
    return Later(
        behaviours=Behaviours(
            behaviours.items[is_known],
            np.concatenate([[0], np.cumsum(earlier + later)]),
            behaviours.times[is_known],
            num_known_items,
        ),
        users=EvaluationUsers(drawn, earlier[drawn], later[drawn]),
        truth_shares=known_truths[drawn] / all_truths[drawn],
        num_candidates=len(candidates),
        num_active=int(np.count_nonzero(all_truths)),
        num_strangers=int(np.count_nonzero((all_truths > 0) & ~is_personal)),
        known_truth_share=float(known_truths[is_personal].sum() / all_truths[is_personal].sum()),
    )


def _distinct_counts(behaviours: Behaviours, mask: NDArray[np.bool_]) -> Ints:
    """As :func:`count_by_user`, an item that a user came back to counted once."""
    rows = np.flatnonzero(mask)
    users = np.searchsorted(behaviours.offsets, rows, side="right") - 1
    owners = np.unique(users * behaviours.num_items + behaviours.items[rows]) // behaviours.num_items
    return np.bincount(owners, minlength=behaviours.num_users)
