"""What every system of comparison can do."""

from typing import Protocol

from jtm_core.behaviours import Ints, Ragged


class Recommender(Protocol):
    """Something that lists items for users it has not necessarily learned from."""

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the best items of every user.

        Parameters
        ----------
        histories : Ragged of E rows
            Known behaviours of each user, oldest first.
        num_recommended : int
            Length M of the lists.
        excluded : Ragged of E rows, optional
            Items that must not be listed, e.g. those already seen.

        Returns
        -------
        int64 array (E, M)
            Items, best first, none twice; -1 where fewer than M items are left.
        """
        ...
