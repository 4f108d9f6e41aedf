"""``python -m benchmarks.rivals.implicit_models als|cosine FOLDER``: the package ``implicit`` on counts of behaviours.

Users who are asked were not trained on: ALS solves their vectors from their histories (``recalculate_user``). OpenBLAS is
held to one thread, as implicit has threads of its own and asks for it.
"""

import sys
import time
from pathlib import Path

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from scipy import sparse
from threadpoolctl import threadpool_limits

from benchmarks.rivals.judging import built, judge
from benchmarks.rivals.world import read_world
from jtm_core.behaviours import Ints, Ragged

FACTORS = 64


def counts(histories: Ragged, num_items: int) -> sparse.csr_matrix:
    """How often each user did each item."""
    ones = np.ones(len(histories.values), dtype=np.float32)
    matrix = sparse.csr_matrix((ones, histories.values, histories.offsets), shape=(len(histories), num_items), copy=True)
    matrix.sum_duplicates()
    return matrix


def main(kind: str, folder: str) -> None:
    """Fit and judge."""
    world = read_world(Path(folder))
    model = CosineRecommender(K=500) if kind == "cosine" else AlternatingLeastSquares(factors=FACTORS, iterations=15, random_state=1)
    with threadpool_limits(1, user_api="blas"):
        begun = time.perf_counter()
        model.fit(counts(world.histories, world.num_items), show_progress=False)
        built(f"implicit {kind}", time.perf_counter() - begun)

        def recommend(histories: Ragged, length: int) -> Ints:
            rows = counts(histories, world.num_items)
            options = {"filter_already_liked_items": False} | ({"recalculate_user": True} if kind == "als" else {})
            items, scores = model.recommend(np.arange(len(histories)), rows, N=length, **options)
            lists = np.full((len(histories), length), -1, dtype=np.int64)
            lists[:, : items.shape[1]] = np.where(scores > 0, items, -1) if kind == "cosine" else items
            return lists

        judge(f"implicit {kind}", recommend, world)


if __name__ == "__main__":
    main(*sys.argv[1:])
