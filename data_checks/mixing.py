"""Scrambling numbers and strings into 64 bits that are even all over."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


def hash_texts(texts: pa.Array, seed: int) -> Hashes:
    """A 64-bit hash of every string, taken eight bytes at a time: uint64 (N,)."""
    texts = texts.cast(pa.large_string()).cast(pa.large_binary())
    _, offsets_buffer, data = texts.buffers()
    if not len(texts) or data is None:
        return mix(np.full(len(texts), seed, dtype=np.uint64))
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    padded = np.zeros(int(offsets[-1]) + 8, dtype=np.uint8)
    padded[:-8] = np.frombuffer(data, dtype=np.uint8, count=int(offsets[-1]))
    words: Hashes = np.ndarray(shape=(len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))  # one from every byte on
    begins, lengths = offsets[:-1], np.diff(offsets)
    masks = np.array([(1 << 8 * count) - 1 for count in range(9)], dtype=np.uint64)
    hashes = mix(lengths.astype(np.uint64) ^ np.uint64(seed << 32))
    for begin in range(0, int(lengths.max()), 8):
        rows = np.flatnonzero(lengths > begin)
        word = words[begins[rows] + begin] & masks[np.minimum(lengths[rows] - begin, 8)]
        hashes[rows] = mix(hashes[rows] ^ word)
    return hashes


def mix(values: Hashes) -> Hashes:
    """Scramble 64-bit integers one to one (the finaliser of splitmix64)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
