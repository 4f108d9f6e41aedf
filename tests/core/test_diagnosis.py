"""Signs of under-training at their thresholds, and a divergence found wherever it shows."""

import pytest
import torch
from torch import nn

from jtm_core.diagnosis import require_finite, undertraining_signs


@pytest.mark.parametrize(
    ("losses", "recalls", "spread", "overlap", "signs"),
    [
        ([2.0, 1.91], [0.1, 0.104], 0.11, 0.89, []),
        ([2.0, 1.89], [0.1, 0.104], 0.11, 0.89, ["loss still fell from 2.0000 to 1.8900"]),
        ([2.0, 1.91], [0.1, 0.106], 0.11, 0.89, ["recall still rose from 0.1000 to 0.1060"]),
        ([2.0, 1.91], [0.1, 0.104], 0.09, 0.89, ["spread by 0.090 only"]),
        ([2.0, 1.91], [0.1, 0.104], 0.11, 0.91, ["share 91% of their items"]),
        ([3.0, 2.0, 1.91], [0.05, 0.1, 0.104], 0.11, 0.89, []),
        ([2.0], [0.1], 0.09, 0.91, ["share 91%", "spread by 0.090"]),
    ],
)
def test_each_sign_has_its_threshold(losses: list[float], recalls: list[float], spread: float, overlap: float, signs: list[str]) -> None:
    found = undertraining_signs(losses, recalls, spread, overlap)
    assert len(found) == len(signs)
    assert all(sign in text for sign, text in zip(signs, found, strict=True))


def test_a_loss_or_a_weight_that_is_not_finite_ends_a_training() -> None:
    network = nn.Linear(2, 1)
    require_finite(1.0, network, "epoch 1")
    with pytest.raises(FloatingPointError, match=r"after epoch 1 the loss is inf and weights .* in \[\]"):
        require_finite(float("inf"), network, "epoch 1")
    with torch.no_grad():
        network.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"after epoch 2 the loss is 1 and weights .* in \['bias'\]"):
        require_finite(1.0, network, "epoch 2")
