"""The conversation itself: read, ask, print, until the user leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable

from stoker.chat.answers import Answer, print_answer, shown, summary
from stoker.chat.commands import Outcome, run_command
from stoker.chat.conversation import Conversation
from stoker.errors import StokerError
from stoker.servers.endpoint import Endpoint


class Session:
    """`write` puts text on the terminal at once. `styled`: it shows colours."""

    def __init__(self, endpoint: Endpoint, conversation: Conversation, write: Callable[[str], object], styled: bool):
        self._endpoint = endpoint
        self._conversation = conversation
        self._write = write
        self._styled = styled

    def converse(self, read: Callable[[], str]) -> None:
        """Until Ctrl-D or /bye. What the server refuses is shown, and the conversation goes on."""
        interrupted = False
        while True:
            try:
                line = read()
                interrupted = False
            except KeyboardInterrupt:
                self._tell("Ctrl-D or /bye leaves" if not interrupted else "press Ctrl-D to leave")
                interrupted = True
                continue
            except EOFError:
                return
            if line.strip() and self._take(line).leave:
                return

    def _take(self, line: str) -> Outcome:
        """What fails leaves the conversation as it was."""
        before = [*self._conversation.messages]
        try:
            outcome = run_command(line, self._conversation) if line.startswith("/") else Outcome(answer=True)
            if not line.startswith("/"):
                self._conversation.say(line)
            if outcome.text:
                self._tell(outcome.text)
            if outcome.answer:
                self.answer()
        except StokerError as error:
            self._conversation.messages[:] = before
            self._tell(f"error: {shown(str(error))}")
            return Outcome()
        return outcome

    def answer(self) -> Answer:
        """Asks for the next answer and prints it. ServerError, ServerUnreachableError."""
        pieces = self._endpoint.answer(self._conversation.request())
        answer = print_answer(pieces, self._write, styled=self._styled)
        self._write("\n")
        if answer.text:
            self._conversation.answered(answer.text)
        else:
            self._conversation.take_back_question()
        if self._styled:
            self._tell(f"({summary(answer)})")
        return answer

    def _tell(self, text: str) -> None:
        self._write(f"\x1b[2m{text}\x1b[0m\n" if self._styled else f"{text}\n")


def to_terminal(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
