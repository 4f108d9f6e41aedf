"""Every dial there is. A new one changes this list, so that somebody asks whether it is needed."""

import dataclasses
import inspect
import itertools

from jtm_core import config

DIALS = {
    "DataConfig": [
        "name",
        "path",
        "format",
        "columns",
        "category_path",
        "behaviour_types",
        "minimum_rating",
        "minimum_user_behaviours",
        "minimum_item_occurrences",
        "duplicates",
        "earliest_time",
        "latest_time",
        "out_of_range",
    ],
    "SplitConfig": ["protocol", "num_validation_users", "num_test_users", "train_share"],
    "FirstTreeConfig": ["method"],
    "ModelConfig": ["features", "window_sizes", "embedding_width", "hidden_widths", "attention"],
    "TrainingConfig": [
        "target",
        "minimum_history",
        "epochs",
        "later_epochs",
        "batch_samples",
        "negatives",
        "negatives_block",
        "nodes",
        "training_beam",
        "searches",
        "even_share",
        "first_level",
        "order_noise",
        "learning_rate",
        "rate_schedule",
        "patience",
        "precision",
    ],
    "TreeLearningConfig": ["method", "gap", "assignment", "maximum_samples_per_item", "precision", "validation_tolerance"],
    "EvaluationConfig": ["cutoffs", "beam_width", "small_beam_width", "truth", "filter_seen"],
    "ExecutionConfig": ["training_processes", "tree_processes", "dask_scheduler", "shard_samples"],
    "JtmConfig": [
        "data",
        "split",
        "first_tree",
        "model",
        "training",
        "tree_learning",
        "evaluation",
        "execution",
        "iterations",
        "seed",
    ],
}


def records() -> dict[str, type]:
    found = {name: value for name, value in vars(config).items() if inspect.isclass(value) and dataclasses.is_dataclass(value)}
    return {name: value for name, value in found.items() if value.__module__ == config.__name__}


def test_every_dial_is_listed() -> None:
    assert {name: [field.name for field in dataclasses.fields(record)] for name, record in records().items()} == DIALS


def test_records_are_frozen_and_keyword_only() -> None:
    for name, record in records().items():
        assert record.__dataclass_params__.frozen, name
        assert all(field.kw_only for field in dataclasses.fields(record)), name


def test_every_dial_has_a_default_and_a_docstring() -> None:
    """A field's docstring is what the form in the UI shows beside it."""
    lines = inspect.getsource(config).splitlines()
    for name, record in records().items():
        for field in dataclasses.fields(record):
            has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            assert has_default, f"{name}.{field.name}"
            if name != "JtmConfig" or field.name in ("iterations", "seed"):
                assert any(
                    line.startswith(f"    {field.name}: ") and following.startswith('    """')
                    for line, following in itertools.pairwise(lines)
                ), f"{name}.{field.name} has no docstring"
