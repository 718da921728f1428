"""`make mutants`: changes the product one place at a time, and names the changes that no unit test notices.

    python tools/mutants.py [--sample N] [--seed N] [TARGET...]

Runs in .venv-project (cosmic-ray) on a copy of the commit under .cache/mutants, with the tests of .venv, and of those
with the ones that ran the changed line (tools/covering_tests.py). A target is one of TARGETS; without one, all.
Survivors are shown as differences: each is a test that is missing, or a change that changes nothing.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = str(ROOT / ".venv" / "bin" / "python")
COPY = ROOT / ".cache" / "mutants"
TARGETS = {
    "key": ("entrypoint/stoker/store/key.py", "tests/unit/store/test_key.py"),
    "plan": ("entrypoint/stoker/plan", "tests/unit/plan"),
    "guided": ("entrypoint/stoker/serve/request/guided", "tests/unit/serve/guided"),
}
CONFIG = """\
[cosmic-ray]
module-path = "{module}"
timeout = 300.0
excluded-modules = []
test-command = "{python} tools/covering_tests.py {coverage} {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def survivors(target: str, sample: int, seed: int) -> str:
    """The report of what was tried, with the difference of each survivor."""
    module, tests = TARGETS[target]
    config, session, coverage = (COPY / f"{target}.{suffix}" for suffix in ("toml", "sqlite", "coverage"))
    note_what_tests_run(tests, coverage)
    config.write_text(CONFIG.format(module=module, tests=tests, python=PYTHON, coverage=coverage))
    in_copy(tool("cosmic-ray"), "init", str(config), str(session))
    keep_some(session, sample, seed)
    in_copy(tool("cosmic-ray"), "exec", str(config), str(session))
    command = [tool("cr-report"), "--surviving-only", "--show-diff", str(session)]
    return subprocess.run(command, cwd=COPY, capture_output=True, text=True, check=True).stdout


def note_what_tests_run(tests: str, coverage: Path) -> None:
    """The lines that each test runs, for tools/covering_tests.py. Fails if a test fails without any change."""
    options = ("-q", "-p", "no:cacheprovider", "--cov", "--cov-context=test", "--cov-report=")
    in_copy(PYTHON, "-m", "pytest", *options, tests, COVERAGE_FILE=str(coverage))


def keep_some(session: Path, sample: int, seed: int) -> None:
    """Forgets all but `sample` of the changes that cosmic-ray found; 0 keeps them all."""
    with sqlite3.connect(session) as database:
        # `|` is nearly always one of an annotation, which no test can notice.
        database.execute("DELETE FROM mutation_specs WHERE operator_name LIKE '%BinaryOperator_BitOr%'")
        database.execute("DELETE FROM work_items WHERE job_id NOT IN (SELECT job_id FROM mutation_specs)")
        # The names of jobs are new in each run: in the order of places, a seed gives the same sample again.
        places = "module_path, operator_name, operator_args, occurrence"
        jobs = [row[0] for row in database.execute(f"SELECT job_id FROM mutation_specs ORDER BY {places}")]
        dropped = random.Random(seed).sample(jobs, max(0, len(jobs) - sample)) if sample else []
        for table in ("mutation_specs", "work_items"):
            database.executemany(f"DELETE FROM {table} WHERE job_id = ?", [(job,) for job in dropped])
    print(f"{session.stem}: {len(jobs) - len(dropped)} of {len(jobs)} changes", flush=True)


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def in_copy(*command: str, **environment: str) -> None:
    own = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(COPY / "entrypoint"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command, cwd=COPY, env=own | environment, check=True)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--sample", type=int, default=100, help="changes of each target; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    shutil.rmtree(COPY, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(COPY)], check=True)
    # Compiled once: bytecode that is checked by its source's contents notices each change.
    in_copy(PYTHON, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "entrypoint", "tests")
    for target in given.targets or TARGETS:
        print(survivors(target, given.sample, given.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
