"""What the demo runs on: the example data set, or a synthetic world where it cannot be downloaded."""

from dataclasses import replace

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from jtm_core.config import DataConfig, JtmConfig
from tasks.example_data import EXAMPLES, ExampleDataUnavailable, fetch_example

PLANTED = DataConfig(name="planted-world-synthetic", format="planted_world")


@task(task_run_name="choose-example-{config.data.name}", cache_policy=NO_CACHE, persist_result=False)
def choose_example(config: JtmConfig) -> JtmConfig:
    """Leave the config as it is if its data can be had; else put the planted world in place of the example data.

    The artifact ``data`` of the flow run says which it is, and on what terms.
    """
    example = EXAMPLES.get(config.data.path)
    if example is None:
        return config
    try:
        fetch_example(example)
        text = f"{example.title}, real ratings. {example.terms}"
    except ExampleDataUnavailable as error:
        text = f"**Synthetic data**: a planted world, as {example.title} could not be had ({error}). It says nothing about real users."
        get_run_logger().warning(text)
        config = replace(config, data=PLANTED)
    create_markdown_artifact(text, key="data")
    return config
