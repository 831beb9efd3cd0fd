"""Rollback: the champion before this one, or any that has been one, is champion again, and so is its bundle."""

from flows import aliases, registry, tracking
from flows.export import export_champion
from flows.registry import CHALLENGER, CHAMPION, RegistryError


def rollback(name: str, to: str, reason: str) -> None:
    """Make the champion before this one, or the version `to`, champion again, and its bundle. Raises RegistryError."""
    tracking.setup()
    champion = registry.version_by_alias(name, CHAMPION)
    if champion is None:
        raise RegistryError(f"{tracking.shown_uri()}: no {name}@{CHAMPION} is registered; there is nothing to undo")
    previous = champion.tags.get(aliases.PREVIOUS_TAG, "")
    former = [one for one in registry.versions(name) if one.version == previous or aliases.PREVIOUS_TAG in one.tags]
    wanted = next((one for one in former if str(one.version) == (to or previous)), None)
    if wanted is None:
        numbers = ", ".join(str(one.version) for one in former if not registry.same(one, champion)) or "none"
        asked = (
            f"version {to} has never been champion" if to else f"{registry.described(champion)} replaced no champion"
        )
        raise RegistryError(f"{name}: {asked}; versions that have been champion before: {numbers} (--to VERSION)")
    whole = [one for one in registry.exports_of(wanted) if not one.tags["bundle"].endswith(CHALLENGER)]
    aliases.restore(wanted, whole[0] if whole else None, reason=reason)
    print(f"{registry.described(wanted)} is champion again, {registry.described(champion)} no more: {reason}")
    with tracking.open_run("rollback", tags={"stage": "rollback", "reason": reason}) as run:
        export_champion(run)
