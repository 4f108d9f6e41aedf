"""Steps of tied levels: against offsets that are added up one ancestor after the other, and against torch's own Adam."""

import numpy as np
import pytest
import torch
from small_worlds import SmallWorld, small_world
from test_optimiser import draw_gradients

from jtm_core.codes import first_code
from jtm_core.config import TrainingConfig
from jtm_core.optimiser import Adam, make_adam
from jtm_core.row_steps import OwnRows
from jtm_core.threads import num_threads, set_num_threads
from jtm_core.tied_rows import TiedRows

FIRST_LEVEL = 2


def rows_on_trained_levels(world: SmallWorld, first_level: int = FIRST_LEVEL) -> np.ndarray:
    used = [world.tree.used_nodes(level) for level in range(first_level, world.tree.height)]
    items = first_code(world.tree.height) + np.arange(world.tree.num_items)
    return np.concatenate([*used, items])


def ancestors_or_self(world: SmallWorld, row: int, first_level: int = FIRST_LEVEL) -> list[int]:
    """Codes from a row's own up to the first trained level."""
    first_leaf = first_code(world.tree.height)
    code = int(world.tree.leaf_of_item[row - first_leaf]) if row >= first_leaf else row
    codes = []
    while code >= first_code(first_level):
        codes.append(code)
        code = (code - 1) // 2
    return codes


class SlowTwin:
    """Offsets as parameters of torch's SparseAdam; a vector is where it began plus the sum of what its offsets moved."""

    def __init__(self, world: SmallWorld) -> None:
        self.world, self.start = world, world.network.vectors.detach().clone()
        self.offsets = torch.nn.Parameter(torch.zeros(first_code(world.tree.height + 1), self.start.shape[1]))
        self.adam = torch.optim.SparseAdam([self.offsets], lr=1e-2)

    def step(self, rows: np.ndarray, gradients: torch.Tensor) -> None:
        sums: dict[int, torch.Tensor] = {}
        for row, gradient in zip(rows.tolist(), gradients, strict=True):
            for code in ancestors_or_self(self.world, row):
                sums[code] = sums[code] + gradient if code in sums else gradient
        codes = sorted(sums)
        values = torch.stack([sums[code] for code in codes])
        self.offsets.grad = torch.sparse_coo_tensor(
            torch.tensor(codes)[None], values, self.offsets.shape, is_coalesced=True, check_invariants=True
        )
        self.adam.step()

    def vectors(self) -> torch.Tensor:
        moved = self.start.clone()
        for row in rows_on_trained_levels(self.world).tolist():
            for code in ancestors_or_self(self.world, row):
                moved[row] += self.offsets.detach()[code]
        return moved


@pytest.mark.parametrize("path", ["kernel", "torch"])
def test_vectors_move_as_sums_of_their_offsets(path: str) -> None:
    world = small_world()
    twin, rows = SlowTwin(world), TiedRows(world.network, world.tree, FIRST_LEVEL)
    if path == "torch":
        rows.update_on_cpu = rows.update_by_torch  # type: ignore[method-assign]
    adam, trained = Adam(world.network, 1e-2, rows), rows_on_trained_levels(world)
    for step in range(4):
        touched = trained[step % 3 :: 3]
        gradients = draw_gradients(world.network, touched, step)
        adam.step(gradients)
        twin.step(touched, gradients.row_gradients)
    adam.refresh()
    expected = twin.vectors()
    torch.testing.assert_close(world.network.vectors.detach()[trained], expected[trained], rtol=1e-5, atol=1e-6)


