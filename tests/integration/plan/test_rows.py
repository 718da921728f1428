"""Activations are quantised in groups of a row as they meet compressed weights: one sequence's numbers must not depend
on those of others in its step."""

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops
from tests.engine_settings import engine_settings

from stoker.kinds.openvino.runtime.properties import compile_properties

INNER, OUTER = 896, 384


def product() -> openvino.Model:
    """Of rows and a matrix in 8 bits, as the builder writes one."""
    generator = np.random.default_rng(0)
    x = ops.parameter([-1, INNER], np.float32)
    weights = ops.convert(ops.constant(generator.integers(0, 256, (OUTER, INNER)).astype(np.uint8)), "f16")
    centred = ops.subtract(weights, ops.convert(ops.constant(np.full((OUTER, 1), 128, np.uint8)), "f16"))
    scaled = ops.multiply(centred, ops.constant((generator.random((OUTER, 1)) * 0.01).astype(np.float16)))
    return openvino.Model([ops.matmul(x, ops.convert(scaled, "f32"), False, True)], [x])


def compiled(tmp_path, computed: str):
    settings = engine_settings("", tmp_path, precision="int8", activation_precision=computed, kv_precision="u8")
    properties = {name: str(value) for name, value in compile_properties(settings).items()}
    request = openvino.Core().compile_model(product(), "CPU", properties)
    return lambda rows: request(rows)[0].copy()


@pytest.mark.parametrize("computed", ["f32", "bf16"])
def test_a_row_does_not_depend_on_its_neighbours(tmp_path, computed):
    run = compiled(tmp_path, computed)
    rows = np.random.default_rng(1).standard_normal((9, INNER)).astype(np.float32)
    louder = np.concatenate([rows[:1], rows[:0:-1] * 100])
    np.testing.assert_array_equal(run(louder)[0], run(rows)[0])


def test_a_row_is_rounded_alike_however_many_there_are(tmp_path):
    """Rounding it otherwise would change it by some hundredths of the mean."""
    run = compiled(tmp_path, "f32")
    rows = np.random.default_rng(1).standard_normal((9, INNER)).astype(np.float32)
    together = run(rows)
    for count in (1, 2, 5):
        np.testing.assert_allclose(run(rows[:count]), together[:count], atol=1e-4 * np.abs(together).mean())
