"""A stage whose process is killed with SIGKILL in its middle goes on to the same files as one left in peace."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sermodels.checkpoint import load_tensors
from sermodels.store import COMPLETE
from sermodels.training import EpochRecord
from tests.sermodels.tiny_chain import Chain, copy_workspace, results_of, run_until, start, whole_chain

ROOT = Path(__file__).resolve().parents[2]
CHILD = "import sys; from tests.sermodels.tiny_chain import run_and_wait; run_and_wait(*sys.argv[1:])"
STAGES = ("baseline", "diffusion", "synthesis")
BEFORE = {
    "baseline": (),
    "diffusion": ("augmentation", "embedding"),
    "synthesis": ("augmentation", "embedding", "diffusion"),
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory)


@pytest.fixture(scope="module")
def killed(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Workspaces in which a process was killed in the middle of a stage; all wait for their end at the same time."""
    workspaces = {stage: tmp_path_factory.mktemp("killed") / stage for stage in STAGES}
    processes = {}
    for stage, workspace in workspaces.items():
        copy_workspace(chain.context.workspace, workspace, *BEFORE[stage])
        command = [sys.executable, "-c", CHILD, stage, chain.config.corpus.data_dir, str(workspace)]
        processes[stage] = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for stage, process in processes.items():
            _wait_for(workspaces[stage] / "ready", process)
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    assert {process.returncode for process in processes.values()} == {-signal.SIGKILL}
    return workspaces


def _wait_for(path: Path, process: "subprocess.Popen[bytes]", timeout_s: float = 900.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not path.exists() and time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the stage ended before it could be killed: {process.communicate()[1].decode()[-2000:]}")
        time.sleep(0.05)
    assert path.exists(), f"{path} did not appear within {timeout_s} s"


def folder_of(workspace: Path, stage: str) -> Path:
    (folder,) = (path for path in (workspace / "stages").glob(f"{stage}-*") if path.is_dir())
    return folder


def test_a_killed_stage_is_not_complete(killed: dict[str, Path]) -> None:
    for stage, workspace in killed.items():
        assert (folder_of(workspace, stage) / "inputs.json").is_file()
        assert not (folder_of(workspace, stage) / COMPLETE).exists()


@pytest.mark.parametrize("stage", ["baseline", "diffusion"])
def test_a_killed_training_ends_as_an_uninterrupted_one(chain: Chain, killed: dict[str, Path], stage: str) -> None:
    heard: list[EpochRecord] = []
    _, header = load_tensors(folder_of(killed[stage], stage) / "state.safetensors")
    assert header["history"] == chain.histories[stage][:1]

    result = run_until(start(chain.config, killed[stage]), stage, on_epoch=heard.append)

    assert not result.reused
    assert heard == chain.histories[stage]
    assert results_of(result) == results_of(chain.stages[stage])
    assert {path.name for path in result.folder.iterdir()} == {p.name for p in chain.stages[stage].folder.iterdir()}


def test_a_killed_synthesis_keeps_its_first_shards(chain: Chain, killed: dict[str, Path]) -> None:
    clips = folder_of(killed["synthesis"], "synthesis") / "clips"
    before = {path.name: path.stat().st_mtime_ns for path in clips.glob("*.npz")}
    assert set(before) == {"shard-0-00000.npz"}

    result = run_until(start(chain.config, killed["synthesis"]), "synthesis")

    assert not result.reused
    assert (clips / "shard-0-00000.npz").stat().st_mtime_ns == before["shard-0-00000.npz"]
    assert results_of(result) == results_of(chain.stages["synthesis"])


def test_after_that_everything_is_reused(chain: Chain, killed: dict[str, Path]) -> None:
    run_until(start(chain.config, killed["baseline"]), "baseline")

    context = start(chain.config, killed["baseline"])

    assert context.prepared.reused
    assert run_until(context, "baseline").reused
