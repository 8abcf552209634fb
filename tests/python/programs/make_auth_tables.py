"""Makes MLflow's auth tables where its own migration fails: `make_auth_tables.py ADDRESS`.

On MySQL and MariaDB the first migration gives two foreign keys the same name (mlflow#10964). Here the tables
are made from MLflow's own models, as its last migration would leave those that it still reads.
"""

import sys

from alembic.command import stamp
from mlflow.server.auth.db import utils
from mlflow.server.auth.db.models import Base
from mlflow.store.db.utils import create_sqlalchemy_engine

engine = create_sqlalchemy_engine(sys.argv[1])
Base.metadata.create_all(engine)
settings = utils._get_alembic_config(engine.url.render_as_string(hide_password=False))
with engine.begin() as connection:
    settings.attributes["connection"] = connection
    stamp(settings, "head")
