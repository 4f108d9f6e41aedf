"""The whole loop in a few minutes, on data everybody can have."""

from prefect import flow

from flows.train_jtm import train_jtm
from jtm_core.config import JtmConfig
from jtm_core.presets import demo_config
from tasks.choose_example import choose_example

DEMO = demo_config()


@flow(name="demo", flow_run_name="demo-{config.data.name}")
def demo(config: JtmConfig = DEMO) -> None:
    """Train on MovieLens-100K, or on a planted world where it cannot be had; which one is written on every result.

    Args:
        config: The experiment; its data may be replaced by the planted world.
    """
    train_jtm.fn(choose_example(config))  # the same steps, in this flow run
