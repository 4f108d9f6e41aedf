"""One process of a training in several; started by torchrun: ``torchrun OPTIONS -m tasks.train_rank [JOB]``.

The first process (rank 0) is given the job's file by the step that waits for it; all others get the job from the first, so
on a further machine the command ends with ``tasks.train_rank``. All machines must see the same ``JTM_HOME``.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

from jtm_core.peers import TorchPeers
from jtm_core.threads import available_cores, set_num_threads
from tasks.store import open_store
from tasks.train_model import train_here
from tasks.training_jobs import LineWriter, Silent, TrainingJob, job_from_text

PATIENCE = timedelta(hours=3)
"""How long a process waits for another, e.g. while the first validates; one that dies is noticed at once."""


@record  # the launcher's last words then hold the traceback of the first failure
def main(arguments: list[str]) -> None:
    """Take part in a training.

    Raises
    ------
    ValueError
        If this is the first process and there is no job.
    """
    device = _own_device(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    peers = TorchPeers(device)
    job = _received_job(arguments, device)
    if peers.rank:
        train_here(open_store(), job, Silent(), peers)
    else:
        writer = LineWriter()
        trained = train_here(open_store(), job, writer, peers)
        assert trained is not None
        writer.trained(trained)
    dist.destroy_process_group()


def _own_device(local_rank: int, local_size: int) -> torch.device:
    """A GPU for this process alone, or its share of the cores."""
    if not torch.cuda.is_available():
        threads = max(1, available_cores() // local_size)
        set_num_threads(threads)
        torch.set_num_threads(threads)
        return torch.device("cpu")
    if local_size > torch.cuda.device_count():
        raise ValueError(f"{local_size} processes for {torch.cuda.device_count()} GPUs; give each process one of its own")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _received_job(arguments: list[str], device: torch.device) -> TrainingJob:
    """The job that the first process was given."""
    if dist.get_rank() == 0 and len(arguments) != 1:
        raise ValueError(f"the first process got {arguments}; it needs the path of one job, which the step train-model gives it")
    texts = [Path(arguments[0]).read_text(encoding="utf-8") if dist.get_rank() == 0 else ""]
    dist.broadcast_object_list(texts, src=0, device=device)
    return job_from_text(texts[0])


if __name__ == "__main__":
    main(sys.argv[1:])
