"""What is tried again: work on files, MLflow and the network, when the failure may pass by itself."""

import errno
from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from flows.tracking import is_unreachable

PERMANENT = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def may_pass(_task: "Task[..., Any]", _task_run: TaskRun, state: "State[Any]") -> bool:
    """Whether a failed task is tried again: a server or disk that did not answer, never bad input or a bug."""
    return is_transient(state.result(raise_on_failure=False))


def is_transient(error: object) -> bool:
    """Whether an error may pass by itself. A SermodelsError needs the user, any other error needs a developer."""
    if isinstance(error, OSError):  # among them what requests and urllib raise, and time-outs
        return not isinstance(error, PERMANENT) and error.errno not in NO_SPACE
    return is_unreachable(error)


IO_TASK: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": exponential_backoff(backoff_factor=10),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": may_pass,
}
"""Options of a task that reads and writes more than it computes: two more tries, after 10 s and 20 s or up to half as
much again. What an attempt finished is not done twice: stages and caches are found by content."""
