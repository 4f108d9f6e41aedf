"""Every dial there is. A new one changes this list, so that somebody asks whether it is needed."""

import dataclasses
import inspect
import itertools

from jtm_core import comparison_config, config, counting_config, lists_config

MODULES = (config, counting_config, comparison_config, lists_config)
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
    "ModelConfig": [
        "features",
        "window_sizes",
        "embedding_width",
        "hidden_widths",
        "attention",
        "inner_product",
        "window_matches",
        "neighbour_windows",
    ],
    "TrainingConfig": [
        "target",
        "horizon_share",
        "minimum_history",
        "epochs",
        "later_epochs",
        "later_newest_share",
        "batch_samples",
        "negatives",
        "negatives_block",
        "nodes",
        "negative_draw",
        "training_beam",
        "searches",
        "level_share",
        "first_level",
        "order_noise",
        "tied_levels",
        "learning_rate",
        "rate_schedule",
        "patience",
        "precision",
    ],
    "TreeLearningConfig": ["method", "gap", "assignment", "sweeps", "maximum_samples_per_item", "precision", "validation_tolerance"],
    "EvaluationConfig": ["cutoffs", "beam_width", "small_beam_width", "truth", "filter_seen"],
    "ExecutionConfig": ["training_processes", "tree_processes", "dask_scheduler", "shard_samples"],
    "JtmConfig": ["data", "split", "first_tree", "model", "training", "tree_learning", "evaluation", "execution", "iterations", "seed"],
    "CountingConfig": [
        "newest_share",
        "recent_share",
        "num_neighbours",
        "own_items",
        "als_factors",
        "als_regularisation",
        "als_confidence",
        "als_iterations",
    ],
    "SystemSettings": ["jtm", "counting"],
    "SensitivityConfig": ["gaps", "assignments", "beam_widths", "negatives"],
    "OwnSettings": ["system", "dials"],
    "ComparisonConfig": ["shared", "counting", "systems", "reference", "seeds", "beams", "sensitivity", "tuned"],
    "TuningConfig": ["shared", "counting", "systems", "trials", "seed"],
    "ListsConfig": ["count", "without_seen", "beam_width"],
}


def records() -> dict[str, type]:
    """Config records of all modules that hold dials; a planned run is made of them and is none."""
    found = [value for module in MODULES for value in vars(module).values() if inspect.isclass(value) and dataclasses.is_dataclass(value)]
    names = {module.__name__ for module in MODULES}
    return {value.__name__: value for value in found if value.__module__ in names and value.__name__ != "PlannedRun"}


def test_every_dial_is_listed() -> None:
    assert {name: [field.name for field in dataclasses.fields(record)] for name, record in records().items()} == DIALS


def test_records_are_frozen_and_keyword_only() -> None:
    for name, record in records().items():
        assert record.__dataclass_params__.frozen, name
        assert all(field.kw_only for field in dataclasses.fields(record)), name


def test_every_dial_has_a_default_and_a_docstring() -> None:
    """A field's docstring is what the form in the UI shows beside it."""
    for name, record in records().items():
        lines = inspect.getsource(record).splitlines()
        for field in dataclasses.fields(record):
            has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            assert has_default, f"{name}.{field.name}"
            if name != "JtmConfig" or field.name in ("iterations", "seed"):
                assert any(
                    line.startswith(f"    {field.name}: ") and following.startswith('    """')
                    for line, following in itertools.pairwise(lines)
                ), f"{name}.{field.name} has no docstring"
