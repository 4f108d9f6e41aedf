"""Shards of tree learning on the disk: each is weighed once, wherever that is, and found again after a kill.

``$JTM_HOME/checkpoints/<step key>.shards/`` holds the samples, and per pass a folder named by the work's digest: the work
itself and a file per finished shard. Every file appears whole or not at all, and a shard says whose it is and what its
bytes' sha256 was. The folder goes when the step's artefacts are stored.
"""

import hashlib
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from jtm_core.config import JtmConfig
from tasks.artefacts import read_data, read_network, read_tree
from tasks.fingerprints import package_fingerprint
from tasks.references import DataReferences, ModelRef, TreeRef
from tasks.store import Store, canonical_json, open_store

if TYPE_CHECKING:
    from jtm_core.behaviours import Ragged
    from jtm_core.segments import SegmentWork, ShardSums
    from jtm_core.tree_learning import TargetSamples, TreeLearner

_SAMPLES = "samples.safetensors"
_WORK = "work.safetensors"


@dataclass(frozen=True, slots=True)
class LearningJob:
    """One tree learning: all that a process needs to build its learner from the store."""

    iteration: int
    data: DataReferences
    tree: TreeRef
    model: ModelRef
    config: JtmConfig
    folder: str
    """Of the shards, relative to ``JTM_HOME``."""


@dataclass(frozen=True, slots=True)
class ShardOrder:
    """One shard to weigh, as it travels to another process: names of things that lie under ``JTM_HOME``."""

    job: str
    """A :class:`LearningJob` as JSON."""
    work: str
    """Digest of the pass."""
    number: int
    code: str
    """Fingerprint of the core; a process with other code must not take part."""


class ShardFolder:
    """The shards of one tree learning.

    Parameters
    ----------
    path : Path
        Made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_work(self, work: "SegmentWork") -> None:
        """Keep a pass for the processes that work on it."""
        from jtm_core.formats.arrays import write_arrays

        fields = {name: str(getattr(work, name)) for name in ("kind", "upper_level", "lower_level", "samples_per_shard")}
        about = {**fields, "measures_old": "yes" if work.measures_old else "no"}
        write_arrays(self.path / work.digest / _WORK, {"leaf_of_item": work.leaf_of_item}, about)

    def read_work(self, digest: str) -> "SegmentWork":
        """The pass of a digest.

        Raises
        ------
        ValueError
            If there is none, or it is another one.
        """
        from jtm_core.formats.arrays import read_arrays
        from jtm_core.segments import SegmentWork

        arrays, about = read_arrays(self.path / digest / _WORK)
        work = SegmentWork(
            kind="weigh" if about["kind"] == "weigh" else "measure",
            upper_level=int(about["upper_level"]),
            lower_level=int(about["lower_level"]),
            leaf_of_item=arrays["leaf_of_item"],
            measures_old=about["measures_old"] == "yes",
            samples_per_shard=int(about["samples_per_shard"]),
        )
        if work.digest != digest:
            raise ValueError(f"{self.path / digest} holds the pass {work.digest}; its name says {digest}")
        return work

    def write(self, digest: str, number: int, sums: "ShardSums") -> None:
        """Keep a shard's sums."""
        from jtm_core.formats.arrays import write_arrays

        arrays = sums._asdict()
        about = {"work": digest, "number": str(number), "sha256": _digest_of_arrays(arrays)}
        write_arrays(self._shard(digest, number), arrays, about)

    def read(self, digest: str, number: int) -> "ShardSums | None":
        """A finished shard, or None if it is not there or not whole."""
        from jtm_core.formats.arrays import read_arrays
        from jtm_core.segments import ShardSums

        try:
            arrays, about = read_arrays(self._shard(digest, number))
        except ValueError:
            return None
        is_own = about == {"work": digest, "number": str(number), "sha256": _digest_of_arrays(arrays)}
        return ShardSums(**arrays) if is_own and set(arrays) == set(ShardSums._fields) else None

    def has(self, digest: str, number: int) -> bool:
        """Whether a shard's file is there; :meth:`read` looks whether it is whole."""
        return self._shard(digest, number).is_file()

    def write_samples(self, histories: "Ragged", samples: "TargetSamples") -> None:
        """Keep the samples, so that processes map them instead of each drawing and sorting its own."""
        from jtm_core.formats.arrays import write_arrays

        parts = {"items": histories.values, "rows": histories.offsets}
        parts |= {name: getattr(samples.samples, name) for name in ("starts", "cuts", "targets")}
        arrays = {name: part.astype("<i8", copy=False) for name, part in parts.items()}
        write_arrays(self.path / _SAMPLES, arrays | {"factors": samples.factors.astype("<f8", copy=False).view("<i8")}, {"kind": "samples"})

    def read_samples(self) -> "tuple[Ragged, TargetSamples]":
        """Histories and samples over them, mapped."""
        from jtm_core.behaviours import Ragged
        from jtm_core.features import Samples
        from jtm_core.formats.arrays import map_integers
        from jtm_core.tree_learning import TargetSamples

        arrays, _ = map_integers(self.path / _SAMPLES)
        samples = Samples(arrays["starts"], arrays["cuts"], arrays["targets"])
        return Ragged(arrays["items"], arrays["rows"]), TargetSamples(samples, arrays["factors"].view("<f8"))

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _shard(self, digest: str, number: int) -> Path:
        return self.path / digest / f"{number:06d}.safetensors"


