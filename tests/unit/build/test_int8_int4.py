"""The arithmetic of weight compression, against its definition."""

from __future__ import annotations

import mmap
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stoker.errors import DamagedModelError, UnsupportedModelError
from stoker.kinds.openvino.build import blocks, int4, int8
from stoker.kinds.openvino.build.encoding import Tensor

MATRICES = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 40)), elements=st.floats(-100, 100, width=32))


class OneTensor:
    """A checkpoint that gives the same tensor for every name."""

    def __init__(self, array: np.ndarray, dtype: str) -> None:
        self.array, self.dtype = array, dtype

    def __contains__(self, name: str) -> bool:
        return True

    def tensor(self, name: str) -> Tensor:
        return Tensor(name, self.dtype, self.array.shape, self.array)

    def names(self) -> tuple[str, ...]:
        return ()


def quantized_rows(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes = np.empty(weights.shape, np.uint8)
    zero_points, scales = np.empty(len(weights), np.uint8), np.empty(len(weights), np.float16)
    int8.quantize_rows(weights.copy(), codes, zero_points, scales)
    return codes, zero_points, scales


def constant_data(output) -> dict[str, np.ndarray]:
    """Constants that an output is computed from, by the end of their name."""
    found, open_nodes = {}, [output.get_node()]
    while open_nodes:
        node = open_nodes.pop()
        if node.get_type_name() == "Constant":
            found[node.get_friendly_name().rpartition("/")[2]] = node.data
        open_nodes += [source.get_node() for source in node.input_values()]
    return found


@given(MATRICES)
@settings(max_examples=200)
def test_int8_is_within_half_a_step_of_every_weight(weights):
    codes, zero_points, scales = quantized_rows(weights)
    steps = scales.astype(np.float64)[:, None]
    restored = (codes.astype(np.float64) - zero_points[:, None]) * steps
    # the rest is f32 rounding of quotients up to 255
    assert (np.abs(restored - weights) <= steps * (0.5 + 1e-4)).all()


def test_int8_spends_its_codes_on_the_range_of_each_row():
    weights = np.array([[0.0, 1.0, 2.0], [-3.0, -2.0, -1.0], [-1.0, 0.0, 1.0]], np.float32)
    codes, zero_points, _ = quantized_rows(weights)
    assert zero_points.tolist() == [0, 255, 127]
    assert codes.min(axis=1).tolist() == [0, 0, 0]
    assert (codes.max(axis=1) >= 170).all()


def test_int8_keeps_zero_exactly_zero():
    codes, zero_points, scales = quantized_rows(np.zeros((2, 8), np.float32))
    assert (codes == zero_points[:, None]).all()
    assert (scales > 0).all()


def signed(nibbles: np.ndarray) -> np.ndarray:
    """4-bit two's complement, as f32."""
    return np.where(nibbles > 7, nibbles.astype(np.float32) - 16, nibbles)


@given(arrays(np.float32, (3, 16), elements=st.floats(-10, 10, width=32)))
@settings(max_examples=200)
def test_int4_is_no_worse_than_spreading_16_codes_over_the_range(groups):
    codes, scales = int4.quantize_groups(groups.copy())
    assert codes.max(initial=0) <= 15
    error = np.square(signed(codes) * scales[:, None] - groups, dtype=np.float64).sum(axis=1)
    scale = int4.grid(int4.extremes(groups), 1.0)
    plain = np.clip(np.rint(groups / scale[:, None]), -8, 7) * scale[:, None]
    bound = np.square(plain - groups, dtype=np.float64).sum(axis=1)
    assert (error <= bound * 1.001 + 1e-9).all()


def test_the_extreme_of_a_group_takes_the_lowest_code():
    groups = np.array([[0.5, -4.0, 1.0, 3.0], [0.5, -3.0, 1.0, 4.0]], np.float32)
    scale = int4.grid(int4.extremes(groups), 1.0)
    assert scale.tolist() == [0.5, -0.5]
    assert (groups / scale[:, None]).min(axis=1).tolist() == [-8.0, -8.0]


def test_int4_keeps_zero_exactly_zero():
    codes, scales = int4.quantize_groups(np.zeros((2, 8), np.float32))
    assert (codes == 0).all()
    assert (scales != 0).all()


def test_a_clipped_range_lowers_the_error_of_a_group_with_an_outlier():
    groups = np.random.default_rng(0).standard_normal((256, 128)).astype(np.float32)
    scratch = np.empty_like(groups), np.empty_like(groups)
    full = int4.squared_error(groups, int4.grid(int4.extremes(groups), 1.0), *scratch)
    found = int4.squared_error(groups, int4.best_grid(groups), *scratch)
    assert found.sum() < 0.95 * full.sum()


@pytest.mark.parametrize(
    ("width", "wanted", "size"),
    [(256, 0, 128), (256, 128, 128), (192, 0, 64), (96, 128, 32), (100, 0, 100), (256, 64, 64), (96, 64, 32)],
)
def test_group_size_falls_back_to_what_divides_the_width(width, wanted, size):
    assert int4.group_size_for(width, wanted) == size


def test_packing_puts_the_even_code_into_the_low_half():
    assert int4.pack(np.array([[1, 2], [15, 4]], np.uint8)).tolist() == [0x21, 0x4F]
    assert int4.pack(np.array([1, 2, 3], np.uint8)).tolist() == [0x21, 0x03]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 70000), (700, 300), (5, 7), (2000, 128)])
