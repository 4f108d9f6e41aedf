"""``PECOS_PYTHON -m benchmarks.rivals.pecos_xlinear FOLDER``: PECOS XR-Linear, in an interpreter of its own.

PECOS 1.2.8 needs numpy below 2, so this module runs there and imports nothing of the project but the records. An
instance is a user's history as a bag of items, tf-idf weighted; labels are the items that come after. Of every training
user two random cuts are taken (the random horizon of the other systems, as sets). The label tree is PECOS's own
hierarchical k-means on PIFA embeddings; search is its beam search.
"""

import sys
import time
from pathlib import Path

import numpy as np
from pecos.xmc import Indexer, LabelEmbeddingFactory
from pecos.xmc.xlinear.model import XLinearModel
from scipy import sparse

from benchmarks.records import Record, emit, percentile, spread
from benchmarks.rivals.pecos_settings import BEAM_WIDTH, LISTS

CUTS = 2
LENGTH, SPARE, USERS_TOGETHER = 200, 60, 64


def bags(values: np.ndarray, offsets: np.ndarray, num_items: int) -> sparse.csr_matrix:
    """Rows of items as counts."""
    matrix = sparse.csr_matrix((np.ones(len(values), dtype=np.float32), values, offsets), shape=(len(offsets) - 1, num_items), copy=True)
    matrix.sum_duplicates()
    return matrix


def slices(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple:
    """Slices of a flat array end to end, and their offsets."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return values[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)], offsets


def instances(values: np.ndarray, offsets: np.ndarray, num_items: int) -> tuple:
    """What is known and what comes after, for some cuts of every user."""
    rng, starts, lengths = np.random.default_rng(1), offsets[:-1], np.diff(offsets)
    starts, lengths = np.repeat(starts[lengths > 1], CUTS), np.repeat(lengths[lengths > 1], CUTS)
    known = 1 + (rng.random(len(lengths)) * (lengths - 1)).astype(np.int64)
    after = bags(*slices(values, starts + known, lengths - known), num_items)
    after.data[:] = 1
    return bags(*slices(values, starts, known), num_items), after


def weighted(rows: sparse.csr_matrix, weights: np.ndarray) -> sparse.csr_matrix:
    """Inverse document frequencies multiplied in, rows of length 1."""
    rows = sparse.csr_matrix(rows.multiply(weights).tocsr(), dtype=np.float32)
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows = sparse.csr_matrix(sparse.diags(1 / np.maximum(norms, 1e-9)) @ rows, dtype=np.float32)
    rows.sort_indices()
    return rows


def listed(predicted: sparse.csr_matrix, length: int) -> np.ndarray:
    """Columns of each row, the largest value first, -1 where there is none."""
    lists = np.full((predicted.shape[0], length), -1, dtype=np.int64)
    for row in range(predicted.shape[0]):
        part = slice(predicted.indptr[row], predicted.indptr[row + 1])
        best = predicted.indices[part][np.argsort(-predicted.data[part], kind="stable")][:length]
        lists[row, : len(best)] = best
    return lists


def paced(model: XLinearModel, rows: sparse.csr_matrix, size: int) -> list:
    """Seconds of each block of so many users, lists included."""
    seconds = []
    for low in range(0, min(rows.shape[0], 200 * size) - size + 1, size):
        begun = time.perf_counter()
        listed(model.predict(rows[low : low + size], only_topk=LENGTH, beam_size=BEAM_WIDTH), LENGTH)
        seconds.append(time.perf_counter() - begun)
    return seconds


def main(folder: str) -> None:
    """Train, search, leave the lists for the judge."""
    with np.load(Path(folder) / "world.npz") as file:
        arrays = {name: file[name] for name in file.files}
    num_items = len(arrays["categories"])
    begun = time.perf_counter()
    known, after = instances(arrays["train_values"], arrays["train_offsets"], num_items)
    weights = np.log((1 + known.shape[0]) / (1 + np.bincount(known.indices, minlength=num_items))).astype(np.float32)[None]
    features = weighted(known, weights)
    labels = LabelEmbeddingFactory.create(after, features, method="pifa")
    tree = Indexer.gen(labels, indexer_type="hierarchicalkmeans", seed=1)
    model = XLinearModel.train(features, after, C=tree)
    about = {"system": f"pecos xr-linear, beam {BEAM_WIDTH}"}
    emit(Record("build_s", time.perf_counter() - begun, "s", about | {"instances": known.shape[0]}))
    asked = weighted(bags(arrays["test_values"], arrays["test_offsets"], num_items), weights)
    np.save(Path(folder) / LISTS, listed(model.predict(asked, only_topk=LENGTH + SPARE, beam_size=BEAM_WIDTH), LENGTH + SPARE))
    rates = [USERS_TOGETHER / one for one in paced(model, asked, USERS_TOGETHER)]
    emit(Record("users_per_s", float(np.median(rates)), "users/s", about | {"batch": USERS_TOGETHER} | spread(rates)))
    single = [1000 * one for one in paced(model, asked, 1)]
    for share in (0.5, 0.99):
        emit(Record(f"latency_p{100 * share:.0f}_ms", percentile(single, share), "ms", about | {"batch": 1, "calls": len(single)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
