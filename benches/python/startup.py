"""What comes before the first answer: the import of the function, and the first request that it answers."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import children
import table
from provider import Provider
from targets import Found
from wholes import home, template

# What is there already when the function is imported: at the least, and in MLflow's server.
IMPORT = """
import time
{before}
wall, cpu = time.perf_counter_ns(), time.process_time_ns()
import auth.oidc_auth
print(time.process_time_ns() - cpu, time.perf_counter_ns() - wall)
"""
BEFORE = {
    "Flask and werkzeug": "import flask, werkzeug.datastructures",
    "Flask, werkzeug and SQLAlchemy": "import flask, werkzeug.datastructures, sqlalchemy",
    "MLflow's auth app": "import mlflow.server.auth",
}

# In a fresh process: the function's first call, with its import, and then the first whole request.
FIRST = """
import json, sys, time, urllib.request
import mlflow.server.auth as auth
app = auth.create_app()
import environs, keys
from pathlib import Path
key = keys.load(Path(sys.argv[1]))["RS256"]
bearer = environs.bearer(key.token(keys.claims(sys.argv[2])))
def ask():
    said = []
    begin = time.perf_counter_ns()
    chunks = app.wsgi_app(environs.environ(**bearer), lambda line, *rest: said.append(line))
    body = b"".join(chunks)
    spent = time.perf_counter_ns() - begin
    assert said[0].startswith("200") and b"Default" in body, (said, body)
    return spent
def trip():
    # What a client without a connection pays for the two documents, one after the other.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    begin = time.perf_counter_ns()
    found = json.loads(opener.open(sys.argv[2] + "/.well-known/openid-configuration").read())
    opener.open(found["jwks_uri"]).read()
    return time.perf_counter_ns() - begin
with app.request_context(environs.environ(**bearer)):
    begin = time.perf_counter_ns()
    answer = auth.get_auth_func(auth.auth_config.authorization_function)()
    alone = time.perf_counter_ns() - begin
assert answer.username == keys.username(keys.SUBJECT), answer
first, second = ask(), ask()
trip()
print(alone, first, second, trip())
"""


def measure(folder: Path, provider: Provider, quick: bool, found: Found) -> None:
    """Prints two tables."""
    seeded = template(folder, provider)
    print(_imports(folder, provider, 3 if quick else 15, found), "\n")
    print(_first_answers(folder, provider, seeded, 2 if quick else 9, found))


def _imports(folder: Path, provider: Provider, rounds: int, found: Found) -> str:
    samples: dict[str, list[tuple[int, int]]] = {name: [] for name in BEFORE}
    asked = provider.asked.total()
    where = children.home(folder / "import")
    variables = children.environment(where, **children.our_settings(provider.issuer))
    # From the compiled files, as in any process but the very first.
    variables.pop("PYTHONDONTWRITEBYTECODE")
    for _ in range(rounds + 1):
        for name, before in BEFORE.items():
            cpu, wall = _printed(IMPORT.format(before=before), where, variables)
            samples[name].append((cpu, wall))
    rows = []
    for name, all_of_it in samples.items():
        cpus, walls = zip(*all_of_it[1:], strict=True)
        found[f"import after {name}"] = statistics.median(cpus) / 1e6
        figures = (statistics.median(cpus), min(cpus), statistics.median(walls))
        rows.append((f"after {name}", *(table.figure(figure / 1e6) for figure in figures)))
    found["calls while importing"] = provider.asked.total() - asked
    return table.markdown(
        ("import of auth.oidc_auth, ms", "CPU, median", "CPU, minimum", "wall, median"), rows
    )


def _first_answers(folder: Path, provider: Provider, seeded: Path, rounds: int, found: Found) -> str:
    kinds = {}
    for kind in ("constant", "mlflow-oidc"):
        where, variables = home(folder / f"first-{kind}", kind, provider, seeded)
        kinds[kind] = (where, {**children.environment(where, **variables), "PYTHONPATH": str(children.HERE)})
    samples: dict[str, list[tuple[int, ...]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, (where, variables) in kinds.items():
            arguments = (str(folder / "keys"), provider.issuer)
            samples[kind].append(_printed(FIRST, where, variables, *arguments))
    rows, medians = [], {}
    for kind, all_of_it in samples.items():
        middles = [statistics.median(column) / 1e6 for column in zip(*all_of_it, strict=True)]
        medians[kind] = middles[0]
        rows.append((kind, *map(table.figure, middles)))
    found["first answer beyond the constant function's"] = medians["mlflow-oidc"] - medians["constant"]
    found["discovery and keys"] = statistics.median(one[-1] for one in samples["mlflow-oidc"]) / 1e6
    asked = ("first call of the function", "first request", "second request", "discovery and keys")
    head = ("experiments/get in a fresh process, ms, median", *asked)
    return table.markdown(head, rows)


def _printed(program: str, where: Path, variables: dict[str, str], *arguments: str) -> tuple[int, ...]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        cwd=where,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise children.Failed(f"a program ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return tuple(map(int, done.stdout.split()))
