"""One span through the store of MLflow's real client: `log_spans.py EXPERIMENT` prints the trace's id.

The store sends it to /v1/traces, after it has asked the server for its version.
"""

import sys

import mlflow
from mlflow.tracking._tracking_service.utils import _get_store

mlflow.set_experiment(experiment_id=sys.argv[1])
with mlflow.start_span("a span") as span:
    span.set_inputs({"question": 6 * 7})
mlflow.flush_trace_async_logging()
_get_store().log_spans(sys.argv[1], [span])
print(span.trace_id)
