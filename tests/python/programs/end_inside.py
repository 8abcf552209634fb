"""A process that ends while a thread of ours writes a line of the log: `end_inside.py FOLDER SECONDS`."""

import sys
import threading
import time
import types
from pathlib import Path

from mlflow_oidc._native import Engine
from mlflow_oidc.given import Given

inside = threading.Event()


class Log:
    """A log without the locks of `logging`, whose own `atexit` waits for most of a line."""

    def isEnabledFor(self, level: int) -> bool:
        return True

    def log(self, level: int, *line: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            time.sleep(float(sys.argv[2]))


class LongEnd:
    """Removed by the interpreter while it ends, and lets the GIL go."""

    def __del__(self, sleep=time.sleep) -> None:
        sleep(0.5)


class NoUsers:
    def find(self, username: str, waits: bool = True) -> None:
        return None


settings = [
    ("issuer_url", "http://127.0.0.1:9/"),
    ("client_id", "mlflow"),
    ("client_secret", "0123456789abcdef"),
]
database = str(Path(sys.argv[1]) / "basic_auth.db")
engine = Engine(Given(settings, "admin", database, "sqlite", "3.17.2", NoUsers(), None, "", None), Log())
environ = {"wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1:5000", "HTTP_AUTHORIZATION": "Bearer a.b.c"}
engine.decide("POST", "/api/2.0/mlflow/experiments/search", environ, None, True)
assert inside.wait(10)
# Not a name of this module, which the engine keeps alive by its log.
sys.modules["late"] = types.ModuleType("late")
sys.modules["late"].last = LongEnd()
