from grpc import aio
from tritonclient.grpc import service_pb2 as pb2

class GRPCInferenceServiceStub:
    """Over a channel of grpc.aio."""

    def __init__(self, channel: aio.Channel) -> None: ...
    def ModelMetadata(self, request: pb2.ModelMetadataRequest) -> aio.UnaryUnaryCall[pb2.ModelMetadataResponse]: ...
    def ModelReady(
        self, request: pb2.ModelReadyRequest, *, timeout: float | None = None
    ) -> aio.UnaryUnaryCall[pb2.ModelReadyResponse]: ...
    def ModelStreamInfer(
        self, *, timeout: float | None = None
    ) -> aio.StreamStreamCall[pb2.ModelInferRequest, pb2.ModelStreamInferResponse]: ...
