"""Adam on the touched rows against torch's own Adam."""

import numpy as np
import pytest
import torch
from small_worlds import small_world

from jtm_core.gradients import Gradients
from jtm_core.model import JtmNetwork
from jtm_core.optimiser import Adam
from jtm_core.row_steps import OwnRows
from jtm_core.threads import num_threads, set_num_threads


def draw_gradients(network: JtmNetwork, rows: np.ndarray, seed: int) -> Gradients:
    chance = torch.Generator().manual_seed(seed)
    row_gradients = torch.randn(len(rows), network.vectors.shape[1], generator=chance)
    return Gradients(0.0, rows, row_gradients, [torch.randn(p.shape, generator=chance) for p in network.dense_parameters()])


def test_with_every_row_touched_it_is_torch_s_adam() -> None:
    network, twin = small_world().network, small_world().network
    adam, theirs = Adam(network, 1e-2), torch.optim.Adam(twin.parameters(), lr=1e-2)
    rows = np.arange(len(network.vectors))
    for step in range(5):
        gradients = draw_gradients(network, rows, step)
        adam.step(gradients)
        twin.vectors.grad = gradients.row_gradients
        for parameter, gradient in zip(twin.dense_parameters(), gradients.dense, strict=True):
            parameter.grad = gradient
        theirs.step()
    for ours, other in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-6)


def test_touched_rows_take_torch_s_lazy_adam_and_others_rest() -> None:
    network, twin = small_world().network, small_world().network
    adam, theirs = Adam(network, 1e-2), torch.optim.SparseAdam([twin.vectors], lr=1e-2)
    before = network.vectors.detach().clone()
    for step, rows in enumerate((np.array([0, 3, 9]), np.array([3, 4]), np.array([0, 9]))):
        gradients = draw_gradients(network, rows, step)
        adam.step(gradients)
        twin.vectors.grad = torch.sparse_coo_tensor(
            torch.from_numpy(rows)[None], gradients.row_gradients, twin.vectors.shape, is_coalesced=True, check_invariants=True
        )
        theirs.step()
    torch.testing.assert_close(network.vectors, twin.vectors, rtol=1e-5, atol=1e-6)
    touched = np.array([0, 3, 4, 9])
    assert (network.vectors.detach() != before).any(dim=1).nonzero().ravel().tolist() == touched.tolist()


def test_the_kernel_takes_the_step_of_the_torch_path() -> None:
    networks = small_world().network, small_world().network
    kernel, by_torch = (OwnRows(network) for network in networks)
    by_torch.update_on_cpu = by_torch.update_by_torch  # type: ignore[method-assign]
    kernel, plain = (Adam(network, 1e-2, rows) for network, rows in zip(networks, (kernel, by_torch), strict=True))
    rows = np.arange(2, len(networks[0].vectors), 3)
    for step in range(3):
        gradients = draw_gradients(networks[0], rows, step)
        kernel.step(gradients)
        plain.step(gradients)
    torch.testing.assert_close(networks[0].vectors, networks[1].vectors, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(kernel.state()["row_moments"], plain.state()["row_moments"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("number", [1, 3])
def test_the_step_does_not_depend_on_threads(number: int) -> None:
    world, other = small_world(num_items=3000), small_world(num_items=3000)
    rows = np.arange(len(world.network.vectors))
    assert len(rows) > 2 * 1024
    before = num_threads()
    Adam(world.network, 1e-2).step(draw_gradients(world.network, rows, 0))
    try:
        set_num_threads(number)
        Adam(other.network, 1e-2).step(draw_gradients(other.network, rows, 0))
    finally:
        set_num_threads(before)
    assert torch.equal(world.network.vectors, other.network.vectors)


def test_no_rows_change_no_row() -> None:
    network = small_world().network
    before = network.vectors.detach().clone()
    Adam(network, 1e-2).step(draw_gradients(network, np.empty(0, np.int64), 0))
    assert torch.equal(network.vectors, before)
