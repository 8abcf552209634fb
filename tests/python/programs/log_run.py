"""What a training script does, through MlflowClient with MLFLOW_TRACKING_TOKEN: `log_run.py NAME`.

Prints one JSON object of what came back, so that the test compares it with what was sent.
"""

import json
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient

name = sys.argv[1]
client = MlflowClient()
experiment = client.create_experiment(name)
run = client.create_run(experiment)
client.log_param(run.info.run_id, "depth", 3)
client.log_batch(run.info.run_id, metrics=[mlflow.entities.Metric("loss", 0.5, 0, 0)])

with tempfile.TemporaryDirectory() as folder:
    sent = Path(folder) / "model.bin"
    sent.write_bytes(bytes(range(256)) * 4096)
    client.log_artifact(run.info.run_id, str(sent), "models")
    listed = [item.path for item in client.list_artifacts(run.info.run_id, "models")]
    back = Path(client.download_artifacts(run.info.run_id, "models/model.bin", folder)).read_bytes()
    same = back == sent.read_bytes()

client.set_terminated(run.info.run_id)
client.create_registered_model(name)
client.rename_registered_model(name, f"{name}-renamed")
found = client.get_run(run.info.run_id)

# MLflow 2.22 has traces too, but its own basic-auth answers 500 when their data is read.
traces = None
if int(mlflow.__version__.split(".")[0]) >= 3:
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_span("a span") as span:
        span.set_inputs({"question": 6 * 7})
    mlflow.flush_trace_async_logging()
    traces = len(client.search_traces(experiment_ids=[experiment]))

print(
    json.dumps(
        {
            "experiment": experiment,
            "run": run.info.run_id,
            "params": found.data.params,
            "metrics": found.data.metrics,
            "artifacts": listed,
            "same_bytes": same,
            "status": found.info.status,
            "model": client.get_registered_model(f"{name}-renamed").name,
            "traces": traces,
        }
    )
)
