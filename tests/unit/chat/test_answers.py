"""What of an answer reaches the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.chat.answers import print_answer, summary
from stoker.servers.endpoint import Piece


def printed(*pieces: Piece, styled: bool = False, interrupt: bool = False):
    written: list[str] = []

    def come() -> Iterator[Piece]:
        yield from pieces
        if interrupt:
            raise KeyboardInterrupt

    return print_answer(come(), written.append, styled=styled), "".join(written)


def test_text_comes_as_it_is_and_cannot_command_the_terminal() -> None:
    answer, text = printed(Piece("a\x1b[2J"), Piece("\x9bb\n\tc"), Piece(finish="stop", tokens=3))
    assert text == "a[2Jb\n\tc"
    assert (answer.text, answer.finish, answer.tokens) == ("a\x1b[2J\x9bb\n\tc", "stop", 3)


def test_reasoning_is_dim_on_a_terminal_and_left_out_elsewhere() -> None:
    pieces = (Piece(reasoning="hm"), Piece("yes"), Piece(finish="stop", tokens=2))
    assert printed(*pieces)[1] == "yes"
    answer, text = printed(*pieces, styled=True)
    assert text == "\x1b[2mhm\x1b[0m\nyes"
    assert answer.text == "yes"


def test_ctrl_c_keeps_what_came() -> None:
    answer, _ = printed(Piece("half"), interrupt=True)
    assert (answer.text, answer.finish) == ("half", "")
    assert summary(answer) == "stopped"


def test_an_answer_that_was_cut_off_says_how_to_get_a_longer_one() -> None:
    answer, _ = printed(Piece("a"), Piece(finish="length", tokens=1))
    assert "/set max_tokens" in summary(answer)
