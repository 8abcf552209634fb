"""Single sign-on for a self-hosted MLflow.

``authorization_function = mlflow_oidc:authenticate_request`` (or ``auth.oidc_auth:authenticate_request``) in
``basic_auth.ini`` makes MLflow's own auth app ask OpenID Connect who a request is.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow_oidc.hook import authenticate_request

__all__ = ["authenticate_request"]


def __getattr__(name: str) -> Any:
    # Flask is imported only where MLflow asks for the function; the command line does without it.
    if name == "authenticate_request":
        from mlflow_oidc.hook import authenticate_request

        return authenticate_request
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