def _digest_of_arrays(arrays: Mapping[str, Any]) -> str:
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name}/{arrays[name].dtype.str}/{arrays[name].shape}/".encode())
        digest.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def job_text(job: LearningJob) -> str:
    """A job as JSON."""
    return canonical_json(TypeAdapter(LearningJob).dump_python(job, mode="json"))


def drawn_samples(store: Store, job: LearningJob) -> "tuple[Ragged, TargetSamples]":
    """Draw and sort the samples of an iteration: the histories that they point into, and the samples."""
    from jtm_core.behaviours import training_histories
    from jtm_core.experiment import learning_samples

    histories = training_histories(*read_data(store, job.data), job.config.training.later_newest_share)
    return histories, learning_samples(job.iteration, histories, job.config)


def make_learner(store: Store, job: LearningJob, histories: "Ragged", samples: "TargetSamples") -> "TreeLearner":
    """The learner of a job."""
    from jtm_core.tree_learning import TreeLearner

    network, tree = read_network(store, job.model), read_tree(store, job.tree)
    return TreeLearner(network, tree, histories, samples, job.config.tree_learning, job.config.first_level)


_weighing = threading.Lock()


def weigh_shard(order: ShardOrder) -> None:
    """Weigh a shard in this process and keep it; one at a time, as its kernels use all threads that the process has.

    Raises
    ------
    RuntimeError
        If this process runs other code than the one that gave the order.
    """
    own = package_fingerprint("jtm_core")
    if own != order.code:
        raise RuntimeError(
            f"this process has jtm_core {own[:12]}, the step that gave the order {order.code[:12]}; install the same version"
        )
    with _weighing:
        learner, folder = _learner_of(order.job)
        if folder.read(order.work, order.number) is None:
            work = _work_of(folder.path, order.work)
            folder.write(order.work, order.number, learner.weigh(work, order.number))


@lru_cache(maxsize=1)
def _learner_of(text: str) -> "tuple[TreeLearner, ShardFolder]":
    store, job = open_store(), TypeAdapter(LearningJob).validate_json(text)
    folder = ShardFolder(store.home / job.folder)
    return make_learner(store, job, *folder.read_samples()), folder


@lru_cache(maxsize=1)
def _work_of(path: Path, digest: str) -> "SegmentWork":
    return ShardFolder(path).read_work(digest)
