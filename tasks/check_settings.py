"""Whether what a config asks for can be done here, and judged by what it is to be judged by, before anything is read or computed."""

from jtm_core.config import JtmConfig, TrainingConfig
from jtm_core.precision import require_precision
from jtm_core.splitting import ASKS_FOR_THE_NEWEST
from tasks.caching import step_logger
from tasks.outside import outside_task
from tasks.shard_runs import submitting


@outside_task("check-settings-{config.data.name}")
def check_settings(config: JtmConfig, planned: tuple[JtmConfig, ...] = ()) -> None:
    """Refuse an experiment that this machine would break off, and warn of settings that do not go together.

    Warned of are training processes that would have nothing to do, and iterations that learn from the newest behaviours to be judged by
    older ones: they lose validation recall and are refused (decision 0033).

    Parameters
    ----------
    config : JtmConfig
    planned : tuple of JtmConfig
        Settings of runs that differ from it.

    Raises
    ------
    ValueError
        If training or tree learning is to be in bfloat16 and this machine cannot.
    RuntimeError
        If trees are to be learned by a Dask scheduler that does not answer, or has no workers.
    """
    for settings in (config, *planned):
        require_precision(settings)
    _warn_of_idle_processes(config)
    for settings in _by_share((config, *planned)):
        step_logger().warning(
            "training.later_newest_share is %s, but by split.protocol %s held-out users are asked for older behaviours too, so that what "
            "is learned from the newest may lose validation recall and be refused; %s ask for the newest",
            settings.training.later_newest_share,
            settings.split.protocol,
            " and ".join(sorted(ASKS_FOR_THE_NEWEST)),
        )
    if config.iterations and config.tree_learning.method == "joint" and config.execution.dask_scheduler:
        with submitting(config.execution):
            pass


def _by_share(asked: tuple[JtmConfig, ...]) -> tuple[JtmConfig, ...]:
    """One of each share of the newest that is to teach for judges who are asked for more than the newest."""
    taught = {one.training.later_newest_share: one for one in asked if one.split.protocol not in ASKS_FOR_THE_NEWEST}
    return tuple(taught[share] for share in sorted(taught) if share < 1)


def _warn_of_idle_processes(config: JtmConfig) -> None:
    num_processes, num_busy = config.execution.training_processes, most_processes(config.training)
    if num_processes > num_busy:
        words = (
            "a batch of %d samples has %d blocks of %d (training.negatives_block) to share out, so %d of %d training processes stay idle"
        )
        numbers = config.training.batch_samples, num_busy, config.training.negatives_block, num_processes - num_busy, num_processes
        step_logger().warning(words, *numbers)


def most_processes(training: TrainingConfig) -> int:
    """Processes among which a batch can be shared out, as samples that share a draw of negatives stay together.

    Examples
    --------
    >>> most_processes(TrainingConfig(batch_samples=512, negatives_block=64))
    8
    """
    return -(-training.batch_samples // training.negatives_block)
