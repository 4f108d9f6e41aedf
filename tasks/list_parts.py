"""Lists of users that are done while others are not: a file each time a checkpoint is due, from which a killed run goes on."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from jtm_core.formats.atomic import remove
from tasks.caching import step_logger
from tasks.checkpoints import Pace
from tasks.fingerprints import config_digest, key_part, package_fingerprint
from tasks.references import ListsRequest, LogRef, VersionRef
from tasks.store import Store, canonical_json, digest_of_text

if TYPE_CHECKING:
    import pyarrow as pa

    from jtm_core.formats.list_files import Block


class ListParts:
    """Parts of one file of lists, ``$JTM_HOME/checkpoints/<digest of its path>.lists/<key>/<number>.parquet``.

    Parts of other keys are removed: nobody goes on from them, and all users' lists may be gigabytes. So only where no other run can be
    writing lists to the same path.

    Parameters
    ----------
    store : Store
    served : VersionRef
    log : LogRef
    request : ListsRequest
        These three and the code make the key.
    """

    def __init__(self, store: Store, served: VersionRef, log: LogRef, request: ListsRequest) -> None:
        of_path = store.home / "checkpoints" / f"{digest_of_text(request.path)}.lists"
        code = [package_fingerprint("jtm_core"), package_fingerprint("tasks")]
        key = digest_of_text(canonical_json([key_part(served), key_part(log), config_digest(request), code]))
        self._folder, self._path = of_path / key, Path(request.path)
        for other in of_path.glob("*"):
            if other.name != key:
                remove(other)
        self._paths: list[Path] = []
        self.num_users = 0
        """Users whose lists are in the parts, the first ones of the log."""
        for number in count():
            found = self._count(self._part(number))
            if found is None:
                break
            self._paths.append(self._part(number))
            self.num_users += found
        for left in self._folder.glob("*"):  # half-written, or after a part that cannot be read: what is made now may be divided otherwise
            if left not in self._paths:
                remove(left)

    def write(self, blocks: "Iterator[Block]", users: "pa.Array", items: "pa.Array", schema: "pa.Schema") -> None:
        """Write the lists that are still missing.

        Parameters
        ----------
        blocks : iterator of Block
            Of the users after the first ``num_users``.
        users, items : Arrow arrays
            Own ids by dense id.
        schema : Arrow schema
            Of the file, :func:`jtm_core.formats.list_files.list_schema`.
        """
        from jtm_core.formats.list_files import write_user_lists

        for first in blocks:
            part = self._part(len(self._paths))
            write_user_lists(part, _until_due(first, blocks), users, items, schema)
            self._paths.append(part)

    def join(self, schema: "pa.Schema") -> tuple[int, int]:
        """Make the file of all parts, which then go.

        Returns
        -------
        int, int
            Number of lists, and how many of them are personal.
        """
        from jtm_core.formats.list_files import join_user_lists

        counts = join_user_lists(self._path, self._paths, schema)
        remove(self._folder.parent)
        return counts

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"

    def _count(self, part: Path) -> int | None:
        """Lists of a part; None if it is not there, or cannot be read: these and all after them are then made anew."""
        from jtm_core.formats.list_files import count_user_lists

        try:
            return count_user_lists(part) if part.exists() else None
        except ValueError as error:
            step_logger().warning("lists %s cannot be used: %s", part, error)
            return None


def _until_due(first: "Block", following: "Iterator[Block]") -> "Iterator[Block]":
    """What is done until the next checkpoint."""
    pace = Pace()
    yield first
    while not pace.is_due and (block := next(following, None)) is not None:
        yield block
