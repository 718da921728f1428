from __future__ import annotations

import pytest

from stoker.launch.generation import EngineState
from stoker.launch.metrics import parse_state

PAGE = """\
# HELP nv_inference_count Number of inferences performed
# TYPE nv_inference_count counter
nv_inference_count{model="tensorrt_llm",version="1"} 12
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting"} 2
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max"} 16
nv_trt_llm_request_metrics{request_type="active",model="tensorrt_llm"} 3
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm"} 1e+03
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm"} 40
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="free",model="tensorrt_llm"} 960
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="tensorrt_llm"} 32
"""


def test_the_state_is_read_from_the_gauges_of_both_families():
    expected = EngineState(running=3, waiting=2, kv_blocks_used=40, kv_blocks_total=1000, kv_block_tokens=32)
    assert parse_state(PAGE) == expected


def test_the_guesses_that_were_kept_are_what_a_step_gave_beyond_one_token():
    labels = 'stoker_progress{model="engine",progress_type='
    progress = f'# TYPE stoker_progress gauge\n{labels}"steps"}} 40\n{labels}"tokens"}} 70\n'
    state = parse_state(PAGE + progress)
    assert (state.steps, state.tokens, state.accepted_per_step) == (40, 70, 0.75)
    assert parse_state(PAGE).accepted_per_step == 0


def test_a_missing_gauge_is_named():
    with pytest.raises(ValueError, match="waiting"):
        parse_state(PAGE.replace('"waiting"', '"other"'))
