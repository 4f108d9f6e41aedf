"""What earlier runs left: the version to start warm from, and the one whose volume this log is compared with."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from jtm_core.config import JtmConfig
from jtm_core.splitting import HOLDS_USERS_OUT
from tasks.fingerprints import key_part
from tasks.references import IngestedLog, VersionRef
from tasks.store import open_store
from tasks.versions import find_version, released, require_whole

_FILTERS = ("behaviour_types", "minimum_rating", "minimum_user_behaviours", "minimum_item_occurrences", "duplicates")
"""Settings that decide which rows of a log count."""


@task(task_run_name="find-start-{config.data.name}", cache_policy=NO_CACHE, persist_result=False)
def find_start(start_from: str, config: JtmConfig) -> VersionRef | None:
    """Find the version to start warm from, before anything is read.

    Parameters
    ----------
    start_from : str
        Name of a version, empty for none.
    config : JtmConfig

    Raises
    ------
    UnknownVersionError
        If ``start_from`` is not recorded.
    BrokenArtefactError
        If it is not whole any more.
    ValueError
        If it is of another data set, whose ids mean nothing here, or was made by another model or split: its model would not fit, or
        be asked for what it was taught. ``users`` and ``users_newest`` go on by each other. Also if the split is by ``global_time``.
    """
    if not start_from:
        return None
    if config.split.protocol == "global_time":
        raise ValueError(
            f"split.protocol is global_time, which leaves the newest behaviours out of training, so nothing goes on by it from version "
            f"{start_from}; retrain by users, users_newest or time, and compare by global_time"
        )
    version = find_version(start_from)
    require_whole(version, version.tree, version.model, version.data.items, version.data.users, version.data.split)
    before, now = open_store().read_json(version.manifest)["config"], key_part(config)
    asked: list[tuple[str, tuple[str, ...]]] = [("data", ("name",)), ("model", tuple(now["model"])), ("split", ("protocol",))]
    if config.split.protocol == "time":  # where a user is cut hangs on every row that counts
        asked += [("split", ("train_share",)), ("data", _FILTERS)]
    differing = [
        f"{part}.{name} = {before[part].get(name)}, now it is {now[part][name]}"
        for part, names in asked
        for name in names
        if not _go_together(before[part], now[part], name)
    ]
    if differing:
        raise ValueError(
            f"version {start_from} was made with {'; '.join(differing)}: give the same to start warm, or start from no version"
        )
    return version


def _go_together(before: dict[str, Any], now: dict[str, Any], name: str) -> bool:
    """Whether a version made with one value of a setting can be gone on from with the other."""
    if name not in before:
        return not now[name]  # versions older than a setting had none of it
    if name == "protocol" and {before[name], now[name]} <= HOLDS_USERS_OUT:
        return True  # only what is asked of those who judge differs
    return bool(before[name] == now[name])


@task(task_run_name="look-back-{config.data.name}", cache_policy=NO_CACHE, persist_result=False)
def look_back(ingested: IngestedLog, config: JtmConfig) -> VersionRef | None:
    """Find what is released of this data set, if it was made from another log than this one.

    Versions made from the same log are no comparison for its volume.
    """
    previous = released(config.data.name)
    return previous if previous and previous.data.log != ingested.log else None
