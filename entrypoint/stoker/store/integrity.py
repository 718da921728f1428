"""Whether an engine is still what was built, read to its last byte."""

from __future__ import annotations

from stoker.errors import CacheError
from stoker.progress import Silent
from stoker.store.engine import Engine
from stoker.store.manifest import UnusableEngineError, check_digests
from stoker.store.policy import StorePolicy
from stoker.store.store import Store
from stoker.store.trust import check_trusted


def fault_of(store: Store, key: str, policy: StorePolicy) -> str:
    """What is wrong with an engine of the store, empty where nothing is: what the next start finds too. CacheError for
    one that this user may not read: that is no damage."""
    try:
        engine = store.find(key)
        if engine is None:
            return "it is not there"
        check_digests(engine.directory, engine.manifest)
        check_trusted(engine, policy, Silent())
    except UnusableEngineError as fault:
        return str(fault)
    except PermissionError as error:
        remedy = "run it as the user whose engine it is"
        raise CacheError(f"the engine {key} cannot be read", why=str(error), remedy=remedy) from error
    except OSError as error:  # a disk that fails to read is damage too
        return str(error)
    return ""


def damage_of(engine: Engine) -> str:
    """Reads every byte; empty where all are right."""
    try:
        check_digests(engine.directory, engine.manifest)
    except (UnusableEngineError, OSError) as fault:
        return str(fault)
    return ""
