"""An `authorization_function` for tests: the real one, and one path that tells of the worker's connections.

`GET /test/sockets` answers with the process id, and with the TCP_NODELAY of each connection that a client has
to this worker at this moment. No measured time is as sure as the option itself.
"""

import json
import os
import socket

from flask import Response, request

from mlflow_oidc import hook

PATH = "/test/sockets"


def authenticate_request():
    if request.path == PATH:
        port = int(request.host.rpartition(":")[2])
        body = {"pid": os.getpid(), "nodelay": list(_nodelay_of_connections_to(port))}
        # MLflow runs its after-request hooks on what is below 400; nothing of its own hangs at this path.
        return Response(json.dumps(body), mimetype="application/json")
    return hook.authenticate_request()


def _nodelay_of_connections_to(port):
    for name in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=int(name))
        except OSError:
            continue
        try:
            # What listens has no peer, and what is no TCP socket has no such port.
            if found.family == socket.AF_INET and found.getsockname()[1] == port and found.getpeername():
                yield bool(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        except OSError:
            continue
        finally:
            # It is the server's, not ours to close.
            found.detach()
