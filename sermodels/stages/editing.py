"""Stage `editing`: clips of test speakers moved towards another emotion, judged by what had no part in it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from sermodels.classifier_checkpoint import CLASSIFIER_FILE, load_classifier
from sermodels.clips import ClipSet
from sermodels.config import Config
from sermodels.device import best_device
from sermodels.diffusion.model import DiffusionModel
from sermodels.files import atomic_write, write_json
from sermodels.pitch import pitch_correlation
from sermodels.plots import log_mel_grid, save_figure
from sermodels.prediction import predict
from sermodels.stages.context import RunContext
from sermodels.stages.diffusion import DENOISER_FILE, diffusion_clips
from sermodels.stages.originals import standardized
from sermodels.store import StageResult, run_stage
from sermodels.synthesis import Draw, sample_log_mels
from sermodels.training_data import everything
from sermodels.vocoder import log_mel_to_waveform

VERSION = 1

LogMels = NDArray[np.float32]


@dataclass(frozen=True)
class Edits:
    """What is edited: places of test clips, their emotions and the ones that they are moved to, all (clip,)."""

    places: NDArray[np.int64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]


def run_editing(context: RunContext, diffusion: StageResult, judge: StageResult) -> StageResult:
    """Edit clips of the split's test part at several strengths.

    For each strength the figures tell how often `judge`, a classifier that had no part in the diffusion model, hears
    the wanted emotion before and after, and how much of the melody is kept (correlation of F0, both sounds made by the
    same vocoder).
    """
    inputs = context.inputs(
        "front_end", "editing", "synthesis", version=VERSION, diffusion=diffusion.key, judge=judge.key
    )
    return run_stage(context.workspace, "editing", inputs, lambda folder: _edit(context, diffusion, judge, folder))


def _edit(context: RunContext, diffusion: StageResult, judge: StageResult, folder: Path) -> None:
    """Everything that the stage does, in its folder."""
    config, data = context.config, context.load()
    model = DiffusionModel.load(diffusion.folder / DENOISER_FILE)
    model.denoiser.to(best_device())
    edits = choose_edits(data.labels, data.indices(context.split().test), config)
    originals = standardized(model, diffusion_clips(config, data), edits.places)
    draws = [Draw(int(emotion), number) for number, emotion in enumerate(edits.target)]
    versions: dict[str, LogMels] = {"before": model.to_log_mel(originals).numpy()}
    for strength in config.editing.strengths:
        chosen = {"strength": strength, "guidance_scale": config.editing.guidance_scale}
        settings = config.synthesis.model_copy(update=chosen)
        edited = sample_log_mels(model, draws, settings, seed=config.seed, originals=originals)
        versions[f"strength_{strength:g}"] = edited.cpu().numpy()
    write_json(folder / "figures.json", _judged(config, judge, versions, edits, folder))
    _picture(config, versions, edits, folder)


def choose_edits(labels: NDArray[np.int64], test: NDArray[np.int64], config: Config) -> Edits:
    """Some clips of each emotion, spread over the test part, moved to the other emotions in turn."""
    emotions = len(config.corpus.emotions)
    places, target = [], []
    for emotion in range(emotions):
        own = test[labels[test] == emotion]
        chosen = own[:: max(1, len(own) // config.editing.clips_per_emotion)][: config.editing.clips_per_emotion]
        places += chosen.tolist()
        target += [(emotion + 1 + number % (emotions - 1)) % emotions for number in range(len(chosen))]
    found = np.array(places, dtype=np.int64)
    return Edits(found, labels[found], np.array(target, dtype=np.int64))


def _judged(
    config: Config, judge: StageResult, versions: dict[str, LogMels], edits: Edits, folder: Path
) -> dict[str, float | dict[str, float]]:
    """Figures of each strength; the sounds of the first clip of each emotion are kept."""
    classifier = load_classifier(judge.folder / CLASSIFIER_FILE)[0].to(best_device())
    heard = {}
    for name, log_mels in versions.items():
        clips = ClipSet.from_config(list(log_mels), edits.target.tolist(), config.clip, config.front_end)
        data = everything(clips.to(best_device()), config)
        heard[name] = predict(classifier, data, data.training, config.training)
    sounds = {name: _sounds(config, log_mels, name) for name, log_mels in versions.items()}
    _listen(config, sounds, edits, folder)
    clip = np.arange(len(edits.places))
    before = heard.pop("before")
    found: dict[str, float | dict[str, float]] = {"clips": float(len(clip))}
    for name, after in heard.items():
        pairs = zip(sounds["before"], sounds[name], strict=True)
        kept = [pitch_correlation(*pair, config.front_end.sample_rate_hz) for pair in pairs]
        found[name] = {
            "heard_as_target_before": float(np.mean(before.argmax(axis=1) == edits.target)),
            "heard_as_target": float(np.mean(after.argmax(axis=1) == edits.target)),
            "heard_as_source_before": float(np.mean(before.argmax(axis=1) == edits.source)),
            "heard_as_source": float(np.mean(after.argmax(axis=1) == edits.source)),
            "target_probability_gain": float(np.mean(after[clip, edits.target] - before[clip, edits.target])),
            "pitch_correlation": float(np.nanmedian(kept)) if np.isfinite(kept).any() else 0.0,
        }
    return found


def _sounds(config: Config, log_mels: LogMels, name: str) -> list[NDArray[np.float32]]:
    """Each clip's waveform."""
    progress = tqdm(log_mels, desc=f"Griffin-Lim, {name}", unit="clip")
    return [log_mel_to_waveform(log_mel, config.front_end) for log_mel in progress]


def _firsts(edits: Edits) -> list[int]:
    """The first clip of each emotion."""
    return [int(np.flatnonzero(edits.source == emotion)[0]) for emotion in np.unique(edits.source)]


def _listen(config: Config, sounds: dict[str, list[NDArray[np.float32]]], edits: Edits, folder: Path) -> None:
    """The first clip of each emotion as wav files, before and after."""
    for place in _firsts(edits):
        pair = "-to-".join(config.corpus.emotions[number] for number in (edits.source[place], edits.target[place]))
        for name, waveforms in sounds.items():
            with atomic_write(folder / "audio" / f"{pair}-{name}.wav") as temporary:
                rate_hz = config.front_end.sample_rate_hz
                soundfile.write(temporary, waveforms[place], rate_hz, subtype="PCM_16", format="WAV")


def _picture(config: Config, versions: dict[str, LogMels], edits: Edits, folder: Path) -> None:
    """The first clip of each emotion, before and after at rising strength."""
    firsts = _firsts(edits)
    rows = [[log_mels[place] for log_mels in versions.values()] for place in firsts]
    names = [
        f"{config.corpus.emotions[edits.source[place]]} → {config.corpus.emotions[edits.target[place]]}"
        for place in firsts
    ]
    strengths = ", ".join(f"{strength:g}" for strength in config.editing.strengths)
    title = f"Edited clips: before, then strength {strengths}"
    save_figure(log_mel_grid(rows, names, config.front_end, title), folder / "editing.png")
