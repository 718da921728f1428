from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stoker.kinds.openvino.build.marks import mark_decompression
from stoker.kinds.openvino.build.plain import constant, widened


def graph(kind: str) -> ov.Model:
    weights = {"bf16": np.full((64, 64), 0x3F80, np.uint16), "f16": np.ones((64, 64), np.float16)}[kind]
    inputs = ops.parameter([-1, 64], ov.Type.f32, name="x")
    model = ov.Model([ops.matmul(inputs, widened(constant(weights, kind, "w")), False, True)], [inputs], "g")
    model.memory = weights
    return model


@pytest.mark.parametrize("kind", ["bf16", "f16"])
def test_a_16_bit_constant_is_marked_and_computes_the_same(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.xml"
    ov.save_model(graph(kind), path, compress_to_fp16=False)
    assert mark_decompression(path) == 1
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert compiled(np.ones((2, 64), np.float32))[0].tolist() == [[64.0] * 64] * 2


@pytest.mark.parametrize("kind", ["bf16", "f16"])
def test_a_marked_constant_stays_narrow_in_the_compiled_graph(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.xml"
    ov.save_model(graph(kind), path, compress_to_fp16=False)
    mark_decompression(path)
    read = ov.Core().read_model(path)
    converts = [node for node in read.get_ops() if node.get_type_name() == "Convert"]
    assert [str(key) for node in converts for key in node.get_rt_info()] == ["decompression_0"]


def test_nothing_is_written_where_nothing_is_widened(tmp_path: Path) -> None:
    path = tmp_path / "graph.xml"
    path.write_text("<net><layers><layer id='0' type='Parameter'/></layers><edges/></net>")
    before = path.read_bytes()
    assert mark_decompression(path) == 0
    assert path.read_bytes() == before
    assert Xml.parse(path).getroot().tag == "net"
