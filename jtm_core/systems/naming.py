"""The systems by their names, and what each name stands for.

Shared by all: data, split, first tree, windows and widths, target, budget of negatives, batches, rate, patience, epochs in
all (``training.epochs + iterations * training.later_epochs``), the gate, evaluation, seed. Exceptions lie in what a system
is: HSM's negatives are the siblings on the path, DNN's all lie on the leaf level, ``jtm-paper`` has the paper's network and trains
as the paper does.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from jtm_core.config import JtmConfig, TrainingConfig
from jtm_core.presets import paper_config

SystemName = Literal[
    "popularity",
    "recent-popularity",
    "personal-popularity",
    "item-cf",
    "item-cf-bm25",
    "als",
    "product-dnn",
    "hsm",
    "tdm",
    "tdm-two-means",
    "dnn",
    "jtm-j",
    "jtm-h",
    "jtm-two-means",
    "jtm",
    "jtm-otm",
    "jtm-paper",
]
SYSTEMS: tuple[SystemName, ...] = get_args(SystemName)
"""All names, in the order of the paper's table 1."""

_LEAVES = 40
"""As a first level: the leaves alone, whatever the tree's height (40 at most)."""


@dataclass(frozen=True, slots=True)
class _Making:
    """User features and method of tree learning of a system on a tree, and what it changes of the training."""

    features: Literal["flat", "hierarchical"]
    method: Literal["fixed", "two_means", "joint"]
    training: Literal["shared", "leaves", "beam", "paper"] = "shared"


_ON_A_TREE: dict[str, _Making] = {
    "hsm": _Making("flat", "fixed"),
    "tdm": _Making("flat", "fixed"),
    "tdm-two-means": _Making("flat", "two_means"),
    "dnn": _Making("flat", "fixed", "leaves"),
    "jtm-j": _Making("flat", "joint"),
    "jtm-h": _Making("hierarchical", "fixed"),
    "jtm-two-means": _Making("hierarchical", "two_means"),
    "jtm": _Making("hierarchical", "joint"),
    "jtm-otm": _Making("hierarchical", "joint", "beam"),
    "jtm-paper": _Making("hierarchical", "joint", "paper"),
}


def settings_of(name: SystemName, shared: JtmConfig) -> JtmConfig:
    """The shared settings with just what makes one system.

    Parameters
    ----------
    name : SystemName
    shared : JtmConfig
        What all systems have in common.

    Raises
    ------
    ValueError
        If there is no such system, or the settings are none it can have.

    Examples
    --------
    >>> settings_of("jtm-j", JtmConfig()).model.features, settings_of("jtm-h", JtmConfig()).tree_learning.method
    ('flat', 'fixed')
    """
    if name not in SYSTEMS:
        raise ValueError(f"the system is {name!r}; allowed are {', '.join(SYSTEMS)}")
    making = _ON_A_TREE.get(name)
    if making is None:
        return shared
    learning, model = shared.tree_learning, replace(shared.model, features=making.features)
    if making.training == "paper":
        paper = paper_config().model
        model = replace(paper, features=model.features, embedding_width=model.embedding_width, hidden_widths=model.hidden_widths)
        learning = replace(paper_config().tree_learning, precision=learning.precision, validation_tolerance=learning.validation_tolerance)
    if name == "hsm" and shared.model.attention:
        raise ValueError("model.attention is set, which HSM cannot have; leave hsm out of the systems, or attention unset")
    return replace(
        shared,
        model=model,
        training=_training_of(making, shared.training),
        tree_learning=replace(learning, method=making.method),
    )


def _training_of(making: _Making, shared: TrainingConfig) -> TrainingConfig:
    """The shared training, on the leaves alone, or with what the paper says of it in place of the shared settings."""
    if making.training == "leaves":
        return replace(shared, first_level=_LEAVES, nodes="uniform")
    if making.training == "beam":
        return replace(shared, nodes="beam")
    if making.training == "shared":
        return shared
    return replace(
        paper_config().training,
        minimum_history=shared.minimum_history,
        epochs=shared.epochs,
        later_epochs=shared.later_epochs,
        later_newest_share=shared.later_newest_share,
        batch_samples=shared.batch_samples,
        patience=shared.patience,
        precision=shared.precision,
    )
