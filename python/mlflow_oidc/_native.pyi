"""OpenID Connect for MLflow: the native part."""

from collections.abc import Sequence
from logging import Logger
from typing import final

from mlflow_oidc.users import Users

__version__: str

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
    def body(self) -> str:
        """Body of the answer."""

@final
class Engine:
    """One engine for one process. Making it does nothing; the first decision builds it and starts its threads."""

    def __new__(
        cls,
        ini: Sequence[tuple[str, str]],
        admin_username: str | None,
        database: str | None,
        database_kind: str,
        users: Users,
        logger: Logger,
    ) -> Engine: ...
    def decide(
        self,
        method: str,
        path: str,
        query: str,
        scheme: str,
        host: str,
        authorization: str | None,
        gateway_authorization: str | None,
        cookie: str | None,
        accept: str | None,
        fetch_mode: str | None,
        fetch_site: str | None,
        origin: str | None,
        on_event_loop: bool,
    ) -> Decision:
        """Decides one request. It raises nothing: every fault is an answer."""

def settings_sample_ini() -> str:
    """The ``[oidc]`` section of the documented sample ``basic_auth.ini``."""

def settings_markdown() -> str:
    """The table of settings, in Markdown."""

def catalogue_markdown() -> str:
    """The table of refusals, in Markdown."""
