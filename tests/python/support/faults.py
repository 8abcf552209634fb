"""What goes wrong at a provider: each is done to one request, on the connection that it came by."""

from __future__ import annotations

import functools
import gzip
import time

from support.misbehaving import PATIENCE, Exchange, Fault, MisbehavingProvider

# Markup, a second line and a colour of the terminal: none of it may reach a page or the log as what it is.
WORDS = "words-of-the-provider"
EVIL = f"<script>alert('{WORDS}')</script>\n2026/01/01 00:00:00 INFO a-forged-line \x1b[31mred"
MEGABYTE = 1024 * 1024
LARGE = 50 * MEGABYTE
# A page of zeros packs to a thousandth: 200 KB on the wire, which no limit of the wire would stop.
UNPACKED = 200 * MEGABYTE

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def server_error(exchange: Exchange) -> None:
    exchange.answer({"error": EVIL, "error_description": EVIL}, "500 Internal Server Error")


def hang(exchange: Exchange) -> None:
    exchange.hold()


def slow(seconds: float, provider: MisbehavingProvider) -> Fault:
    """The good answer, so late that whoever waits for it with a thread has one less for others."""

    def late(exchange: Exchange) -> None:
        time.sleep(seconds)
        provider.answer_well(exchange)

    return late


def drip_of_the_head(exchange: Exchange) -> None:
    _drip(exchange, OK + b"X: " + b"x" * PATIENCE)


def drip_of_the_body(exchange: Exchange) -> None:
    exchange.send(OK + b"Content-Length: 1000\r\n\r\n")
    _drip(exchange, b"{" + b" " * PATIENCE)


def _drip(exchange: Exchange, data: bytes) -> None:
    for byte in data:
        exchange.send(bytes([byte]))
        time.sleep(1)


def no_http(exchange: Exchange) -> None:
    exchange.send(b"\x00\x01\x02 " + EVIL.encode() + b"\r\n\r\n")


def no_json(exchange: Exchange) -> None:
    exchange.answer(b"\x00\xff\xfe" + EVIL.encode())


def page(exchange: Exchange) -> None:
    html = f"<!doctype html><title>Log in</title>{EVIL}<form action='/log-in'></form>"
    exchange.answer(html.encode(), headers={"Content-Type": "text/html; charset=utf-8"})


def good_but_called(content_type: str, provider: MisbehavingProvider) -> Fault:
    """The good answer under the name of another kind."""
    return lambda exchange: provider.answer_well(exchange, content_type)


def fifty_megabytes(exchange: Exchange) -> None:
    exchange.send(OK + f"Content-Length: {LARGE}\r\n\r\n".encode() + b'{"padding": "')
    while exchange.sent < LARGE:
        exchange.send(b"x" * 65536)


def no_end(exchange: Exchange) -> None:
    exchange.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while exchange.sent < LARGE:
        exchange.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")


@functools.cache
def _packed() -> bytes:
    # A stream may have several members (RFC 1952 section 2.2), so one of them is packed and repeated.
    return gzip.compress(b"{") + gzip.compress(b" " * (10 * MEGABYTE)) * (UNPACKED // (10 * MEGABYTE))


def bomb(exchange: Exchange) -> None:
    exchange.answer(_packed(), headers={"Content-Encoding": "gzip"})


def less_than_promised(exchange: Exchange) -> None:
    exchange.answer(b"{}", length=1000)


def headers_without_end(exchange: Exchange) -> None:
    exchange.send(OK)
    while exchange.sent < LARGE:
        exchange.send(b"X-Padding: " + b"x" * 8000 + b"\r\n")


def promises_without_end(exchange: Exchange) -> None:
    """`103 Early Hints` may come any number of times before the answer (RFC 8297)."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        time.sleep(0.01)


def reset(exchange: Exchange) -> None:
    exchange.reset()


def reset_within_the_body(exchange: Exchange) -> None:
    exchange.send(OK + b'Content-Length: 1000\r\n\r\n{"issuer": ')
    time.sleep(0.05)
    exchange.reset()


def redirect(to: str, status: str) -> Fault:
    """To the same path elsewhere, so that whoever follows would find a good answer there."""
    return lambda exchange: exchange.answer({}, status, {"Location": to + exchange.path, "X": WORDS})
