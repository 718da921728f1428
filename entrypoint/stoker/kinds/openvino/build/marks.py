"""Marks in a saved graph what OpenVINO must not widen when it loads it.

Without the mark, a bf16 or f16 constant and the Convert after it are folded into one f32 constant at load: the engine
then takes three to four times its file's size in memory. The mark is an attribute of OpenVINO's C++ runtime that its
Python binding cannot set, so it is written into the XML.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

_NARROW = ("BF16", "FP16")


def mark_decompression(graph: Path) -> int:
    """Marks every Convert of a 16-bit constant to f32; returns how many."""
    tree = Xml.parse(graph)  # noqa: S314 (our own file)
    net = tree.getroot()
    layers = {layer.get("id"): layer for layer in net.iterfind("layers/layer")}
    sources = {edge.get("to-layer"): edge.get("from-layer") for edge in net.iterfind("edges/edge")}
    converts = [layer for layer in layers.values() if _widens(layer, layers.get(sources.get(layer.get("id"))))]
    for layer in converts:
        _mark(layer)
    if converts:
        tree.write(graph, encoding="utf-8", xml_declaration=True)
    return len(converts)


def _widens(layer: Xml.Element, source: Xml.Element | None) -> bool:
    if layer.get("type") != "Convert" or source is None or source.get("type") != "Const":
        return False
    before, after = layer.find("input/port"), layer.find("output/port")
    return (
        before is not None
        and after is not None
        and (before.get("precision") in _NARROW and after.get("precision") == "FP32")
    )


def _mark(layer: Xml.Element) -> None:
    information = layer.find("rt_info")
    if information is None:
        information = Xml.Element("rt_info")
        position = next(index for index, child in enumerate(layer) if child.tag == "input")
        layer.insert(position, information)
    if information.find("attribute[@name='decompression']") is None:  # a graph that was read keeps the mark
        Xml.SubElement(information, "attribute", name="decompression", version="0")
