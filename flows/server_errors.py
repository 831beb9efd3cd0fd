"""What goes wrong between a run and its servers, each told in one line with the address and the remedy."""

import errno
import os
import re

import mlflow
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException

from sermodels.errors import SermodelsError, causes

KEPT = "Stages that are done are kept: the same command goes on from there"
NOT_REACHED = (requests.ConnectionError, requests.Timeout, requests.exceptions.InvalidURL)
FAILING = ("Read timed out", "RemoteDisconnected")
"""Signs of a server that was reached and failed: it took too long, or it hung up in place of an answer."""
REFUSED = {
    "UNAUTHENTICATED": "user name or password refused; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "PERMISSION_DENIED": "this is not permitted; ask for permission EDIT, or the server to allow this host name",
    "ENDPOINT_NOT_FOUND": "this is no MLflow server; set MLFLOW_TRACKING_URI to the address of one",
}


class ServerError(SermodelsError):
    """A server or database does not answer, or refuses."""


def masked(uri: str) -> str:
    """An address without its passwords."""
    hidden = re.sub(r"(?<=://)([^:/?#]*):.*@", r"\1:***@", uri)
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", hidden)


def server_error(error: BaseException) -> ServerError | None:
    """What an error means if a server, a database or an artifact store is behind it."""
    for link in causes(error):
        kinds = {kind.__name__ for kind in type(link).__mro__ if kind.__module__.startswith("httpx")}
        if kinds and (refusal := _prefect_refusal(link, kinds)):
            return ServerError(f"{masked(os.environ.get('PREFECT_API_URL') or 'Prefect')}: {refusal}")
        if reason := _reason(link):
            return ServerError(f"{masked(mlflow.get_tracking_uri())}: {reason}")
    return None


def _prefect_refusal(error: BaseException, kinds: set[str]) -> str:
    """What an error of these kinds of Prefect's client says about its server; empty if nothing."""
    if "TransportError" in kinds:
        why = _innermost(error)
        return f"the Prefect server does not answer ({why}); start it, or unset PREFECT_API_URL. {KEPT}"
    if "401 Unauthorized" in str(error):
        return "user name or password refused; set PREFECT_API_AUTH_STRING to user:password"
    if "Server error '5" in str(error):
        return f"the Prefect server fails; its log says why: is its database reached? {KEPT}"
    return ""


def check_prefect() -> None:
    """Ask the Prefect server that PREFECT_API_URL names, if it names one; Prefect's error says what it refuses."""
    if not os.environ.get("PREFECT_API_URL"):
        return
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.raise_for_api_version_mismatch()


def _reason(link: BaseException) -> str:
    """What one link of the chain says about a server; empty if nothing."""
    if isinstance(link, MlflowException):
        return REFUSED.get(str(link.error_code), "")
    if isinstance(link, requests.exceptions.RetryError) or any(sign in str(link) for sign in FAILING):
        return f"the server fails; its log says why: is its database reached, its artifact store full? {KEPT}"
    if isinstance(link, NOT_REACHED):
        return (
            f"the tracking server does not answer ({_innermost(link)}); start it, or set MLFLOW_TRACKING_URI to "
            f"another. {KEPT}"
        )
    if isinstance(link, sqlalchemy.exc.OperationalError):
        return f"the database refuses ({_first_line(link.orig or link)}). {KEPT}"
    if type(link).__module__.split(".")[0] in ("boto3", "botocore"):
        return f"the artifact store refuses ({_first_line(link)}). {KEPT}"
    if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({link.filename2 or link.filename or link}); free some space. {KEPT}"
    return ""


def _innermost(error: BaseException) -> str:
    """The first cause in the chain."""
    return _first_line(list(causes(error))[-1])


def _first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()
