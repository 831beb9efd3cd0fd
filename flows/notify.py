"""Notifications through a Prefect block, such as Slack or a webhook: failed deployments, promotions."""

import os
from typing import Any, cast

import httpx
import prefect.blocks.notifications  # noqa: F401  # makes its block types known to Block.load
from prefect import get_run_logger
from prefect.blocks.abstract import NotificationBlock, NotificationError
from prefect.blocks.core import Block
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import MissingContextError, PrefectException
from prefect.flows import Flow
from prefect.logging import get_logger
from prefect.settings import PREFECT_UI_URL

BLOCK_VARIABLE = "SERMODELS_NOTIFY_BLOCK"
"""The environment variable that names the block as type/name: slack-webhook/team, custom-webhook/ops."""

UNDELIVERED = (httpx.HTTPError, NotificationError, OSError, PrefectException, RuntimeError, ValueError)


def notify(subject: str, body: str) -> bool:
    """Send a message if a block is named; whether it was sent. A block that fails is logged and stops nothing."""
    name = os.environ.get(BLOCK_VARIABLE, "")
    if not name:
        return False
    try:
        block = cast(NotificationBlock, Block.load(name))
        with block.raise_on_failure():
            cast(Any, block).notify(body, subject)
    except UNDELIVERED as error:
        _warn(f"{BLOCK_VARIABLE}={name}: {subject!r} was not sent ({type(error).__name__}: {error})")
        return False
    return True


def report_failure(flow: "Flow[..., Any]", flow_run: FlowRun, state: "State[Any]") -> None:
    """Hook of a flow: which run failed or crashed, why, and where to look."""
    page = f"\n{PREFECT_UI_URL.value()}/runs/flow-run/{flow_run.id}" if PREFECT_UI_URL.value() else ""
    notify(f"{flow.name}: {flow_run.name} {state.name}", f"{state.message}{page}")


def _warn(text: str) -> None:
    """To the run's log where there is one, as in a flow or task; else to the process's."""
    try:
        get_run_logger().warning(text)
    except MissingContextError:
        get_logger("sermodels.notify").warning(text)
