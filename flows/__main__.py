"""The command line: `python -m flows run`, `train`, `synthesize`, `evaluate`, `export`, `serve`, `table` and more."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.arguments import parse_arguments
from flows.defaults import STAGES
from flows.upkeep import UPKEEP

if TYPE_CHECKING:  # --help answers without loading pydantic
    from sermodels.config import Config


def overrides_of(options: argparse.Namespace) -> list[str]:
    """The options as config overrides; --overrides comes last and wins."""
    named = {
        "corpus.data_dir": options.data_dir,
        "split.protocol": getattr(options, "protocol", ""),
        "split.fold": getattr(options, "fold", ""),
        "classifier.weights": options.weights,
    }
    return [*(f"{key}={value}" for key, value in named.items() if value), *str(options.overrides).split()]


def use_workspace(workspace: Path) -> None:
    """Keep Prefect's database inside the workspace, unless the user runs a server or chose a place."""
    if not os.environ.get("PREFECT_API_URL"):
        os.environ.setdefault("PREFECT_HOME", str(workspace.resolve() / "prefect"))
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    for switch in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(switch, "true")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def checked_start(options: argparse.Namespace) -> tuple["Config", Path]:
    """The config and the workspace, both checked before anything long is imported or started."""
    from sermodels.presets import resolve_config

    config = resolve_config(options.preset, overrides_of(options))
    from sermodels.preflight import check_start

    workspace = Path(options.workspace)
    check_start(config, workspace)
    use_workspace(workspace)
    check_servers()
    return config, workspace


def check_servers() -> None:
    """Tracking, artifacts and Prefect answer; else one line says which does not, before anything long starts."""
    from flows import tracking
    from flows.server_errors import check_prefect

    tracking.check()
    tracking.check_artifacts()
    check_prefect()


def run(options: argparse.Namespace) -> None:
    """Check the input, run the flow, and say how to look at the results."""
    stages = getattr(options, "stages", STAGES)
    config, workspace = checked_start(options)
    from flows.pipeline import check_stages, pipeline

    check_stages(stages)
    pipeline(config, workspace, Path(options.preset).stem, options.skip_unreadable == "true", stages)
    say_how_to_look(workspace)


def say_how_to_look(workspace: Path) -> None:
    """The commands that show what a run left behind. Addresses of servers may hold passwords, and are not repeated."""
    from flows.tracking import experiment_id, shown_uri, tracking_uri

    programs, uri = Path(sys.executable).parent, tracking_uri()
    runs = f"#/experiments/{experiment_id()}/runs?workflowType=machine_learning"  # else a page for language models
    local = uri.startswith("sqlite:")
    print("\nLook at the runs, models and artifacts, and at the tasks:")
    if uri.startswith("http"):
        print(f"  MLflow UI of {shown_uri()}: {runs}")
    else:
        place = uri if local else '"$MLFLOW_TRACKING_URI"'
        print(f"  {programs / 'mlflow'} ui --backend-store-uri {place} --port 5000")
        print(f"  and then http://127.0.0.1:5000/{runs}")
    server = os.environ.get("PREFECT_API_URL")
    print(
        f"  Prefect UI of {server}"
        if server
        else f"  PREFECT_HOME={os.environ['PREFECT_HOME']} {programs / 'prefect'} server start"
    )
    print("Serve the champion, with its demo at http://127.0.0.1:8000:")
    given = f"MLFLOW_TRACKING_URI={uri} " if local else ""
    print(f"  {given}{sys.executable} -m flows serve --workspace {workspace}")


def synthesize(options: argparse.Namespace) -> None:
    """Make clips with a registered diffusion model."""
    use_workspace(Path(options.workspace))
    from flows.forms import request_of
    from flows.synthesize import synthesize_clips

    names = ("model", "count", "seed", "steps", "guidance_scale")
    emotions = tuple(options.emotions.replace(",", " ").split())
    synthesize_clips(request_of({"emotions": emotions, **{name: getattr(options, name) for name in names}}))


def table(options: argparse.Namespace) -> None:
    """Run what the table still lacks, then write it."""
    config, workspace = checked_start(options)
    from flows.table import run_table
    from sermodels.plan import plan_of

    plan = plan_of(options.protocols, options.folds, options.seeds, options.stages)
    run_table(config, plan, workspace, Path(options.preset).stem, options.dask)
    results(options)


def results(options: argparse.Namespace) -> None:
    """Write the results page from MLflow."""
    from flows import tracking
    from flows.results import publish_results
    from sermodels.presets import resolve_config

    tracking.check()
    page = publish_results(Path(options.preset).stem, Path(options.docs), resolve_config(options.preset))
    print(f"Results: {page}")


