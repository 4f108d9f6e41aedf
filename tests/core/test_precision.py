"""What a machine cannot multiply is refused before anything is computed."""

from dataclasses import replace

import pytest
import torch

from jtm_core.config import ExecutionConfig, JtmConfig, ModelConfig, TrainingConfig, TreeLearningConfig
from jtm_core.precision import require_precision

IN_TRAINING = JtmConfig(training=TrainingConfig(precision="bfloat16"))
IN_TREE_LEARNING = JtmConfig(tree_learning=TreeLearningConfig(precision="bfloat16"))


@pytest.fixture(params=[False, True], ids=["plain CPU", "CPU with bfloat16"])
def can_multiply(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("jtm_core.bfloat16.has_bfloat16", lambda: request.param)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return bool(request.param)


@pytest.mark.parametrize(("config", "part"), [(IN_TRAINING, "training"), (IN_TREE_LEARNING, "tree_learning")])
def test_bfloat16_needs_a_cpu_that_multiplies_it(config: JtmConfig, part: str, can_multiply: bool) -> None:
    if can_multiply:
        require_precision(config)
        return
    with pytest.raises(ValueError, match=rf"^{part}\.precision is 'bfloat16', but this CPU .* allowed here is 'float32'"):
        require_precision(config)


@pytest.mark.parametrize("config", [IN_TRAINING, IN_TREE_LEARNING])
@pytest.mark.usefixtures("can_multiply")
def test_attention_allows_float32_only(config: JtmConfig) -> None:
    with pytest.raises(ValueError, match="the network has attention"):
        require_precision(replace(config, model=ModelConfig(attention=True)))


@pytest.mark.usefixtures("can_multiply")
def test_what_is_not_computed_here_is_not_asked_about() -> None:
    require_precision(JtmConfig())
    require_precision(replace(IN_TREE_LEARNING, iterations=0))
    require_precision(replace(IN_TREE_LEARNING, tree_learning=TreeLearningConfig(precision="bfloat16", method="two_means")))
    require_precision(replace(IN_TREE_LEARNING, execution=ExecutionConfig(dask_scheduler="tcp://host:8786")))


def test_a_gpu_trains_in_bfloat16_and_learns_trees_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    require_precision(IN_TRAINING)
    require_precision(replace(IN_TRAINING, model=ModelConfig(attention=True)))
    with pytest.raises(ValueError, match="on a GPU"):
        require_precision(IN_TREE_LEARNING)
