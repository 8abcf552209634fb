"""The three people whom the demo's provider knows, and what each of them may do at MLflow."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "MLFLOW"


@dataclass(frozen=True)
class Person:
    """Somebody at the provider; the subject is the e-mail address, so that the provider's page shows it."""

    name: str
    email: str
    groups: tuple[str, ...]
    may: str

    def claims(self) -> dict[str, object]:
        """What the provider says of this person in an ID token."""
        return {
            "sub": self.email,
            "email": self.email,
            "email_verified": True,
            "name": self.name,
            "preferred_username": self.email.partition("@")[0],
            "groups": list(self.groups),
        }


ALICE = Person(
    "Alice Lindqvist", "alice@example.com", (GROUP,), "a user: makes experiments, reads those of others"
)
ADA = Person(
    "Ada Obi", "ada@example.com", (f"{GROUP}_admin",), "an administrator: sees and changes everything"
)
MALLORY = Person(
    "Mallory Voss", "mallory@example.com", (), "stays outside: a page says which group is missing"
)
PEOPLE = (ALICE, ADA, MALLORY)
