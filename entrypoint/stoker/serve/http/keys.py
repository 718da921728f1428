"""API keys: who may use the server. Only their digests are kept, and all are compared, in constant time."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from stoker.errors import UsageError
from stoker.serve.http.asgi import App, Receive, Scope, Send, header
from stoker.serve.http.error_forms import refuse
from stoker.serve.http.errors import ApiError
from stoker.serve.http.watched import WatchedFiles

logger = logging.getLogger(__name__)

# Probes have no key; the pages ask for one themselves, and say nothing of the server without it.
OPEN_PATHS = ("/", "/docs", "/health", "/ping", "/v1/health/live", "/v1/health/ready", "/v1/health/startup")
OPEN_PREFIX = "/page/"


class Keys:
    """Names by the digest of their keys. A file that changes is read again; an unusable one changes nothing."""

    def __init__(self, given: str = "", file: Path | None = None) -> None:
        """`given`: keys between commas or spaces. UsageError for a file that cannot be used, or holds none."""
        self._given = _named(word for word in given.replace(",", " ").split())
        self._file = file
        self._watched = WatchedFiles([file] if file else [])
        self._names: Mapping[bytes, str] = {**self._given, **(_read(file) if file else {})}

    @classmethod
    def of(cls, names: Mapping[bytes, str]) -> Keys:
        """Those that another process reads: names by the digest of each key."""
        keys = cls()
        keys.names = names
        return keys

    @property
    def names(self) -> Mapping[bytes, str]:
        """As they are now in the file."""
        self.refresh()
        return self._names

    @names.setter
    def names(self, names: Mapping[bytes, str]) -> None:
        self._names = names

    def refresh(self) -> None:
        if self._file is not None and self._watched.changed():
            self._reload(self._file)

    def __len__(self) -> int:
        return len(self._names)

    def name_of(self, key: bytes) -> str | None:
        """The name of the key's owner; None for a key that is none."""
        self.refresh()
        presented = hashlib.sha256(key).digest()
        found = None
        for digest, name in self._names.items():
            if hmac.compare_digest(digest, presented):
                found = name
        return found

    def _reload(self, file: Path) -> None:
        try:
            self._names = {**self._given, **_read(file)}
        except UsageError as error:
            logger.error("API key reload failed; keeping the current keys: %s", error)
        else:
            logger.info("read %s again: %d API keys", file, len(self._names))


def _read(file: Path) -> Mapping[bytes, str]:
    """A key a line, or a name and a key; `#` begins a comment."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the API keys of {file}", why=str(error)) from error
    names = _named(line.partition("#")[0].strip() for line in lines)
    if not names:
        raise UsageError(f"{file} holds no API key", remedy="write one per line, or remove --api-key-file")
    return names


def _named(lines: Iterator[str]) -> dict[bytes, str]:
    names = {}
    for line in filter(None, lines):
        name, _, key = line.rpartition(" ")
        digest = hashlib.sha256(key.encode()).digest()
        names[digest] = name.strip() or f"key-{digest.hex()[:8]}"
    return names


class KeyCheck:
    """Pure ASGI. Lets requests with a key through, and tells the rest of the server whose it is."""

    def __init__(self, app: App, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        key = presented_key(scope)
        name = self._keys.name_of(key) if key else None
        if name is None:
            await refuse(scope, send, _refusal(given=bool(key)), [(b"www-authenticate", b"Bearer")])
            return
        scope["state"]["client"] = name
        await self._app(scope, receive, send)


def presented_key(scope: Scope) -> bytes:
    """OpenAI's clients send `Authorization: Bearer KEY`, Anthropic's `X-Api-Key: KEY`."""
    scheme, _, key = header(scope, b"authorization").partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else header(scope, b"x-api-key").strip()


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


def _refusal(*, given: bool) -> ApiError:
    text = "This API key is not known here." if given else "An API key is needed: Authorization: Bearer KEY."
    return ApiError(401, text, kind="authentication_error", code="invalid_api_key")
