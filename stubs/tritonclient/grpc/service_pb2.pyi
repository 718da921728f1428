"""What we use of the messages of Triton's gRPC protocol, which protoc's Python code makes when it is imported."""

from collections.abc import Iterable, MutableSequence

class InferParameter:
    bool_param: bool

class _Parameters:
    """Reading a name that is not there adds it."""

    def __getitem__(self, name: str) -> InferParameter: ...

class ModelInferRequest:
    class InferInputTensor:
        name: str
        datatype: str
        shape: MutableSequence[int]

    class _Inputs:
        def add(self, *, name: str, datatype: str, shape: Iterable[int]) -> ModelInferRequest.InferInputTensor: ...

    def __init__(self, *, model_name: str, id: str) -> None: ...
    inputs: _Inputs
    raw_input_contents: MutableSequence[bytes]
    @property
    def parameters(self) -> _Parameters: ...

class ModelInferResponse:
    class InferOutputTensor:
        name: str
        datatype: str

    id: str
    outputs: MutableSequence[InferOutputTensor]
    raw_output_contents: MutableSequence[bytes]
    @property
    def parameters(self) -> _Parameters: ...

class ModelStreamInferResponse:
    error_message: str
    infer_response: ModelInferResponse

class ModelMetadataRequest:
    def __init__(self, *, name: str) -> None: ...

class ModelMetadataResponse:
    class TensorMetadata:
        name: str
        datatype: str

    inputs: MutableSequence[TensorMetadata]

class ModelReadyRequest:
    def __init__(self, *, name: str) -> None: ...

class ModelReadyResponse:
    ready: bool
