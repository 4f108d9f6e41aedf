"""A small log, as a CSV file in the schema of UserBehavior, and a config that trains on it in a second or two."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jtm_core.config import (
    DataConfig,
    EvaluationConfig,
    JtmConfig,
    ModelConfig,
    SplitConfig,
    TrainingConfig,
)


def write_log(path: Path, num_users: int = 60, num_items: int = 40, seed: int = 0) -> Path:
    """Write a log of users who stay within one of four groups of items."""
    rng = np.random.default_rng(seed)
    lines = []
    for user in range(num_users):
        group = user % 4
        items = group * (num_items // 4) + rng.integers(0, num_items // 4, size=12)
        lines += [f"{user},{item},{item % 5},pv,{1_000_000 + 60 * place}" for place, item in enumerate(items)]
    path.write_text("\n".join(lines) + "\n")
    return path


def small_config(log: Path, **changes: object) -> JtmConfig:
    """Settings for that log."""
    settings: dict[str, object] = {
        "data": DataConfig(name="small", path=str(log), format="user_behavior", duplicates="keep_all"),
        "split": SplitConfig(num_validation_users=6, num_test_users=6),
        "model": ModelConfig(window_sizes=(4, 2, 1), embedding_width=8, hidden_widths=(16, 8, 8), neighbour_windows=(2, 4)),
        "training": TrainingConfig(epochs=2, later_epochs=1, batch_samples=64, negatives=20, negatives_block=8),
        "evaluation": EvaluationConfig(cutoffs=(5, 10), beam_width=10, small_beam_width=5),
        "iterations": 1,
    }
    return JtmConfig(**{**settings, **changes})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``JTM_HOME`` of its own."""
    monkeypatch.setenv("JTM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JTM_CHECKPOINT_SECONDS", raising=False)
    return tmp_path / "home"


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., JtmConfig]:
    """Settings for a small log."""
    log = write_log(tmp_path / "log.csv")
    return lambda **changes: small_config(log, **changes)
