"""OpenID Connect for MLflow: the native part."""

from collections.abc import Sequence
from logging import Logger
from os import PathLike
from typing import Any, final

from mlflow_oidc import store
from mlflow_oidc.given import Given
from mlflow_oidc.roles import Kept

__all__ = [
    "Decision",
    "Engine",
    "NO_PASSWORD",
    "ROLE_PREFIX",
    "RolePlanner",
    "Store",
    "__version__",
    "catalogue_markdown",
    "look",
    "prepare_tables",
    "read_settings",
    "settings_markdown",
    "settings_sample_ini",
]

__version__: str
# The `password_hash` of accounts that a login made.
NO_PASSWORD: str
# What the names of our roles begin with in MLflow.
ROLE_PREFIX: str

@final
class Decision:
    """What becomes of a request: exactly one of ``username``, ``basic`` and ``status`` is set."""

    @property
    def username(self) -> str | None:
        """The request runs as this MLflow user."""
    @property
    def basic(self) -> str | None:
        """MLflow itself checks the user name and password of this ``Authorization`` value."""
    @property
    def status(self) -> int:
        """HTTP status of the answer; 0 when there is none."""
    @property
    def headers(self) -> list[tuple[str, str]]:
        """Header fields of the answer; each name once."""
    @property
    def body(self) -> bytes:
        """Body of the answer, in UTF-8."""

@final
class Engine:
    """One engine for one process. Making it does nothing; the first decision builds it."""

    def __new__(cls, given: Given, logger: Logger) -> Engine: ...
    def recall(self, method: str, path: str, environ: dict[str, Any]) -> str | None:
        """Who a request is, where memory alone can tell; `None` sends the caller on to `decide`."""
    def decide(
        self, method: str, path: str, environ: dict[str, Any], body: str | None, on_event_loop: bool
    ) -> Decision:
        """Decides one request. Every fault is an answer."""
    def admit_password_user(
        self, method: str, path: str, environ: dict[str, Any], on_event_loop: bool, username: str
    ) -> Decision:
        """Decides about somebody whose password MLflow has found right."""
    def permission_cache_seconds(self) -> int:
        """For how many seconds MLflow's own look-ups may be remembered; 0 is not at all.

        It is 0 with a faulty configuration, too.
        """
    def abandon(self) -> None:
        """Leaves this engine alone for ever: for the child of a fork."""

@final
class Store:
    """A store as the engine uses it. Rows are the tuples of ``mlflow_oidc.store``.

    Every method raises ``TimeoutError`` for a lock that is not to be had, else ``RuntimeError``.
    """

    @staticmethod
    def of_file(path: str | PathLike[str]) -> Store:
        """The store in an SQLite file of ours. Opens nothing yet."""
    @staticmethod
    def over(adapter: store.Store) -> Store:
        """The store over MLflow's own database engine."""
    def prepare(self) -> None:
        """Makes the tables if they are not there."""
    def identity(self, issuer: str, subject: str, waits: bool = True) -> store.Identity | None:
        """The identity of a subject."""
    def identity_of_user(self, username: str, waits: bool = True) -> store.Identity | None:
        """The identity that a user name is bound to."""
    def bind(self, row: store.Identity) -> store.Identity | None:
        """Binds a new identity: the row that counts, or ``None`` where another identity has the name."""
    def note(self, row: store.Identity) -> None:
        """Notes what may change."""
    def add_session(self, row: store.Session) -> None:
        """Adds a session and removes those that have expired."""
    def session(self, id_hash: bytes, waits: bool = True) -> tuple[store.Session, store.Identity] | None:
        """A session and whose it is."""
    def begin_recheck(self, id_hash: bytes, now: int, until: int) -> bool:
        """Takes the right to ask the provider about a session."""
    def renew_session(self, row: store.Session, held: int, until: int) -> bool:
        """Writes what asking brought, and gives the right back."""
    def remove_session(self, id_hash: bytes) -> store.Session | None:
        """Removes a session and returns what it was."""
    def remove_ended(self, issuer: str, subject: str | None, provider_sid: str | None) -> int:
        """Removes the sessions that a provider says have ended."""

def settings_sample_ini() -> str:
    """The ``[oidc]`` section of the documented sample ``basic_auth.ini``."""

def settings_markdown() -> str:
    """The table of settings, in Markdown."""

def catalogue_markdown() -> str:
    """The table of refusals, in Markdown."""

def look(
    ini: Sequence[tuple[str, str]],
    database_is_usable: bool,
    database_kind: str,
    static_prefix: str,
    mlflow_version: str,
    token: str | None,
) -> str:
    """What ``mlflow-oidc doctor`` has to know, as JSON without any secret in it.

    The settings of this process, what the provider publishes, and whether a token would be let in. It asks
    the provider twice, each time for as long as ``OIDC_HTTP_TIMEOUT`` allows, and writes nothing.

    Raises:
        RuntimeError: A fault of this program.
    """

def read_settings(
    ini: Sequence[tuple[str, str]],
    database_is_usable: bool,
    database_kind: str,
    groups: Sequence[Sequence[str] | None],
) -> str:
    """What ``mlflow-oidc users`` has to know of the settings, as JSON without any secret in it.

    ``settings`` are those of this process, as in ``look``; ``judged`` has, for each of ``groups``, whether
    they let somebody in (``admitted``) and what they say of the administrator's flag (``admin``; ``null``
    changes nothing), or is ``null`` while the settings have a fault. Nobody is asked, nothing is written.

    Raises:
        RuntimeError: A fault of this program.
    """

def prepare_tables(database: str) -> None:
    """Makes our tables in the file beside an SQLite database, or brings those of an older version up to date.

    The file is closed again. Nobody else in this process may have it open meanwhile.

    Raises:
        TimeoutError: Somebody else holds the lock.
        RuntimeError: Anything else, in the words of SQLite.
    """

@final
class RolePlanner:
    """The settings as they were when this was made, and what they want of MLflow's roles."""

    def __new__(
        cls,
        ini: Sequence[tuple[str, str]],
        database_is_usable: bool,
        database_kind: str,
        mlflow_version: str,
    ) -> RolePlanner:
        """Reads the environment, ``ini`` (the pairs of ``[oidc]``) and the files that they name."""

    def told(self) -> str:
        """JSON: ``settings`` are as in ``look``, ``source`` is where the roles stand, or ``null``."""

    def changes(
        self,
        roles: Sequence[Kept],
        assigned: Sequence[tuple[int, str, str]],
        users: dict[int, str],
        known: Sequence[tuple[str, str, int, Sequence[str] | None]],
    ) -> str:
        """What would have to change for MLflow's roles to be those of ``[oidc:roles]``, as JSON.

        ``roles`` are ours as they are, ``assigned`` the number of each user who has one with its workspace
        and name, ``users`` MLflow's users, ``known`` the issuer, the user name, the number and the groups of
        everybody whom a login has bound. A list of objects with ``row`` (a ``Change`` of
        ``mlflow_oidc.roles``), ``before`` and ``why``. Nobody is asked and nothing is written.

        Raises:
            RuntimeError: The settings have a fault.
        """
