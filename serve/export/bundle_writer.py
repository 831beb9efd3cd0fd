"""A bundle out of checkpoints: every graph exported, quantised, compared with torch, and described."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from sermodels.audio import read_waveform
from sermodels.classifier_checkpoint import load_classifier
from sermodels.config import Config
from sermodels.corpora.demo_clips import demo_clips
from sermodels.corpora.demo_render import render
from sermodels.corpora.utterance import Utterance
from sermodels.diffusion.model import DiffusionModel
from sermodels.diffusion.schedule import training_sigmas
from sermodels.evaluation import unweighted_average_recall
from sermodels.files import atomic_write, write_text
from serve.bundle import (
    CARD,
    CLASSIFIER,
    CLASSIFIER_INT8,
    CONDITIONS,
    EXAMPLES,
    SAMPLER,
    UNET_STEP,
    VOCODER,
    Bundle,
    Diffusion,
    Manifest,
    Provenance,
    write_manifest,
)
from serve.export.card import bundle_card
from serve.export.classifier_graph import WaveformClassifier, export_classifier
from serve.export.parity import classifier_parity, sampler_parity, vocoder_parity
from serve.export.quantize import LARGEST_LOSS, quantize_classifier
from serve.export.sampler_graph import SamplingStep, export_sampler
from serve.export.vocoder_graph import export_vocoder
from serve.sessions import Session
from serve.wav import wav_bytes

CALIBRATION_CLIPS = 96
PARITY_CLIPS = 8
PARITY_STEPS = 5
PARITY_FRAMES = 64

Waveforms = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Sources:
    """What a bundle is made from; `training` and `development` are recordings that may be missing."""

    classifier: Path
    diffusion: Path | None
    config: Config
    provenance: Provenance
    metrics: dict[str, float]
    card: str = ""
    """The classifier's model card in Markdown."""
    training: Sequence[Utterance] = ()
    development: Sequence[Utterance] = ()
    hifigan: Path | None = None


