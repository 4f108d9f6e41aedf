"""Where Great Expectations works: a context that leaves no files, shows no progress bars, one at a time."""

import logging
import threading

import great_expectations as gx
from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.execution_engine import pandas_execution_engine

# Great Expectations would hash every frame below this size, half the time of a check; artefacts have their own digests.
pandas_execution_engine.HASH_THRESHOLD = 0

logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # it tells of every folder it makes

ONE_AT_A_TIME = threading.Lock()
"""Held while a context is in use: Great Expectations keeps the current one in a global, so two checks at once would mix."""


def make_context() -> EphemeralDataContext:
    """A fresh context in memory."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context
