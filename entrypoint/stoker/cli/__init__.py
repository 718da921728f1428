"""The `stoker` command: it parses and prints. Only the module of the command that was given is imported."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from collections.abc import Sequence

COMMANDS = (
    *("serve", "plan", "build", "engines", "doctor", "bench", "generate", "manifest"),
    *("chat", "list", "pull", "rm", "ps", "health", "export", "up", "down", "status"),
    *("list-model-profiles", "download-to-cache", "create-model-store", "nim-serve-ray"),
)
# NVIDIA NIM's names of commands that have another one here.
_ALIASES = {"run": "chat", "nim-serve": "serve", "nim-run": "serve", "nim_list_model_profiles": "list-model-profiles"}

_UMASK, _UMASK_OF_OTHERS = 0o027, 0o007
_IMAGES = (0o002, 0)  # the umask and the group that the images set: their users share a cache
_HELP = """\
usage: stoker [COMMAND] [MODEL] [options]

From a model name to a tuned, served OpenAI API in one command.

commands:
  serve MODEL    plan, build or find the engine, and serve it (also: stoker MODEL)
  plan MODEL     show what would be built and served, and why
  build MODEL    build the engine into the cache, and stop
  export [MODEL] DIR  write the engine and all it needs into a directory, to serve it elsewhere
  engines ...    list, show, verify, pull, push, prune, export, import: what the cache holds
  doctor         check this machine
  generate MODEL --prompt TEXT  answer on the terminal, without a server
  up MODEL       serve it in a container of this host: Docker or podman
  down [MODEL]   stop what `up` started
  status         list what `up` started
  manifest kubernetes|compose|quadlet|docker MODEL  write its deployment, sized from the plan
  bench MODEL    serve it with each engine kind in turn, and measure them side by side
  health         whether the server on this machine is ready
  list-model-profiles, download-to-cache, create-model-store  as NVIDIA NIM has them

MODEL is `demo` (built in, the default), a directory, or org/name[@revision] on the Hugging Face Hub.
`stoker COMMAND --help` lists a command's options; `stoker --version` prints the version.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script's entry: never returns, the exit code is documented in stoker.errors.

    What it writes, the cache above all, is for its user and group: 0640 or stricter, but in the images, whose users
    all have group 0 and share a cache whichever of them made a file.
    """
    _speak_utf8()
    given = os.umask(_UMASK)
    os.umask(given | (_UMASK_OF_OTHERS if (given, os.getegid()) == _IMAGES else _UMASK))
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _speak_utf8() -> None:
    """Once more in Python's UTF-8 mode where a locale of another encoding is set, in which names of files in other
    scripts could not be passed on; what the terminal cannot show is shown as an escape."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "stoker", *sys.argv[1:]])  # noqa: S606
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    from stoker.cli.report import report_failure

    try:
        return _dispatch(list(arguments))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except Exception as error:  # the one place where an unexpected error turns into a message
        return report_failure(error)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_HELP)
        return 0 if arguments else 64
    if arguments[0] == "--version":
        from stoker.version import __version__

        sys.stdout.write(f"stoker {__version__}\n")
        return 0
    command, rest = split_command(arguments)
    module = importlib.import_module(f"stoker.cli.{command.replace('-', '_')}")
    return int(module.run(rest))


def split_command(arguments: list[str]) -> tuple[str, list[str]]:
    """An argument that is not a command is a model to serve, so `docker run IMAGE MODEL` works. UsageError for one
    that cannot be a model's name and is nearly a command's."""
    command = _ALIASES.get(arguments[0], arguments[0])
    if command in COMMANDS:
        return command, arguments[1:]
    _refuse_misspelt(command)
    return "serve", arguments


def _refuse_misspelt(command: str) -> None:
    """Models have a slash in their names, but for those that come with Stoker, and files, which have a dot."""
    from stoker.errors import UsageError
    from stoker.nearest import nearest

    if (
        re.fullmatch(r"[a-z-]+", command)
        and not command.startswith(("demo", "-"))
        and (near := nearest(command, COMMANDS))
    ):
        raise UsageError(f"unknown command or model: {command!r}", remedy=f"did you mean `stoker {near}`?")
