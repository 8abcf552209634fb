"""MLflow's own auth store with our memory around its look-ups: `look_ups.py CHECK`, in an empty folder.

No server: what is tried here are moments that no request can be timed to. Each check ends in an assertion, or
in JSON on the standard output that the test looks at.
"""

import ast
import contextlib
import functools
import inspect
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import types
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

from mlflow_oidc import look_ups, permissions

DATABASE = "basic_auth.db"


class Bench:
    """A store with a user, the module that MLflow would have it in, and how often MLflow itself was asked."""

    def __init__(self, *, seconds=300, version=mlflow.__version__, uri=f"sqlite:///{DATABASE}"):
        self.store = SqlAlchemyStore()
        self.store.init_db(uri)
        if not self.store.has_user("alice"):
            self.store.create_user("alice", "password-of-alice-123")
            self.store.create_experiment_permission("1", "alice", "EDIT")
        self.asked = 0
        # What happens while MLflow's method runs: before its rows are read, and after.
        self.before = self.after = lambda: None
        self.untouched = set(vars(self.store))
        self._count()
        self.auth = types.SimpleNamespace(store=self.store, _get_tracking_store=lambda: None)
        self.wrapped = permissions.remember(self.auth, version, seconds)

    def _count(self):
        # In the class of this one object, so that the object has nothing of its own, as MLflow's has not.
        def counted(ask):
            @functools.wraps(ask)
            def method(*arguments, **named):
                self.asked += 1
                self.before()
                answer = ask(*arguments, **named)
                self.after()
                return answer

            return method

        row = look_ups.of_version(mlflow.__version__)
        members = {name: counted(getattr(SqlAlchemyStore, name)) for name in row.remembered}
        members["__module__"] = SqlAlchemyStore.__module__
        self.store.__class__ = type(SqlAlchemyStore.__name__, (SqlAlchemyStore,), members)

    def asks(self, question):
        """The answer, and how often MLflow was asked for it."""
        before = self.asked
        answer = question()
        return answer, self.asked - before

    def admin(self):
        return self.store.get_user("alice").is_admin


