"""The aliases `champion` and `challenger`: moved by one process at a time, a model's together with its graph's."""

import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flows.registry import CHALLENGER, CHAMPION, GATE_TAG, RegisteredVersion, same, version_by_alias
from sermodels.errors import SermodelsError

PREVIOUS_TAG, WITHDRAWN_TAG = GATE_TAG.format("previous_champion"), GATE_TAG.format("withdrawn")
LOCK_NAME = "{}.{}-lock"
LEASE_S = 60.0
"""A lock that one process has held for longer is that of a dead one: moving an alias takes milliseconds."""


class LostLockError(SermodelsError):
    """Another process thought this one dead while it moved an alias."""


def crown(
    version: RegisteredVersion,
    exported: RegisteredVersion | None,
    *,
    replacing: RegisteredVersion | None,
) -> bool:
    """Make a version champion if `replacing` still is; False, and nothing done, if a third one is by now.

    The version's alias moves first: that one write decides, and says who is champion. The alias of `exported`, its
    graph, follows. A crash between the two leaves the server on the old champion's complete bundle until the next
    export, promotion or rollback; the other order would let it serve what the registry does not call champion.
    """
    with locked(version.name, CHAMPION) as still_held:
        current = version_by_alias(version.name, CHAMPION)
        if not same(current, replacing):
            return same(current, version)
        tag(version, {PREVIOUS_TAG: str(current.version) if current else ""})
        still_held()
        _give(CHAMPION, version, exported)
    with locked(version.name, CHALLENGER):
        for one in (version, exported):
            if one is not None and same(version_by_alias(one.name, CHALLENGER), one):
                MlflowClient().delete_registered_model_alias(one.name, CHALLENGER)
    return True


def restore(version: RegisteredVersion, exported: RegisteredVersion | None, *, reason: str) -> None:
    """Give `champion` back to a version that has been champion, and mark the one that has it now as withdrawn."""
    with locked(version.name, CHAMPION) as still_held:
        current = version_by_alias(version.name, CHAMPION)
        if current is not None and not same(current, version):
            tag(current, {WITHDRAWN_TAG: reason})
        MlflowClient().delete_model_version_tag(version.name, version.version, WITHDRAWN_TAG)
        still_held()
        _give(CHAMPION, version, exported)


def _give(alias: str, *versions: RegisteredVersion | None) -> None:
    """Give an alias to versions of several models, one after the other."""
    for version in versions:
        if version is not None:
            MlflowClient().set_registered_model_alias(version.name, alias, version.version)


def challenge(version: RegisteredVersion) -> None:
    """Give the alias `challenger` to a version that stands beside the champion."""
    _give(CHALLENGER, version)
    print(f"{version.name}: version {version.version} ({version.tags['stage']}) is challenger")


def share(parent: RegisteredVersion, exported: RegisteredVersion) -> None:
    """Give the aliases that a version has to its graph."""
    for alias in (CHAMPION, CHALLENGER):
        if same(version_by_alias(parent.name, alias), parent) and not same(
            version_by_alias(exported.name, alias), exported
        ):
            with locked(parent.name, alias):
                if same(version_by_alias(parent.name, alias), parent):
                    _give(alias, exported)


def tag(version: RegisteredVersion, tags: Mapping[str, str]) -> None:
    """Tags of a version."""
    for name, value in tags.items():
        MlflowClient().set_model_version_tag(version.name, version.version, name, value)


@contextmanager
def locked(name: str, alias: str) -> Iterator[Callable[[], None]]:
    """Nobody else moves this alias of a model meanwhile, on whatever machine. Yields a check that it still holds.

    MLflow has no compare-and-set; what its database does guarantee is that a registered model's name exists once. So
    the lock is an empty registered model, there for milliseconds: whoever creates it has the lock.
    """
    client, lock = MlflowClient(), LOCK_NAME.format(name, alias)
    owner = f"{socket.gethostname()} {os.getpid()} {uuid4().hex}"
    _acquire(client, lock, owner)

    def still_held() -> None:
        if _owner(client, lock) != owner:
            raise LostLockError(f"{lock}: taken over by another process after {LEASE_S:g} s; run it again")

    try:
        yield still_held
    finally:
        _release(client, lock, owner)


def _acquire(client: MlflowClient, lock: str, owner: str) -> None:
    """Wait for the lock; one whose owner does not change for LEASE_S is taken over."""
    seen, since = "", time.monotonic()
    while True:
        try:
            client.create_registered_model(lock, description=owner)
        except MlflowException as error:
            # MLflow says the latter where the lock was released while it looked up who is in the way.
            if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
                raise
        else:
            return
        holder = _owner(client, lock)
        if holder != seen:
            seen, since = holder, time.monotonic()
            print(f"{lock}: waiting for {holder}")
        elif time.monotonic() - since > LEASE_S:
            _release(client, lock, holder)
        time.sleep(random.uniform(0.05, 0.15))


def _owner(client: MlflowClient, lock: str) -> str:
    """Who has the lock; empty for nobody."""
    try:
        return str(client.get_registered_model(lock).description)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return ""
        raise


def _release(client: MlflowClient, lock: str, owner: str) -> None:
    """Give up the lock of an owner, if it still is theirs."""
    if owner and _owner(client, lock) == owner:
        try:
            client.delete_registered_model(lock)
        except MlflowException as error:  # somebody else found its owner dead, too
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
