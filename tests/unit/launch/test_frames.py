import math
import struct

import pytest

from stoker.launch import frames
from stoker.launch.frames import FrameWriter, read_frame


def test_gives_back_what_each_sequence_gained() -> None:
    writer = FrameWriter()
    writer.add(7, (1, 2, 3))
    writer.add(2**32 - 1, (), None, frames.REFUSED, {"error": "no"})
    writer.add(9, (-1,), None, frames.STOP, {"told": {"x": 2**62}})
    frame = read_frame(writer.pack())
    assert [(handle, reason, frame.ids[begin:end]) for _, handle, reason, begin, end in frame] == [
        (7, frames.RUNNING, [1, 2, 3]),
        (2**32 - 1, frames.REFUSED, []),
        (9, frames.STOP, [-1]),
    ]
    assert frame.log_probs is None
    assert frame.extras == {1: {"error": "no"}, 2: {"told": {"x": 2**62}}}


def test_log_probs_run_parallel_to_the_ids_of_those_that_asked() -> None:
    writer = FrameWriter()
    writer.add(1, (5, 6))
    writer.add(2, (7, 8), (-0.5, -0.25))
    told = read_frame(writer.pack()).log_probs
    assert told is not None
    assert all(map(math.isnan, told[:2]))
    assert told[2:] == [-0.5, -0.25]


def test_packing_empties_the_writer() -> None:
    writer = FrameWriter()
    assert not writer
    writer.add(1, (5,), (-1.0,), frames.LENGTH, {"error": "x"})
    assert writer
    writer.pack()
    assert not writer
    writer.add(2, (6,))
    frame = read_frame(writer.pack())
    assert (list(frame), frame.ids, frame.log_probs, frame.extras) == ([(0, 2, frames.RUNNING, 0, 1)], [6], None, {})


def test_extras_may_hold_bytes() -> None:
    writer = FrameWriter()
    writer.add(1, (), None, frames.STOP, {"embedding": b"\x00\xff\x80\x7f", "top": (1, b"\xff", b"")})
    assert read_frame(writer.pack()).extras[0] == {"embedding": b"\x00\xff\x80\x7f", "top": (1, b"\xff", b"")}


@pytest.mark.parametrize("cut", [0, 3, 15, 16, 20, 43])
def test_what_is_no_frame_is_an_error(cut: int) -> None:
    writer = FrameWriter()
    writer.add(1, (5, 6), (-1.0, -2.0))
    packed = writer.pack()
    with pytest.raises(ValueError, match="not a frame"):
        read_frame(packed[:cut])
    with pytest.raises(ValueError, match="not a frame"):
        read_frame(packed + b"x")


def test_broken_extras_are_an_error() -> None:
    with pytest.raises(ValueError, match="not a frame"):
        read_frame(struct.pack("<IIII", 0, 0, 0, 1) + b"\xc1")
