"""Whether this machine can do what a config asks for, before anything is read or computed."""

from jtm_core.config import JtmConfig
from jtm_core.precision import require_precision
from tasks.outside import outside_task
from tasks.shard_runs import submitting


@outside_task("check-machine-{config.data.name}")
def check_machine(config: JtmConfig, planned: tuple[JtmConfig, ...] = ()) -> None:
    """Refuse an experiment that this machine would break off.

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
    if config.iterations and config.tree_learning.method == "joint" and config.execution.dask_scheduler:
        with submitting(config.execution):
            pass
