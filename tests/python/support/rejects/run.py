"""One row of the table at one place: its person, its texts, its engine, and the way of its browser."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import requests

from support import browser as browsers
from support import tokens
from support.browser import Browser
from support.provider import CLIENT_ID, CLIENT_SECRET
from support.rejects import script, token
from support.rejects.provider import ACCESS_TOKEN, CODE, REFRESH_TOKEN, Answer, Issuer
from support.rejects.stage import OWN_DATABASE, Rows, Stage
from support.rejects.table import Row, expected_status
from support.rejects.values import Names, evaluate

# Shorter parts of a token are words that stand elsewhere, too.
_SECRET_LENGTH = 16


class Run:
    """The person of this run, what the texts of its row mean, and what nobody may read afterwards."""

    def __init__(self, stage: Stage, row: Row, place: str, undo: ExitStack) -> None:
        self.stage, self.row, self.place, self.undo = stage, row, place, undo
        self.server = stage.server
        self.status = expected_status(row, place)
        # What the answer says. Whatever is wrong with a refresh, a page has to be loaded; why is for the log.
        self.code = row.code
        if place == "refresh" and row.code != "session_ended":
            self.code = "session_recheck"
        number = stage.next_person()
        self.names = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "origin": stage.server.url,
            "subject": f"subject-{number}",
            "user": f"person-{number}@example.com",
        }
        # Whose login it is, and who brings the callback; the same, unless the row says otherwise.
        self.browser = self.comes_back = Browser(stage.server)
        self.is_signed_in = False
        self.secrets = {CLIENT_SECRET, ACCESS_TOKEN}
        # What the token endpoint answers, if everything is as it should be.
        self.tokens: tokens.Json = {}
        self.rows_before: Rows | None = None
        # To be judged: what was answered, and what the server wrote meanwhile.
        self.answers: list[requests.Response] = []
        self.log = ""
        self._claims: dict[Callable[[Names], tokens.Json], tokens.Json] = {}

    @property
    def issuer(self) -> Issuer:
        return self.stage.issuer

    def set_up(self) -> None:
        """The engine and the issuer that the row wants, or those that are there already and are the same."""
        row = self.row
        # A key that nobody knows is looked for once in a while only, and a provider that does not answer is
        # left alone for a while: the next row would be told to come again.
        faulty = any("fault" in answer for answer in row.answers.values())
        alone = self.place in ("keys", "metadata") or row.code == "token_key_unknown" or faulty
        if alone or not self.stage.is_in(row.state()):
            self.stage.enter(None if alone else row.state())
            self.names["issuer"] = self.issuer.address
            script.prepare(row, self.issuer, self.names)
            self.stage.begin(evaluate(row.settings, self.names))
        self.names["issuer"] = self.issuer.address
        self.issuer.asked.clear()
        # What would complete an ID token is said at the place `userinfo` alone.
        self.issuer.answers["userinfo"] = Answer.json({"sub": self.names["subject"]})

    def claims(self, good: Callable[[Names], tokens.Json]) -> tokens.Json:
        """The good claims of this run, the same each time."""
        if good not in self._claims:
            self._claims[good] = good(self.names)
        return self._claims[good]

    def keep_secret(self, text: str) -> str:
        """Nobody may read this in an answer or a log: a token by each of its parts."""
        self.secrets.update(part for part in text.split(".") if len(part) > _SECRET_LENGTH)
        return text

    def take_stock(self) -> None:
        """What the rows are before the refusal; the first time counts."""
        if self.rows_before is None:
            self.rows_before = self.stage.rows()

    def wait_for(self, happens: Callable[[], bool], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not happens():
            assert time.monotonic() < deadline, "it does not happen"
            time.sleep(0.01)

    def begin_login(self) -> None:
        """The row's person is on the way to the provider; a second time does nothing."""
        if "state" in self.names:
            return
        query = self.send_out(self.browser)
        self.names |= {"state": query["state"], "nonce": query["nonce"]}
        self._note_cookie()

    def send_out(self, browser: Browser) -> dict[str, str]:
        """What a browser takes along to the provider."""
        answer = browser.open(self.server.url + "/oidc/login?next=/&go=1")
        assert answer.status_code == 302, f"no way to the provider: {answer.status_code} {answer.text[-300:]}"
        query = browsers.query_of(answer.headers["Location"])
        self.issuer.logins[query["code_challenge"]] = query
        return query

    def _note_cookie(self) -> None:
        ((name, value),) = self.browser.cookies[self.browser.origin].items()
        self.keep_secret(value)
        self.names |= {"cookie": f"{name}={value}", "cookie_value": value}

    def note_other_cookie(self, browser: Browser) -> None:
        ((name, value),) = browser.cookies[browser.origin].items()
        self.names["other_cookie"] = f"{name}={self.keep_secret(value)}"

    def come_back(self, query: str | None = None) -> requests.Response:
        if query is None:
            query = f"code={CODE}&state={self.names['state']}"
        return self.comes_back.open(f"{self.server.url}/oidc/callback?{query}")

    def hand_out(self, id_token: str) -> None:
        """The usual answer of the token endpoint, with this ID token."""
        self.tokens = {"token_type": "Bearer", "expires_in": 300, "id_token": self.keep_secret(id_token)}
        if self.row.access_token is not None:
            self.tokens["access_token"] = self.row.access_token
        self.issuer.answers["token"] = Answer.json(self.tokens)

    def hand_out_good(self) -> None:
        self.hand_out(token.good(token.id_token_claims(self.names)))

    def sign_in(self) -> None:
        """The row's person has a session, by a login in which nothing is wrong; once is enough."""
        if self.is_signed_in:
            return
        self.begin_login()
        self.hand_out_good()
        answer = self.come_back()
        assert answer.status_code == 302, f"a good login: {answer.status_code} {answer.text[-300:]}"
        self.is_signed_in = True
        self._note_cookie()
        self._note_sealed_id_token()

    def sign_in_long_ago(self) -> None:
        """The same, with a refresh token, and so long ago that the provider has to be asked again."""
        self.begin_login()
        self.names["auth_time"] = str(int(time.time()) - 100)
        self.hand_out(token.good(token.refreshed_id_token_claims(self.names)))
        self.secrets.add(REFRESH_TOKEN)
        self.issuer.answers["token"] = Answer.json({**self.tokens, "refresh_token": REFRESH_TOKEN})
        answer = self.come_back()
        assert answer.status_code == 302, f"a good login: {answer.status_code} {answer.text[-300:]}"
        self._note_cookie()
        self._note_sealed_id_token()
        self.vouched_for_long_ago()

    def vouched_for_long_ago(self) -> None:
        """The provider's word about the person is made older in its row, which no worker has read yet."""
        query = "UPDATE oidc_sessions SET checked_at = checked_at - 1000 WHERE subject = ?"
        with (
            closing(sqlite3.connect(self.server.folder / OWN_DATABASE, timeout=10)) as connection,
            connection,
        ):
            assert connection.execute(query, (self.names["subject"],)).rowcount == 1

    def _note_sealed_id_token(self) -> None:
        query = "SELECT sealed_id_token FROM oidc_sessions WHERE subject = ?"
        ((found,),) = self.server.rows(query, self.names["subject"], database=OWN_DATABASE)
        self.names["sealed_id_token"] = self.keep_secret(found)
        self.issuer.asked.clear()