def adopt(options: argparse.Namespace) -> None:
    """Log what another machine computed."""
    from flows import adopt as adopting
    from flows import tracking

    tracking.check()
    cells, new = adopting.adopt(Path(options.archive), Path(options.preset).stem)
    print(f"{cells} cells, {new} of them new to MLflow; next: python -m flows results --preset {options.preset}")


def evaluate(options: argparse.Namespace) -> None:
    """Evaluate a registered version on recordings that it has not seen."""
    workspace = Path(options.workspace)
    use_workspace(workspace)
    check_servers()
    from flows.evaluate import evaluate_registered

    corpus = Path(options.corpus)
    print(evaluate_registered(options.model, corpus, workspace, options.emotions, options.skip_unreadable == "true"))


def export(options: argparse.Namespace) -> None:
    """Export what the registry calls champion and challenger."""
    use_workspace(Path(options.workspace))
    check_servers()
    from flows.pipeline import export_registered

    hifigan, triton = (Path(value) if value else None for value in (options.hifigan, options.triton))
    export_registered(hifigan, triton)


def gate(options: argparse.Namespace) -> None:
    """Judge a registered version, and say what came of it."""
    use_workspace(Path(options.workspace))
    from flows import tracking
    from flows.promotion import candidate_of, gate_registered

    tracking.setup()
    candidate_of(options.version)  # what is not there is said before a flow starts
    gate_registered(options.version)


def rollback(options: argparse.Namespace) -> None:
    """Move the champion back."""
    use_workspace(Path(options.workspace))
    from flows.rollback import rollback as move_back

    move_back(options.model, options.to, options.reason)


def serve(options: argparse.Namespace) -> None:
    """Fetch the bundles, then become the server, beside a process that fetches newer ones."""
    from flows import registry, tracking
    from flows.served import refresh

    tracking.check()
    served = Path(options.workspace) / "served"
    print(f"registry: {refresh(served)}", file=sys.stderr, flush=True)
    exported = registry.version_by_alias(registry.ONNX_NAMES[registry.CLASSIFIER_MODEL], registry.CHAMPION)
    version = exported.tags.get("parent_version", "") if exported else ""
    tracking.end_adopted_run("serve", {"stage": "serving", "model": registry.CLASSIFIER_MODEL, "version": version})
    sys.stdout.flush()
    if options.refresh_s:
        follower = [sys.executable, "-m", "flows", "follow", "--workspace", options.workspace]
        follower += ["--refresh-s", str(options.refresh_s), "--server", str(os.getpid())]
        subprocess.Popen(follower, env=os.environ | {"MLFLOW_TRACKING_URI": tracking.tracking_uri()})
    command = [sys.executable, "-m", "serve", "--bundle", str(served / registry.CHAMPION)]
    command += ["--challenger", str(served / registry.CHALLENGER), "--host", options.host]
    command += ["--port", str(options.port)]
    os.execv(sys.executable, command)  # so that the server has never imported MLflow, and gets the signals itself


def follow(options: argparse.Namespace) -> None:
    """Keep the served bundles up to date until a signal comes."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to clean up, and no traceback
    from flows import tracking
    from flows.served import follow as follow_registry

    tracking.choose_server()
    follow_registry(Path(options.workspace) / "served", every_s=options.refresh_s, server=options.server)


def drift(options: argparse.Namespace) -> None:
    """Compare a watched server's answers with the training data."""
    workspace = Path(options.workspace)
    use_workspace(workspace)
    from flows.drift import drift as drift_flow

    keys = ("model", "days", "min_records", "min_share", "retrain")
    drift_flow(Path(options.watch_dir), workspace, **{key: getattr(options, key) for key in keys})


COMMANDS = {
    "run": run,
    "train": run,
    "synthesize": synthesize,
    "table": table,
    "results": results,
    "adopt": adopt,
    "evaluate": evaluate,
    "export": export,
    "gate": gate,
    "rollback": rollback,
    "serve": serve,
    "follow": follow,
    "drift": drift,
    **UPKEEP,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 1 with one line that names the bad input."""
    options = parse_arguments(arguments)
    try:
        COMMANDS[options.command](options)
    except Exception as error:
        known = known_error(error)
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        return 1
    return 0


def known_error(error: BaseException) -> BaseException | None:
    """The error that a user can act on, also where closing the run after it failed in turn, as on a full disk."""
    from sermodels.errors import SermodelsError, causes

    if own := next((link for link in causes(error) if isinstance(link, SermodelsError)), None):
        return own
    from flows.server_errors import server_error

    return server_error(error)


if __name__ == "__main__":
    sys.exit(main())
