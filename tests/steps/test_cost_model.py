"""The cost model counts what the algorithm does: compared with counts made another way."""

import json
from pathlib import Path

import pytest

from benchmarks.cost_model import BEAM, GAP, NEGATIVES, RATES, Size, phases, read_rates, scores_per_sample, table
from jtm_core.codes import first_code, height_for
from jtm_core.config import EvaluationConfig, JtmConfig
from jtm_core.sampling import negatives_per_level


def test_sizes_are_those_of_the_core() -> None:
    config = JtmConfig(evaluation=EvaluationConfig(beam_width=BEAM, small_beam_width=BEAM))
    for number in (10**6, 10**7, 10**8):
        size = Size(number)
        assert size.height == height_for(number)
        assert size.num_levels == len(range(config.first_level, size.height + 1))
        assert size.table_bytes == (first_code(size.height) + number) * 24 * 4
        assert sum(negatives_per_level(NEGATIVES, [1 << level for level in range(config.first_level, size.height + 1)])) == NEGATIVES


@pytest.mark.parametrize(("number", "subtrees", "num_levels"), [(1000, 2 + 4 + 8, 3), (1 << 14, 2**8 - 2, 7), (1 << 15, 2**8 - 2 + 2, 8)])
def test_scores_of_tree_learning_by_hand(number: int, subtrees: int, num_levels: int) -> None:
    """1,000 items: levels 8, 9, 10 of the segment from 7 to 10; 2^14: all of that from 7 to 14; 2^15: and level 15. Plus two paths."""
    assert GAP == 7
    assert scores_per_sample(Size(number)) == subtrees + 2 * num_levels


def test_hours_are_work_by_rate(tmp_path: Path) -> None:
    path = tmp_path / "core.jsonl"
    records = [{"name": name, "value": 3600.0, "unit": "1/s", "items": items} for name in RATES for items in (10, 1000)]
    records.append({"name": RATES[0], "value": 1.0, "unit": "1/s", "items": 100})
    path.write_text("\n".join(map(json.dumps, [{"processor": "some"}, *records])) + "\n")
    rates = read_rates(tmp_path)
    assert rates == dict.fromkeys(RATES, 3600.0)
    size = Size(10**6)
    rows = table([size], rates).splitlines()[2:]
    assert [row.split(" | ")[-1].removesuffix(" |") for row in rows] == [f"{phase.work / 3600 / 3600:.2g}" for phase in phases(size)]


def test_missing_rates_are_named(tmp_path: Path) -> None:
    (tmp_path / "core.jsonl").write_text('{"name": "train_rows_per_s", "value": 1.0, "unit": "rows/s"}\n')
    with pytest.raises(ValueError, match="preparation_rows_per_s"):
        read_rates(tmp_path)
