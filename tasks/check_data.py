"""Hold the data against its rules; what is found is kept even where the gate then stops the run."""

import json
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from jtm_core.config import JtmConfig
from tasks.artefacts import read_data, read_tree, save_report
from tasks.caching import step
from tasks.references import CheckOutcome, DataReferences, GrownTree, IngestedLog, VersionRef
from tasks.store import Store, open_store

if TYPE_CHECKING:
    from data_checks.reports import CheckReport

ROOMS = ("jtm_core", "data_checks")
TAOBAO_TYPES = ("pv", "buy", "cart", "fav")
"""All that UserBehavior.csv may hold, by its publisher's description."""
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@step(run_name="check-log-{config.data.name}", uses=("data",), packages=ROOMS)
def check_log(ingested: IngestedLog, config: JtmConfig, previous: VersionRef | None) -> CheckOutcome:
    """Check the canonical log.

    Parameters
    ----------
    ingested : IngestedLog
    config : JtmConfig
    previous : VersionRef or None
        Last accepted version made from another log of this name: volume and last time are compared with its log's.
    """
    from data_checks.log_checks import LogRules, check_log
    from jtm_core.formats.line_numbers import read_line_numbers

    data, store = config.data, open_store()
    rules = LogRules(
        earliest_time=data.earliest_time,
        latest_time=data.latest_time,
        out_of_range=data.out_of_range,
        behaviour_types=data.behaviour_types,
        keeps_copies=data.duplicates == "keep_all",
        known_behaviour_types=TAOBAO_TYPES if ingested.log_format == "user_behavior" else (),
        previous_rows=previous.data.num_log_rows if previous else None,
        previous_latest_time=previous.data.latest_time if previous else None,
    )
    path = store.path(ingested.log)
    lines = read_line_numbers(path)
    return save_outcome(store, check_log(path, rules, place_of=lines.place if lines.names else None))


@step(run_name="check-behaviours-{data.name}", uses=("data", "split"), packages=ROOMS)
def check_behaviours(data: DataReferences, config: JtmConfig) -> CheckOutcome:
    """Check prepared behaviours and their split."""
    from data_checks.behaviour_checks import BehaviourRules, check_behaviours

    store = open_store()
    behaviours, split = read_data(store, data)
    rules = BehaviourRules(minimum_user_behaviours=config.data.minimum_user_behaviours, protocol=config.split.protocol)
    return save_outcome(store, check_behaviours(behaviours, split, rules))


@step(run_name="check-tree-{data.name}", packages=ROOMS)
def check_tree(data: DataReferences, grown: GrownTree) -> CheckOutcome:
    """Check the tree as its file has it: bijection, capacity, every used node reachable, every item of the data on it."""
    from data_checks.tree_checks import check_tree

    store = open_store()
    tree = read_tree(store, grown.tree)
    used_nodes = [tree.used_nodes(level) for level in range(tree.height + 1)]
    return save_outcome(store, check_tree(tree.leaf_of_item, tree.height, data.num_items, used_nodes=used_nodes))


def save_outcome(store: Store, report: "CheckReport") -> CheckOutcome:
    """Store a report in every form it is shown in."""
    content = {
        "report": json.loads(report.to_json()),
        "text": report.to_text(),
        "table": json.loads(report.to_frame().to_json(orient="records")),
    }
    return CheckOutcome(
        suite=report.suite,
        is_passed=report.is_passed,
        report=save_report(store, "checks", content),
        page=store.save("check-page", "html", lambda path: path.write_text(report.to_html(), encoding="utf-8")),
        data_docs=store.save("data-docs", "zip", lambda path: _write_data_docs(report, path)),
    )


def _write_data_docs(report: "CheckReport", destination: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report.write_data_docs(Path(folder))
        with zipfile.ZipFile(destination, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
                archive.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix(), _ZIP_TIME), path.read_bytes())
