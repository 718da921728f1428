from openvino import Node, NodeInput

def grouped_matmul(
    mat_a: NodeInput, mat_b: NodeInput, offsets: NodeInput | None = None, name: str | None = None
) -> Node: ...
