"""Makes the databases that every server starts from: a run, and alice with a grant on its experiment."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import environs
from cases import ALICE, is_user
from pages import EXPERIMENT, METRICS_BEFORE
from worker import Worker


def main() -> None:
    """The id of the run goes to `run` in this folder."""
    from mlflow.entities import Metric
    from mlflow.server.handlers import _get_tracking_store

    worker = Worker(json.loads(sys.argv[1]))
    # By us, so that she is bound to her identity and every function finds her.
    request = environs.environ(**environs.bearer(worker.requests.remembered))
    worker.answer(request, worker.ours, is_user(ALICE))
    worker.mlflow.store.create_experiment_permission(EXPERIMENT, ALICE, "EDIT")
    tracking = _get_tracking_store()
    now = int(time.time() * 1000)
    run = tracking.create_run(EXPERIMENT, ALICE, now, [], "a run").info.run_id
    for step in range(METRICS_BEFORE):
        tracking.log_metric(run, Metric("loss", 1 / (step + 1), now, step))
    note = Path("artifacts", EXPERIMENT, run, "artifacts", "note.txt")
    note.parent.mkdir(parents=True)
    note.write_text("a note\n")
    Path("run").write_text(run)


if __name__ == "__main__":
    main()
