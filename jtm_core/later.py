"""What users did after a version was made, as questions to it: the first to answer for what it served.

Judges of a run are users held out from the behaviours it was made of. Here all users judge, those who taught among them, by
behaviours that nobody could learn from, as they came later: whether a version has aged shows here and not there.
"""

from dataclasses import dataclass

import numpy as np

from jtm_core.behaviours import Behaviours, EvaluationUsers, Ints
from jtm_core.seeding import generator


@dataclass(frozen=True, slots=True)
class Later:
    """Users of a newer log and what they did since.

    Parameters
    ----------
    behaviours : Behaviours
        Of the items that the version knows alone.
    users : EvaluationUsers
        Judges: known is what came up to the moment, asked for what came after it.
    num_active : int
        Users with a behaviour after it, of whatever item.
    num_strangers : int
        Those of them of whom the version knows no earlier behaviour; they get the popular items and do not judge.
    known_truth_share : float
        Share, 0 .. 1, of what the others did since that is of items which the version knows: a share of recall is out of its reach.
    """

    behaviours: Behaviours
    users: EvaluationUsers
    num_active: int
    num_strangers: int
    known_truth_share: float


def later_of(behaviours: Behaviours, num_known_items: int, since: int, most: int, seed: int) -> Later:
    """Divide a newer log at a moment.

    Parameters
    ----------
    behaviours : Behaviours
        Of the newer log; items that the version does not know are ``num_known_items`` and above.
    num_known_items : int
    since : int
        Time of the last behaviour that the version was made of, in the log's unit: behaviours up to it are known, later ones asked for.
    most : int
        Judges at most, drawn from all of them; at least 1.
    seed : int
        Of the draw.

    Raises
    ------
    ValueError
        If nothing came after the moment, or nobody has known items on both sides of it.
    """
    is_later = behaviours.times > since
    if not is_later.any():
        latest = behaviours.times.max() if len(behaviours.times) else "nothing"
        raise ValueError(f"the log ends at {latest}, and the version was made of behaviours until {since}; give a log with later ones")
    is_known = behaviours.items < num_known_items
    earlier, later, all_later = (_counts(behaviours, mask) for mask in (~is_later & is_known, is_later & is_known, is_later))
    candidates = np.flatnonzero((earlier > 0) & (later > 0))
    if not len(candidates):
        raise ValueError(
            f"of {np.count_nonzero(all_later)} users with behaviours after {since} none has one of a known item before and after it; "
            f"does the log hold what came before, and is its time in the unit of the version's log?"
        )
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
        num_active=int(np.count_nonzero(all_later)),
        num_strangers=int(np.count_nonzero((all_later > 0) & ~is_personal)),
        known_truth_share=float(later[is_personal].sum() / all_later[is_personal].sum()),
    )


def _counts(behaviours: Behaviours, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ints:
    """How many of each user's behaviours a mask holds."""
    return np.diff(np.concatenate([[0], np.cumsum(mask)])[behaviours.offsets])
