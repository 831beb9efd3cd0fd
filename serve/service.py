"""The service: one object that classifies, generates and edits, used by the HTTP routes and the demo alike."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

from sermodels.audio import resample
from serve.answers import Classification, EditRequest, GeneratedClip, GenerationRequest, Progress
from serve.bundle import Bundle
from serve.classifier import Classifier, Waveform
from serve.decoding import DecoderPool
from serve.errors import BundleError, BusyError, ServeError
from serve.memory import return_memory
from serve.models import Models
from serve.places import Look, Places
from serve.plain_wav import read_plain_wav
from serve.sessions import ModelIO, choose_device
from serve.settings import Settings

Events = AsyncGenerator[Progress | GeneratedClip, None]


class Service:
    """What a server does, without HTTP.

    `observe(name, value)` hears of queue depth, batch sizes and times, `answered(answer)` of each request's verdict.
    """

    def __init__(self, places: Places, settings: Settings) -> None:
        """Load what lies in `places`; `start` makes it ready, once. Raises BundleError and DeviceError."""
        self.places, self.settings = places, settings
        self.device = choose_device(settings.device)
        self.ready, self._stopped = False, False
        self.observe: Callable[[str, float], None] = lambda name, value: None
        self.answered: Callable[[Classification], None] = lambda answer: None
        self._models = self.load_models()
        self._retiring: set[asyncio.Task[None]] = set()
        self.labels = self.bundle.manifest.labels
        self._decoder = DecoderPool(
            sample_rate_hz=self.bundle.manifest.front_end.sample_rate_hz,
            workers=settings.decode_workers,
            max_duration_s=settings.max_duration_s,
        )
        self._generating, self._asked = asyncio.Lock(), 0

    @staticmethod
    def load(bundle_folder: Path, *, challenger: Path | None = None, settings: Settings) -> "Service":
        """A service on verified bundles. Raises BundleError and DeviceError."""
        return Service(Places(bundle_folder, challenger), settings)

    @property
    def bundle(self) -> Bundle:
        """The champion of now."""
        return self._models.bundle

    @property
    def challenger(self) -> Bundle | None:
        """The challenger of now, if there is one."""
        return self._models.challenger

    @property
    def look(self) -> Look | None:
        """What lay in the places when the models of now were loaded."""
        return self._models.look

    @property
    def card(self) -> str:
        """The champion's model card in Markdown; empty if it has none."""
        return self._models.card

    def bundles(self) -> dict[str, Bundle]:
        """What is served now, by role."""
        return {"champion": self.bundle} | ({"challenger": self.challenger} if self.challenger else {})

    async def start(self) -> None:
        """Begin: what classifies is loaded. What else is needed, graphs and decoders, starts with its first request.

        Raises BundleError and DeviceError; then it is stopped for good.
        """
        if self._stopped:
            raise ServeError("this service was stopped; load another")
        self._generating = asyncio.Lock()
        self._decoder.start()
        try:
            await self._models.start()
        except BaseException:
            await self.stop()
            raise
        self.ready = True

    async def stop(self) -> None:
        """Answer what is in work and end, for good."""
        self.ready, self._stopped = False, True
        await self._decoder.stop()
        await self._models.stop()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    def load_models(self) -> Models:
        """What lies in the places now; takes a while, and may run in any thread. Raises BundleError and DeviceError."""
        look = self.places.look()
        observe = self._observe
        return Models(self.places.load(), look, self.settings, device=self.device, observe=observe)

    async def replace(self, models: Models) -> None:
        """Warm these and serve them from now on; the others end with the last request that uses them.

        Raises BundleError where what is served would not go on fitting what was said of it: labels and sample rate.
        """
        try:
            self._check_fit(models.bundle)
            await models.start()
            await models.warm()
        except BaseException:
            await models.stop()
            raise
        old, self._models = self._models, models
        task = asyncio.create_task(_retire(old))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def in_use(self) -> AbstractContextManager[Models]:
        """The models of now, which stay until this is left."""
        return self._models.in_use()

    async def decode(self, recording: bytes) -> Waveform:
        """A recording in any common format as a waveform (sample,). Raises ServeError in the sender's words."""
        plain = read_plain_wav(recording)
        if plain is None or len(plain[0]) > self.settings.max_duration_s * plain[1]:
            return await self._decoder.decode(recording)
        waveform, native_hz = plain
        wanted_hz = self.bundle.manifest.front_end.sample_rate_hz
        if native_hz == wanted_hz:
            return waveform
        return await asyncio.to_thread(resample, waveform, from_hz=native_hz, to_hz=wanted_hz)

    async def classify(
        self, recording: bytes, *, known: Sequence[bytes] = (), challenger: bool = False
    ) -> Classification:
        """The emotion of a recording in any common format; `known` are other recordings of its speaker."""
        with self.in_use() as models:
            classifier = models.classifier(challenger=challenger)
            answer = await classifier.classify(await self.decode(recording))
            others = [await self._known(classifier, number, one) for number, one in enumerate(known, start=1)]
        return answer.relative_to(others)

    async def _known(self, classifier: Classifier, number: int, recording: bytes) -> Classification:
        """One of the speaker's other recordings. Raises ServeError that names it."""
        try:
            return await classifier.classify(await self.decode(recording))
        except ServeError as error:
            raise type(error)(f"known recording {number}: {error}") from error

    async def classify_waveform(self, waveform: Waveform, *, challenger: bool = False) -> Classification:
        """The emotion of a waveform (sample,) at the front end's rate. Raises ServeError."""
        with self.in_use() as models:
            return await models.classifier(challenger=challenger).classify(waveform)

    def generate(self, request: GenerationRequest) -> Events:
        """New clips: progress after each step, then the clips. Closing the generator cancels after the step in work.

        Raises InputError at once, BusyError when too many wait, UnavailableError without a diffusion model.
        """
        self._models.generator().check(request)
        return self._paint(request)

    def edit(self, waveform: Waveform, request: EditRequest) -> Events:
        """A recording (sample,) moved towards another emotion, as `generate` reports it."""
        self._models.generator().check(request)
        return self._paint(request, waveform)

    def models(self) -> dict[str, ModelIO]:
        """The graphs of the Open Inference Protocol, by name."""
        return self._models.graphs()

    async def _paint(self, request: GenerationRequest | EditRequest, waveform: Waveform | None = None) -> Events:
        """Run the steps in their thread, one request at a time, then the vocoder and the classifier."""
        with self.in_use() as models:
            steps = await models.steps(request, waveform)
            async with self._turn():
                log_mels = None
                while (done := await models.paint(next, steps, None)) is not None:
                    number, count, log_mels = done
                    yield Progress(number, count, log_mels)
                assert log_mels is not None
                waveforms = await models.paint(models.generator().sound, log_mels)
            rate_hz = models.bundle.manifest.front_end.sample_rate_hz
            for number, (sound, log_mel) in enumerate(zip(waveforms, log_mels, strict=True)):
                verdict = await models.classifier().classify(sound, refuse=False)  # it is made: nothing is thrown away
                yield GeneratedClip(request.emotion, number, rate_hz, sound, log_mel, verdict)

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

    def _check_fit(self, bundle: Bundle) -> None:
        """Raise BundleError for a bundle that cannot take over without a restart."""
        now, then = self.bundle.manifest, bundle.manifest
        for name, ours, theirs in (
            ("labels", ",".join(now.labels), ",".join(then.labels)),
            ("sample rate", now.front_end.sample_rate_hz, then.front_end.sample_rate_hz),
        ):
            if ours != theirs:
                raise BundleError(
                    f"{bundle.folder}: {name} {theirs}, but this server was started with {ours}; restart it"
                )

    def _observe(self, name: str, value: float) -> None:
        self.observe(name, value)


async def _retire(models: Models) -> None:
    """Stop models once their last request has ended, or at once when this is cancelled."""
    try:
        await models.unused()
    finally:
        await models.stop()
    del models
    await asyncio.to_thread(return_memory)
