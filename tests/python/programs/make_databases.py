"""Makes mlflow.db and basic_auth.db here, with an administrator: `make_databases.py NAME PASSWORD`."""

import sys

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore as AuthStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

TrackingStore("sqlite:///mlflow.db", "mlflow-artifacts:/")
store = AuthStore()
store.init_db("sqlite:///basic_auth.db")
store.create_user(sys.argv[1], sys.argv[2], is_admin=True)