def test_every_row_is_visited_once_and_widened_exactly(threads, shape):
    bits = np.random.default_rng(1).integers(0, 0x7F00, shape).astype(np.uint16)
    seen, lock = np.zeros(shape[0], int), threading.Lock()

    def work(first: int, block: np.ndarray) -> None:
        expected = (bits[first : first + len(block)].astype(np.uint32) << 16).view(np.float32)
        with lock:
            seen[first : first + len(block)] += 1
        assert np.array_equal(block, expected)

    blocks.each_block(bits, "BF16", work, threads)
    assert (seen == 1).all()


def test_forgetting_frees_mapped_pages_and_leaves_the_data(tmp_path):
    content = np.arange(1 << 20, dtype=np.uint32)
    file = tmp_path / "weights"
    file.write_bytes(content.tobytes())
    with file.open("rb") as stream:
        mapped = np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint32)[100:]
    assert mapped.sum() > 0
    before = resident_bytes(mapped)
    blocks.forget(mapped)
    assert resident_bytes(mapped) < before / 10
    assert np.array_equal(mapped, content[100:])


def resident_bytes(array: np.ndarray) -> int:
    """Rss of the mapping that holds the array, from /proc/self/smaps."""
    address, inside = array.ctypes.data, False
    with Path("/proc/self/smaps").open() as lines:
        for line in lines:
            head = line.split()[0]
            if "-" in head and not head.endswith(":"):
                first, last = (int(part, 16) for part in head.split("-"))
                inside = first <= address < last
            elif inside and head == "Rss:":
                return int(line.split()[1]) * 1024
    raise AssertionError("not mapped")


def test_forgetting_leaves_memory_that_is_not_a_file():
    array = np.ones(1 << 20, np.float32)
    blocks.forget(array)
    assert array.sum() == 1 << 20


@pytest.mark.parametrize("encoding", [int8.Int8(2), int4.Int4(2)])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_weights_that_are_not_finite_are_damage_that_names_the_tensor(encoding, bad):
    array = np.ones((4, 64), np.float32)
    array[2, 3] = bad
    with pytest.raises(DamagedModelError, match=r"layer\.weight"):
        encoding.linear(OneTensor(array, "F32"), "layer")


@pytest.mark.parametrize("encoding", [int8.Int8(1), int4.Int4(1)])
@pytest.mark.parametrize("dtype", ["F8_E4M3", "I8"])
def test_types_that_are_no_plain_floats_are_refused(encoding, dtype):
    with pytest.raises(UnsupportedModelError, match=dtype):
        encoding.linear(OneTensor(np.ones((4, 64), np.uint8), dtype), "layer")


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_int8_constant_restores_the_matrix(dtype):
    values = np.random.default_rng(2).standard_normal((6, 32)).astype(np.float16).astype(np.float32)
    stored = (values.view(np.uint32) >> 16).astype(np.uint16) if dtype == "BF16" else values
    expected = (stored.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else values
    matrix = OneTensor(stored.astype(np.float16) if dtype == "F16" else stored, dtype)
    output = int8.Int8(1).linear(matrix, "layer")
    found = constant_data(output)
    restored = (found["layer.weight"].astype(np.float32) - found["zero_point"]) * found["scale"].astype(np.float32)
    assert list(output.get_shape()) == [6, 32]
    np.testing.assert_allclose(restored, expected, atol=float(found["scale"].max()) * 0.51)


def test_int4_packs_experts_in_three_dimensions():
    experts = np.random.default_rng(3).standard_normal((2, 3, 64)).astype(np.float32)
    encoding = int4.Int4(1, 32)
    output = encoding.matrix("experts", experts)
    found = constant_data(output)
    codes = unpacked(found["experts"], experts.size).reshape(2, 3, 2, 32)
    restored = signed(codes) * found["scale"].astype(np.float32)
    assert list(output.get_shape()) == [2, 3, 64]
    assert encoding.groups == {32: 1}
    assert np.linalg.norm(restored.reshape(experts.shape) - experts) < 0.12 * np.linalg.norm(experts)


def unpacked(data: np.ndarray, count: int) -> np.ndarray:
    flat = data.reshape(-1).view(np.uint8)
    return np.stack([flat & 15, flat >> 4], axis=-1).reshape(-1)[:count]


def test_int4_keeps_the_output_matrix_and_odd_widths_in_8_bits():
    array = np.random.default_rng(4).standard_normal((8, 64)).astype(np.float32)
    for prefix, matrix in (("lm_head", array), ("layer", array[:, :33].copy())):
        found = constant_data(int4.Int4(1).linear(OneTensor(matrix, "F32"), prefix))
        assert found[f"{prefix}.weight"].dtype == np.uint8
        assert found[f"{prefix}.weight"].shape == matrix.shape
