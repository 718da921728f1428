from openvino import PartialShape, Type

class VariableInfo:
    data_shape: PartialShape
    data_type: Type
    variable_id: str

class Variable:
    def __init__(self, info: VariableInfo) -> None: ...
