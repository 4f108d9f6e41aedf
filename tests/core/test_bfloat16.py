"""bfloat16 kernels against a twin in plain numpy that rounds in the same places."""

import llvmlite.binding
import numba
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jtm_core import bfloat16
from jtm_core.bfloat16 import (
    dot_bfloat16,
    dot_pairs,
    has_bfloat16,
    pack_head,
    pack_matrix,
    require_bfloat16,
    round_array,
    score_rows_bfloat16,
)
from jtm_core.bfloat16_training import train_rows_bfloat16
from jtm_core.kernels import MASKED, HeadPass, HeadWeights, Rows, score_rows, train_rows
from jtm_core.threads import num_threads, set_num_threads
from jtm_core.vector_code import round_bfloat16
from jtm_core.window_matches import Matches

needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this CPU does not multiply bfloat16 numbers")
Doubles = NDArray[np.float64]
WIDTHS = [(128, 64, 24), (20, 12, 7), (16, 16, 16), (50, 100, 40)]


def widen_array(values: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The float32 numbers that bfloat16 numbers are: their upper halves."""
    return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)


def rounded(values: NDArray[np.float32]) -> Doubles:
    return widen_array(round_array(values)).astype(np.float64)


def make_head(widths: tuple[int, int, int], rng: np.random.Generator, inner_product: bool = False, num_inputs: int = 0) -> HeadWeights:
    first, second, third = widths

    def draw(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    return HeadWeights(
        slope_1=draw(first, scale=0.3),
        matrix_2=draw(first, second, scale=first**-0.5),
        bias_2=draw(second, scale=0.1),
        slope_2=draw(second, scale=0.3),
        matrix_3=draw(second, third, scale=second**-0.5),
        bias_3=draw(third, scale=0.1),
        slope_3=draw(third, scale=0.3),
        vector_4=draw(third),
        bias_4=draw(1),
        product_1=draw(first if inner_product else 0, scale=0.3),
        match_1=draw(num_inputs, first if num_inputs else 0, scale=0.3),
    )


def with_matches(rows: Rows, num_inputs: int) -> Rows:
    """A third of the rows have matches, some of their inputs 0."""
    rng = np.random.default_rng(7)
    matched = np.flatnonzero(rng.random(len(rows.users)) < 1 / 3)
    inputs = rng.random((len(matched), num_inputs), dtype=np.float32) * (rng.random((len(matched), num_inputs)) < 0.5)
    return rows._replace(matches=Matches(matched, inputs.astype(np.float32)))


def make_rows(num_users: int, num_nodes: int, num_rows: int, rng: np.random.Generator) -> Rows:
    users = np.sort(rng.integers(0, num_users, num_rows)).astype(np.int32)
    labels = rng.choice([0.0, 1.0, MASKED], num_rows, p=[0.8, 0.15, 0.05]).astype(np.float32)
    offsets = rng.normal(size=num_rows).astype(np.float32)
    return Rows(users, rng.integers(0, num_nodes, num_rows).astype(np.int32), labels, offsets, np.array([0, num_rows]))


def prelu(values: Doubles, slopes: NDArray[np.float32]) -> Doubles:
    return np.where(values > 0, values, values * slopes)


def slow_pass(users: NDArray[np.float32], nodes: NDArray[np.float32], rows: Rows, head: HeadWeights) -> HeadPass:
    """``train_rows`` in float64, but for the inputs of the six products, which are rounded to bfloat16."""
    units = len(head.slope_1)
    own, other = users[rows.users].astype(np.float64), nodes[rows.nodes].astype(np.float64)
    value_1, products = own[:, :units] + other[:, :units], (own[:, units:] * other[:, units:]).sum(1)
    if len(head.product_1):
        value_1 += products[:, None] * head.product_1
    inputs = np.zeros((len(own), len(head.match_1)))
    if len(head.match_1):
        inputs[rows.matches.rows] = rows.matches.inputs
        value_1 += inputs @ head.match_1
    active_1 = rounded(prelu(value_1, head.slope_1))
    value_2 = active_1 @ rounded(head.matrix_2) + head.bias_2
    active_2 = rounded(prelu(value_2, head.slope_2))
    value_3 = active_2 @ rounded(head.matrix_3) + head.bias_3
    active_3 = prelu(value_3, head.slope_3)
    logits = active_3 @ head.vector_4.astype(np.float64) + head.bias_4
    counted, target = rows.labels >= 0, rows.labels.astype(np.float64)
    shifted = logits - rows.offsets
    loss = float((np.logaddexp(0, shifted) - target * shifted)[counted].sum())
    upper = np.where(counted, 1 / (1 + np.exp(-shifted)) - target, 0)
    upper_3 = upper[:, None] * head.vector_4
    passed_3 = np.where(value_3 > 0, upper_3, upper_3 * head.slope_3)
    upper_2 = rounded(passed_3) @ rounded(head.matrix_3).T
    passed_2 = np.where(value_2 > 0, upper_2, upper_2 * head.slope_2)
    upper_1 = rounded(passed_2) @ rounded(head.matrix_2).T
    passed_1 = np.where(value_1 > 0, upper_1, upper_1 * head.slope_1)
    user_gradients, node_gradients = np.zeros(users.shape), np.zeros(nodes.shape)
    by_product = passed_1 @ head.product_1.astype(np.float64)[:, None] if len(head.product_1) else np.zeros((len(own), 1))
    np.add.at(user_gradients, rows.users, np.concatenate([passed_1, by_product * other[:, units:]], axis=1))
    np.add.at(node_gradients, rows.nodes, np.concatenate([passed_1, by_product * own[:, units:]], axis=1))
    sums = HeadWeights(
        slope_1=(upper_1 * np.minimum(value_1, 0)).sum(0),
        matrix_2=active_1.T @ rounded(passed_2),
        bias_2=passed_2.sum(0),
        slope_2=(upper_2 * np.minimum(value_2, 0)).sum(0),
        matrix_3=active_2.T @ rounded(passed_3),
        bias_3=passed_3.sum(0),
        slope_3=(upper_3 * np.minimum(value_3, 0)).sum(0),
        vector_4=active_3.T @ upper,
        bias_4=upper.sum(keepdims=True),
        product_1=products @ passed_1 if len(head.product_1) else np.zeros(0),
        match_1=inputs.T @ passed_1 if len(head.match_1) else np.zeros((0, 0)),
    )
    return HeadPass(loss, logits, user_gradients, node_gradients, sums)  # type: ignore[arg-type]


def distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Length of the difference against the length of what it should be."""
    return float(np.linalg.norm(one.astype(np.float64) - other) / max(np.linalg.norm(other), 1e-12))


def test_rounding_goes_to_the_nearest_and_halves_to_even() -> None:
    step = 2.0**-7  # of bfloat16 between 1 and 2
    values = np.array([1, 1 + 0.49 * step, 1 + 0.51 * step, 1 + 0.5 * step, 1 + 1.5 * step, -1 - 0.51 * step, 0], np.float32)
    expected = np.array([1, 1, 1 + step, 1, 1 + 2 * step, -1 - step, 0], np.float32)
    np.testing.assert_array_equal(widen_array(round_array(values)), expected)


def test_rounding_is_torch_s() -> None:
    values = (np.random.default_rng(0).standard_normal(10_000) * 10.0 ** np.random.default_rng(1).integers(-20, 20, 10_000)).astype(
        np.float32
    )
    theirs = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(widen_array(round_array(values)), theirs)


@needs_bfloat16
def test_the_instruction_rounds_as_the_definition() -> None:
    @numba.njit
    def round_all(values: NDArray[np.float32], out: NDArray[np.uint16]) -> None:
        for i in range(len(values)):
            out[i] = round_bfloat16(values[i])

    values = np.random.default_rng(0).standard_normal(10_000, dtype=np.float32)
    out = np.empty(len(values), np.uint16)
    round_all(values, out)
    np.testing.assert_array_equal(out, round_array(values))


def test_packing_puts_pairs_side_by_side_and_fills_up_with_zeros() -> None:
    matrix = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    packed = widen_array(pack_matrix(matrix))
    assert packed.shape == (8, 16, 2)
    np.testing.assert_array_equal(packed[:2, :2], [[[1, 3], [2, 4]], [[5, 0], [6, 0]]])
    assert packed.sum() == matrix.sum()


@needs_bfloat16
@pytest.mark.parametrize("num_rows", [1, 5, 6, 7, 12, 13, 256])
@pytest.mark.parametrize("width", [16, 32, 48, 64, 80, 128])
def test_products_are_exact_up_to_float32_sums(num_rows: int, width: int) -> None:
    rng, depth = np.random.default_rng(num_rows), 96
    left, right = rng.standard_normal((num_rows, depth), dtype=np.float32), rng.standard_normal((depth, width), dtype=np.float32)
    out = np.full((num_rows, width), np.nan, np.float32)
    dot_bfloat16(round_array(left), pack_matrix(right), out)
    bound = depth * 2.0**-24 * (np.abs(rounded(left)) @ np.abs(rounded(right)))
    assert (np.abs(out - rounded(left) @ rounded(right)) <= bound).all()
    assert (np.abs(out - left.astype(float) @ right) <= 2.0**-7 * (np.abs(left) @ np.abs(right))).all()


@needs_bfloat16
@pytest.mark.parametrize("depth", [3, 24, 64])
def test_products_over_pairs_of_rows_are_exact_up_to_float32_sums(depth: int) -> None:
    rng, num_rows, width = np.random.default_rng(depth), 20, 48
    left, right = rng.standard_normal((num_rows, depth), dtype=np.float32), rng.standard_normal((num_rows, width), dtype=np.float32)
    pairs = [np.ascontiguousarray(round_array(side).reshape(num_rows // 2, 2, -1).transpose(0, 2, 1)) for side in (left, right)]
    out = np.full((depth, width), np.nan, np.float32)
    dot_pairs(*pairs, out)
    bound = num_rows * 2.0**-24 * (np.abs(rounded(left)).T @ np.abs(rounded(right)))
    assert (np.abs(out - rounded(left).T @ rounded(right)) <= bound).all()


@needs_bfloat16
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize(("num_factors", "num_inputs"), [(0, 0), (8, 0), (24, 0), (0, 3), (8, 4)])
def test_scores_equal_the_twin_and_lie_near_float32(widths: tuple[int, int, int], num_factors: int, num_inputs: int) -> None:
    rng = np.random.default_rng(3)
    head, rows = make_head(widths, rng, num_factors > 0, num_inputs), with_matches(make_rows(40, 30, 700, rng), num_inputs)
    users, nodes = (rng.standard_normal((count, widths[0] + num_factors), dtype=np.float32) for count in (40, 30))
    scores = score_rows_bfloat16(users, nodes, rows.users, rows.nodes, pack_head(head), rows.matches)
    spread = float(scores.std())
    np.testing.assert_allclose(scores, slow_pass(users, nodes, rows, head).logits, atol=5e-3 * spread)
    plain = score_rows(users, nodes, rows.users, rows.nodes, head, rows.matches)
    assert 0 < np.abs(scores - plain).max() < 0.03 * spread


@needs_bfloat16
def test_a_score_depends_on_its_row_alone() -> None:
    rng = np.random.default_rng(4)
    head, rows = make_head((128, 64, 24), rng, num_inputs=3), with_matches(make_rows(40, 30, 1000, rng), 3)
    users, nodes = (rng.standard_normal((count, 128), dtype=np.float32) for count in (40, 30))
    packed, before = pack_head(head), num_threads()
    whole = score_rows_bfloat16(users, nodes, rows.users, rows.nodes, packed, rows.matches)
    assert len(rows.matches.part(501, 513).rows)
    part = score_rows_bfloat16(users, nodes, rows.users[501:513], rows.nodes[501:513], packed, rows.matches.part(501, 513))
    try:
        set_num_threads(5)
        others = score_rows_bfloat16(users, nodes, rows.users, rows.nodes, packed, rows.matches)
    finally:
        set_num_threads(before)
    np.testing.assert_array_equal(part, whole[501:513])
    np.testing.assert_array_equal(others, whole)


@needs_bfloat16
@pytest.mark.parametrize("num_rows", [1, 255, 700, 1025])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize(("num_factors", "num_inputs"), [(0, 0), (8, 0), (24, 0), (0, 3), (8, 4)])
def test_training_equals_the_twin(widths: tuple[int, int, int], num_rows: int, num_factors: int, num_inputs: int) -> None:
    rng = np.random.default_rng(5)
    head, rows = make_head(widths, rng, num_factors > 0, num_inputs), with_matches(make_rows(40, 30, num_rows, rng), num_inputs)
    users, nodes = (rng.standard_normal((count, widths[0] + num_factors), dtype=np.float32) for count in (40, 30))
    fast, slow = train_rows_bfloat16(users, nodes, rows, head), slow_pass(users, nodes, rows, head)
    assert fast.loss == pytest.approx(slow.loss, rel=2e-3)
    assert distance(fast.user_gradients, slow.user_gradients) < 0.02
    assert distance(fast.node_gradients, slow.node_gradients) < 0.02
    for name, ours, theirs in zip(head._fields, fast.gradients, slow.gradients, strict=True):
        assert ours.shape == theirs.shape, name
        assert distance(ours, theirs) < 0.01, name


@needs_bfloat16
def test_training_points_where_float32_does() -> None:
    rng = np.random.default_rng(6)
    head, rows = make_head((128, 64, 24), rng, inner_product=True, num_inputs=3), with_matches(make_rows(200, 150, 5000, rng), 3)
    users, nodes = (rng.standard_normal((count, 152), dtype=np.float32) for count in (200, 150))
    rough, plain = train_rows_bfloat16(users, nodes, rows, head), train_rows(users, nodes, rows, head)
    assert rough.loss == pytest.approx(plain.loss, rel=5e-3)
    for ours, theirs in zip((*rough.gradients, rough.user_gradients), (*plain.gradients, plain.user_gradients), strict=True):
        assert 0 < distance(ours, theirs) < 0.05


def test_a_processor_without_it_is_refused_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_features", lambda: {"avx512f": True, "avx512bf16": False})
    has_bfloat16.cache_clear()
    try:
        for refuse in (require_bfloat16, lambda: pack_head(make_head((16, 16, 16), np.random.default_rng(0)))):
            with pytest.raises(
                ValueError, match=r"precision is 'bfloat16', but this CPU .* has no AVX-512 BF16; allowed here is 'float32'"
            ):
                refuse()
    finally:
        bfloat16.has_bfloat16.cache_clear()
