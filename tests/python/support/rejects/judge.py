"""What must hold after a refusal, whatever the row."""

from __future__ import annotations

import re

import requests

from support import wire
from support.rejects.provider import CODE
from support.rejects.run import Run
from support.rejects.table import START_PAGE

# What a page has that takes whoever is not signed in to the provider; it says no code.
_SIGN_IN_LINK = 'id="continue"'
_SIGN_IN = {"no_credentials", "session_ended", "session_recheck"}
# Refusals that are in the log only for somebody who looks closely, or once for all requests.
_QUIET = {*_SIGN_IN, "provider_pending", "configuration", "internal", START_PAGE}
_BACKCHANNEL = "/oidc/backchannel-logout"
# What rows put into words of the provider that reach a page.
_MARKUP = ("<b>", "<script>alert")
_LOGINS = {"id_token", "token_answer", "userinfo", "callback"}
# A callback that matches no login of its browser has spent none, nor has one that is told to come again: the
# login that was begun still ends well.
_SPENT_NOTHING = {"callback_malformed", "login_unknown", "provider_busy"}


def judge(run: Run) -> None:
    for answer in run.answers:
        _judge_answer(run, answer)
    _judge_log(run)
    _judge_rows(run)
    if run.place in _LOGINS and run.answers:
        _judge_login(run, run.answers[0])
    assert not run.issuer.faults, run.issuer.faults


def code_of(answer: requests.Response) -> str | None:
    """The code that a program or a person reads in an answer."""
    if answer.headers.get("Content-Type", "").startswith("application/json"):
        said = answer.json()
        return said.get("code") if isinstance(said, dict) else None
    if found := re.search(r"Code:\s*(?:<[^>]*>\s*)*([a-z_]+)", answer.text):
        return found[1]
    leads_on = re.search(r'href="[^"]*/oidc/login\?next=%2F(?:&amp;|")', answer.text)
    return START_PAGE if answer.status_code == 200 and leads_on else None


def _is_for_a_person(answer: requests.Response) -> bool:
    """Whether the caller is somebody who reads pages (the product has the same rule)."""
    sent = {k.lower(): v.decode() if isinstance(v, bytes) else v for k, v in answer.request.headers.items()}
    if (mode := sent.get("sec-fetch-mode")) is not None:
        return mode == "navigate"
    return answer.request.method == "GET" and "text/html" in sent.get("accept", "")


def _judge_answer(run: Run, answer: requests.Response) -> None:
    request, text = answer.request, answer.text
    found = code_of(answer)
    if found is None and run.code in _SIGN_IN and _SIGN_IN_LINK in text:
        found = run.code
    said = f"expected {run.status} {run.code}, found {answer.status_code} {found} at {request.method} "
    said += f"{str(request.url)[:200]}: {text[-600:]}"
    assert (answer.status_code, found) == (run.status, run.code), said
    assert found is not None
    if _is_for_a_person(answer) and found != "internal":
        assert answer.headers["Content-Type"].startswith("text/html"), said
        assert not [markup for markup in _MARKUP if markup in text], f"somebody else's markup: {said}"
    elif run.status == 400 and request.path_url.startswith(_BACKCHANNEL):
        # Back-Channel Logout 1.0 section 2.8.
        assert answer.json()["error"] == "invalid_request", said
    else:
        # Also when the decision itself breaks: what is left says so to everybody alike.
        wire.refusal(answer, run.status, found)
    if run.status == 401 and found not in _SIGN_IN:
        # RFC 6750 section 3.1: a program reads there what was wrong with its token.
        (challenge,) = wire.every(answer, "WWW-Authenticate")
        assert f'error_description="{found}"' in challenge, challenge
    if run.status == 503:
        assert int(answer.headers["Retry-After"]) > 0, answer.headers
    told = text + repr([value for name, value in answer.headers.items() if name.lower() != "set-cookie"])
    _find_nothing_secret(run.secrets, told, "the answer")


def _judge_log(run: Run) -> None:
    ours = run.stage.our_lines(run.log)
    _find_nothing_secret(run.secrets, run.log, "the log")
    _find_nothing_secret({CODE}, ours, "the log")
    # Where there are no answers of ours, the HTTP server may have refused it before us.
    if run.answers and run.row.code not in _QUIET:
        told = f": {run.row.code}: expected" if run.place == "refresh" else f" with {run.row.code} ("
        assert told in ours, f"the log does not say why:\n{run.log[-2000:]}"


def _find_nothing_secret(secrets: set[str], text: str, where: str) -> None:
    found = [secret for secret in secrets if secret in text]
    assert not found, f"{found[0][:24]}... is in {where}:\n{text[-2000:]}"


def _judge_rows(run: Run) -> None:
    after = run.stage.rows()
    assert run.rows_before is not None, "nobody has looked"
    changed = {table for table in after if after[table] != run.rows_before[table]}
    assert changed <= set(run.row.changes), f"rows have changed: {sorted(changed)}"


def _judge_login(run: Run, answer: requests.Response) -> None:
    exchanged = run.issuer.asked.count("token")
    assert exchanged <= (run.place != "callback"), f"the code was exchanged {exchanged} times"
    kept = wire.set_cookie(answer) is None
    if run.row.code not in _SPENT_NOTHING:
        if kept or run.comes_back.cookie is not None:
            assert code_of(run.come_back()) == "login_unknown", "the login is not used up"
        return
    assert kept, "the login is used up"
    if run.browser.cookie is not None:
        run.comes_back = run.browser
        run.hand_out_good()
        assert run.come_back().status_code == 302, "the login that was begun does not end well any more"
