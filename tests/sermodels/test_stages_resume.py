"""A stage whose process is killed with SIGKILL in its middle goes on to the same files as one left in peace."""

import os
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

pytestmark = pytest.mark.xdist_group("stages")

ROOT = Path(__file__).resolve().parents[2]
CHILD = (
    "import sys; from tests.sermodels.tiny_chain import run_and_wait; run_and_wait(*sys.argv[1:4], saved=sys.argv[4])"
)
CASES = {"early": ("baseline", "unsaved"), "baseline": ("baseline", "saved"), "diffusion": ("diffusion", "saved")}
CASES["synthesis"] = ("synthesis", "saved")
BEFORE = {"diffusion": ("augmentation", "embedding"), "synthesis": ("augmentation", "embedding", "diffusion")}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def killed(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Workspaces in which a process was killed in the middle of a stage; all wait for their end at the same time."""
    workspaces = {case: tmp_path_factory.mktemp("killed") / case for case in CASES}
    processes = {}
    for case, (stage, saved) in CASES.items():
        if case != "early":
            copy_workspace(chain.context.workspace, workspaces[case], *BEFORE.get(stage, ()))
        command = [sys.executable, "-c", CHILD, stage, chain.config.corpus.data_dir, str(workspaces[case]), saved]
        processes[case] = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for case, process in processes.items():
            _wait_for(workspaces[case] / "ready", process)
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    assert {process.returncode for process in processes.values()} == {-signal.SIGKILL}
    return workspaces


def _wait_for(path: Path, process: "subprocess.Popen[bytes]", timeout_s: float = 300.0) -> None:
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
    for case, (stage, _) in CASES.items():
        folder = folder_of(killed[case], stage)
        assert (folder / "inputs.json").is_file()
        assert not (folder / COMPLETE).exists()
    assert not (folder_of(killed["early"], "baseline") / "state.safetensors").exists()


@pytest.mark.parametrize("case", ["early", "baseline", "diffusion"])
def test_a_killed_training_ends_as_an_uninterrupted_one(chain: Chain, killed: dict[str, Path], case: str) -> None:
    stage, saved = CASES[case]
    heard: list[EpochRecord] = []
    if saved == "saved":
        _, header = load_tensors(folder_of(killed[case], stage) / "state.safetensors")
        assert header["history"] == chain.histories[stage][:1]

    result = run_until(start(chain.config, killed[case]), stage, on_epoch=heard.append)

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
    context = start(chain.config, killed["baseline"])

    assert context.prepared.reused
    assert run_until(context, "baseline").reused
    assert os.listdir(killed["baseline"] / "stages") == os.listdir(killed["baseline"] / "stages")
