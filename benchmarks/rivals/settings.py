"""What all learned systems share."""

from jtm_core.config import TrainingConfig


def training_config(epochs: int, later_epochs: int = 1) -> TrainingConfig:
    """Random horizon, 80 negatives, steps of 1,024 samples, a rate of 0.003; patience that never ends early."""
    patience = max(epochs, later_epochs)
    return TrainingConfig(epochs=epochs, later_epochs=later_epochs, batch_samples=1024, learning_rate=3e-3, patience=patience)
