"""Behind nginx: TLS, a path, two servers, kept connections, large headers, clients that lie."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import requests

from support import behind, nginx, ports, processes, venvs, wire
from support import browser as browsers
from support.behind import ORIGIN, Behind
from support.browser import Browser
from support.nginx import NAME, PREFIX, PUBLIC, answered_by
from support.provider import Provider
from support.server import MakeServer, settings_for

Person = Callable[..., str]

EXPERIMENTS = "/ajax-api/2.0/mlflow/experiments/search?max_results=1"
CREATE = "/ajax-api/2.0/mlflow/experiments/create"


def test_a_login_begun_on_one_server_is_finished_on_the_other(
    here: Behind, provider: Provider, person: Person
) -> None:
    one, other = (server.port for server in here.servers)
    for begins, ends in ((one, other), (other, one)):
        browser, alice = here.browser(), person("alice")
        here.proxy.next_is(begins)
        begun = browser.open(f"{PUBLIC}/oidc/login?next=/mlflow/&go=1")
        assert answered_by(begun) == begins
        form = begun.headers["Location"]
        assert browsers.query_of(form)["redirect_uri"] == f"{PUBLIC}/oidc/callback"
        callback = browser.authorize(form, alice)
        here.proxy.next_is(ends)
        landed = browser.open(callback)
        assert answered_by(landed) == ends
        assert landed.headers["Location"] == f"{PUBLIC}/"
        for port in (one, other):
            here.proxy.next_is(port)
            answer = browser.xhr("GET", EXPERIMENTS)
            assert (answer.status_code, answered_by(answer)) == (200, port)
        for answer in browser.answers:
            if (cookie := wire.set_cookie(answer)) is not None:
                assert cookie.key == "__Secure-mlflow_oidc"
                assert cookie["secure"] is True
                assert cookie["path"] == "/mlflow/"


def test_the_page_that_was_asked_for_is_where_one_ends(
    here: Behind, provider: Provider, person: Person
) -> None:
    browser = here.browser()
    page, at = browser.login(provider, person("alice"), "/?x=1")
    assert (page.status_code, at) == (200, f"{PUBLIC}/?x=1")
    assert 'id="root"' in page.text
    # Without the slash at its end nobody is lost either.
    assert browsers.goes_on_to(browser.open(ORIGIN + PREFIX)) == f"{PUBLIC}/"


def test_a_logout_on_one_server_is_seen_by_the_other(
    here: Behind, provider: Provider, person: Person
) -> None:
    browser = here.browser()
    browser.login(provider, person("alice"))
    one, other = (server.port for server in here.servers)
    for port in (one, other):
        here.proxy.next_is(port)
        assert answered_by(browser.xhr("GET", EXPERIMENTS)) == port
    # What a thief has copied before.
    stolen = {"Cookie": f"__Secure-mlflow_oidc={browser.cookie}", **wire.XHR}
    here.proxy.next_is(one)
    assert answered_by(browser.logout()) == one
    time.sleep(behind.SESSION_CACHE_SECONDS + 0.5)
    for port in (other, one):
        here.proxy.next_is(port)
        answer = here.proxy.call("GET", EXPERIMENTS, headers=stolen)
        assert answered_by(answer) == port
        wire.refusal(answer, 401, "session_ended")


def test_changes_are_for_pages_of_the_public_origin_alone(
    here: Behind, provider: Provider, person: Person
) -> None:
    browser = here.browser()
    alice = person("alice")
    browser.login(provider, alice)
    made = browser.xhr("POST", CREATE, json={"name": f"of {alice}"})
    assert made.status_code == 200, made.text
    for origin in (
        "https://evil.example",
        f"http://{NAME}",
        f"{ORIGIN}:8443",
        f"{ORIGIN}.evil.example",
        "https://localhost",
        "null",
    ):
        for path in (CREATE, "/graphql"):
            # Newer browsers say in a header of its own that it is another site, older ones do not.
            for site in ({"Sec-Fetch-Site": "cross-site"}, {}):
                headers = {"Origin": origin, **site}
                asked = {"name": f"{origin} of {alice}"}
                answer = browser.request("POST", PUBLIC + path, headers=headers, json=asked)
                told = f"{origin} {site} {path}: {answer.status_code} {answer.text[:300]}"
                assert answer.status_code == 403, told
    names = [row[0] for row in here.servers[0].rows("SELECT name FROM experiments", database="mlflow.db")]
    assert [name for name in names if alice in name] == [f"of {alice}"]


def test_programs_of_mlflows_own_client(
    here: Behind, provider: Provider, person: Person, tmp_path: Path
) -> None:
    told = venvs.output(
        behind.VERSION,
        "log_run.py",
        "through nginx",
        home=tmp_path,
        PYTHONPATH=str(venvs.PROGRAMS / "resolver"),
        TEST_NAMES=f"{NAME}=127.0.0.1:{here.proxy.port}",
        MLFLOW_TRACKING_URI=PUBLIC,
        MLFLOW_TRACKING_TOKEN=provider.bearer(person("alice")),
        MLFLOW_TRACKING_SERVER_CERT_PATH=here.proxy.way.authority,
    )
    said = json.loads(told.splitlines()[-1])
    assert said["metrics"] == {"loss": 0.5}
    assert said["same_bytes"] is True
    assert said["traces"] == 1
    answer = here.proxy.call("GET", EXPERIMENTS, token="nonsense")
    wire.refusal(answer, 401, "token_malformed")


def test_one_kept_connection_carries_many_requests(here: Behind, provider: Provider, person: Person) -> None:
    """Without the two lines for it, nginx opens a connection to MLflow for each request."""
    token = provider.bearer(person("alice"))
    before = [processes.connections(server.port) for server in here.servers]
    answered = set()
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", here.proxy.way)
        session.verify = here.proxy.way.authority
        for _ in range(60):
            answer = session.get(PUBLIC + EXPERIMENTS, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200, answer.text
            answered.add(answered_by(answer))
    assert answered == {server.port for server in here.servers}
    for server, known in zip(here.servers, before, strict=True):
        assert len(processes.connections(server.port) - known) <= 2


KILOBYTES_32 = 32 * 1024


def large_token(provider: Provider, subject: str, size: int = KILOBYTES_32) -> str:
    """Somebody who is in a thousand groups."""
    groups = ["MLFLOW", *(f"department-{number:06}" for number in range(size // 40))]
    token = provider.bearer(subject, groups=groups, filler="")
    return provider.bearer(subject, groups=groups, filler="x" * ((size - len(token)) * 3 // 4))


def test_a_token_of_32_kilobytes_passes(here: Behind, provider: Provider, person: Person) -> None:
    token = large_token(provider, person("alice"))
    assert 0 <= KILOBYTES_32 - len(token) < 8
    for _ in here.servers:
        assert here.proxy.call("GET", EXPERIMENTS, token=token).status_code == 200


def test_so_do_cookies_of_32_kilobytes_that_are_not_ours(
    here: Behind, provider: Provider, person: Person
) -> None:
    """Other applications of the same host leave theirs."""
    browser = here.browser()
    browser.login(provider, person("alice"))
    browser.cookies[ORIGIN]["another_application"] = "y" * KILOBYTES_32
    assert browser.xhr("GET", EXPERIMENTS).status_code == 200


def test_without_the_line_for_it_nginx_refuses_such_a_token(
    here: Behind, provider: Provider, person: Person, tmp_path: Path
) -> None:
    """As docs/behind-a-proxy.md tells it: a page of nginx's, and nothing in MLflow's log."""
    upstreams = (here.servers[0].port, here.servers[1].port)
    without = {"large_client_header_buffers 4 64k;": ""}
    with nginx.running(tmp_path, upstreams, without) as proxy:
        answer = proxy.call("GET", EXPERIMENTS, token=large_token(provider, person("alice")))
        assert answer.status_code == 400
        assert "400 Request Header Or Cookie Too Large" in answer.text


def test_what_gunicorn_makes_of_a_large_token(
    make_server: MakeServer, provider: Provider, person: Person
) -> None:
    """Its limit is 8190 bytes a header, name and all; the option that raises it is the documented one."""
    document = (venvs.REPOSITORY / "docs" / "behind-a-proxy.md").read_text()
    option = "--limit-request-field_size 65536"
    assert f'--gunicorn-opts "{option}"' in document
    token = large_token(provider, person("alice"))
    for options, status in (("--log-level warning", 431), (option, 200)):
        server = make_server(behind.VERSION, provider.issuer, more=["--gunicorn-opts", options])
        assert server.call("GET", EXPERIMENTS, token=token).status_code == status
        small = provider.bearer(person("bob"))
        assert server.call("GET", EXPERIMENTS, token=small).status_code == 200


class Echo:
    """Answers with the headers that have arrived."""

    def __init__(self) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nobody reads it."""

        self.port = ports.free()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


