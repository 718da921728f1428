"""s3://bucket/prefix, at AWS or at AWS_ENDPOINT_URL: through boto3, whose credential chain is the ecosystem's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from stoker.redaction import redacted
from stoker.store.remotes.remote import (
    CONNECT_SECONDS,
    DOCUMENT_BYTES,
    READ_SECONDS,
    RemoteError,
    TransientError,
    checked_size,
)

_CHUNK_BYTES = 1 << 18
_MISSING = ("NoSuchKey", "404")


class S3Tree:
    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        with _translated():
            self._client: Any = boto3.client("s3", config=_config())

    def read(self, path: str) -> bytes | None:
        try:
            with _translated():
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)
                with closing(answer["Body"]) as body:
                    return checked_size(body.read(DOCUMENT_BYTES + 1))
        except RemoteError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in _MISSING:
                return None
            raise

    @contextmanager
    def open(self, path: str, start: int, end: int) -> Iterator[Iterable[bytes]]:
        with _translated():
            answer = self._client.get_object(
                Bucket=self._bucket, Key=self._prefix + path, Range=f"bytes={start}-{end - 1}"
            )
            with closing(answer["Body"]) as body:
                yield body.iter_chunks(_CHUNK_BYTES)

    def write(self, path: str, source: Path) -> None:
        """In parallel parts where the file is large."""
        with _translated():
            self._client.upload_file(str(source), self._bucket, self._prefix + path)

    def write_bytes(self, path: str, data: bytes) -> None:
        with _translated():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + path, Body=data)


def _config() -> Config:
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 2, "mode": "standard"},
        max_pool_connections=16,
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError) as error:
        raise TransientError(redacted(error)) from error
    except (BotoCoreError, ClientError, Boto3Error, OSError) as error:
        raise RemoteError(redacted(error)) from error
