from collections.abc import Generator, Sequence
from enum import Enum
from typing import Final, Generic, TypeVar

from grpc import StatusCode

_Request = TypeVar("_Request", contravariant=True)
_Response = TypeVar("_Response", covariant=True)

class EOFType(Enum):
    """An enumeration only here, for mypy to tell a message from the end."""

    END = 0

EOF: Final = EOFType.END

class AioRpcError(Exception):
    def code(self) -> StatusCode: ...
    def details(self) -> str | None: ...

class Channel:
    async def close(self, grace: float | None = None) -> None: ...

class UnaryUnaryCall(Generic[_Response]):
    def __await__(self) -> Generator[None, None, _Response]: ...

class StreamStreamCall(Generic[_Request, _Response]):
    def cancel(self) -> bool: ...
    async def code(self) -> StatusCode: ...
    async def done_writing(self) -> None: ...
    async def read(self) -> EOFType | _Response: ...
    async def write(self, request: _Request) -> None: ...

def insecure_channel(target: str, options: Sequence[tuple[str, str | int]] | None = None) -> Channel: ...
