"""Names of the files in an engine's directory, for the builder and the runtimes."""

GRAPH = "openvino_model.xml"
WEIGHTS = "openvino_model.bin"
