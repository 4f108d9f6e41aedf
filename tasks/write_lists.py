"""Lists for every user of a log, written to a file: what is served where nothing is asked online."""

from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from tasks.artefacts import read_vocabulary
from tasks.costs import StepCost, collect, count_work, metered
from tasks.list_parts import ListParts
from tasks.locks import one_at_a_time
from tasks.newer_logs import histories_by, known_share_of
from tasks.outside import outside_task
from tasks.progress import Progress, artifact_key
from tasks.references import ListsRequest, LogRef, RunRef, VersionRef, WrittenLists
from tasks.retrievers import read_retriever
from tasks.store import digest_of_text, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtm_core.formats.list_files import Block
    from jtm_core.formats.prepared_logs import Prepared


@task(task_run_name="write-lists-{served.version}", cache_policy=NO_CACHE, persist_result=False)
def write_lists(served: VersionRef, log: LogRef, request: ListsRequest) -> WrittenLists:
    """Write the best items of every user with a behaviour that counts, however few; what stood there stays until all is written.

    A run that is killed goes on from the lists that it had (:mod:`tasks.list_parts`), if version, log, request and code are the same.

    Parameters
    ----------
    served : VersionRef
    log : LogRef
        Canonical log that histories are read from.
    request : ListsRequest
        Minima of users and items, by which the version was taught, do not count here.

    Raises
    ------
    ValueError
        If the version knows next to nothing of the log.
    """
    from jtm_core.formats.atomic import discard_leftovers

    path, store = Path(request.path), open_store()
    with metered() as meter:
        prepared = histories_by(served, log, request.data)
        known_share = known_share_of(prepared.behaviours, served)
        with one_at_a_time(store.home / "locks" / f"{digest_of_text(request.path)}.lock", f"the lists in {path}", get_run_logger()):
            discard_leftovers(path)
            num_users, num_personal = _write(served, prepared, request, ListParts(store, served, log, request))
    collect(StepCost("write-lists", None, meter.cost(), is_kept=False))
    get_run_logger().info("%s: lists of %d items for %d users, %d of them personal", path, request.lists.count, num_users, num_personal)
    return WrittenLists(num_users=num_users, num_personal=num_personal, known_share=known_share)


@outside_task("report-lists-{request.version}")
def report_lists(run: RunRef, request: ListsRequest, written: WrittenLists) -> None:
    """Log how many lists there are and how many are personal, and link them in Prefect."""
    from tasks.tracking.runs import log_summary

    counts = {"users": written.num_users, "personal_users": written.num_personal, "known_behaviours_share": written.known_share}
    log_summary(run.run_id, counts, prefix="lists/")
    text = (
        f"`{request.path}`: the best {request.lists.count} items for {written.num_users:,} users by version `{request.version}`; "
        f"{written.num_users - written.num_personal:,} of them did nothing that it knows and got the most popular items.\n\n"
        f"[Run in MLflow]({run.url})\n"
    )
    create_markdown_artifact(text, key=artifact_key("lists", request.data.name), description="Lists")


def _write(served: VersionRef, prepared: "Prepared", request: ListsRequest, parts: ListParts) -> tuple[int, int]:
    """Write all lists; how many there are, and how many of them are personal."""
    from jtm_core.formats.list_files import list_schema
    from jtm_core.user_lists import user_lists

    retriever, items_by_popularity = read_retriever(served, request.lists.beam_width)
    wanted, done, total = request.lists, parts.num_users, prepared.behaviours.num_users
    if done:
        get_run_logger().info("%s: goes on after the lists of %d of %d users", request.path, done, total)

    def blocks(progress: Progress) -> "Iterator[Block]":
        listed = done
        progress.show(done, total)
        for found in user_lists(
            retriever, prepared.behaviours, items_by_popularity, wanted.count, without_seen=bool(wanted.without_seen), passed_over=done
        ):
            listed += len(found.users)
            progress.show(listed, total)
            yield found.users, found.items, found.logits, found.is_personal

    users, items = prepared.users.keys, read_vocabulary(open_store(), served.data.items).keys
    schema = list_schema(users, items, _notes(request))
    with Progress(artifact_key("write-lists", served.version), "users") as progress:
        parts.write(blocks(progress), users, items, schema)
    num_users, num_personal = parts.join(schema)
    count_work("users", num_users - done)
    return num_users, num_personal


def _notes(request: ListsRequest) -> dict[str, str]:
    asked = request.lists
    return {
        "jtm.version": request.version,
        "jtm.data_name": request.data.name,
        "jtm.count": str(asked.count),
        "jtm.without_seen": str(asked.without_seen).lower(),
        "jtm.beam_width": str(asked.beam_width),
    }
