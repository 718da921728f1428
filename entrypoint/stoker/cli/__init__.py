"""The `stoker` command: it parses and prints. Only the module of the command that was given is imported."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from collections.abc import Sequence

COMMANDS = (
    *("serve", "plan", "build", "engines", "doctor", "bench", "generate", "manifest", "tune"),
    *("chat", "list", "pull", "rm", "ps", "health", "export", "up", "down", "status"),
    *("list-model-profiles", "download-to-cache", "create-model-store", "nim-serve-ray"),
)
# NVIDIA NIM's names of commands that have another one here.
_ALIASES = {"run": "chat", "nim-serve": "serve", "nim-run": "serve", "nim_list_model_profiles": "list-model-profiles"}
_MODULES = {"list": "list_cache"}  # a module called `list` would be what this package means by the word

_UMASK, _UMASK_OF_OTHERS = 0o027, 0o007
_IMAGES = (0o002, 0)  # the umask and the group that the images set: their users share a cache
_HELP = """\
usage: stoker COMMAND [MODEL] [options]      stoker MODEL is stoker serve MODEL

Serve any model behind an OpenAI API with one command, tuned for your hardware.

Serve and talk
  serve MODEL            build the engine if needed, and serve it
  chat [MODEL|URL]       chat on the terminal; starts a server if none runs
  generate MODEL PROMPT  answer once, without a server

Look before you serve
  plan MODEL             what would be built and served here, and why
  tune MODEL             measure here what the plan leaves open, and keep the best
  doctor                 check this machine

Models and engines
  list, pull, rm         what the cache holds; fetch or delete models
  build MODEL            build the engine into the cache, and stop
  engines ACTION         verify, share and clear engines
  export [MODEL] DIR     write an engine into a directory, to serve it elsewhere

Running servers
  ps                     the servers of this machine
  up, down, status       serve in a container of this host: Docker or podman
  manifest FORMAT MODEL  its deployment: kubernetes, compose, quadlet or docker
  bench MODEL            measure the engine kinds side by side

MODEL is `demo` (built in), a directory, or org/name[@revision] on the Hugging Face Hub.
`stoker COMMAND --help` lists a command's options, `stoker --help-all` the rest of the commands.
"""
_HELP_ALL = """
Other commands
  run                    the same as chat
  health                 whether the server on this machine is ready: 0 or 1
  list-model-profiles, download-to-cache, create-model-store, nim-serve, nim-run
                         as NVIDIA NIM has them

`stoker --version` prints the version. Every flag is also a variable, STOKER_..., and a key of the file that
--config names: docs/settings.md.
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
    if not arguments or arguments[0] in ("-h", "--help", "help", "--help-all"):
        sys.stdout.write(_HELP + (_HELP_ALL if arguments[:1] == ["--help-all"] else ""))
        return 0 if arguments else 64
    if arguments[0] == "--version":
        from stoker.version import __version__

        sys.stdout.write(f"stoker {__version__}\n")
        return 0
    command, rest = split_command(arguments)
    module = importlib.import_module(module_of(command))
    return int(module.run(rest))


def module_of(command: str) -> str:
    """The name of the module that runs a command of COMMANDS."""
    return f"stoker.cli.{_MODULES.get(command, command.replace('-', '_'))}"


def split_command(arguments: list[str]) -> tuple[str, list[str]]:
    """An argument that is not a command is a model to serve, so `docker run IMAGE MODEL` works. UsageError for one
    that cannot be a model's name and is nearly a command's."""
    command = _ALIASES.get(arguments[0], arguments[0])
    if command in COMMANDS:
        return command, arguments[1:]
    _refuse_misspelt(command)
    return "serve", arguments


def _refuse_misspelt(command: str) -> None:
    """Names of models contain a slash, except those that come with Stoker, and files, which have a dot."""
    from stoker.errors import UsageError
    from stoker.nearest import nearest

    if (
        re.fullmatch(r"[a-z-]+", command)
        and not command.startswith(("demo", "-"))
        and (near := nearest(command, COMMANDS))
    ):
        raise UsageError(f"unknown command or model: {command!r}", remedy=f"did you mean `stoker {near}`?")
