"""What is served at one time: a champion and maybe a challenger, with their graphs, queues and threads."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from numpy.typing import NDArray

from serve.answers import EditRequest, GenerationRequest
from serve.bundle import CLASSIFIER, CLASSIFIER_INT8, SAMPLER, UNET_STEP, VOCODER, Bundle
from serve.classifier import Classifier, Waveform
from serve.errors import BundleError, UnavailableError
from serve.generation import Generator, Steps
from serve.memory import return_memory
from serve.places import Look
from serve.sessions import ModelIO, Session, Tensors
from serve.settings import Settings

MODEL_NAMES = {
    "ser-classifier": CLASSIFIER,
    "ser-sampler": SAMPLER,
    "ser-unet-step": UNET_STEP,
    "ser-vocoder": VOCODER,
}
"""Names under which the Open Inference Protocol shows the graphs."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Models:
    """What classifies is loaded by `start`, the other graphs by the first who needs them, or all by `warm`."""

    def __init__(
        self,
        bundles: tuple[Bundle, Bundle | None],
        look: Look | None,
        settings: Settings,
        *,
        device: Literal["cpu", "cuda"],
        observe: Callable[[str, float], None],
    ) -> None:
        """Begins to open what classifies; `look` is what lay in their places just before. Raises BundleError."""
        self.bundle, self.challenger = bundles
        self.look, self._settings, self._device = look, settings, device
        self.card = self.bundle.card()
        files = [file for file in MODEL_NAMES.values() if self.bundle.has(file)]
        self._sessions = {file: self._session(self.bundle, file) for file in files}
        self._classifiers = {
            bundle is self.challenger: Classifier(bundle, self._classifier_session(bundle), settings, observe)
            for bundle in bundles
            if bundle is not None
        }
        can_generate = self.bundle.manifest.diffusion is not None
        self._generator = Generator.load(self.bundle, self._sessions.__getitem__, observe) if can_generate else None
        self._raw = ThreadPoolExecutor(1, thread_name_prefix="raw")
        self._painter = ThreadPoolExecutor(1, thread_name_prefix="generator")
        self._users, self._unused = 0, asyncio.Event()
        self._unused.set()

    async def start(self) -> None:
        """Begin to classify, which works from now on. Raises BundleError and DeviceError."""
        for classifier in self._classifiers.values():
            await classifier.start()

    async def warm(self) -> None:
        """Load the other graphs too, and run each once. Raises BundleError and DeviceError."""
        began = time.perf_counter()
        for session in self._sessions.values():
            await self.paint(session.open)
        if self._generator is not None:
            first = GenerationRequest.model_validate({"emotion": self.bundle.manifest.labels[0], "steps": 1})
            _, _, log_mels = await self.paint(next, self._generator.generate(first))
            await self.paint(self._generator.sound, log_mels)
        await asyncio.to_thread(return_memory)
        _log.info("warm after %.1f s", time.perf_counter() - began)

    async def stop(self) -> None:
        """Refuse what waits, and end."""
        for classifier in self._classifiers.values():
            await classifier.stop()
        for pool in (self._raw, self._painter):
            await asyncio.to_thread(pool.shutdown)

    @contextmanager
    def in_use(self) -> Iterator["Models"]:
        """While this is open they are not stopped, whatever is served meanwhile."""
        self._users += 1
        self._unused.clear()
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def unused(self) -> None:
        """Wait until nobody uses them."""
        await self._unused.wait()

    def classifier(self, *, challenger: bool = False) -> Classifier:
        """The champion or the challenger. Raises UnavailableError."""
        if challenger not in self._classifiers:
            raise UnavailableError("no challenger is served here")
        return self._classifiers[challenger]

    def generator(self) -> Generator:
        """The diffusion half of the bundle. Raises UnavailableError."""
        if self._generator is None:
            raise UnavailableError("this server's bundle has no diffusion model: it classifies only")
        return self._generator

    async def steps(self, request: GenerationRequest | EditRequest, waveform: Waveform | None) -> Steps:
        """The denoising of a generation, or of editing a waveform (sample,)."""
        if isinstance(request, GenerationRequest):
            return self.generator().generate(request)
        assert waveform is not None
        return self.generator().edit(await self.classifier().log_mel(waveform), request)

    async def paint(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in the generator's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._painter, function, *arguments)

    def graphs(self) -> dict[str, ModelIO]:
        """The graphs that `infer` runs, by name."""
        provenance = self.bundle.manifest.provenance
        described = {}
        for name, file in MODEL_NAMES.items():
            if session := self._sessions.get(file):
                source = provenance.classifier if file == CLASSIFIER else provenance.diffusion
                described[name] = ModelIO(name, source.version if source else "1", session)
        return described

    async def infer(self, model: str, inputs: Tensors, outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Run one of `graphs` on raw tensors. Raises InputError."""
        session = self._sessions[MODEL_NAMES[model]]
        return await asyncio.get_running_loop().run_in_executor(self._raw, session.run, inputs, outputs)

    def _classifier_session(self, bundle: Bundle) -> Session:
        """The classifier in the precision that is asked for. Raises BundleError."""
        if self._settings.precision == "float32":
            return self._sessions[CLASSIFIER] if bundle is self.bundle else self._session(bundle, CLASSIFIER)
        if not bundle.has(CLASSIFIER_INT8):
            raise BundleError(f"{bundle.folder}: holds no int8 classifier (it lost too much); use float32")
        return self._session(bundle, CLASSIFIER_INT8)

    def _session(self, bundle: Bundle, file: str) -> Session:
        return Session(bundle.path(file), device=self._device, plan_memory=file in (CLASSIFIER, CLASSIFIER_INT8))
