"""Our pages in a real browser: in no frame, with no script of others, and words of others stay words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from support import ports
from support.chromium import OtherSite, authorized, begun, faults_of, shoot, signed_in, state_of
from support.engines import Engines
from support.provider import Provider
from support.server import settings_for

pytestmark = pytest.mark.parametrize("guarded", ["3.17.2"], indirect=True, scope="session")

Person = Callable[..., str]

API = "/api/2.0/mlflow/experiments/search"

# Each would become something else in one of the places where foreign text stands.
TEXTS = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "</title></style></script></noscript><script>alert(1)</script>",
    '" autofocus onfocus="alert(1)',
    "' autofocus onfocus='alert(1)",
    '"><svg/onload=alert(1)>',
    "x;url=javascript:alert(1)",
    "javascript:alert(1)",
    "&lt;img src=x onerror=alert(1)&gt;",
    "{{7*7}}${7*7}",
    "<iframe srcdoc='<script>parent.alert(1)</script>'>",
    "<base href=//evil.example><a id=continue href=//evil.example>",
]

# The elements of a page and their attributes, whatever the texts and values are.
SKELETON = (
    "() => [...document.querySelectorAll('*')].map(e => [e.tagName, ...[...e.attributes].map(a => a.name)])"
)
# Where the text itself can be read: as it is, or between quotes with those inside marked.
SHOWN = {
    "denied": "quoted",
    "another-provider": "quoted",
    "sign-out": "plain",
    "not-a-member": "plain",
    "wrong-settings": "quoted",
}

BREACHES = """
addEventListener("securitypolicyviolation", event => console.error(`policy: ${event.violatedDirective}`))
"""


class Pages:
    """Opens one of every page, with a text of others in each that can hold one."""

    def __init__(self, guarded: Engines, provider: Provider, person: Person, context: BrowserContext) -> None:
        self.guarded, self.provider, self.person, self.context = guarded, provider, person, context
        self.url = guarded.server.url

    def addresses(self, text: str) -> Iterator[tuple[str, int, str]]:
        """(name, status, address); each is to be opened before the next is asked for."""
        self._settings()
        words = quote(text, safe="")
        yield "sign-in", 200, f"/oidc/login?next=%2F{words}"
        yield "sign-in-by-itself", 401, f"{API}?filter={words}"
        yield "sign-in-below-a-path", 401, f"/{words}"
        yield "signed-out", 200, "/oidc/logout"
        yield "denied", 403, self._come_back(f"error=access_denied&error_description={words}")
        yield "provider-error", 502, self._come_back(f"error={words}&error_description={words}")
        yield "another-provider", 400, self._come_back(f"code=x&iss={words}")
        yield "login-not-begun", 400, f"/oidc/callback?code=x&state={words}"
        yield "bad-callback", 400, f"/oidc/callback?code=x&{words}"
        subject = self.person("markup")
        self.provider.put_user(subject, email=f"{text}@{subject}.example.org")
        signed_in(self.context, self.url, subject)
        yield "sign-out", 200, "/oidc/logout"
        self.context.clear_cookies()
        self._settings(OIDC_USER_GROUP=text)
        mallory = authorized(self.context, begun(self.context, self.url), self.person("mallory"))
        yield "not-a-member", 403, mallory.removeprefix(self.url)
        self.guarded.fresh(settings_for(f"http://127.0.0.1:{ports.free()}"))
        yield "no-provider", 503, f"/oidc/login?go=1&next=%2F{words}"
        self._settings(OIDC_BASIC_AUTH=text, OIDC_CLOCK_SKEW_SECONDS=text)
        yield "wrong-settings", 500, f"/{words}"

    def _settings(self, **more: str) -> None:
        self.guarded.fresh(settings_for(self.provider.issuer, **more))

    def _come_back(self, query: str) -> str:
        return f"/oidc/callback?state={state_of(begun(self.context, self.url))}&{query}"


@pytest.fixture
def pages(guarded: Engines, provider: Provider, person: Person, context: BrowserContext) -> Pages:
    return Pages(guarded, provider, person, context)


@pytest.fixture
def staying(context: BrowserContext) -> list[str]:
    """The sign-in page wants to go on at once: it is noted where to, and it stays."""
    onward: list[str] = []

    def stay(route: Route) -> None:
        onward.append(route.request.url)
        route.fulfill(status=204)

    context.route(lambda url: "/oidc/login?next=" in url and url.endswith("&go=1"), stay)
    return onward


def watched(page: Page) -> list[str]:
    """Everything that should not happen: a dialog, a fault, a breach of a policy, a request elsewhere."""
    seen = faults_of(page)
    page.on("dialog", lambda dialog: (seen.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("popup", lambda popup: seen.append(f"popup {popup.url}"))
    page.on(
        "request",
        lambda request: seen.append(request.url) if "evil" in urlsplit(request.url).netloc else None,
    )
    page.add_init_script(BREACHES)
    return seen


def opened(page: Page, address: str) -> int | None:
    """The status of a page, read to its end; one that goes on by itself never says `load`."""
    answer = page.goto(address, wait_until="commit")
    page.wait_for_function("() => document.readyState === 'complete'", polling=20)
    return answer.status if answer else None


def unexpected(seen: list[str]) -> list[str]:
    """A status of 400 and more is a line of the console by itself."""
    return [line for line in seen if "the server responded with a status of" not in line]


def test_words_of_others_are_words(pages: Pages, page: Page, staying: list[str]) -> None:
    seen, plain = watched(page), {}
    for text in ["plain", *TEXTS]:
        for name, status, address in pages.addresses(text):
            staying.clear()
            told = f"{text!r} in {name}"
            assert opened(page, pages.url + address) == status, told
            skeleton = page.evaluate(SKELETON)
            assert skeleton == plain.setdefault(name, skeleton), told
            assert len(skeleton) > 8, told
            if name in SHOWN:
                expected = text.replace("'", "\\'") if SHOWN[name] == "quoted" else text
                assert expected in str(page.text_content("main")), told
            for onward in staying:
                assert onward.startswith(f"{pages.url}/oidc/login?next=%2F"), onward
            assert not unexpected(seen), f"{told}: {seen}"
            if text == TEXTS[0]:
                shoot(page, f"markup-{name}")
            elif text == "plain":
                shoot(page, f"page-{name}")


# What a page can read of an address that it shows inside itself, by each element that shows one.
FRAMED = """
async address => {
  const told = {};
  for (const [tag, attribute] of [["iframe", "src"], ["object", "data"], ["embed", "src"]]) {
    const element = Object.assign(document.createElement(tag), {[attribute]: address});
    await new Promise(done => {
      element.onload = element.onerror = done;
      setTimeout(done, 1000);
      document.body.appendChild(element);
    });
    try { told[tag] = element.contentDocument?.body?.innerText ?? ""; } catch { told[tag] = ""; }
  }
  return told;
}
"""


@pytest.mark.parametrize("where", ["a sibling", "a stranger", "our own origin"])
def test_no_page_is_framed(
    pages: Pages, page: Page, staying: list[str], other_site: OtherSite, where: str
) -> None:
    """Not in a page of our own origin either: what MLflow shows for somebody need not be ours."""
    around = {"a sibling": other_site.sibling, "a stranger": other_site.stranger}
    count = 0
    for name, _, address in pages.addresses("plain"):
        page.goto(around.get(where, f"{pages.url}/health"))
        frames = page.evaluate(FRAMED, pages.url + address)
        assert frames == {"iframe": "", "object": "", "embed": ""}, name
        for frame in page.frames[1:]:
            assert urlsplit(frame.url).scheme in ("chrome-error", "about", ""), f"{name}: {frame.url}"
        count += 1
    assert count == 13
    if where == "our own origin":
        assert page.evaluate(FRAMED, f"{pages.url}/health")["iframe"] == "OK", "a page that may be framed is"


INJECTED = """
<script>window.ran = "script"; alert(1)</script><script src="ELSEWHERE/x.js"></script>
<img src=x onerror="window.ran = 'onerror'"><svg onload="window.ran = 'onload'"></svg>
<img src="ELSEWHERE/x.png"><video src="ELSEWHERE/x.mp4"></video><embed src="ELSEWHERE/">
<style>body{background:url(ELSEWHERE/x.png)}</style><link rel=stylesheet href="ELSEWHERE/x.css">
<iframe src="ELSEWHERE/"></iframe><iframe srcdoc="<script>parent.ran = 'srcdoc'</script>"></iframe>
<object data="ELSEWHERE/"></object><base href="ELSEWHERE/"><link rel=manifest href="ELSEWHERE/x">
<a id=injected href="javascript:window.ran = 'link'">x</a>
<form id=away action="ELSEWHERE/" method=post><button>x</button></form>
<form id=javascript action="javascript:window.ran = 'form'"><button>x</button></form>
"""


def test_what_would_be_injected_does_not_run(
    pages: Pages, page: Page, staying: list[str], other_site: OtherSite
) -> None:
    """If the escaping failed one day, the policy would still be there."""
    seen, count = watched(page), 0
    without: set[str] = {"content-length"}
    markup = INJECTED.replace("ELSEWHERE", other_site.sibling)

    def inject(route: Route) -> None:
        answer = route.fetch(max_redirects=0)
        kept = {name: value for name, value in answer.headers.items() if name not in without}
        route.fulfill(status=200, headers=kept, body=answer.text().replace("<main>", "<main>" + markup))

    for name, _, address in pages.addresses("plain"):
        page.route(pages.url + address, inject)
        opened(page, pages.url + address)
        page.evaluate("() => document.getElementById('injected').click()")
        page.evaluate("() => document.getElementById('javascript').submit()")
        page.evaluate("() => document.getElementById('away').submit()")
        page.wait_for_timeout(100)
        assert page.evaluate("() => window.ran") is None, name
        assert page.evaluate("() => document.baseURI").startswith(pages.url), name
        for rule in (
            "script-src-elem",
            "script-src-attr",
            "style-src-elem",
            "img-src",
            "form-action",
            "base-uri",
        ):
            assert f"policy: {rule}" in seen, f"{name}: no breach of {rule} in {seen}"
        assert not [line for line in seen if line.startswith(("dialog", "popup"))], f"{name}: {seen}"
        assert other_site.asked == [], name
        seen.clear()
        count += 1
    assert count == 13
    # It is the policy that held it back: without that header all of it would have run.
    without.add("content-security-policy")
    opened(page, pages.url + address)
    assert page.evaluate("() => window.ran") is not None
    assert other_site.asked


@pytest.mark.parametrize("context", [False], indirect=True, ids=["no JavaScript"])
def test_the_refresh_without_scripts_goes_to_our_sign_in_page(
    pages: Pages, page: Page, staying: list[str]
) -> None:
    for text in TEXTS[::2]:
        for name, _, address in pages.addresses(text):
            if not name.startswith("sign-in"):
                break
            staying.clear()
            page.goto(pages.url + address, wait_until="commit")
            page.wait_for_timeout(200)
            assert len(staying) == 1, f"{text!r} in {name}"
            assert staying[0].startswith(f"{pages.url}/oidc/login?next=%2F"), staying
            assert urlsplit(staying[0]).query.endswith("&go=1"), staying
            assert escape(text) == text or text not in page.content(), f"{text!r} in {name}"
