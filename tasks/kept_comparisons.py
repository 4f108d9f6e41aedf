"""The numbers of the last comparison of each data set, as a file beside the store: what ``docs/results`` is made from.

``$JTM_HOME/comparisons/<data name>.json`` holds the config, the judgement and the runs that failed.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from jtm_core.comparison_config import ComparisonConfig
from tasks.settings import jtm_home
from tasks.store import canonical_json, write_text_durably
from tasks.tracking.comparison_records import FailedRun, Judgement
from tasks.versions import as_json, data_slug, from_json


class UnknownComparisonError(ValueError):
    """No comparison on a data set of that name was finished in this ``JTM_HOME``."""


@dataclass(frozen=True, slots=True)
class KeptComparison:
    """A finished comparison.

    Parameters
    ----------
    config : ComparisonConfig
    judgement : Judgement
    failures : tuple of FailedRun
    """

    config: ComparisonConfig
    judgement: Judgement
    failures: tuple[FailedRun, ...]


def keep_comparison(comparison: KeptComparison) -> None:
    """Keep a comparison, in place of the one before on the same data."""
    write_text_durably(_path(comparison.config.shared.data.name), canonical_json(as_json(comparison), indent=1) + "\n")


def kept_comparison(data_name: str) -> KeptComparison:
    """The last comparison on a data set.

    Raises
    ------
    UnknownComparisonError
        If there is none.
    """
    path = _path(data_name)
    if not path.is_file():
        raise UnknownComparisonError(f"there is no finished comparison on {data_name!r} in {jtm_home()}; compare-systems leaves one")
    return from_json(KeptComparison, json.loads(path.read_text(encoding="utf-8")))


def _path(data_name: str) -> Path:
    return jtm_home() / "comparisons" / f"{data_slug(data_name)}.json"
