"""Whether this machine can do what a config asks for, before anything is read or computed."""

from jtm_core.config import JtmConfig, TrainingConfig
from jtm_core.precision import require_precision
from tasks.caching import step_logger
from tasks.outside import outside_task
from tasks.shard_runs import submitting


@outside_task("check-machine-{config.data.name}")
def check_machine(config: JtmConfig, planned: tuple[JtmConfig, ...] = ()) -> None:
    """Refuse an experiment that this machine would break off, and warn of training processes that would have nothing to do.

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
    num_processes, num_busy = config.execution.training_processes, most_processes(config.training)
    if num_processes > num_busy:
        words = (
            "a batch of %d samples has %d blocks of %d (training.negatives_block) to share out, so %d of %d training processes stay idle"
        )
        numbers = config.training.batch_samples, num_busy, config.training.negatives_block, num_processes - num_busy, num_processes
        step_logger().warning(words, *numbers)
    if config.iterations and config.tree_learning.method == "joint" and config.execution.dask_scheduler:
        with submitting(config.execution):
            pass


def most_processes(training: TrainingConfig) -> int:
    """Processes among which a batch can be shared out, as samples that share a draw of negatives stay together.

    Examples
    --------
    >>> most_processes(TrainingConfig(batch_samples=512, negatives_block=64))
    8
    """
    return -(-training.batch_samples // training.negatives_block)
