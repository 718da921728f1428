"""What we use of gRPC, which has no types of its own."""

from enum import Enum

from grpc import aio as aio

class StatusCode(Enum):
    OK = (0, "ok")
