"""``python -m benchmarks.rivals.product FOLDER``: product-DNN with exhaustive search; leaves its vectors for faiss."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.rivals.judging import built, judge
from benchmarks.rivals.settings import training_config
from benchmarks.rivals.world import read_world
from jtm_core.baselines.product_dnn import ProductDNN
from jtm_core.config import ModelConfig

FILE = "vectors.npz"


def main(arguments: list[str]) -> None:
    """Train, judge, keep the vectors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    chosen = parser.parse_args(arguments)
    world = read_world(chosen.folder)
    begun = time.perf_counter()
    model = ProductDNN.fit(world.histories, world.num_items, ModelConfig(), training_config(chosen.epochs), 1)
    built("product-dnn, full scan", time.perf_counter() - begun, epochs=chosen.epochs)
    judge("product-dnn, full scan", model.recommend, world)
    begun = time.perf_counter()
    users = model.user_vectors(world.test.histories)
    seconds_per_user = (time.perf_counter() - begun) / len(users)
    np.savez(chosen.folder / FILE, items=model.item_vectors, users=users, seconds_per_user=seconds_per_user)


if __name__ == "__main__":
    main(sys.argv[1:])
