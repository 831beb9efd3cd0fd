"""What a running server is held to, measured on it as a client sees it.

    python tools/acceptance.py formats URL CHECKPOINT WAV...    served against torch, other formats against wav
    python tools/acceptance.py load URL WAV SECONDS             64 clients at once
    python tools/acceptance.py stop URL WAV PID                 SIGTERM while 64 clients wait
    python tools/acceptance.py generate URL COUNT               clips an emotion, heard by the challenger

CHECKPOINT is the `classifier.safetensors` of the version that is served. Exits with 1 where a limit is missed.
"""

import base64
import io
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sermodels.audio import read_waveform  # noqa: E402
from sermodels.classifier_checkpoint import load_classifier  # noqa: E402
from sermodels.clips import ClipSet  # noqa: E402
from sermodels.config import Config  # noqa: E402
from sermodels.features import LogMel  # noqa: E402
from sermodels.prediction import predict  # noqa: E402
from sermodels.training_data import everything  # noqa: E402
from tests.serve.recordings import encode  # noqa: E402

CLIENTS = 64
PARITY, SAME_SPEECH = 1e-4, 0.02
FORMATS = ("flac", "mp3", "ogg", "opus", "webm", "m4a")

Probabilities = NDArray[np.float64]


def classify(client: httpx.Client, name: str, content: bytes, model: str = "champion") -> Probabilities:
    """The served probabilities of a recording."""
    answer = client.post("/v1/classify", params={"model": model}, files={"file": (name, content)})
    answer.raise_for_status()
    return np.array(list(answer.json()["probabilities"].values()))


def trained(checkpoint: Path, paths: list[Path]) -> Probabilities:
    """The probabilities (recording, emotion) that the training pipeline gives."""
    classifier, header = load_classifier(checkpoint)
    config = Config.model_validate(header["config"])
    front_end = LogMel(config.front_end).eval()
    with torch.inference_mode():
        waveforms = [read_waveform(path, sample_rate_hz=config.front_end.sample_rate_hz) for path in paths]
        log_mels = [front_end(torch.from_numpy(waveform)[None])[0].half().numpy() for waveform in waveforms]
    clips = ClipSet.from_config(log_mels, [0] * len(paths), config.clip, config.front_end)
    plain = config.training.model_copy(update={"precision": "float32"})
    return predict(classifier, everything(clips, config), np.arange(len(paths)), plain).astype(np.float64)


def formats(url: str, checkpoint: str, *wavs: str) -> bool:
    """Served wav against torch; then the same speech at 64 kbit/s in every format against its wav."""
    paths = [Path(wav) for wav in wavs]
    differences: dict[str, list[float]] = {name: [] for name in FORMATS}
    served = []
    with httpx.Client(base_url=url, timeout=60) as client:
        for path in tqdm(paths, unit="recording"):
            own = classify(client, path.name, path.read_bytes())
            assert own.shape == (6,), own
            assert abs(own.sum() - 1) < 1e-5, own
            served.append(own)
            waveform, rate_hz = soundfile.read(path, dtype="float32")
            for name in FORMATS:
                content = encode(waveform, format=name, sample_rate_hz=rate_hz)
                other = classify(client, f"{path.stem}.{name}", content)
                differences[name].append(float(np.abs(other - own).max()))
    parity = np.abs(np.array(served) - trained(Path(checkpoint), paths)).max()
    print(f"{len(paths)} recordings; wav against torch: {parity:.1e} (limit {PARITY})")
    for name, found in differences.items():
        within = np.mean(np.array(found) <= SAME_SPEECH)
        print(f"{name:5} within {SAME_SPEECH}: {within:.0%}, median {np.median(found):.4f}, worst {max(found):.4f}")
    return bool(parity <= PARITY and max(map(max, differences.values())) <= SAME_SPEECH)


def clients(url: str, wav: str, until: Callable[[], bool]) -> list[tuple[float, str]]:
    """Seconds and outcome of each request of 64 clients that ask again and again."""
    content = Path(wav).read_bytes()

    def ask(_: int) -> list[tuple[float, str]]:
        outcomes = []
        with httpx.Client(base_url=url, timeout=60) as client:
            while not until():
                begun = time.perf_counter()
                try:
                    outcome = str(client.post("/v1/classify", files={"file": ("clip.wav", content)}).status_code)
                except httpx.ConnectError:
                    outcome = "refused"
                except httpx.HTTPError as error:
                    outcome = type(error).__name__
                outcomes.append((time.perf_counter() - begun, outcome))
                if outcome == "refused":
                    break
        return outcomes

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [one for each in pool.map(ask, range(CLIENTS)) for one in each]


def load(url: str, wav: str, seconds: str) -> bool:
    """64 clients for so many seconds: all answered, and how long it took."""
    end = time.monotonic() + float(seconds)
    outcomes = clients(url, wav, lambda: time.monotonic() > end)
    took = np.array([second for second, _ in outcomes])
    counts = Counter(outcome for _, outcome in outcomes)
    print(f"{dict(counts)}; p50 {np.percentile(took, 50):.2f} s, p99 {np.percentile(took, 99):.2f} s")
    return set(counts) == {"200"}


def stop(url: str, wav: str, pid: str) -> bool:
    """SIGTERM after 5 s of that load: every request is answered or refused at the door, none is lost."""
    threading.Timer(5.0, os.kill, (int(pid), signal.SIGTERM)).start()
    counts = Counter(outcome for _, outcome in clients(url, wav, lambda: False))
    print(dict(counts))
    return set(counts) <= {"200", "503", "refused"}


def generate(url: str, count: str) -> bool:
    """So many clips an emotion: finite, as long as asked for, and what champion and challenger take them for."""
    good = True
    durations: Counter[float] = Counter()
    with httpx.Client(base_url=url, timeout=600) as client:
        labels = client.get("/v1/model").json()["labels"]
        independent = client.get("/v1/model", params={"model": "challenger"}).is_success
        for emotion in labels:
            heard: dict[str, Counter[str]] = {"champion": Counter(), "challenger": Counter()}
            for seed in tqdm(range(int(count)), unit="clip", desc=emotion):
                answer = client.post("/v1/generate", json={"emotion": emotion, "seed": seed})
                answer.raise_for_status()
                (clip,) = answer.json()["clips"]
                wav = base64.b64decode(clip["wav"])
                waveform, rate_hz = soundfile.read(io.BytesIO(wav))
                good = good and sounds(waveform) and abs(len(waveform) / rate_hz - clip["duration_s"]) < 1e-9
                durations[round(clip["duration_s"], 3)] += 1
                heard["champion"][clip["verdict"]["emotion"]] += 1
                if independent:
                    verdict = classify(client, "clip.wav", wav, model="challenger")
                    heard["challenger"][labels[int(verdict.argmax())]] += 1
            print(f"{emotion}: " + "; ".join(f"{who} hears {dict(what)}" for who, what in heard.items()))
    print(f"durations in s: {dict(durations)}; all finite and not silent: {good}")
    return good and len(durations) == 1


def sounds(waveform: NDArray[np.float64]) -> bool:
    """Whether a waveform is finite and not silent."""
    return bool(np.isfinite(waveform).all() and np.abs(waveform).max() > 0)


if __name__ == "__main__":
    commands: dict[str, Callable[..., bool]] = {"formats": formats, "load": load, "stop": stop, "generate": generate}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    sys.exit(not commands[sys.argv[1]](*sys.argv[2:]))
