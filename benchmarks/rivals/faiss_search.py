"""``python -m benchmarks.rivals.faiss_search flat|hnsw FOLDER``: faiss over product-DNN's vectors.

Users per second and latency take in the tower's time per user, as measured with many users at once.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from benchmarks.records import Record, emit, percentile, spread
from benchmarks.rivals.judging import SPARE, USERS_TOGETHER, built, judge_lists
from benchmarks.rivals.product import FILE
from benchmarks.rivals.world import CUTOFFS, read_world

NEIGHBOURS, BUILD_BREADTH = 32, 200
"""Links of a node and candidates while building."""
BREADTHS = {"flat": (0,), "hnsw": (200, 400, 800)}
"""Candidates while searching (efSearch)."""


def make_index(kind: str, width: int) -> faiss.Index:
    """An index by inner product."""
    if kind == "flat":
        return faiss.IndexFlatIP(width)
    index = faiss.IndexHNSWFlat(width, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_BREADTH
    return index


def paced(search: Callable[[np.ndarray], object], users: np.ndarray, size: int, seconds_per_user: float) -> list[float]:
    """Seconds of each block of so many users."""
    seconds = []
    for low in range(0, min(len(users), 200 * size), size):
        begun = time.perf_counter()
        search(users[low : low + size])
        seconds.append(time.perf_counter() - begun + seconds_per_user * len(users[low : low + size]))
    return seconds


def main(kind: str, folder: str) -> None:
    """Build, search, judge."""
    world = read_world(Path(folder))
    with np.load(Path(folder) / FILE) as file:
        items, users, seconds_per_user = file["items"], file["users"], float(file["seconds_per_user"])
    begun = time.perf_counter()
    index = make_index(kind, items.shape[1])
    index.add(items)
    seconds = time.perf_counter() - begun
    for breadth in BREADTHS[kind]:
        system = f"product-dnn, faiss {kind}" + (f" (breadth {breadth})" if breadth else "")
        if breadth:
            index.hnsw.efSearch = breadth
        built(system, seconds, note="the index only; vectors are product-dnn's")
        judge_lists(system, index.search(users, CUTOFFS[-1] + SPARE)[1].astype(np.int64), world)
        blocks = paced(lambda part: index.search(part, CUTOFFS[-1]), users, USERS_TOGETHER, seconds_per_user)[:-1]
        rates = [USERS_TOGETHER / one for one in blocks]
        emit(Record("users_per_s", float(np.median(rates)), "users/s", {"system": system, "batch": USERS_TOGETHER} | spread(rates)))
        single = [1000 * one for one in paced(lambda part: index.search(part, CUTOFFS[-1]), users, 1, seconds_per_user)]
        for share in (0.5, 0.99):
            about = {"system": system, "batch": 1, "calls": len(single)}
            emit(Record(f"latency_p{100 * share:.0f}_ms", percentile(single, share), "ms", about))


if __name__ == "__main__":
    main(*sys.argv[1:])
