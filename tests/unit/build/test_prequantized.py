"""AWQ and GPTQ checkpoints keep their very integers. The packers here follow the formats' definitions, one value at a
time, independently of the code under test."""

from __future__ import annotations

import numpy as np
import pytest

from stoker.errors import DamagedModelError, UnsupportedModelError
from stoker.kinds.openvino.build.encoding import Tensor
from stoker.kinds.openvino.build.prequantized import Packing, Prequantized, packing_of
from stoker.resolve.model import Quantization

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


class Tensors:
    def __init__(self, **tensors: np.ndarray) -> None:
        self.tensors = {f"layer.{name}": array for name, array in tensors.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def tensor(self, name: str) -> Tensor:
        array = self.tensors[name]
        dtype = {"int32": "I32", "float16": "F16", "float32": "F32"}[array.dtype.name]
        return Tensor(name, dtype, array.shape, array)

    def names(self) -> tuple[str, ...]:
        return tuple(self.tensors)


def packed_columns(values: np.ndarray, order: list[int]) -> np.ndarray:
    """[rows, n] 4-bit values to [rows, n / 8] int32: nibble i of a word is the column order[i] of its eight."""
    words = np.zeros((values.shape[0], values.shape[1] // 8), np.uint32)
    for row in range(words.shape[0]):
        for word in range(words.shape[1]):
            for position, column in enumerate(order):
                words[row, word] |= np.uint32(int(values[row, 8 * word + column]) << (4 * position))
    return words.view(np.int32)


def random_layer(outputs: int, inputs: int, group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [out, in], zero points and scales [out, groups]."""
    rng = np.random.default_rng(outputs + inputs)
    groups = inputs // group
    codes, zeros = rng.integers(0, 16, (outputs, inputs)), rng.integers(1, 16, (outputs, groups))
    return codes, zeros, rng.uniform(0.001, 0.1, (outputs, groups)).astype(np.float16)


def awq(codes: np.ndarray, zeros: np.ndarray, scales: np.ndarray) -> Tensors:
    return Tensors(
        qweight=packed_columns(codes.T, AWQ_ORDER),
        qzeros=packed_columns(zeros.T, AWQ_ORDER),
        scales=np.ascontiguousarray(scales.T),
    )


def gptq(codes: np.ndarray, zeros: np.ndarray, scales: np.ndarray, offset: int, **more: np.ndarray) -> Tensors:
    natural = list(range(8))
    return Tensors(
        qweight=np.ascontiguousarray(packed_columns(codes, natural).T),
        qzeros=packed_columns(zeros.T - offset, natural),
        scales=np.ascontiguousarray(scales.T),
        **more,
    )


def read_back(output, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, zero points and scales of the graph's constants."""
    found, open_nodes = {}, [output.get_node()]
    while open_nodes:
        node = open_nodes.pop()
        if node.get_type_name() == "Constant":
            found[node.get_friendly_name()] = node.data
        open_nodes += [source.get_node() for source in node.input_values()]
    scales = found["layer/scale"].reshape(outputs, -1)
    codes = nibbles(found["layer"])[: outputs * inputs].reshape(outputs, inputs)
    zeros = nibbles(found["layer/zero_point"])[: scales.size].reshape(scales.shape)
    return codes, zeros, scales


def nibbles(data: np.ndarray) -> np.ndarray:
    flat = data.reshape(-1).view(np.uint8)
    return np.stack([flat & 15, flat >> 4], axis=-1).reshape(-1)


SHAPES = [(16, 64, 32), (8, 32, 32), (1032, 64, 16), (24, 128, 128)]


@pytest.mark.parametrize(("outputs", "inputs", "group"), SHAPES)
@pytest.mark.parametrize("method", ["awq", "gptq", "gptq_v2"])
def test_integers_zero_points_and_scales_are_kept(outputs, inputs, group, method):
    layer = random_layer(outputs, inputs, group)
    if method == "awq":
        checkpoint, packing = awq(*layer), Packing("awq", group)
    else:
        offset = 0 if method == "gptq_v2" else 1
        checkpoint, packing = gptq(*layer, offset), Packing("gptq", group, offset)
    encoding = Prequantized(2, packing)
    output = encoding.linear(checkpoint, "layer")
    assert list(output.get_shape()) == [outputs, inputs]
    assert encoding.repacked == 1
    for found, expected in zip(read_back(output, outputs, inputs), layer, strict=True):
        assert np.array_equal(found, expected)


def test_one_group_for_the_whole_input():
    layer = random_layer(16, 64, 64)
    output = Prequantized(1, Packing("gptq", -1, 0)).linear(gptq(*layer, 0), "layer")
    for found, expected in zip(read_back(output, 16, 64), layer, strict=True):
        assert np.array_equal(found, expected)


def test_scales_that_f16_cannot_hold_stay_in_f32():
    codes, zeros, scales = random_layer(16, 64, 32)
    exact = scales.astype(np.float32) * np.float32(1.0001)
    output = Prequantized(1, Packing("awq", 32)).linear(awq(codes, zeros, exact), "layer")
    found = read_back(output, 16, 64)[2]
    assert found.dtype == np.float32
    assert np.array_equal(found, exact)


def test_activation_order_is_accepted_where_it_moves_nothing_and_refused_by_name_where_it_does():
    layer = random_layer(16, 64, 32)
    encoding = Prequantized(1, Packing("gptq", 32, 1))
    in_order = np.repeat(np.arange(2, dtype=np.int32), 32)
    output = encoding.linear(gptq(*layer, 1, g_idx=in_order), "layer")
    assert np.array_equal(read_back(output, 16, 64)[0], layer[0])
    with pytest.raises(UnsupportedModelError, match="desc_act"):
        encoding.linear(gptq(*layer, 1, g_idx=in_order[::-1].copy()), "layer")


def test_a_zero_point_of_16_is_refused():
    codes, zeros, scales = random_layer(16, 64, 32)
    zeros[3, 1] = 16
    with pytest.raises(UnsupportedModelError, match="zero point of 16"):
        Prequantized(1, Packing("gptq", 32, 1)).linear(gptq(codes, zeros, scales, 1), "layer")


def test_groups_that_do_not_divide_the_input_are_refused():
    with pytest.raises(UnsupportedModelError, match="groups of 48"):
        Prequantized(1, Packing("awq", 48)).linear(awq(*random_layer(16, 64, 32)), "layer")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("scales", np.ones((3, 16), np.float16)),
        ("qzeros", np.ones((2, 3), np.int32)),
        ("qweight", np.ones((64, 2), np.float32)),
        ("qweight", np.ones((64,), np.int32)),
    ],
)
def test_wrong_shapes_and_types_are_damage_that_names_the_tensor(name, array):
    checkpoint = awq(*random_layer(16, 64, 32))
    checkpoint.tensors[f"layer.{name}"] = array
    with pytest.raises(DamagedModelError, match=rf"layer\.{name}"):
        Prequantized(1, Packing("awq", 32)).linear(checkpoint, "layer")


def quantization(method: str, bits: int = 4, **settings: object) -> Quantization:
    return Quantization(method, bits, 128, {"quant_method": method, **settings})


@pytest.mark.parametrize(
    ("given", "packing"),
    [
        (quantization("awq", group_size=64, zero_point=True, version="gemm"), Packing("awq", 64)),
        (quantization("awq", q_group_size=128, version="GEMM"), Packing("awq", 128)),
        (quantization("gptq", group_size=-1, desc_act=False, sym=True), Packing("gptq", -1, 1)),
        (quantization("gptq", group_size=32, checkpoint_format="gptq_v2"), Packing("gptq", 32, 0)),
    ],
)
def test_packing_follows_the_config(given, packing):
    assert packing_of(given) == packing


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (quantization("fp8", 8), "fp8"),
        (quantization("compressed-tensors"), "compressed-tensors"),
        (quantization("bitsandbytes"), "bitsandbytes"),
        (quantization("gptq", 8), "bits"),
        (quantization("awq", version="gemv"), "version"),
        (quantization("awq", zero_point=False), "zero_point"),
        (quantization("gptq", checkpoint_format="marlin"), "checkpoint_format"),
        (quantization("gptq", dynamic={"-:.*": {}}), "dynamic"),
    ],
)
def test_what_cannot_be_repacked_is_refused_by_name(given, named):
    with pytest.raises(UnsupportedModelError, match=named):
        packing_of(given)


def test_mixtures_of_experts_are_refused():
    with pytest.raises(UnsupportedModelError, match="mixtures of experts"):
        Prequantized(1, Packing("awq", 32)).matrix("experts", np.ones((2, 8, 8), np.float32))
