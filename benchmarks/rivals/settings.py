"""What all learned systems share."""

from jtm_core.config import TrainingConfig


def training_config(epochs: int) -> TrainingConfig:
    """Random horizon, 80 negatives, steps of 1,024 samples, a rate of 0.003."""
    return TrainingConfig(epochs=epochs, learning_rate=3e-3, patience=epochs)
