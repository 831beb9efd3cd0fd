"""What speed costs: UAR of training in bfloat16 against float32, and of the bfloat16 and int8 graphs, on one fold.

Long, and not in --quick: two classifiers are trained on the whole corpus.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.context import Bench
from benchmarks.measure import tell
from benchmarks.rows import Measured, Row
from sermodels.audio import read_waveform
from sermodels.classifier_checkpoint import CLASSIFIER_FILE, load_classifier
from sermodels.config import Config
from sermodels.corpora.utterance import Utterance
from sermodels.evaluation import unweighted_average_recall
from sermodels.stages.caching import run_caching, run_splitting
from sermodels.stages.classification import AUGMENTATION, run_classification
from sermodels.stages.context import RunContext
from sermodels.store import StageResult
from serve.bundle import CLASSIFIER, CLASSIFIER_INT8
from serve.export.classifier_graph import WaveformClassifier, export_classifier
from serve.export.quantize import quantize_classifier
from serve.sessions import Session

LARGEST_LOSS = 0.005
"""UAR that a faster path may lose: half a point."""
CALIBRATION_CLIPS = 96


def measure(bench: Bench) -> Measured:
    """A row for each faster path; the classifier is the augmented one of fold 0."""
    results = {precision: _train(bench, precision) for precision in ("float32", "bfloat16")}
    uar = {name: stage.read("figures.json")["test"]["uar"] for name, (_, stage) in results.items()}
    graphs = _graphs(bench, *results["float32"])
    rows = [
        _row(bench, "UAR, trained in bfloat16, against float32", uar["bfloat16"], uar["float32"]),
        _row(bench, "UAR, ONNX int8, against ONNX float32", graphs["int8"], graphs["float32"]),
        _row(bench, "UAR, classified in bfloat16, against float32", graphs["bfloat16"], graphs["float32"]),
    ]
    return Measured(rows, {"training": uar, "graphs": graphs})


def _row(bench: Bench, part: str, fast: float, plain: float) -> Row:
    """`ratio` must not be below what losing half a point leaves; one run, so there is no spread."""
    note = f"may lose {LARGEST_LOSS:g}; test clips of unseen speakers, fold 0"
    return Row(part, fast, plain, "UAR", fast / plain, (plain - LARGEST_LOSS) / plain, 0.0, None, bench.device, note)


def _train(bench: Bench, precision: str) -> tuple[RunContext, StageResult]:
    """The augmented classifier of fold 0, trained in this number format."""
    tell(f"  training in {precision}")
    config, workspace = _config(bench, precision), bench.scratch / "accuracy"
    prepared, _ = run_caching(config, workspace, skip_unreadable=False)
    context = RunContext(config, workspace, prepared, run_splitting(config, workspace, prepared)[0])
    return context, run_classification(context, AUGMENTATION)


def _config(bench: Bench, precision: str) -> Config:
    config = bench.config
    return config.model_copy(
        update={
            "training": config.training.model_copy(update={"precision": precision}),
            "classifier": config.classifier.model_copy(update={"weights": bench.options.weights}),
        }
    )


def _graphs(bench: Bench, context: RunContext, stage: StageResult) -> dict[str, float]:
    """Test UAR of the float32 and int8 graphs, and of the same module in bfloat16."""
    config, split = context.config, context.split()
    by_name = {one.identifier: one for one in context.load().utterances}
    test = [by_name[name] for name in split.test]
    calibration = [by_name[name] for name in split.training[:: max(1, len(split.training) // CALIBRATION_CLIPS)]]
    classifier, _ = load_classifier(stage.folder / CLASSIFIER_FILE)
    module = WaveformClassifier(classifier, config.front_end, config.clip).eval()
    folder = bench.scratch / "accuracy-graphs"
    folder.mkdir()
    export_classifier(module, folder / CLASSIFIER)
    quantize_classifier(folder / CLASSIFIER, folder / CLASSIFIER_INT8, [_read(one, config) for one in calibration])
    answers = {
        "float32": _asked(folder / CLASSIFIER, test, config),
        "int8": _asked(folder / CLASSIFIER_INT8, test, config),
        "bfloat16": [_in_bfloat16(module, _read(one, config)) for one in test],
    }
    truth = np.array([config.corpus.emotions.index(one.emotion) for one in test])
    return {name: unweighted_average_recall(truth, np.array(given)) for name, given in answers.items()}


def _asked(graph: Path, utterances: list[Utterance], config: Config) -> list[int]:
    """What a graph takes each clip for."""
    session = Session(graph, device="cpu")
    waveforms = (_read(one, config)[None] for one in utterances)
    return [int(session.run({"waveform": one}, ["logits"])["logits"].argmax()) for one in waveforms]


@torch.inference_mode()
def _in_bfloat16(module: WaveformClassifier, waveform: Any) -> int:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, _, logits, _ = module(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
    return int(logits.argmax())


def _read(utterance: Utterance, config: Config) -> Any:
    return read_waveform(utterance.path, sample_rate_hz=config.front_end.sample_rate_hz)
