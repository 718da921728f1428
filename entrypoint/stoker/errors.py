"""Every error that a user may see.

    StokerError                    70  internal
    ├── UsageError                 64  bad flag, value, settings file or profile
    ├── ModelError                 65  the model cannot be used
    │   ├── ModelNotFoundError     66  no such repository, revision or directory
    │   ├── ModelGatedError        77  needs a token, or access has not been granted
    │   ├── NoSafetensorsError     65  only pickles or other formats
    │   ├── UnsupportedModelError  69  architecture, or a config key that changes the mathematics
    │   └── DamagedModelError      74  truncated, changed or inconsistent files
    ├── DoesNotFitError            69  not enough memory, or hardware that cannot run what was requested
    ├── DamagedEngineError         74  a finished engine's files are not what was built
    ├── CacheError                 73  the cache is not writable
    ├── StorageError               74  disk full, or input/output failed
    ├── RemoteUnusableError        75  a remote does not give or take the engine that it was asked for
    ├── ServerUnreachableError     75  no server answers at the address
    ├── ServerError                65  a server refused a request of `stoker chat`
    ├── HubUnreachableError        75  try again later
    ├── BuildError                 70  a compiler failed
    │   └── OutOfMemoryError       70  the host's memory does not hold what it needs
    ├── EngineError                70  the engine could not be started, or died
    │   ├── EngineMemoryError      70  the kernel killed it for lack of memory
    │   ├── UnstableEngineError    70  the engine died again and again
    │   └── StuckEngineError       70  the engine does nothing while it is to come up
    ├── ContainerError             69  no container engine, no image, or a container ended (with its exit code)
    └── StoppedError              130  the user stopped Stoker before it was ready

Exit codes follow sysexits(3).
"""

from __future__ import annotations

from stoker.redaction import redacted


class StokerError(Exception):
    """Says what happened, why, and what to do about it; never shown as a traceback, and never with a password."""

    exit_code = 70
    code = "internal_error"

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(redacted(what))
        self.what = redacted(what)
        self.why = redacted(why)
        self.remedy = redacted(remedy)

    def __str__(self) -> str:
        why = f": {self.why}" if self.why else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{self.what}{why}{remedy}"


class UsageError(StokerError):
    exit_code = 64
    code = "usage"


class ModelError(StokerError):
    exit_code = 65
    code = "bad_model"


class ModelNotFoundError(ModelError):
    exit_code = 66
    code = "model_not_found"


class ModelGatedError(ModelError):
    exit_code = 77
    code = "model_gated"


class NoSafetensorsError(ModelError):
    code = "no_safetensors"


class UnsupportedModelError(ModelError):
    exit_code = 69
    code = "unsupported_model"


class DamagedModelError(ModelError):
    exit_code = 74
    code = "damaged_model"


class DoesNotFitError(StokerError):
    exit_code = 69
    code = "does_not_fit"


class DamagedEngineError(StokerError):
    exit_code = 74
    code = "damaged_engine"


class CacheError(StokerError):
    exit_code = 73
    code = "cache_not_writable"


class StorageError(StokerError):
    exit_code = 74
    code = "storage"


class RemoteUnusableError(StokerError):
    exit_code = 75
    code = "remote_unusable"


class ServerUnreachableError(StokerError):
    exit_code = 75
    code = "server_unreachable"


class ServerError(StokerError):
    exit_code = 65
    code = "server_refused"


class HubUnreachableError(StokerError):
    exit_code = 75
    code = "hub_unreachable"


class BuildError(StokerError):
    code = "build_failed"


class OutOfMemoryError(BuildError):
    code = "build_out_of_memory"


class EngineError(StokerError):
    code = "engine_failed"


class ContainerError(StokerError):
    exit_code = 69
    code = "container_failed"


class EngineMemoryError(EngineError):
    code = "engine_out_of_memory"


class UnstableEngineError(EngineError):
    code = "engine_unstable"


class StuckEngineError(EngineError):
    code = "engine_stuck"


class StoppedError(StokerError):
    exit_code = 130
    code = "cancelled"
