"""Loopback ports that nobody uses."""

from __future__ import annotations

import socket


def free(host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def origin(host: str, port: int, scheme: str = "http") -> str:
    """How an address is written in front of a path: IPv6 in brackets (RFC 3986 section 3.2.2)."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
