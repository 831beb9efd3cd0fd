"""What the gate judges by: held-out recordings, what both graphs say of them, and how long they take."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.export import split_recordings
from flows.registry import RegisteredVersion, RegistryError
from sermodels.audio import read_waveform
from sermodels.corpora.utterance import Utterance
from sermodels.predictions import Predictions
from serve.bundle import CLASSIFIER, Bundle
from serve.sessions import Session

TURNS = 20
"""Runs of each graph whose shortest time counts: what else the machine does can only add to it."""


def held_out(candidate: RegisteredVersion, champion: RegisteredVersion, scratch: Path) -> list[Utterance]:
    """The candidate's test recordings of speakers and contents that neither version was trained or chosen on.

    None where MLflow does not hold what one of them was taught.
    """
    *own, test = split_recordings(candidate, scratch / "candidate")
    *theirs, _ = split_recordings(champion, scratch / "champion")
    if not all([*own, *theirs]):
        return []
    taught = [recording for part in [*own, *theirs] for recording in part]
    speakers, contents = {one.speaker for one in taught}, {one.sha256 for one in taught}
    return [one for one in test if one.speaker not in speakers and one.sha256 not in contents]


def require_files(recordings: Sequence[Utterance]) -> None:
    """Raise RegistryError naming a recording that is not on this machine."""
    missing = [one.path for one in recordings if not one.path.is_file()]
    if missing:
        raise RegistryError(
            f"{missing[0]}: is not on this machine, nor are {len(missing) - 1} others that the gate compares on; "
            "run it where the recordings are"
        )


def graph_predictions(bundle: Bundle, recordings: Sequence[Utterance], labels: tuple[str, ...]) -> Predictions:
    """What a bundle's classifier, as it is served, says of whole recordings; its columns in the order of `labels`.

    Emotions that it does not know have probability 0. Raises AudioError and BundleError.
    """
    session, own = Session(bundle.path(CLASSIFIER), device="cpu"), bundle.manifest.labels
    probabilities = np.zeros((len(recordings), len(labels)))
    columns = [labels.index(label) for label in own]
    for row, recording in enumerate(recordings):
        probabilities[row, columns] = _answer(session, _waveform(bundle, recording))
    return Predictions(
        labels=labels,
        identifiers=tuple(one.identifier for one in recordings),
        groups={name: tuple(getattr(one, name) for one in recordings) for name in ("corpus", "speaker", "sex")},
        truth=np.array([labels.index(one.emotion) for one in recordings], dtype=np.int64),
        probabilities=probabilities,
    )


def latency_ratio(candidate: Bundle, champion: Bundle, recording: Utterance) -> float:
    """How much more processor time the candidate's classifier takes than the champion's; both take turns.

    On one thread each: several wait for each other by spinning, the longer the more else the machine has to do.
    """
    runners = [
        (Session(bundle.path(CLASSIFIER), device="cpu", threads=1), _waveform(bundle, recording))
        for bundle in (candidate, champion)
    ]
    taken_s = np.array([[_time_s(*runner) for runner in runners] for _ in range(TURNS)])
    shortest = taken_s.min(axis=0)
    return float(shortest[0] / shortest[1])


def _time_s(session: Session, waveform: NDArray[np.float32]) -> float:
    began = time.thread_time()  # of this thread alone: other load must not decide who is champion
    _answer(session, waveform)
    return time.thread_time() - began


def _answer(session: Session, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (emotion,) of one recording."""
    answer: NDArray[np.float32] = session.run({"waveform": waveform[None]}, ["probabilities"])["probabilities"][0]
    return answer


def _waveform(bundle: Bundle, recording: Utterance) -> NDArray[np.float32]:
    return read_waveform(recording.path, sample_rate_hz=bundle.manifest.front_end.sample_rate_hz)
