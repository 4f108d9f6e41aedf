"""What every system of comparison can do, and what it refuses."""

from typing import Protocol

from jtm_core.behaviours import Ints, Ragged


class Recommender(Protocol):
    """Something that lists items for users it has not necessarily learned from."""

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the best items of every user.

        Parameters
        ----------
        histories : Ragged of E rows
            Known behaviours of each user, oldest first; may be empty.
        num_recommended : int
            Length M of the lists, at least 1.
        excluded : Ragged of E rows, optional
            Items that must not be listed, e.g. those already seen.

        Returns
        -------
        int64 array (E, M)
            Items, best first, none twice; -1 behind where fewer than M items are left, or a beam found fewer. A user's list does
            not depend on who else is asked, save for near-ties of ALS and product-DNN, whose products are rounded as their number has it.

        Raises
        ------
        ValueError
            If M is below 1, there is not one row of excluded items a user, or an item id is out of range.
        """
        ...


def check_query(histories: Ragged, num_recommended: int, excluded: Ragged | None, num_items: int) -> None:
    """Refuse what no system can answer; see :meth:`Recommender.recommend`."""
    if num_recommended < 1:
        raise ValueError(f"num_recommended is {num_recommended}; allowed are 1 and more")
    if excluded is not None and len(excluded) != len(histories):
        raise ValueError(f"{len(excluded)} rows of excluded items for {len(histories)} users; there must be one each")
    for name, rows in (("histories", histories), ("excluded", excluded)):
        if rows is not None and len(rows.values) and not 0 <= rows.values.min() <= rows.values.max() < num_items:
            raise ValueError(f"{name} hold the item ids {rows.values.min()} .. {rows.values.max()}; allowed are 0 .. {num_items - 1}")