# What uvicorn reads, werkzeug's ProxyFix would read, and proxies further in may believe.
LIES = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-For": "10.6.6.6",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "10.6.6.6",
    "Forwarded": "for=10.6.6.6;host=evil.example;proto=http",
    "X_Forwarded_Host": "evil.example",
}


def test_nothing_that_a_client_says_of_its_way_arrives(tmp_path: Path) -> None:
    echo = Echo()
    try:
        with nginx.running(tmp_path, (echo.port, echo.port)) as proxy:
            heard = proxy.call("GET", "/", headers=LIES).json()
    finally:
        echo.stop()
    about_the_way = [
        (name, value) for name, value in heard if "forwarded" in name or name in ("host", "x-real-ip")
    ]
    assert sorted(about_the_way) == [
        ("host", NAME),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
    ]


def test_a_client_that_lies_about_itself_changes_no_address_of_ours(here: Behind) -> None:
    answer = here.proxy.call("GET", "/oidc/login?next=/mlflow/&go=1", headers={**wire.NAVIGATION, **LIES})
    assert answer.status_code == 302
    assert browsers.query_of(answer.headers["Location"])["redirect_uri"] == f"{PUBLIC}/oidc/callback"
    refused = here.proxy.call("GET", EXPERIMENTS, headers=LIES)
    wire.refusal(refused, 401, "no_credentials")
    (challenge,) = wire.every(refused, "WWW-Authenticate")
    assert f'resource_metadata="{ORIGIN}/' in challenge
    assert "evil" not in challenge