def test_a_node_s_step_moves_all_below_it_alike_and_nothing_else() -> None:
    world = small_world()
    adam = Adam(world.network, 1e-2, TiedRows(world.network, world.tree, FIRST_LEVEL))
    node = int(world.tree.used_nodes(3)[1])
    before = world.network.vectors.detach().clone()
    adam.step(draw_gradients(world.network, np.array([node]), 0))
    adam.refresh()
    moves = world.network.vectors.detach() - before
    parent_below = {row for row in rows_on_trained_levels(world).tolist() if (node - 1) // 2 in ancestors_or_self(world, row)}
    assert set(moves.any(dim=1).nonzero().ravel().tolist()) & set(rows_on_trained_levels(world).tolist()) == parent_below
    below = [row for row in parent_below if node in ancestors_or_self(world, row)]
    torch.testing.assert_close(moves[below], moves[node].expand(len(below), -1), rtol=1e-4, atol=1e-6)


def test_items_alone_on_the_first_level_are_plain_adam() -> None:
    tied, plain = small_world(), small_world()
    height = tied.tree.height
    pair = Adam(tied.network, 1e-2, TiedRows(tied.network, tied.tree, height)), Adam(plain.network, 1e-2, OwnRows(plain.network))
    rows = first_code(height) + np.arange(0, tied.tree.num_items, 2)
    for step in range(3):
        for adam, world in zip(pair, (tied, plain), strict=True):
            adam.step(draw_gradients(world.network, rows, step))
    pair[0].refresh()
    torch.testing.assert_close(tied.network.vectors, plain.network.vectors, rtol=1e-6, atol=1e-7)


def test_the_settings_choose_the_steps() -> None:
    world = small_world()
    kinds = {
        (is_tied, level): type(make_adam(world.network, world.tree, TrainingConfig(tied_levels=is_tied), level)._rows)
        for is_tied in (False, True)
        for level in (FIRST_LEVEL, world.tree.height)
    }
    assert [key for key, kind in kinds.items() if kind is TiedRows] == [(True, FIRST_LEVEL)]


def test_the_step_does_not_depend_on_threads() -> None:
    worlds, before = [small_world(num_items=20_000), small_world(num_items=20_000)], num_threads()
    try:
        for number, world in zip((1, 3), worlds, strict=True):
            set_num_threads(number)
            adam = Adam(world.network, 1e-2, TiedRows(world.network, world.tree, FIRST_LEVEL))
            adam.step(draw_gradients(world.network, rows_on_trained_levels(world), 0))
            adam.refresh()
    finally:
        set_num_threads(before)
    assert torch.equal(worlds[0].network.vectors, worlds[1].network.vectors)


def test_it_does_not_matter_when_vectors_are_added_up() -> None:
    often, seldom = small_world(num_items=300), small_world(num_items=300)
    pair = [Adam(world.network, 1e-2, TiedRows(world.network, world.tree, FIRST_LEVEL)) for world in (often, seldom)]
    rows = rows_on_trained_levels(often)
    for step in range(4):
        for adam, world in zip(pair, (often, seldom), strict=True):
            adam.step(draw_gradients(world.network, rows[step::5], step))
        pair[0].refresh(rows[[7, 3, 7, 99 + step]])
    for adam in pair:
        adam.refresh()
    assert torch.equal(often.network.vectors, seldom.network.vectors)


def test_rows_asked_for_are_what_all_of_them_would_be_and_the_others_wait() -> None:
    world = small_world(num_items=300)
    adam = Adam(world.network, 1e-2, TiedRows(world.network, world.tree, FIRST_LEVEL))
    rows, before = rows_on_trained_levels(world), world.network.vectors.detach().clone()
    adam.step(draw_gradients(world.network, rows[:2], 0))
    asked = np.array([rows[-1], rows[-9], rows[-1]])
    adam.refresh(asked)
    partly = world.network.vectors.detach().clone()
    adam.refresh()
    assert torch.equal(partly[asked], world.network.vectors.detach()[asked])
    waiting = np.setdiff1d(rows, [code for row in asked.tolist() for code in [row, *ancestors_or_self(world, row)]])
    assert torch.equal(partly[waiting], before[waiting])
    assert (world.network.vectors.detach()[waiting] != before[waiting]).any()
