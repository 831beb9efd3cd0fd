"""The service: one object that classifies, generates and edits, used by the HTTP routes and the demo alike."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.answers import Classification, EditRequest, GeneratedClip, GenerationRequest, Progress, Window
from serve.batching import Batcher, Scored
from serve.bundle import CLASSIFIER, CLASSIFIER_INT8, SAMPLER, UNET_STEP, VOCODER, Bundle, load_bundle
from serve.decoding import DecoderPool
from serve.errors import BundleError, BusyError, InputError, ServeError, UnavailableError
from serve.generation import Generator, Steps
from serve.sessions import ModelIO, Session, Tensors, choose_device
from serve.settings import Settings
from serve.windows import quiet_windows, window_bounds

Waveform = NDArray[np.float32]
Events = AsyncGenerator[Progress | GeneratedClip, None]
MODEL_NAMES = {
    "ser-classifier": CLASSIFIER,
    "ser-sampler": SAMPLER,
    "ser-unet-step": UNET_STEP,
    "ser-vocoder": VOCODER,
}
"""Names under which the Open Inference Protocol shows the graphs."""

_log = logging.getLogger(__name__)


class Service:
    """What a server does, without HTTP. `observe(name, value)` hears of queue depth, batch sizes and times."""

    def __init__(self, bundle: Bundle, challenger: Bundle | None, settings: Settings) -> None:
        """Open the graphs; `start` makes it ready, once. Raises BundleError and DeviceError."""
        self.bundle, self.challenger, self.settings = bundle, challenger, settings
        self.labels = bundle.manifest.labels
        self.device = choose_device(settings.device)
        self.ready, self._stopped = False, False
        self.observe: Callable[[str, float], None] = lambda name, value: None
        self._sessions: dict[str, Session] = {}
        self._batchers = {False: self._batcher(bundle)} | ({True: self._batcher(challenger)} if challenger else {})
        self._generator = Generator.load(bundle, self._open, self._observe) if bundle.manifest.diffusion else None
        front_end = bundle.manifest.front_end
        self._decoder = DecoderPool(
            sample_rate_hz=front_end.sample_rate_hz,
            workers=settings.decode_workers,
            max_duration_s=settings.max_duration_s,
        )
        self._raw = ThreadPoolExecutor(1, thread_name_prefix="raw")
        self._painter = ThreadPoolExecutor(1, thread_name_prefix="generator")
        self._generating, self._asked = asyncio.Lock(), 0

    @staticmethod
    def load(bundle_folder: Path, *, challenger: Path | None = None, settings: Settings) -> "Service":
        """A service on verified bundles. Raises BundleError and DeviceError."""
        second = load_bundle(challenger) if challenger else None
        return Service(load_bundle(bundle_folder), second, settings)

    async def start(self) -> None:
        """Start the decoders and run every graph once, so that the first request is as fast as the next."""
        if self._stopped:
            raise ServeError("this service was stopped; load another")
        self._generating = asyncio.Lock()
        await self._decoder.start()
        for batcher in self._batchers.values():
            batcher.start()
        await self._warm_up()
        self.ready = True

    async def stop(self) -> None:
        """Answer what is in work and end, for good."""
        self.ready, self._stopped = False, True
        await self._decoder.stop()
        for batcher in self._batchers.values():
            await batcher.stop()
        for pool in (self._raw, self._painter):
            pool.shutdown()

    async def decode(self, recording: bytes) -> Waveform:
        """A recording in any common format as a waveform (sample,). Raises ServeError in the sender's words."""
        return await self._decoder.decode(recording)

    async def classify(self, recording: bytes, *, challenger: bool = False) -> Classification:
        """The emotion of a recording in any common format."""
        return await self.classify_waveform(await self.decode(recording), challenger=challenger)

    async def classify_waveform(
        self, waveform: Waveform, *, challenger: bool = False, refuse: bool = True
    ) -> Classification:
        """The emotion of a waveform (sample,) at the front end's rate. Raises ServeError."""
        if challenger not in self._batchers:
            raise UnavailableError("no challenger is served here")
        if waveform.size == 0 or not np.isfinite(waveform).all():
            raise InputError("the recording holds no samples, or some that are not finite")
        manifest = (self.challenger if challenger and self.challenger else self.bundle).manifest
        rate_hz = manifest.front_end.sample_rate_hz
        bounds = window_bounds(len(waveform), sample_rate_hz=rate_hz, clip_duration_s=manifest.clip.duration_s)
        pieces = [waveform[first:end] for first, end in bounds] or [waveform]
        scored = await self._batchers[challenger].score(pieces, refuse=refuse)
        duration_s = len(waveform) / rate_hz
        if not bounds:
            return Classification(manifest.labels, scored[0].probabilities, scored[0].log_mel, duration_s)
        windows = tuple(
            Window(first / rate_hz, end / rate_hz, one.probabilities, quiet)
            for (first, end), one, quiet in zip(bounds, scored, quiet_windows(pieces), strict=True)
        )
        whole = np.mean([window.probabilities for window in windows if not window.quiet], axis=0)
        log_mel = _joined(scored, bounds, manifest.front_end.hop_length)
        return Classification(manifest.labels, whole.astype(np.float32), log_mel, duration_s, windows)

    def generate(self, request: GenerationRequest) -> Events:
        """New clips: progress after each step, then the clips. Closing the generator cancels after the step in work.

        Raises InputError at once, BusyError when too many wait, UnavailableError without a diffusion model.
        """
        generator = self._required_generator()
        generator.emotion(request.emotion)
        generator.sigmas(request.steps)
        return self._paint(generator.generate(request), request.emotion)

    async def edit(self, recording: bytes, request: EditRequest) -> Events:
        """A recording moved towards another emotion, as `generate` reports it."""
        generator = self._required_generator()
        generator.emotion(request.emotion)
        generator.sigmas(request.steps)
        (scored,) = await self._batchers[False].score([await self.decode(recording)])
        async with aclosing(self._paint(generator.edit(scored.log_mel, request), request.emotion)) as events:
            async for event in events:
                yield event

    def models(self) -> dict[str, ModelIO]:
        """The graphs that `infer` runs, by name."""
        provenance = self.bundle.manifest.provenance
        described = {}
        for name, file in MODEL_NAMES.items():
            if self.bundle.has(file):
                source = provenance.classifier if file == CLASSIFIER else provenance.diffusion
                session = self._open(file)
                described[name] = ModelIO(name, source.version if source else "1", session.inputs, session.outputs)
        return described

    async def infer(self, model: str, inputs: Tensors, outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Run one graph on raw tensors. Raises InputError and UnavailableError."""
        if model not in MODEL_NAMES or not self.bundle.has(MODEL_NAMES[model]):
            raise UnavailableError(f"unknown model {model!r}; served: {', '.join(self.models())}")
        session = self._open(MODEL_NAMES[model])
        return await asyncio.get_running_loop().run_in_executor(self._raw, session.run, inputs, outputs)

    def _required_generator(self) -> Generator:
        """The diffusion half of the bundle. Raises UnavailableError."""
        if self._generator is None:
            raise UnavailableError("this server's bundle has no diffusion model: it classifies only")
        return self._generator

    async def _paint(self, steps: Steps, emotion: str) -> Events:
        """Run the steps in their thread, one request at a time, then the vocoder and the classifier."""
        generator, loop = self._required_generator(), asyncio.get_running_loop()
        async with self._turn():
            log_mels = None
            while (done := await loop.run_in_executor(self._painter, next, steps, None)) is not None:
                number, count, log_mels = done
                yield Progress(number, count, log_mels)
            assert log_mels is not None
            waveforms = await loop.run_in_executor(self._painter, generator.sound, log_mels)
        rate_hz = self.bundle.manifest.front_end.sample_rate_hz
        for number, (waveform, log_mel) in enumerate(zip(waveforms, log_mels, strict=True)):
            verdict = await self.classify_waveform(waveform, refuse=False)  # its sound is made: nothing is thrown away
            yield GeneratedClip(emotion, number, rate_hz, waveform, log_mel, verdict)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for the generations before this one. Raises BusyError when too many wait already."""
        if self._asked > self.settings.generation_queue_size:
            raise BusyError(f"{self._asked} generations wait already; try again in a moment")
        self._asked += 1
        try:
            async with self._generating:
                yield
        finally:
            self._asked -= 1

    async def _warm_up(self) -> None:
        """Run the classifier alone and in a full batch, and one generation step with sound."""
        began = time.perf_counter()
        second = np.zeros(self.bundle.manifest.front_end.sample_rate_hz, dtype=np.float32)
        for batcher in self._batchers.values():
            for size in (1, self.settings.max_batch):
                await batcher.score([second] * size)
        if self._generator is not None:
            async for _ in self.generate(GenerationRequest.model_validate({"emotion": self.labels[0], "steps": 1})):
                pass
        _log.info("warm after %.1f s", time.perf_counter() - began)

    def _batcher(self, bundle: Bundle) -> Batcher:
        """The queue in front of a bundle's classifier."""
        hop_length = bundle.manifest.front_end.hop_length
        return Batcher(self._classifier(bundle), self.settings, hop_length=hop_length, observe=self._observe)

    def _classifier(self, bundle: Bundle) -> Session:
        """The classifier in the precision that is asked for. Raises BundleError."""
        if self.settings.precision == "float32":
            return self._open(CLASSIFIER) if bundle is self.bundle else self._session(bundle, CLASSIFIER)
        if not bundle.has(CLASSIFIER_INT8):
            raise BundleError(f"{bundle.folder}: holds no int8 classifier (it lost too much); use float32")
        return self._session(bundle, CLASSIFIER_INT8)

    def _open(self, file: str) -> Session:
        """A graph of the champion's bundle, opened once."""
        if file not in self._sessions:
            self._sessions[file] = self._session(self.bundle, file)
        return self._sessions[file]

    def _session(self, bundle: Bundle, file: str) -> Session:
        return Session(bundle.path(file), device="cuda" if self.device == "cuda" else "cpu")

    def _observe(self, name: str, value: float) -> None:
        self.observe(name, value)


def _joined(scored: list[Scored], bounds: list[tuple[int, int]], hop_length: int) -> NDArray[np.float32]:
    """The log-mel of the whole out of those of its windows; overlaps are taken from the later window."""
    frames = 1 + bounds[-1][1] // hop_length
    whole = np.full((len(scored[0].log_mel), frames), min(float(one.log_mel.min()) for one in scored), np.float32)
    for one, (first, _) in zip(scored, bounds, strict=True):
        start = round(first / hop_length)
        part = one.log_mel[:, : frames - start]
        whole[:, start : start + part.shape[1]] = part
    return whole