def test_while_one_server_is_away_the_other_answers(here: Behind, provider: Provider, person: Person) -> None:
    browser = here.browser()
    browser.login(provider, person("alice"))
    here.servers[1].stop()
    try:
        for _ in range(6):
            answer = browser.xhr("GET", EXPERIMENTS)
            assert answer.status_code == 200
            assert answer.headers["X-Upstream"].endswith(str(here.servers[0].port))
    finally:
        here.servers[1].start()
    browser.signed_in()


def test_health_is_asked_without_credentials_and_below_the_path(here: Behind) -> None:
    assert here.proxy.call("GET", "/health").status_code == 200
    for server in here.servers:
        # A load balancer asks each server by its address, which is no allowed host.
        assert server.call("GET", "/health").status_code == 200
        for path in ("/", "/version"):
            assert server.call("GET", path, headers={"Host": NAME}).status_code == 401


def test_without_the_lines_for_it_the_fourth_tab_gets_a_502(
    here: Behind, person: Person, tmp_path: Path
) -> None:
    """A browser that is opened again with its tabs begins a login in each, and the cookie holds them all."""
    upstreams = (here.servers[0].port, here.servers[1].port)
    without = {"proxy_buffer_size 16k;": "", "proxy_buffers 8 16k;": ""}
    seen = []
    with nginx.running(tmp_path, upstreams, without) as proxy:
        for way in (here.proxy.way, proxy.way):
            browser = Browser(here.servers[0], public=ORIGIN, way=way)
            address = f"{PUBLIC}/oidc/login?next=/mlflow/{'x' * 500}&go=1"
            seen.append([browser.open(address).status_code for _ in range(4)])
        assert "upstream sent too big header" in proxy.errors
    assert seen == [[302] * 4, [302, 302, 302, 502]]


def test_what_is_seen_when_a_setting_is_missing(
    make_server: MakeServer, provider: Provider, person: Person, tmp_path: Path
) -> None:
    """As docs/behind-a-proxy.md tells it, one setting after the other."""
    server = make_server(
        behind.VERSION, provider.issuer, prefix=PREFIX, settings=settings_for(provider.issuer)
    )
    with nginx.running(tmp_path, (server.port, server.port)) as proxy:
        here = Behind(proxy, (server, server))
        answer = proxy.call("GET", "/", headers=wire.NAVIGATION)
        assert (answer.status_code, answer.text) == (
            403,
            "Invalid Host header - possible DNS rebinding attack detected",
        )
        server.restart(MLFLOW_SERVER_ALLOWED_HOSTS=NAME)
        browser = here.browser()
        browser.login(provider, person("alice"))
        refused = browser.xhr("POST", CREATE, json={"name": "never made"})
        assert (refused.status_code, refused.text) == (403, "Cross-origin request blocked")
        # MLflow's native routes tell us a scheme that is none, so the address that we make of it is wrong.
        native = wire.every(proxy.call("GET", "/ajax-api/3.0/jobs/1"), "WWW-Authenticate")
        assert f'resource_metadata="http://{NAME}/' in native[0]
        server.restart(OIDC_PUBLIC_URL=ORIGIN)
        browser = here.browser()
        sent = browser.open(f"{PUBLIC}/oidc/login?next=/mlflow/&go=1").headers["Location"]
        # Without the path it is none that is registered, and none that nginx serves.
        assert browsers.query_of(sent)["redirect_uri"] == f"{ORIGIN}/oidc/callback"


def test_an_mlflow_that_does_not_know_its_path_says_so(
    make_server: MakeServer, provider: Provider, person: Person, tmp_path: Path
) -> None:
    """The sign-in page would lead to itself for ever; behind a proxy that takes the path off, all is well."""
    settings = settings_for(provider.issuer, OIDC_PUBLIC_URL=PUBLIC)
    server = make_server(behind.VERSION, provider.issuer, settings=settings, more=behind.FLAGS)
    upstreams = (server.port, server.port)
    taken_off = {"proxy_pass http://mlflow;": "proxy_pass http://mlflow/;"}
    for name, changes in (("as-it-is", {}), ("taken-off", taken_off)):
        (tmp_path / name).mkdir()
        with nginx.running(tmp_path / name, upstreams, changes) as proxy:
            browser = Browser(server, public=ORIGIN, way=proxy.way)
            page, at = browser.follow(browser.open(f"{PUBLIC}/"), f"{PUBLIC}/")
            if not changes:
                assert (page.status_code, "--static-prefix /mlflow" in page.text) == (500, True), page.text
                continue
            browser.open(browser.authorize(at, person("alice")))
            assert browser.request("GET", PUBLIC + EXPERIMENTS, headers=wire.XHR).status_code == 200