def write(statement="UPDATE users SET is_admin = NOT is_admin WHERE username = 'alice'", path=DATABASE):
    """A commit of somebody else."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def write_from_another_process():
    script = f"import sys; sys.path[0] = {str(Path(__file__).parent)!r}; import look_ups; look_ups.write()"
    subprocess.run([sys.executable, "-c", script], check=True)


def until_a_commit():
    bench = Bench()
    assert bench.wrapped
    assert bench.asks(bench.admin) == (False, 1)
    assert bench.asks(bench.admin) == (False, 0)
    write_from_another_process()
    assert bench.asks(bench.admin) == (True, 1)
    assert bench.asks(bench.admin) == (True, 0)
    # By MLflow's own writing method, on a connection of its pool.
    bench.store.update_user("alice", is_admin=False)
    assert bench.asks(bench.admin) == (False, 1)
    # What was rolled back is no change.
    with contextlib.closing(sqlite3.connect(DATABASE)) as connection:
        connection.execute("DELETE FROM users")
        connection.rollback()
    assert bench.asks(bench.admin) == (False, 0)


def a_commit_meanwhile():
    for moment in ("before", "after"):
        bench = Bench()

        def happens(bench=bench, moment=moment):
            setattr(bench, moment, lambda: None)
            write()
            # Somebody else asks, so that the newest answers are already those after the commit.
            _code(functools.partial(bench.store.get_user, "nobody"))

        state = bench.admin()
        write()
        setattr(bench, moment, happens)
        bench.admin()
        # Two writes: the row is as it was, and the answer in between must not have been kept as the newest.
        assert bench.asks(bench.admin) == (state, 1), moment


def a_lock():
    bench = Bench()
    bench.admin()
    memory = permissions.Memory(os.path.abspath(DATABASE), 300)
    assert memory.now() is not None
    with contextlib.closing(sqlite3.connect(DATABASE, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        assert memory.now() is None
        assert time.monotonic() - started < 0.5
        connection.rollback()
    assert memory.now() is not None
    # Our own questions keep no lock: somebody else can write at once.
    with contextlib.closing(sqlite3.connect(DATABASE, timeout=0)) as connection, connection:
        connection.execute("UPDATE users SET is_admin = 1")
    assert bench.asks(bench.admin) == (True, 1)


def exceptions():
    bench = Bench()

    def nobody():
        try:
            bench.store.get_user("nobody")
        except MlflowException as error:
            return error
        raise AssertionError("there is such a user")

    first, asked = bench.asks(nobody)
    assert asked == 1
    depths = []
    for _ in range(3):
        error, asked = bench.asks(nobody)
        assert asked == 0
        assert error is not first
        assert type(error) is type(first)
        assert (str(error), error.error_code, error.json_kwargs) == (
            str(first),
            first.error_code,
            first.json_kwargs,
        )
        assert error.serialize_as_json() == first.serialize_as_json()
        assert error.get_http_status_code() == first.get_http_status_code() == 404
        assert error.__context__ is None
        trace, depth = error.__traceback__, 0
        while trace is not None:
            trace, depth = trace.tb_next, depth + 1
        depths.append(depth)
    assert len(set(depths)) == 1, depths
    bench.store.create_user("nobody", "password-of-nobody-123")
    assert bench.asks(lambda: bench.store.get_user("nobody").username) == ("nobody", 1)
    # A fault that is not about what there is may be over at once.
    bench.before = lambda: (_ for _ in ()).throw(MlflowException("the disk is full"))
    carol = functools.partial(_code, functools.partial(bench.store.get_user, "carol"))
    for _ in range(2):
        assert bench.asks(carol) == ("INTERNAL_ERROR", 1)


def callers_who_change_what_they_get():
    bench = Bench()
    bench.store.get_user("alice")._is_admin = True
    bench.store.get_user("alice")._is_admin = True
    assert bench.asks(bench.admin) == (False, 0)
    for name, *arguments in (
        ("list_experiment_permissions", "alice"),
        ("list_grants", 1, "default", {"experiment"}),
    ):
        if name in look_ups.of_version(mlflow.__version__).remembered:
            ask = functools.partial(getattr(bench.store, name), *arguments)
            assert len(ask()) == 1
            ask().clear()
            ask().clear()
            again, asked = bench.asks(ask)
            assert (len(again), asked) == (1, 0)


def bounds():
    bench = Bench()
    path = os.path.abspath(DATABASE)
    memory = permissions.Memory(path, 0.2)
    memory.keep(memory.now(), "key", "answer", 1)
    assert memory.now() == {"key": "answer"}
    time.sleep(0.3)
    assert memory.now() == {}
    memory = permissions.Memory(path, 300, room=10)
    for number in range(1000):
        memory.keep(memory.now(), number, "answer", 2)
        assert len(memory.now()) <= 5
    assert 999 in memory.now()
    # One answer that alone is too much drops nothing and is not kept.
    memory.keep(memory.now(), "big", "answer", 11)
    assert "big" not in memory.now()
    assert 999 in memory.now()
    # The names are the callers' choice: a long one is asked each time.
    long = "x" * 1000
    for _ in range(2):
        assert bench.asks(lambda: _code(functools.partial(bench.store.get_user, long)))[1] == 1


def _code(question):
    try:
        return question()
    except MlflowException as error:
        return error.error_code


def arguments_of_other_kinds():
    bench = Bench()
    bench.admin()
    for odd in (True, 1.0, b"alice", ["alice"], {"alice": 1}, object()):
        for _ in range(2):
            asked = bench.asked
            with contextlib.suppress(Exception):
                bench.store.get_user(odd)
            assert bench.asked == asked + 1, odd
    # By name and by place are two questions, both remembered.
    assert bench.asks(lambda: bench.store.get_user(username="alice").username) == ("alice", 1)
    assert bench.asks(lambda: bench.store.get_user(username="alice").username) == ("alice", 0)


def a_fault_of_ours():
    bench = Bench()
    bench.admin()
    for broken in ("_key", "_copied"):
        kept = getattr(permissions, broken)

        def fail(*_):
            raise RuntimeError("broken on demand")

        setattr(permissions, broken, fail)
        try:
            assert bench.asks(bench.admin) == (False, 1), broken
        finally:
            setattr(permissions, broken, kept)
    # The file is gone for a new connection of ours, while MLflow has its own.
    memory = permissions.Memory(os.path.abspath("no-such.db"), 300)
    assert memory.now() is None
    assert not Path("no-such.db").exists()


def a_fork():
    bench = Bench()
    assert bench.admin() is False
    pid = os.fork()
    if pid == 0:
        # The parent's memory is here, and a new connection may count as the parent's did.
        bench.store.engine.dispose(close=False)
        write()
        os._exit(0 if bench.asks(bench.admin) == (True, 1) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert bench.asks(bench.admin) == (True, 1)
    # Once more, while a thread of the parent holds the lock that the child gets as it is.
    memory = permissions.Memory(os.path.abspath(DATABASE), 300)
    memory.now()
    with memory._file.lock:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if memory.now() is not None else 1)
    assert os.waitpid(pid, 0)[1] == 0


def threads():
    """An answer is that of a moment between the question and the answer, whoever writes meanwhile."""
    bench = Bench()
    write("UPDATE users SET password_hash = '0' WHERE username = 'alice'")
    begun, ended, questions = [0], [0], [0]
    done = threading.Event()
    faults = []

    def read():
        while not done.is_set():
            least = ended[0]
            seen = int(bench.store.get_user("alice").password_hash)
            if not least <= seen <= begun[0]:
                faults.append((least, seen, begun[0]))
            questions[0] += 1

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(1, 200):
        begun[0] = number
        write(f"UPDATE users SET password_hash = '{number}' WHERE username = 'alice'")
        ended[0] = number
        time.sleep(0.002)
    done.set()
    for reader in readers:
        reader.join()
    assert not faults, faults[:5]
    assert bench.asked < questions[0] / 2, "hardly anything was remembered, so nothing was tried"


def left_alone():
    for arguments in (
        {"seconds": 0},
        {"version": "3.99.0"},
        {"version": f"{mlflow.__version__}.dev0"},
        {"version": "2.8.1"},
    ):
        bench = Bench(**arguments)
        assert not bench.wrapped, arguments
        assert set(vars(bench.store)) == bench.untouched, arguments
    bench = Bench(uri="sqlite:///file:other.db?uri=true")
    assert set(vars(bench.store)) == bench.untouched
    bench = Bench(version="9.9.9")
    bench.store.read_engine = object()
    assert not permissions.remember(bench.auth, mlflow.__version__, 5)
    bench = Bench(version="9.9.9")
    type(bench.store).__name__ = "AnotherStore"
    assert not permissions.remember(bench.auth, mlflow.__version__, 5)
    # A second engine in the same process wraps nothing twice.
    bench = Bench()
    method = bench.store.get_user
    assert permissions.remember(bench.auth, mlflow.__version__, 5)
    assert bench.store.get_user is method


def the_table():
    """What the row of this MLflow says of it, read from its source."""
    row = look_ups.of_version(mlflow.__version__)
    tree = ast.parse(textwrap.dedent(inspect.getsource(SqlAlchemyStore))).body[0]
    methods = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    seen = {name: sorted(_words(methods, name)) for name in row.remembered}
    print(json.dumps(seen))


def _words(methods, name, done=None):
    """Every name and attribute in a method and in those of the store that it calls."""
    done = set() if done is None else done
    if name in done:
        return set()
    done.add(name)
    words = {name}
    for node in ast.walk(methods[name]):
        if isinstance(node, ast.Attribute):
            # `session.add` writes, `names.add` does not.
            base = node.value.id if isinstance(node.value, ast.Name) else "..."
            words |= {node.attr, f"{base}.{node.attr}"}
            if node.attr in methods:
                words |= _words(methods, node.attr, done)
            if isinstance(node.ctx, ast.Store):
                words.add("an attribute is set")
        elif isinstance(node, ast.Name):
            words.add(node.id)
    return words


def runs():
    """The tracking store as MLflow's permission checks get it."""
    from mlflow_oidc.runs import ExperimentsOfRuns

    store = TrackingStore("sqlite:///mlflow.db", "artifacts")
    experiment = store.create_experiment("an experiment")
    run = store.create_run(experiment, "alice", 1, [], "a run").info.run_id
    asked = []
    whole = store.get_run
    store.get_run = lambda run_id: asked.append(run_id) or whole(run_id)
    view = ExperimentsOfRuns(lambda: store).store()
    assert view.get_run(run).info.experiment_id == experiment
    assert asked == []
    # All the rest is MLflow's own.
    assert view.get_run(run).info.run_name == "a run"
    assert view.get_run(run).data.params == {}
    assert view.get_experiment(experiment).name == "an experiment"
    assert len(asked) == 2
    store.delete_run(run)
    assert view.get_run(run).info.experiment_id == experiment
    assert view.get_run(run).info.lifecycle_stage == "deleted"
    for missing in ("0" * 32, "", run.upper(), run + "\0", "%", 7, None):
        assert _message(view, missing) == _message(store, missing), missing
    # A run is read anew each time.
    other = store.create_experiment("another")
    write(f"UPDATE runs SET experiment_id = {other} WHERE run_uuid = '{run}'", "mlflow.db")
    assert view.get_run(run).info.experiment_id == other
    write(f"DELETE FROM runs WHERE run_uuid = '{run}'", "mlflow.db")
    assert _message(view, run) == _message(store, run)
    assert "not found" in _message(view, run)
    # Another store is left as it is.
    assert ExperimentsOfRuns(lambda: asked).store() is asked


def _message(store, run_id):
    try:
        return f"a run of {store.get_run(run_id).info.experiment_id}"
    except Exception as error:
        return f"{type(error).__name__} {error}"


if __name__ == "__main__":
    globals()[sys.argv[1]]()
