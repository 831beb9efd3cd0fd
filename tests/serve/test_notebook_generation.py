"""The Python loop that benchmarks/ measures the server against makes the server's log-mel."""

from pathlib import Path

from benchmarks.agreement import require_close
from benchmarks.alternatives.notebook_generation import NotebookGenerator
from serve.answers import GenerationRequest
from serve.bundle import load_bundle
from serve.generation import Generator
from serve.sessions import Session


def test_the_python_loop_makes_the_servers_log_mel(bundle_folder: Path) -> None:
    bundle = load_bundle(bundle_folder)
    generator = Generator.load(bundle, lambda file: Session(bundle.path(file), device="cpu"), lambda name, value: None)
    *_, (_, _, ours) = generator.generate(GenerationRequest(emotion="fear", seed=7))
    notebook = NotebookGenerator(bundle_folder, threads=1)
    theirs = notebook.log_mel("fear", 7)
    require_close("log-mel", ours[0], theirs, tolerance=0.01, unit="dB")
    frames = len(notebook.sound(theirs)) / bundle.manifest.front_end.hop_length
    assert abs(frames - theirs.shape[1]) <= 2
