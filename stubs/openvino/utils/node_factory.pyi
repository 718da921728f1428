from collections.abc import Sequence

from openvino import Node, Output

class NodeFactory:
    def add_extension(self, lib_path: str) -> None: ...
    def create(self, op_type_name: str, arguments: Sequence[Node | Output]) -> Node: ...
