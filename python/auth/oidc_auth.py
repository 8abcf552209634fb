"""The name in ``basic_auth.ini``: ``authorization_function = auth.oidc_auth:authenticate_request``."""

from mlflow_oidc.hook import authenticate_request

__all__ = ["authenticate_request"]
