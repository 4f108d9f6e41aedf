"""A version as MLflow serves it: MLflow keeps this file and ``jtm_core`` with the model and runs it where it is loaded.

So nothing of ours but the core may be imported here. What it takes and gives: :func:`tasks.tracking.registered_models.interface_of`.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from jtm_core.formats.served_folders import read_served
from jtm_core.keyed_serving import KeyedRetriever, Recommended
from jtm_core.model import on_device
from jtm_core.serving import Retriever


class JtmModel(PythonModel):
    """Recommends to as many users as a call has rows."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the version and ask it once, so that what has to be compiled is, before the server says that it is up."""
        served = read_served(Path(context.artifacts["version"]))
        self._settings = served.settings
        retriever = Retriever(on_device(served.network), served.tree, served.settings.beam_width, served.settings.first_level)
        self._retriever = KeyedRetriever(retriever, served.keys, served.items_by_popularity)
        self._retriever.recommend(served.keys[:1], 1)

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """The best items for each row's user.

        Parameters
        ----------
        context : PythonModelContext
            Passed over.
        model_input : DataFrame
            ``history``: list of own ids, oldest first; ``exclude``, in every row or in none: list of items that must not come, or None.
        params : dict, optional
            ``count`` and ``without_seen``, of all rows; those of the model's settings if they are not given.

        Returns
        -------
        DataFrame
            ``items``, best first, their ``logits``, None for a user of whom nothing is known, and ``is_personal``, false for such a user.

        Raises
        ------
        MlflowException
            If ids are of another kind than the log's, or ``count`` is out of range; a server answers with status 400.
        """
        asked = {"count": self._settings.count, "without_seen": self._settings.without_seen} | (params or {})
        histories = model_input["history"].tolist()
        excluded = [[] if items is None else items for items in model_input.get("exclude", [None] * len(histories))]
        try:
            if asked["without_seen"]:
                excluded = [[*items, *history] for items, history in zip(excluded, histories, strict=True)]
            found = self._retriever.recommend_batch(histories, asked["count"], excluded)
        except (TypeError, ValueError) as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return pd.DataFrame([_row(one) for one in found], columns=["items", "logits", "is_personal"])


def _row(found: Recommended) -> tuple[list[Any], list[float | None], bool]:
    return found.items, found.logits.tolist() if found.is_personal else [None] * len(found.items), found.is_personal


set_model(JtmModel())
