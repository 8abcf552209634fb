"""Our two tables, as SQLAlchemy knows them: those that ``src/edge/store/sqlite.rs`` makes in its own file.

Names are compared byte for byte everywhere. The collations of MySQL, MariaDB and SQL Server call 'Alice',
'alice ' and 'älice' the same as 'alice' (even most binary ones let trailing blanks go), and whoever has such
a name at the provider would be somebody else here. So names are bytes there: UTF-8 in VARBINARY.
"""

import json
from typing import Any

import sqlalchemy
from sqlalchemy.dialects import mysql
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.types import TypeDecorator

# The longest issuer, subject, user name and session id of a provider, in characters: what OpenID Connect
# allows a subject (Core, section 2) and MLflow a user name. Two of them in UTF-8 still fit into an index of
# InnoDB (3072 bytes) and of PostgreSQL (2704).
NAME_LIMIT = 255
# Those that compare text as it is written.
_EXACT = ("sqlite", "postgresql")
_MYSQL = ("mysql", "mariadb")


class Name(TypeDecorator):  # type: ignore[misc]
    """A name of at most ``NAME_LIMIT`` characters, equal only to itself.

    Raises ``ValueError`` for one that does not fit, written or asked for: MariaDB outside of its strict mode
    would cut it, and what is left may be another person's name.
    """

    impl = sqlalchemy.String(NAME_LIMIT)
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        """Text where it is compared as it is, else bytes."""
        if dialect.name in _EXACT:
            return dialect.type_descriptor(sqlalchemy.String(NAME_LIMIT))
        return dialect.type_descriptor(sqlalchemy.VARBINARY(4 * NAME_LIMIT))

    def process_bind_param(self, value: str | None, dialect: Any) -> Any:
        """What the driver gets."""
        if value is None:
            return None
        if not fits(value):
            raise ValueError(f"a name of {len(value)} characters; at most {NAME_LIMIT} fit, and no NUL")
        return value if dialect.name in _EXACT else value.encode()

    def process_result_value(self, value: Any, dialect: Any) -> str | None:
        """The name again."""
        return bytes(value).decode() if isinstance(value, (bytes, bytearray, memoryview)) else value


class Sealed(TypeDecorator):  # type: ignore[misc]
    """Text of any length, in ASCII: a list in JSON, a sealed token. MySQL's own TEXT ends at 64 KB."""

    impl = sqlalchemy.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        """The longest text that the database has."""
        if dialect.name in _MYSQL:
            return dialect.type_descriptor(mysql.LONGTEXT())
        return dialect.type_descriptor(sqlalchemy.Text())


class Hash(TypeDecorator):  # type: ignore[misc]
    """The 32 bytes of a SHA-256."""

    impl = sqlalchemy.LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        """A type that may be a primary key: MySQL's BLOB may not."""
        if dialect.name in _EXACT:
            return dialect.type_descriptor(sqlalchemy.LargeBinary())
        return dialect.type_descriptor(sqlalchemy.BINARY(32))

    def process_result_value(self, value: Any, dialect: Any) -> bytes | None:
        """Some drivers answer with a view."""
        return None if value is None else bytes(value)


def fits(name: str) -> bool:
    """Whether a name can be written as it is. PostgreSQL has no NUL, and SQL Server none at the end."""
    return len(name) <= NAME_LIMIT and "\0" not in name


def groups_of(text: str | None) -> list[str] | None:
    """The groups in a row. What cannot be read counts as not told: it opens no door."""
    try:
        groups = json.loads(text) if text is not None else None
    except ValueError:
        return None
    readable = isinstance(groups, list) and all(isinstance(group, str) for group in groups)
    return groups if readable else None


# MySQL alone has tables without transactions (MyISAM), and an operator may have made them the default.
_OPTIONS: dict[str, Any] = {
    "sqlite_with_rowid": False,
    "mysql_engine": "InnoDB",
    "mariadb_engine": "InnoDB",
}

metadata = sqlalchemy.MetaData()

identities = sqlalchemy.Table(
    "oidc_identities",
    metadata,
    sqlalchemy.Column("issuer", Name, primary_key=True),
    sqlalchemy.Column("subject", Name, primary_key=True),
    sqlalchemy.Column("username", Name, nullable=False, unique=True),
    sqlalchemy.Column("user_id", sqlalchemy.BigInteger, nullable=False),
    # Reserved in MySQL 8, which SQLAlchemy does not know of every server that speaks its protocol.
    sqlalchemy.Column(quoted_name("groups", quote=True), Sealed),
    sqlalchemy.Column("told_at", sqlalchemy.BigInteger, nullable=False),
    sqlalchemy.Column("made_here", sqlalchemy.Boolean, nullable=False),
    **_OPTIONS,
)

sessions = sqlalchemy.Table(
    "oidc_sessions",
    metadata,
    sqlalchemy.Column("id_hash", Hash, primary_key=True),
    sqlalchemy.Column("issuer", Name, nullable=False),
    sqlalchemy.Column("subject", Name, nullable=False),
    sqlalchemy.Column("provider_sid", Name),
    sqlalchemy.Column("created_at", sqlalchemy.BigInteger, nullable=False),
    sqlalchemy.Column("expires_at", sqlalchemy.BigInteger, nullable=False),
    sqlalchemy.Column("sealed_id_token", Sealed),
    sqlalchemy.Column(
        "checked_at", sqlalchemy.BigInteger, nullable=False, server_default=sqlalchemy.text("0")
    ),
    sqlalchemy.Column(
        "recheck_until", sqlalchemy.BigInteger, nullable=False, server_default=sqlalchemy.text("0")
    ),
    sqlalchemy.Column("sealed_refresh_token", Sealed),
    sqlalchemy.Index("oidc_sessions_subject", "issuer", "subject"),
    sqlalchemy.Index("oidc_sessions_sid", "issuer", "provider_sid"),
    sqlalchemy.Index("oidc_sessions_expires", "expires_at"),
    **_OPTIONS,
)
