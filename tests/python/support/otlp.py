"""One span as an OpenTelemetry exporter sends it to /v1/traces, in protobuf: all that MLflow 3.4 takes."""

from __future__ import annotations

import time
import uuid
from typing import Any


def trace(experiment: str) -> dict[str, Any]:
    """The body and headers of the request, as arguments for `MlflowServer.call`."""
    now = time.time_ns()
    span = b"".join(
        (
            _field(1, uuid.uuid4().bytes),
            _field(2, uuid.uuid4().bytes[:8]),
            _field(5, b"a span"),
            bytes([7 << 3 | 1]) + (now - 1_000_000).to_bytes(8, "little"),
            bytes([8 << 3 | 1]) + now.to_bytes(8, "little"),
        )
    )
    # ExportTraceServiceRequest.resource_spans[0].scope_spans[0].spans[0]
    body = _field(1, _field(2, _field(2, span)))
    headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": experiment}
    return {"data": body, "headers": headers}


def _field(number: int, content: bytes) -> bytes:
    assert len(content) < 128, "one byte of length is enough here"
    return bytes([number << 3 | 2, len(content)]) + content