def write_bundle(
    sources: Sources, folder: Path, *, quantise: bool = True, say: Callable[[str], None] = print
) -> Bundle:
    """Write a whole bundle into an empty folder; `quantise` tries an int8 classifier as well.

    Without recordings there is no int8 graph, and parity is measured on made-up sound. Raises WeightsError, BundleError
    and StorageError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = sources.config
    _write_examples(sources, folder)
    development = _read(sources.development[:: max(1, len(sources.development) // PARITY_CLIPS)], config)
    clips = development or [read_waveform(path, sample_rate_hz=_rate(config)) for path in _example_files(folder)]
    say("exporting the classifier")
    metrics, parity = dict(sources.metrics), _classifier(sources, folder, clips)
    if quantise and sources.development and sources.training:
        say("quantising the classifier")
        metrics |= _quantised(sources, folder, say)
    diffusion = None
    if sources.diffusion is not None:
        say("exporting the diffusion model and the vocoder")
        diffusion, measured = _diffusion(sources, sources.diffusion, folder)
        parity |= measured
    manifest = Manifest(
        labels=config.corpus.emotions,
        front_end=config.front_end,
        clip=config.clip,
        vocoder=None if diffusion is None else "hifi-gan" if sources.hifigan else "griffin-lim",
        diffusion=diffusion,
        provenance=sources.provenance,
        metrics=metrics,
        parity=parity,
        files={},
    )
    write_text(folder / CARD, bundle_card(manifest, sources.card))
    return write_manifest(folder, manifest)


def _classifier(sources: Sources, folder: Path, clips: Waveforms) -> dict[str, float]:
    """classifier.onnx and its parity."""
    classifier, _ = load_classifier(sources.classifier)
    module = WaveformClassifier(classifier, sources.config.front_end, sources.config.clip).eval()
    export_classifier(module, folder / CLASSIFIER)
    return classifier_parity(folder, module, clips)


def _quantised(sources: Sources, folder: Path, say: Callable[[str], None]) -> dict[str, float]:
    """classifier.int8.onnx, if it keeps its UAR on development clips; the figures of both graphs."""
    step = max(1, len(sources.training) // CALIBRATION_CLIPS)
    quantize_classifier(folder / CLASSIFIER, folder / CLASSIFIER_INT8, _read(sources.training[::step], sources.config))
    waveforms = _read(sources.development, sources.config)
    emotions = sources.config.corpus.emotions
    truth = np.array([emotions.index(utterance.emotion) for utterance in sources.development])
    answers = {name: _answers(folder / file, waveforms) for name, file in _PRECISIONS.items()}
    uar = {name: unweighted_average_recall(truth, given) for name, given in answers.items()}
    agreement = float(np.mean(answers["float32"] == answers["int8"]))
    kept = uar["float32"] - uar["int8"] <= LARGEST_LOSS
    if not kept:
        (folder / CLASSIFIER_INT8).unlink()
    verdict = "kept" if kept else "not kept"
    say(
        f"int8: development UAR {uar['int8']:.3f}, float32 {uar['float32']:.3f}, same answer {agreement:.3f}: {verdict}"
    )
    return {
        "int8/development_uar": uar["int8"],
        "int8/float32_development_uar": uar["float32"],
        "int8/agreement": agreement,
        "int8/kept": float(kept),
    }


_PRECISIONS = {"float32": CLASSIFIER, "int8": CLASSIFIER_INT8}


def _answers(path: Path, waveforms: Waveforms) -> NDArray[np.int64]:
    """The emotion that a graph gives to each clip."""
    session = Session(path, device="cpu")
    return np.array([session.run({"waveform": clip[None]}, ["logits"])["logits"].argmax() for clip in waveforms])


def _diffusion(sources: Sources, checkpoint: Path, folder: Path) -> tuple[Diffusion, dict[str, float]]:
    """unet_step.onnx, sampler.onnx, vocoder.onnx and the conditions, with their parity."""
    config, model = sources.config, DiffusionModel.load(checkpoint)
    step = SamplingStep(model).eval()
    export_sampler(step, folder, frames=model.config.frames, step_file=UNET_STEP, sampler_file=SAMPLER)
    steps = min(PARITY_STEPS, model.config.timesteps)
    parity = sampler_parity(folder, model, step, steps=steps)
    vocoder = export_vocoder(config.front_end, folder / VOCODER, hifigan=sources.hifigan)
    parity |= vocoder_parity(folder, vocoder, _one_log_mel(folder, config))
    tensors = {
        "centroids": model.embeddings.centroids,
        "spread": model.embeddings.spread,
        "mean": model.mean,
        "std": model.std,
    }
    with atomic_write(folder / CONDITIONS) as temporary:
        save_file({name: tensor.contiguous().numpy() for name, tensor in tensors.items()}, temporary)
    described = Diffusion(
        frames=model.config.frames,
        sigmas=tuple(training_sigmas(model.config).tolist()),
        variation=model.config.variation,
        steps=min(config.synthesis.steps, model.config.timesteps),
        guidance_scale=config.synthesis.guidance_scale,
        trim_db=model.config.trim_db,
        level=config.clip.level,
    )
    return described, parity


def _one_log_mel(folder: Path, config: Config) -> NDArray[np.float32]:
    """The log-mel of an example, by the exported front end."""
    waveform = read_waveform(_example_files(folder)[0], sample_rate_hz=_rate(config))
    session = Session(folder / CLASSIFIER, device="cpu")
    log_mel: NDArray[np.float32] = session.run({"waveform": waveform[None]}, ["log_mel"])["log_mel"][0]
    return log_mel[:, :PARITY_FRAMES]


def _write_examples(sources: Sources, folder: Path) -> None:
    """One spoken example an emotion to try, from the demo corpus: synthetic speech that anyone may pass on."""
    for emotion in sources.config.corpus.emotions:
        clip = next((clip for clip in demo_clips() if clip.emotion == emotion), None)
        if clip is None:
            continue
        with atomic_write(folder / EXAMPLES / f"{emotion}.wav") as temporary:
            temporary.write_bytes(wav_bytes(render(clip).astype(np.float32), clip.style.sample_rate_hz))


def _example_files(folder: Path) -> list[Path]:
    return sorted((folder / EXAMPLES).glob("*.wav"))


def _read(utterances: Sequence[Utterance], config: Config) -> Waveforms:
    """The recordings as waveforms."""
    return [read_waveform(utterance.path, sample_rate_hz=_rate(config)) for utterance in utterances]


def _rate(config: Config) -> int:
    return config.front_end.sample_rate_hz
