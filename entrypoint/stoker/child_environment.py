"""The environment of child processes: what engines are known to read, and no secret of this process.

A model's template, an engine's Python stub or a compiler needs none of the API keys, hub tokens and cloud credentials
that this process was started with, so it does not inherit them. Names are allowed, not forbidden: a secret may be
called anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

PASSED_ON = "STOKER_ENGINE_ENVIRONMENT"  # names, separated by commas, of further variables that children get

_NAMES = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "HOSTNAME", "TERM", "TZ", "LANG", "LANGUAGE"),
        *("TMPDIR", "TMP", "TEMP", "VIRTUAL_ENV", "CONDA_PREFIX", "CC", "CXX"),
        *("HF_HOME", "HF_HUB_CACHE", "HF_MODULES_CACHE", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"),
        *("LIBRARY_PATH", "CPATH", "GPU_DEVICE_ORDINAL", "MAX_JOBS"),
    }
)
_PREFIXES = (
    *("LC_", "XDG_", "LD_", "GLIBC_", "MALLOC_", "PYTHON", "COVERAGE_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NUMEXPR_", "TBB_"),
    *("OV_", "OPENVINO_", "ONEDNN_", "DNNL_", "NNCF_", "TOKENIZERS_", "XGRAMMAR_"),
    *("CUDA_", "CUBLAS_", "CUDNN_", "NVIDIA_", "NVRTC_", "NCCL_", "NVSHMEM_", "UCX_", "GDR"),
    *("TRANSFORMERS_", "TVM_", "DG_", "NUMBA_", "KINETO_"),
    *("HIP_", "HSA_", "ROCR_", "RCCL_", "MIOPEN_", "AMD_", "HCC_", "PYTORCH_", "TORCH", "TRITON_", "VLLM_"),
    "STOKER_VLLM_",
    *("NV_", "NVVM_", "OPAL_", "UCC_", "HPCX_", "SHARP_", "TCMALLOC_", "ROCM_", "ONEAPI_", "SYCL_", "ZE_", "OCL_"),
    *("FLASHINFER_", "TLLM_", "TRTLLM_", "TRT_", "OMPI_", "PMIX_", "PRTE_", "GRPC_", "GLOO_"),
)
_SECRET = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASS|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|AUTH)(_|$)")
_URL_WITH_PASSWORD = re.compile(r"\w://[^/\s]*@")


def child_environment(own: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """For every child process: the variables of `environ` (this process's) that it may have, and then `own`."""
    inherited = os.environ if environ is None else environ
    named = {name.strip() for name in inherited.get(PASSED_ON, "").split(",")}
    passed = {name: value for name, value in inherited.items() if name in named or _is_harmless(name, value)}
    if PASSED_ON in inherited:
        passed[PASSED_ON] = inherited[PASSED_ON]  # for the children of children
    return {**passed, **(own or {})}


def _is_harmless(name: str, value: str) -> bool:
    if name not in _NAMES and not name.startswith(_PREFIXES):
        return False
    return not _SECRET.search(name.upper()) and not _URL_WITH_PASSWORD.search(value)
