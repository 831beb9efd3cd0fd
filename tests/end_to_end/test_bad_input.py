"""Bad input by the command line: an error that names it, exit code 1, nothing half-written."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

Spoil = Callable[[Path], str]
"""Spoils a data folder and returns what the error must name."""

FIRST = "emodb/03a01Wa.wav"


def empty_folder(data: Path) -> str:
    shutil.rmtree(data / "emodb")
    (data / "emodb").mkdir()
    return "emodb"


def missing_folder(data: Path) -> str:
    shutil.rmtree(data / "ravdess")
    return "ravdess"


def file_for_folder(data: Path) -> str:
    shutil.rmtree(data / "ravdess")
    (data / "ravdess").write_text("not a folder")
    return "ravdess"


def misnamed_file(data: Path) -> str:
    shutil.copy(next((data / "emodb").glob("*.wav")), data / "emodb" / "anger_of_bob.wav")
    return "anger_of_bob.wav"


def unknown_emotion_code(data: Path) -> str:
    shutil.copy(next((data / "emodb").glob("*.wav")), data / "emodb" / "03a01Xa.wav")
    return "03a01Xa.wav"


@pytest.mark.parametrize(
    "spoil",
    [empty_folder, missing_folder, file_for_folder, misnamed_file, unknown_emotion_code],
    ids=lambda f: f.__name__,
)
def test_corpus_that_cannot_be_used(spoil: Spoil, corpus: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    named = spoil(data)
    check_refused(tmp_path, named, f"--data-dir={data}", "--overrides=corpus.names=[emodb,ravdess]")


def weights_of_another_shape(tmp_path: Path) -> list[str]:
    state = torchvision.models.resnet18(weights=None).state_dict()
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 5, 5)
    save_file(state, tmp_path / "odd.safetensors")
    return [f"--weights={tmp_path / 'odd.safetensors'}", "layer1.0.conv1.weight"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--preset=qiuck"], "qiuck"),
        (["--overrides=training.epoch=3"], "training.epoch"),
        (["--overrides=training.epochs=many"], "training.epochs"),
        (["--overrides=corpus.emotions=[joy,anger]"], "joy"),
        (["--fold=9"], "fold 9"),
        (["--protocol=speakers"], "speakers"),
        (["--weights=nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_option_that_is_not_allowed(options: list[str], named: str, tmp_path: Path) -> None:
    check_refused(tmp_path, named, *options)


def test_weights_of_another_shape(tmp_path: Path) -> None:
    option, named = weights_of_another_shape(tmp_path)
    check_refused(tmp_path, named, option)


def check_refused(folder: Path, named: str, *options: str) -> None:
    """The command line refuses before any run is opened."""
    command = [sys.executable, "-m", "flows", "run", f"--workspace={folder / 'workspace'}", *options]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("error: ")
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "mlflow.db").exists()
    assert not [path for path in (folder / "workspace").rglob("*") if path.is_file()]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_disk(small_disk: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows", "run", f"--workspace={small_disk / 'workspace'}"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert str(small_disk) in done.stderr
    assert "MB free" in done.stderr


@pytest.mark.parametrize("skip", [False, True])
def test_unreadable_recordings_are_named_at_the_end(
    skip: bool, corpus: Path, tmp_path: Path, command: list[str], environment: dict[str, str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    wavs = sorted((data / "emodb").glob("*.wav"))[:3]
    wavs[0].write_text("this is text")
    wavs[1].write_bytes(wavs[1].read_bytes()[:44])
    wavs[2].write_bytes(wavs[2].read_bytes()[:-1000])
    options = [f"--data-dir={data}", "--overrides=training.epochs=1", "--stages=A"]
    skipping = ["--skip-unreadable"] if skip else []
    train = [part if part != "run" else "train" for part in command]
    done = subprocess.run(
        [*train, *options, *skipping], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1500
    )
    output = done.stdout + done.stderr
    assert done.returncode == (0 if skip else 1), output[-3000:]
    assert all(wav.stem in output for wav in wavs)
    assert len(list((tmp_path / "workspace" / "cache").rglob("*.npz"))) == 108 - 3
    assert ("--skip-unreadable" in done.stderr.splitlines()[-1]) is not skip
