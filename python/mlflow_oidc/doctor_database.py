"""What ``mlflow-oidc doctor`` says of a database that is not SQLite: whether it answers, and whose tables
are there.
"""

import threading
from typing import Any

from mlflow_oidc.doctor import Finding

# Seconds that a database is waited for: a driver may wait for minutes.
_PATIENCE = 10.0
_MYSQL = ("mysql", "mariadb")
# What the first migration of MLflow makes, in its order; on MySQL it gets as far as the last one.
_MLFLOWS = ("users", "experiment_permissions", "registered_model_permissions")
# The packages of the drivers that have another name than the module.
_PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "'psycopg[binary]'", "MySQLdb": "mysqlclient"}


def look(address: str, kind: str) -> Finding:
    """Connects as MLflow does and reads the names of the tables.

    Takes the address, which is not repeated, and the kind of database.
    """
    found: list[Finding] = []

    def ask() -> None:
        try:
            found.append(_judge(_tables(address), kind))
        except Exception as error:
            found.append(Finding("FAULT", _failed(error)))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PATIENCE)
    return found[0] if found else Finding("FAULT", f"it does not answer within {_PATIENCE:.0f} seconds")


def _tables(address: str) -> set[str]:
    import sqlalchemy
    from mlflow.store.db.utils import create_sqlalchemy_engine

    # By MLflow itself: it adds the certificates and the options of the pool that its variables name.
    engine = create_sqlalchemy_engine(address)
    try:
        return set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def _judge(tables: set[str], kind: str) -> Finding:
    missing = [name for name in _MLFLOWS if name not in tables]
    if missing and kind in _MYSQL:
        return Finding(
            "FAULT",
            "MLflow cannot make its own tables on MySQL and MariaDB: its first migration gives two foreign "
            "keys one name (mlflow/mlflow#10964). That is a fault of MLflow's; way out: make "
            f"{', '.join(_MLFLOWS)} by hand, as docs/databases.md of mlflow-oidc says",
        )
    if missing:
        return Finding("warning", f"{kind} answers; MLflow makes its tables there at its first start")
    ours = "ours are there, too" if "oidc_sessions" in tables else "ours are made at the first request"
    return Finding("ok", f"{kind} answers; MLflow's tables are there, {ours}")


def _failed(error: Any) -> str:
    from mlflow_oidc.asking import told

    if isinstance(error, ModuleNotFoundError):
        name = error.name or "?"
        return f"the driver {name} is not installed here: pip install {_PACKAGES.get(name, name)}"
    if type(error).__name__ == "NoSuchModuleError":
        return "SQLAlchemy knows no driver of the name that stands in the address"
    return f"it cannot be asked ({told(error)}): is it there, and are address, user and password right?"
