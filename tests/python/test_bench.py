"""`make bench-python` still works: it is run briefly, and how fast anything was is no matter here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support import venvs

PYTHON = venvs.folder() / "bench" / "bin" / "python"
BENCH = venvs.REPOSITORY / "benches" / "python"


# A function that says who is there without looking, in a process of the bench.
LIAR = """
import sys
from cases import is_user
from werkzeug.datastructures import Authorization
from worker import own_output, serve

class Liar:
    def round(self):
        is_user("alice@example.org")(Authorization("basic", {"username": "mallory@example.org"}))
        return [1]

output = own_output()
serve(Liar(), sys.stdin, output)
"""
ASK = """
import sys
from pathlib import Path
import children

home = children.home(Path(sys.argv[1]) / "home")
with children.children(children.Child(sys.argv[2], home, {})) as (liar,):
    print(liar.ask("round"))
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    if not PYTHON.exists():
        pytest.skip(f"no {PYTHON}: `make bench-python` puts it there")
    return subprocess.run(
        [str(PYTHON), "-B", *command],
        env={"PYTHONPATH": str(BENCH), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.timeout(300)
def test_every_function_answers_right_and_is_judged() -> None:
    done = run(str(BENCH / "run.py"), "--quick", "--only", "contexts")
    assert done.returncode == 0, done.stderr
    assert "| ours: remembered |" in done.stdout
    assert "| mlflow-oidc-auth: session |" in done.stdout
    verdicts = [line for line in done.stdout.splitlines() if line.endswith(("| met |", "| **NOT met** |"))]
    assert len(verdicts) >= 15, done.stdout


def test_a_wrong_answer_is_not_timed(tmp_path: Path) -> None:
    liar = tmp_path / "liar.py"
    liar.write_text(LIAR)
    done = run("-c", ASK, str(tmp_path), str(liar))
    assert done.returncode == 1, done.stdout
    assert "expected alice@example.org, found" in done.stderr
    assert done.stdout == ""
