from typing import Any

import numpy.typing as npt
from openvino import Node, Tensor
from openvino.op import util as util

class Constant(Node):
    def __init__(self, tensor: Tensor, shared_memory: bool) -> None: ...
    @property
    def data(self) -> npt.NDArray[Any]: ...
