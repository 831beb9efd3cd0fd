"""Promotion: a candidate becomes challenger, is judged against the champion, and replaces it or does not."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import emit_event

from flows import aliases, gate, model_evaluation, registry, tracking
from flows.evidence import graph_predictions, held_out, latency_ratio, require_files
from flows.export import export_version
from flows.gate import Check, Decision
from flows.notify import notify
from flows.registry import CHALLENGER, CHAMPION, CLASSIFIER_MODEL, DIFFUSION_MODEL, RegisteredVersion, RegistryError
from flows.served import fetch_bundle_of
from flows.tracking import Run
from sermodels.corpora.utterance import Utterance
from sermodels.store import StageResult
from serve.bundle import Bundle
from serve.export.parity import LARGEST_DIFFERENCE


@task(name="gate", cache_policy=NO_CACHE)
def gate_task(parent: Run, results: Sequence[StageResult]) -> Decision | None:
    """Let the best of a run's classifiers through the gate, and the next best stand beside the champion.

    None where the best one is champion already.
    """
    by_uar = sorted(results, key=lambda result: -float(result.read("figures.json")["development"]["uar"]))
    found = [registry.find_version(CLASSIFIER_MODEL, result.key) for result in by_uar]
    candidates = [version for version in found if version is not None]
    champion = registry.version_by_alias(CLASSIFIER_MODEL, CHAMPION)
    with tracking.open_run("gate", tags={"stage": "gate"}, parent=parent) as run:
        candidate = _best_comparable(candidates, champion)
        decision = None if registry.same(candidate, champion) else decide(candidate, run)
    if decision is None or decision.passed:
        _let_one_challenge([other for other in candidates if not registry.same(other, candidate)])
    return decision


@flow(name="gate", log_prints=True, validate_parameters=False)
def gate_registered(version: str = CHALLENGER) -> Decision:
    """Let a registered classifier through the gate, by number or as the challenger. Raises RegistryError."""
    tracking.setup()
    candidate = candidate_of(version)
    with tracking.open_run("gate", tags={"stage": "gate"}) as run:
        return decide(candidate, run)


def decide(candidate: RegisteredVersion, run: Run) -> Decision:
    """Judge a classifier against the champion of this moment, and make it champion if it passes.

    The champion may be replaced while this one is judged; then it is judged anew, against the new one. What was found
    is recorded before the alias moves, so after a crash the old champion stands and the gate can be run again.
    """
    while True:
        champion = registry.version_by_alias(CLASSIFIER_MODEL, CHAMPION)
        with tempfile.TemporaryDirectory() as scratch:
            checks = judge(candidate, champion, run, Path(scratch))
        decision = _decision(candidate, champion, checks)
        _record(decision, candidate, run)
        exported = export_version(run, candidate, role="candidate") if decision.passed else None
        if not decision.passed or aliases.crown(candidate, exported, replacing=champion):
            _publish(decision, candidate, run)
            return decision
        print(f"{registry.described(candidate)}: another version became champion meanwhile, deciding anew")


def judge(candidate: RegisteredVersion, champion: RegisteredVersion | None, run: Run, scratch: Path) -> list[Check]:
    """Every check of a candidate; it is challenger and exported by then, unless something rules it out before."""
    recordings = held_out(candidate, champion, scratch) if champion else []
    first = _eligibility(candidate, champion)
    first += [gate.speakers_check(len({one.speaker for one in recordings}))] if champion else []
    if not all(check.passed for check in first):
        return first
    aliases.challenge(candidate)
    bundle = fetch_bundle_of(export_version(run, candidate, role="candidate"), scratch / "candidate-bundle")
    checks = [*first, *gate.parity_checks(bundle.manifest.parity, LARGEST_DIFFERENCE)]
    drawn = registry.synthesis_figures(candidate)
    checks += gate.synthesis_checks(drawn) if drawn is not None else []
    if champion is not None:
        known = registry.exports_of(champion)  # any of them will do: the classifier in them is the same
        exported = known[0] if known else export_version(run, champion, role=CHAMPION)
        theirs = fetch_bundle_of(exported, scratch / "champion-bundle")
        checks += compare(bundle, theirs, recordings, run, registry.described(champion))
    return checks


def compare(candidate: Bundle, champion: Bundle, recordings: list[Utterance], run: Run, name: str) -> list[Check]:
    """The checks of two bundles beside each other, on recordings that neither was taught.

    The candidate's figures are those of `run`, the champion's those of a run below it.
    """
    lost = gate.labels_check(candidate.manifest.labels, champion.manifest.labels)
    if not lost.passed:
        return [lost]
    known = [one for one in recordings if one.emotion in champion.manifest.labels]
    require_files(known)
    both = [graph_predictions(bundle, known, candidate.manifest.labels) for bundle in (candidate, champion)]
    with tracking.open_run(f"{name}, to compare", tags={"stage": "gate, champion"}, parent=run):
        theirs = model_evaluation.evaluate_predictions(both[1])
    own = model_evaluation.evaluate_predictions(both[0])
    middle = sorted(known, key=lambda one: one.path.stat().st_size)[len(known) // 2]
    latency = gate.latency_check(latency_ratio(candidate, champion, middle))
    return [lost, gate.gain_check(both[0], both[1]), *gate.recall_checks(own, theirs), latency]


def gate_diffusion(trained: StageResult, drawn: StageResult) -> Decision | None:
    """Make a diffusion model champion if it was trained well and its clips are no copies; None if it is already."""
    version = registry.find_version(DIFFUSION_MODEL, trained.key)
    assert version is not None
    while True:
        champion = registry.version_by_alias(DIFFUSION_MODEL, CHAMPION)
        if registry.same(version, champion):
            return None
        loss = gate.loss_check(trained.read("figures.json")["train/loss"])
        checks = [*_eligibility(version, champion), loss, *gate.synthesis_checks(drawn.read("figures.json"))]
        decision = _decision(version, champion, checks)
        aliases.tag(version, _tags(decision))
        if not decision.passed or aliases.crown(version, None, replacing=champion):
            print(decision)
            return decision


def candidate_of(version: str) -> RegisteredVersion:
    """The version that is asked for, which is not champion. Raises RegistryError."""
    if not registry.versions(CLASSIFIER_MODEL):
        raise RegistryError(f"{tracking.shown_uri()}: no {CLASSIFIER_MODEL} is registered; train one: make run")
    by_alias = version == CHALLENGER
    ask = registry.version_by_alias if by_alias else registry.version_by_number
    found = ask(CLASSIFIER_MODEL, version)
    if found is None:
        what = f"{CLASSIFIER_MODEL}@{version}" if by_alias else f"{CLASSIFIER_MODEL} {version}"
        raise RegistryError(f"{tracking.shown_uri()}: there is no {what}; name one: python -m flows gate --version 1")
    if registry.same(found, registry.version_by_alias(CLASSIFIER_MODEL, CHAMPION)):
        raise RegistryError(f"{registry.described(found)} is champion already")
    return found


def _best_comparable(candidates: list[RegisteredVersion], champion: RegisteredVersion | None) -> RegisteredVersion:
    """The first candidate that can be compared with the champion, which knows most folds' speakers; else the first."""
    for candidate in candidates:
        if champion is None or registry.same(candidate, champion):
            return candidate
        with tempfile.TemporaryDirectory() as scratch:
            speakers = {one.speaker for one in held_out(candidate, champion, Path(scratch))}
        if gate.speakers_check(len(speakers)).passed:
            return candidate
    return candidates[0]


