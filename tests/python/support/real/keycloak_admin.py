"""Keycloak's admin REST API and its code flow, as the administrator's console and a program use them."""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from support import tokens
from support.real import Person, token_answer

MASTER_CLIENT = "admin-cli"


class Admin:
    """The administrator of one running Keycloak. Every call must succeed."""

    def __init__(self, base: str, name: str, password: str) -> None:
        self.base, self._name, self._password = base, name, password
        self._token, self._until = "", 0.0

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON of an answer, or None where it has no body; `path` begins after /admin."""
        headers = {"Authorization": f"Bearer {self._fresh()}"}
        answer = http(method, f"{self.base}/admin{path}", headers=headers, **arguments)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:800]}"
        return answer.json() if answer.content else None

    def may_enter(self) -> bool:
        """Whether there is an administrator by now."""
        return self._ask().status_code == 200

    def _fresh(self) -> str:
        """A token of this moment: those of the master realm end after a minute."""
        if time.monotonic() > self._until:
            self._token = token_answer(self._ask())["access_token"]
            self._until = time.monotonic() + 30
        return self._token

    def _ask(self) -> requests.Response:
        form = {"grant_type": "password", "client_id": MASTER_CLIENT}
        form |= {"username": self._name, "password": self._password}
        return http("POST", f"{self.base}/realms/master/protocol/openid-connect/token", data=form)


class Realm:
    """One realm, by the names that people use: client ids, user names, paths of groups."""

    def __init__(self, admin: Admin, name: str) -> None:
        self.admin, self.name = admin, name
        self.issuer = f"{admin.base}/realms/{name}"
        self._user_ids: dict[str, str] = {}

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        return self.admin.call(method, f"/realms/{self.name}{path}", **arguments)

    def client(self, client_id: str) -> dict[str, Any]:
        (found,) = self.call("GET", "/clients", params={"clientId": client_id})
        client: dict[str, Any] = found
        return client

    def change_client(self, client_id: str, **changes: Any) -> None:
        known = self.client(client_id)
        if "attributes" in changes:
            changes["attributes"] = {**known.get("attributes", {}), **changes["attributes"]}
        self.call("PUT", f"/clients/{known['id']}", json={**known, **changes})

    def make_client(self, client_id: str, *mappers: dict[str, Any], **more: Any) -> None:
        self.call("POST", "/clients", json={"clientId": client_id, "protocolMappers": list(mappers), **more})

    def make_program(self, client_id: str, *mappers: dict[str, Any], **more: Any) -> None:
        """A public client for programs on people's own machines."""
        uris = {"publicClient": True, "redirectUris": ["http://127.0.0.1/*"]}
        self.make_client(client_id, *mappers, **uris, **more)

    def mapper_of_scope(self, scope: str, mapper: str) -> dict[str, Any]:
        """One of Keycloak's own mappers, to put beside a client's own ones."""
        (found,) = [one for one in self.call("GET", "/client-scopes") if one["name"] == scope]
        (mapped,) = [one for one in found["protocolMappers"] if one["name"] == mapper]
        return {name: mapped[name] for name in ("name", "protocol", "protocolMapper", "config")}

    def make_group(self, path: str) -> None:
        """With the groups above it, where they are missing."""
        above, _, name = path.rpartition("/")
        try:
            parent = f"/{self.group_id(above)}/children" if above else ""
        except AssertionError:
            self.make_group(above)
            parent = f"/{self.group_id(above)}/children"
        self.call("POST", f"/groups{parent}", json={"name": name})

    def make_role(self, name: str, client_id: str | None = None) -> None:
        self.call("POST", f"{self._roles(client_id)}/roles", json={"name": name})

    def give_role(self, username: str, name: str, client_id: str | None = None) -> None:
        role = self.call("GET", f"{self._roles(client_id)}/roles/{name}")
        of = f"clients/{self.client(client_id)['id']}" if client_id else "realm"
        self.call("POST", f"/users/{self.user_id(username)}/role-mappings/{of}", json=[role])

    def put_into_scope(self, client_id: str, name: str, of_client: str | None = None) -> None:
        """That client's tokens may carry this role: without it, and without 'Full scope', they do not."""
        role = self.call("GET", f"{self._roles(of_client)}/roles/{name}")
        of = f"clients/{self.client(of_client)['id']}" if of_client else "realm"
        scope = f"/clients/{self.client(client_id)['id']}/scope-mappings/{of}"
        self.call("POST", scope, json=[role])

    def _roles(self, client_id: str | None) -> str:
        return f"/clients/{self.client(client_id)['id']}" if client_id else ""

    def secret(self, client_id: str) -> str:
        """What Keycloak has made."""
        answer = self.call("GET", f"/clients/{self.client(client_id)['id']}/client-secret")
        return str(answer["value"])

    def make_person(self, person: Person, **more: Any) -> None:
        """Somebody with a password, and a verified address where `more` does not say otherwise."""
        known = {
            "username": person.name,
            "email": person.email,
            "emailVerified": True,
            # Without these Keycloak asks for them at the first login.
            "firstName": person.name.capitalize(),
            "lastName": "Example",
            "enabled": True,
            "credentials": [{"type": "password", "value": person.password, "temporary": False}],
            **more,
        }
        self.call("POST", "/users", json=known)

    def make_addresses_optional(self) -> None:
        """By default 26 asks whoever has no address for one, at the next login."""
        profile = self.call("GET", "/users/profile")
        for attribute in profile["attributes"]:
            if attribute["name"] == "email":
                attribute.pop("required", None)
        self.call("PUT", "/users/profile", json=profile)

    def user_id(self, username: str) -> str:
        if username not in self._user_ids:
            (found,) = self.call("GET", "/users", params={"username": username, "exact": "true"})
            self._user_ids[username] = found["id"]
        return self._user_ids[username]

    def group_id(self, path: str) -> str:
        answer = self.call("GET", f"/group-by-path/{path.lstrip('/')}")
        return str(answer["id"])

    def put_into(self, username: str, path: str) -> None:
        self.call("PUT", f"/users/{self.user_id(username)}/groups/{self.group_id(path)}")

    def set_groups(self, username: str, paths: set[str]) -> None:
        """In these groups and in no other one."""
        user = f"/users/{self.user_id(username)}/groups"
        current = {group["path"]: group["id"] for group in self.call("GET", user)}
        for path, group in current.items():
            if path not in paths:
                self.call("DELETE", f"{user}/{group}")
        for path in paths - set(current):
            self.put_into(username, path)

    def end_sessions(self, username: str) -> None:
        """As an administrator does in the console."""
        self.call("POST", f"/users/{self.user_id(username)}/logout")

    def tokens(
        self,
        client_id: str,
        person: Person,
        redirect_uri: str,
        scope: str = "openid",
        nonce: str | None = None,
    ) -> dict[str, Any]:
        """A code flow with PKCE, through the form; the redirect URI is never opened."""
        verifier = uuid.uuid4().hex + uuid.uuid4().hex
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": scope,
        }
        query |= {"code_challenge": _challenge(verifier), "code_challenge_method": "S256"}
        query |= {"nonce": nonce} if nonce else {}
        form = http("GET", f"{self.issuer}/protocol/openid-connect/auth?{urlencode(query)}")
        action = re.search(r'action="([^"]+)"', form.text)
        assert action, form.text[:2000]
        # By hand: Keycloak 26 marks its cookies as secure on loopback too, where browsers send them anyway.
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in form.cookies)
        filled = {"username": person.name, "password": person.password}
        answer = http("POST", unescape(action.group(1)), data=filled, headers={"Cookie": cookies})
        assert answer.status_code == 302, answer.text[:2000]
        code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
        grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return self.ask_for_tokens(client_id, **grant, code_verifier=verifier)

    def ask_for_tokens(self, client_id: str, **form: str) -> dict[str, Any]:
        """The token endpoint, with the client's secret where it has one."""
        known = self.client(client_id)
        form["client_id"] = client_id
        if not known["publicClient"]:
            form["client_secret"] = self.secret(client_id)
        return token_answer(http("POST", f"{self.issuer}/protocol/openid-connect/token", data=form))

    def rotate_keys(self) -> None:
        """A new key that signs; the ones before are still published."""
        highest = max(int(one["config"].get("priority", ["0"])[0]) for one in self._signing_keys())
        self.call(
            "POST",
            "/components",
            json={
                "name": f"key-{uuid.uuid4().hex[:8]}",
                "providerId": "rsa-generated",
                "providerType": "org.keycloak.keys.KeyProvider",
                "config": {"priority": [str(highest + 1)], "enabled": ["true"], "active": ["true"]},
            },
        )

    def remove_old_keys(self) -> None:
        """All but the one that signs."""
        known = sorted(self._signing_keys(), key=lambda one: int(one["config"].get("priority", ["0"])[0]))
        for component in known[:-1]:
            self.call("DELETE", f"/components/{component['id']}")

    def _signing_keys(self) -> list[dict[str, Any]]:
        found = self.call("GET", "/components", params={"type": "org.keycloak.keys.KeyProvider"})
        return [component for component in found if component["providerId"] == "rsa-generated"]


def http(method: str, url: str, **arguments: Any) -> requests.Response:
    """One request on a connection of its own, without anything of this machine's settings."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=60, allow_redirects=False, **arguments)


def _challenge(verifier: str) -> str:
    """PKCE's S256 (RFC 7636 section 4.2)."""
    return tokens.encode_base64(hashlib.sha256(verifier.encode()).digest())


def groups_mapper(claim: str = "groups", full_path: bool = True) -> dict[str, Any]:
    """'Group Membership'."""
    config = {"claim.name": claim, "full.path": str(full_path).lower(), **_everywhere()}
    return _mapper("oidc-group-membership-mapper", config)


def audience_mapper(client_id: str) -> dict[str, Any]:
    """'Audience', with an included client."""
    config = {"included.client.audience": client_id, "access.token.claim": "true"}
    return _mapper("oidc-audience-mapper", config)


def _mapper(kind: str, config: dict[str, str]) -> dict[str, Any]:
    return {"name": kind, "protocol": "openid-connect", "protocolMapper": kind, "config": config}


def _everywhere() -> dict[str, str]:
    return {f"{token}.token.claim": "true" for token in ("id", "access", "userinfo")}
