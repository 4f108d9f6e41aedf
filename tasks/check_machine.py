"""Whether this machine can do what a config asks for, before anything is read or computed."""

from jtm_core.config import JtmConfig
from jtm_core.precision import require_precision
from tasks.outside import outside_task


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
    """
    for settings in (config, *planned):
        require_precision(settings)