def _let_one_challenge(others: list[RegisteredVersion]) -> None:
    """Make the best of the others challenger, unless one stands beside the champion already."""
    challenger, champion = (registry.version_by_alias(CLASSIFIER_MODEL, alias) for alias in (CHALLENGER, CHAMPION))
    if others and (challenger is None or registry.same(challenger, champion)):
        aliases.challenge(others[0])


def _eligibility(version: RegisteredVersion, champion: RegisteredVersion | None) -> list[Check]:
    withdrawn = aliases.WITHDRAWN_TAG in version.tags
    return gate.eligibility(version.tags, champion.tags if champion else {}, withdrawn=withdrawn)


def _decision(version: RegisteredVersion, champion: RegisteredVersion | None, checks: list[Check]) -> Decision:
    """What MLflow's validation makes of the checks."""
    passed = model_evaluation.holds(checks)
    return Decision(
        registry.described(version), registry.described(champion) if champion else "", tuple(checks), passed
    )


def _record(decision: Decision, candidate: RegisteredVersion, run: Run) -> None:
    """The decision in its run and on the version that it is about."""
    run.log_metrics({f"gate/{check.name}": check.value for check in decision.checks})
    run.log_text(decision.markdown(), "decision.md")
    aliases.tag(candidate, _tags(decision) | {registry.GATE_TAG.format("run"): run.run_id})
    run.set_tags({"candidate": decision.candidate, "against": decision.champion, "decision": decision.word})


def _tags(decision: Decision) -> dict[str, str]:
    """The decision as tags of a version."""
    told = {"decision": decision.word, "against": decision.champion, "reasons": decision.reasons()}
    return {registry.GATE_TAG.format(name): text for name, text in told.items()}


def _publish(decision: Decision, candidate: RegisteredVersion, run: Run) -> None:
    """The decision in print, and where Prefect runs as an artifact and an event that automations can act on."""
    print(decision)
    if FlowRunContext.get() is None and TaskRunContext.get() is None:
        return
    create_markdown_artifact(key="promotion", markdown=decision.markdown(), description=str(decision))
    emit_event(
        event=f"sermodels.champion.{'promoted' if decision.passed else 'refused'}",
        resource={"prefect.resource.id": f"sermodels.{candidate.name}"},
        payload=_tags(decision) | {"version": str(candidate.version), "run": run.run_id},
    )
    if decision.passed:
        notify(f"{decision.candidate} is champion", decision.markdown())
