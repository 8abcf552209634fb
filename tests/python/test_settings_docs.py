"""What the documents say of settings and refusals is what the code says: made from the same tables."""

from pathlib import Path

import pytest

from mlflow_oidc import _native

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("document", "function"),
    [
        ("basic_auth.ini", "settings_sample_ini"),
        ("docs/settings.md", "settings_markdown"),
        ("docs/errors.md", "catalogue_markdown"),
    ],
)
def test_the_document_ends_with_the_table_of_the_code(document: str, function: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text.endswith(getattr(_native, function)()), f"{document} is not what {function}() says now"
