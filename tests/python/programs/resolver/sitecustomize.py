"""A resolver for one program: `TEST_NAMES=name=address:port` leads to a port of this machine.

Python imports a module of this name by itself at its start.
"""

import os
import socket

_name, _, _there = os.environ["TEST_NAMES"].partition("=")
_address, _, _port = _there.rpartition(":")
_getaddrinfo = socket.getaddrinfo


def _resolved(host, port, *arguments, **named):
    if host == _name:
        return _getaddrinfo(_address, int(_port), *arguments, **named)
    return _getaddrinfo(host, port, *arguments, **named)


socket.getaddrinfo = _resolved
