"""One bundle's classifier behind its queue: a waveform to its emotion, a long one to a timeline as well."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from serve.answers import Classification, Window
from serve.batching import Batcher, Scored
from serve.bundle import Bundle
from serve.errors import InputError
from serve.sessions import Session
from serve.settings import Settings
from serve.windows import joined_log_mels, quiet_windows, window_bounds

Waveform = NDArray[np.float32]


class Classifier:
    """Answers for one bundle, and names it in each answer."""

    def __init__(
        self, bundle: Bundle, session: Session, settings: Settings, observe: Callable[[str, float], None]
    ) -> None:
        """On the graph in `session`; `start` makes it ready."""
        self.bundle, self._front_end = bundle, bundle.manifest.front_end
        self._batcher = Batcher(session, settings, hop_length=self._front_end.hop_length, observe=observe)

    async def start(self) -> None:
        """Run the graph once."""
        await self._batcher.score([np.zeros(self._front_end.sample_rate_hz, dtype=np.float32)])

    async def stop(self) -> None:
        """Refuse what waits, and end."""
        await self._batcher.stop()

    async def log_mel(self, waveform: Waveform) -> NDArray[np.float32]:
        """The log-mel (mel, frame) in dB of a waveform (sample,). Raises InputError and BusyError."""
        _check(waveform)
        (scored,) = await self._batcher.score([waveform])
        return scored.log_mel

    async def classify(self, waveform: Waveform, *, refuse: bool = True) -> Classification:
        """The emotion of a waveform (sample,). Raises InputError and, with `refuse`, BusyError."""
        _check(waveform)
        rate_hz, clip = self._front_end.sample_rate_hz, self.bundle.manifest.clip
        bounds = window_bounds(len(waveform), sample_rate_hz=rate_hz, clip_duration_s=clip.heard_s)
        pieces = [waveform[first:end] for first, end in bounds] or [waveform]
        scored = await self._batcher.score(pieces, refuse=refuse)
        duration_s = len(waveform) / rate_hz
        if not bounds:
            return Classification(self.bundle, scored[0].probabilities, scored[0].log_mel, duration_s)
        return self._whole(pieces, bounds, scored, duration_s)

    def _whole(
        self, pieces: list[Waveform], bounds: list[tuple[int, int]], scored: list[Scored], duration_s: float
    ) -> Classification:
        """The answer for a long recording out of those for its windows."""
        rate_hz, hop_length = self._front_end.sample_rate_hz, self._front_end.hop_length
        windows = tuple(
            Window(first / rate_hz, end / rate_hz, one.probabilities, quiet)
            for (first, end), one, quiet in zip(bounds, scored, quiet_windows(pieces), strict=True)
        )
        whole = np.mean([window.probabilities for window in windows if not window.quiet], axis=0)
        log_mel = joined_log_mels([one.log_mel for one in scored], bounds, hop_length=hop_length)
        return Classification(self.bundle, whole.astype(np.float32), log_mel, duration_s, windows)


def _check(waveform: Waveform) -> None:
    """Raise InputError for what cannot be classified."""
    if waveform.size == 0 or not np.isfinite(waveform).all():
        raise InputError("the recording holds no samples, or some that are not finite")
