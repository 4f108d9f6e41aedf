"""Learn on from what is released of a data set: the flow behind the schedule."""

from prefect import flow

from flows.train_jtm import train_jtm
from jtm_core.config import JtmConfig
from tasks.find_released import find_released

DEFAULT = JtmConfig()


@flow(name="retrain-jtm", flow_run_name="retrain-jtm-{config.data.name}")
def retrain_jtm(config: JtmConfig = DEFAULT) -> None:
    """Start warm from the version that is released: known ids, tree and model are kept and extended.

    Without such a version it plants a first tree. A killed retraining goes on from the same version when run again.

    Args:
        config: The experiment; ``data.name`` tells which versions it follows, ``model`` must be theirs.
    """
    train_jtm.fn(config, start_from=find_released(config))  # the same steps, in this flow run
