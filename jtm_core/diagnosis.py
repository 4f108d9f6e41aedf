"""Signs, in words, that a network is not trained out, which looks like a failure of the method, or has diverged."""

import numpy as np
from torch.nn import Module


def require_finite(loss: float, network: Module, when: str) -> None:
    """Stop where a training diverged.

    Raises
    ------
    FloatingPointError
        If the loss or a weight is not finite; ``when`` says after what.
    """
    broken = [name for name, weights in network.state_dict().items() if not bool(weights.isfinite().all())]
    if broken or not np.isfinite(loss):
        raise FloatingPointError(
            f"after {when} the loss is {loss:.4g} and weights that are not finite are in {broken}: the training diverged, or started from "
            "such weights; take a lower rate, or another start"
        )


def undertraining_signs(losses: list[float], recalls: list[float], score_spread: float, list_overlap: float) -> list[str]:
    """What speaks for more epochs; empty if nothing does.

    Parameters
    ----------
    losses, recalls : list of float
        Mean loss per sample and validation recall of each epoch; at least one.
    score_spread : float
        Mean over users of the standard deviation of the logits of their best leaves, after the last epoch.
    list_overlap : float
        What the lists of two users have in common beyond chance, 1 for all, after the last epoch.

    Examples
    --------
    >>> undertraining_signs([2.0, 1.99], [0.10, 0.101], score_spread=1.5, list_overlap=0.2)
    []
    """
    found = []
    if list_overlap > 0.9:
        found.append(
            f"undertrained: two users' lists share {list_overlap:.0%} of their items beyond chance; everybody gets nearly the same list"
        )
    if score_spread < 0.1:
        found.append(f"undertrained: logits of a user's best leaves spread by {score_spread:.3f} only; the network hardly tells them apart")
    if len(recalls) > 1 and recalls[-1] > 1.05 * recalls[-2]:
        found.append(f"undertrained: validation recall still rose from {recalls[-2]:.4f} to {recalls[-1]:.4f} in the last epoch")
    if len(losses) > 1 and losses[-1] < 0.95 * losses[-2]:
        found.append(f"undertrained: the loss still fell from {losses[-2]:.4f} to {losses[-1]:.4f} in the last epoch")
    return found
