"""Whether this machine can multiply at the precision a config asks for: asked before anything is computed.

The engines refuse by themselves what they cannot do, but only once they are made: after hours, perhaps, of work that did not need them.
"""

import torch

from jtm_core.bfloat16 import require_bfloat16
from jtm_core.config import JtmConfig, Precision


def require_precision(config: JtmConfig) -> None:
    """Refuse an experiment that this machine would break off.

    Tree learning whose shards a Dask scheduler hands to other machines is not asked about; training on a GPU may always be bfloat16.

    Raises
    ------
    ValueError
        If training or tree learning is to be in bfloat16 and the CPU has no AVX-512 BF16, the network has attention, or, in tree
        learning, lies on a GPU.
    """
    on_gpu = torch.cuda.is_available()
    learns_here = config.iterations > 0 and config.tree_learning.method == "joint" and not config.execution.dask_scheduler
    if not on_gpu:
        _require("training", config.training.precision, config.model.attention, on_gpu=False)
    if learns_here:
        _require("tree_learning", config.tree_learning.precision, config.model.attention, on_gpu)


def _require(part: str, precision: Precision, attention: bool, on_gpu: bool) -> None:
    if precision == "float32":
        return
    if attention or on_gpu:
        reason = "the network has attention" if attention else "the network is on a GPU"
        raise ValueError(f"{part}.precision is {precision!r}, but {reason}; allowed here is 'float32'")
    try:
        require_bfloat16()
    except ValueError as error:
        raise ValueError(f"{part}.{error}") from None
