"""Runs whose process is gone or that are silent, on a real SQLite store and with real processes."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient

from flows import sweeper, tracking
from flows.__main__ import main

HOST = socket.gethostname()
HOUR_MS = 3_600_000


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that waits."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def opened(client: MlflowClient, process: int, *, host: str = HOST, started: str = "", **more: str) -> str:
    """A running run of a process."""
    tags = {sweeper.HOST_TAG: host, sweeper.PROCESS_TAG: str(process), sweeper.STARTED_TAG: started} | more
    return str(client.create_run(tracking.experiment_id(), tags=tags).info.run_id)


def statuses(client: MlflowClient, *runs: str) -> list[str]:
    return [client.get_run(run).info.status for run in runs]


def test_runs_of_dead_processes_are_closed(client: MlflowClient) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    runs = opened(client, ended.pid), opened(client, 1), opened(client, ended.pid, host="another-host")
    tracking.setup()
    assert statuses(client, *runs) == ["KILLED", "RUNNING", "RUNNING"]


def test_a_process_number_that_is_used_again_does_not_keep_a_run_alive(
    client: MlflowClient, child: "subprocess.Popen[bytes]"
) -> None:
    _, started = sweeper._state(child.pid) or ("", "")
    boot, tick = started.split()
    runs = [opened(client, child.pid, started=value) for value in (started, f"{boot} {int(tick) - 1}", f"x {tick}")]
    tracking.setup()
    assert statuses(client, *runs) == ["RUNNING", "KILLED", "KILLED"]


def test_a_process_of_which_only_its_status_is_left_is_dead(
    client: MlflowClient, child: "subprocess.Popen[bytes]"
) -> None:
    run = opened(client, child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not waited for: a zombie
    tracking.setup()
    assert statuses(client, run) == ["KILLED"]


def test_open_runs_say_who_works_on_them(client: MlflowClient) -> None:
    with tracking.open_run("parent", tags={}) as run:
        tracking.setup()
        assert statuses(client, run.run_id) == ["RUNNING"]
        tags = client.get_run(run.run_id).data.tags
    assert tags[sweeper.PROCESS_TAG] == str(os.getpid())
    assert tags[sweeper.STARTED_TAG] == (sweeper._state(os.getpid()) or ("", ""))[1] != ""


def test_silent_runs_are_swept(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    now = int(time.time() * 1000)

    def started(hours_ago: int, **tags: str) -> str:
        run = client.create_run(tracking.experiment_id(), start_time=now - hours_ago * HOUR_MS, tags=tags)
        return str(run.info.run_id)

    elsewhere = {sweeper.HOST_TAG: "another-host", sweeper.PROCESS_TAG: "1"}
    here = {sweeper.HOST_TAG: HOST, sweeper.PROCESS_TAG: "1"}
    orphan, fresh, ours, parent = started(30), started(2), started(30, **here), started(30, **elsewhere)
    silent, speaking = started(30, **elsewhere), started(30, **elsewhere)
    child = started(1, **elsewhere, **{sweeper.PARENT_TAG: parent})
    client.log_metric(silent, "loss", 1.0, timestamp=now - 26 * HOUR_MS)
    client.log_metric(speaking, "loss", 1.0, timestamp=now - 26 * HOUR_MS)
    client.log_metric(speaking, "loss", 0.5, timestamp=now - HOUR_MS)

    assert main(["sweep", "--older-than-hours=24"]) == 0
    assert statuses(client, orphan, silent) == ["KILLED", "KILLED"]
    assert statuses(client, fresh, ours, parent, speaking, child) == ["RUNNING"] * 5
    out = capsys.readouterr().out
    assert out.count("KILLED ") == 2
    assert "2 runs marked as KILLED" in out
