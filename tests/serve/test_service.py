"""The service on a real bundle: answers, timelines, generation, editing and its refusals."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from serve.answers import EditRequest, GeneratedClip, GenerationRequest, Progress
from serve.bundle import CLASSIFIER, VOCODER
from serve.errors import BundleError, BusyError, InputError, ServeError, TooLargeError, UnavailableError
from serve.plain_wav import read_plain_wav
from serve.service import Service
from serve.settings import Settings, usable_cores
from serve.wav import wav_bytes
from serve.windows import quiet_windows, window_bounds
from tests.serve.recordings import encode
from tests.serve.serving import some_wav
from tests.serve.versions import replace_graph

SECOND = 22_050
T = TypeVar("T")


@asynccontextmanager
async def started(folder: Path, settings: Settings, challenger: Path | None = None) -> AsyncIterator[Service]:
    service = Service.load(folder, challenger=challenger, settings=settings)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


def with_service(
    folder: Path, settings: Settings, use: Callable[[Service], Awaitable[T]], challenger: Path | None = None
) -> T:
    async def run() -> T:
        async with started(folder, settings, challenger) as service:
            return await use(service)

    return asyncio.run(run())


def asked(**values: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"emotion": "anger", **values})


async def all_events(service: Service, request: GenerationRequest) -> tuple[list[Progress], list[GeneratedClip]]:
    events = [event async for event in service.generate(request)]
    progress = [event for event in events if isinstance(event, Progress)]
    return progress, [event for event in events if isinstance(event, GeneratedClip)]


def voice(duration_s: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal(round(duration_s * SECOND))).astype(np.float32)


def test_a_short_recording_has_one_answer(bundle_folder: Path, service_settings: Settings) -> None:
    answer = with_service(bundle_folder, service_settings, lambda service: service.classify(some_wav(1.5)))
    assert answer.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    assert set(answer.by_label()) == set(answer.labels)
    assert answer.duration_s == pytest.approx(1.5, abs=0.01)
    assert answer.windows == ()
    assert answer.log_mel.shape == (80, 1 + round(1.5 * SECOND) // 256)


def test_a_long_recording_has_a_timeline_and_silence_does_not_count(
    bundle_folder: Path, service_settings: Settings
) -> None:
    waveform = np.concatenate([voice(8.0), np.zeros(8 * SECOND, dtype=np.float32)])
    answer = with_service(bundle_folder, service_settings, lambda service: service.classify_waveform(waveform))
    assert answer.windows[0].start_s == 0.0
    assert answer.windows[-1].end_s == pytest.approx(16.0)
    assert answer.windows[-1].quiet
    assert not answer.windows[0].quiet
    loud = [window.probabilities for window in answer.windows if not window.quiet]
    np.testing.assert_allclose(answer.probabilities, np.mean(loud, axis=0), atol=1e-6)
    assert answer.log_mel.shape[1] == pytest.approx(1 + len(waveform) // 256, abs=2)


def test_windows_cover_everything() -> None:
    bounds = window_bounds(60 * SECOND + 13, sample_rate_hz=SECOND, clip_duration_s=2.0)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == 60 * SECOND + 13
    assert all(after[0] <= before[1] for before, after in pairwise(bounds))
    assert window_bounds(10 * SECOND, sample_rate_hz=SECOND, clip_duration_s=2.0) == []
    assert quiet_windows([np.zeros(4, np.float32)] * 2) == [False, False]


def test_batched_answers_are_those_of_single_requests(bundle_folder: Path, service_settings: Settings) -> None:
    clips = [voice(duration_s) for duration_s in (0.3, 1.0, 2.5, 4.0, 0.7, 1.9)]
    sizes: list[float] = []

    async def together(service: Service) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        service.observe = lambda name, value: sizes.append(value) if name == "batch_size" else None
        alone = [(await service.classify_waveform(clip)).probabilities for clip in clips]
        answers = await asyncio.gather(*(service.classify_waveform(clip) for clip in clips))
        return alone, [answer.probabilities for answer in answers]

    alone, batched = with_service(bundle_folder, service_settings, together)
    assert max(sizes) > 1
    np.testing.assert_allclose(batched, alone, atol=1e-5)


@pytest.mark.parametrize("max_batch", [8, 1])
def test_whoever_is_alone_has_all_cores_and_a_crowd_one_each(
    max_batch: int, bundle_folder: Path, service_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="serve.sessions")
    sizes: list[float] = []

    def threads() -> set[int]:
        return {int(number) for number in re.findall(rf"{CLASSIFIER} loaded in .* threads: (\d+)", caplog.text)}

    async def use(service: Service) -> tuple[set[int], set[int]]:
        service.observe = lambda name, value: sizes.append(value) if name == "batch_size" else None
        for _ in range(2):
            await service.classify_waveform(voice(0.5))
        alone = threads()
        await asyncio.gather(*(service.classify_waveform(voice(0.5)) for _ in range(20)))
        return alone, threads()

    settings = replace(service_settings, max_batch=max_batch)
    alone, crowd = with_service(bundle_folder, settings, use)
    cores = usable_cores()
    lanes = max(1, min(cores, max_batch // 2))
    assert alone == {cores}
    assert crowd == {cores, cores // lanes}
    assert max(sizes) == max_batch // lanes


def test_a_full_queue_refuses(bundle_folder: Path, service_settings: Settings) -> None:
    settings = replace(service_settings, queue_size=3, max_batch=1)

    async def flood(service: Service) -> list[object]:
        return list(
            await asyncio.gather(*(service.classify_waveform(voice(0.5)) for _ in range(20)), return_exceptions=True)
        )

    answers = with_service(bundle_folder, settings, flood)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert 0 < len(refused) < 20
    assert {type(error) for error in refused} == {BusyError}


def test_generation_reports_each_step_and_repeats_itself(bundle_folder: Path, service_settings: Settings) -> None:
    async def twice(service: Service) -> tuple[list[Progress], list[GeneratedClip], list[GeneratedClip]]:
        progress, clips = await all_events(service, asked(count=2, seed=7))
        _, again = await all_events(service, asked(count=1, seed=7))
        return progress, clips, again

    progress, clips, again = with_service(bundle_folder, service_settings, twice)
    assert [event.step for event in progress] == [1, 2, 3, 4]
    assert [clip.number for clip in clips] == [0, 1]
    assert all(clip.waveform.shape == (64 * 256,) and np.isfinite(clip.waveform).all() for clip in clips)
    assert all(clip.verdict.probabilities.sum() == pytest.approx(1.0, abs=1e-5) for clip in clips)
    np.testing.assert_allclose(again[0].log_mel, clips[0].log_mel, atol=1e-3)
    assert not np.allclose(clips[0].log_mel, clips[1].log_mel)


def test_what_is_loaded_later_is_what_was_there_at_the_start(
    bundle_folder: Path, service_settings: Settings, tmp_path: Path
) -> None:
    folder = shutil.copytree(bundle_folder, tmp_path / "bundle")

    async def remove_and_ask(service: Service) -> int:
        shutil.rmtree(folder)
        _, clips = await all_events(service, asked(steps=2))
        for model in service.models().values():
            await model.open()
        return len(clips)

    assert with_service(folder, service_settings, remove_and_ask) == 1


@pytest.mark.parametrize("values", [{"emotion": "envy"}, {"steps": 21}])
def test_impossible_generations_are_refused_at_once(
    bundle_folder: Path, service_settings: Settings, values: dict[str, object]
) -> None:
    service = Service.load(bundle_folder, settings=service_settings)
    with pytest.raises(InputError, match=r"allowed|more than"):
        service.generate(asked(**values))


def test_a_cancelled_generation_leaves_room_for_the_next(bundle_folder: Path, service_settings: Settings) -> None:
    async def cancel(service: Service) -> int:
        events = service.generate(asked(steps=20))
        await anext(events)
        await events.aclose()
        progress, _ = await all_events(service, asked(steps=2))
        return len(progress)

    assert with_service(bundle_folder, service_settings, cancel) == 2


def test_an_edit_keeps_more_of_the_recording_the_weaker_it_is(bundle_folder: Path, service_settings: Settings) -> None:
    async def edit(service: Service) -> list[NDArray[np.float32]]:
        found, original = [], await service.decode(some_wav(1.0))
        for strength in (0.05, 1.0):
            request = EditRequest.model_validate({"emotion": "sadness", "strength": strength, "steps": 20})
            events = [event async for event in service.edit(original, request)]
            assert isinstance(events[-1], GeneratedClip)
            found.append(events[-1].log_mel)
        return [*found, (await service.classify_waveform(original)).log_mel]

    weak, strong, original = with_service(bundle_folder, service_settings, edit)
    kept = original[:, (original.shape[1] - 64) // 2 :][:, :64]
    assert np.corrcoef(weak.ravel(), kept.ravel())[0, 1] > np.corrcoef(strong.ravel(), kept.ravel())[0, 1]


def test_a_bundle_without_diffusion_classifies_only(challenger_folder: Path, service_settings: Settings) -> None:
    service = Service.load(challenger_folder, settings=service_settings)
    with pytest.raises(UnavailableError, match="classifies only"):
        service.generate(asked())
    assert set(service.models()) == {"ser-classifier"}


def test_champion_and_challenger_differ(
    bundle_folder: Path, challenger_folder: Path, service_settings: Settings
) -> None:
    async def both(service: Service) -> list[NDArray[np.float32]]:
        return [(await service.classify(some_wav(1.0), challenger=one)).probabilities for one in (False, True)]

    champion, challenger = with_service(bundle_folder, service_settings, both, challenger_folder)
    assert not np.allclose(champion, challenger)


def test_int8_is_refused_where_the_bundle_has_none(bundle_folder: Path, service_settings: Settings) -> None:
    with pytest.raises(BundleError, match="int8"):
        Service.load(bundle_folder, settings=replace(service_settings, precision="int8"))


def with_a_graph_that_cannot_be_opened(bundle: Path, folder: Path, file: str) -> Path:
    """A copy of a bundle, one of whose graphs has an operator that there is not."""
    shutil.copytree(bundle, folder)
    model = onnx.load(folder / file)
    model.graph.node[0].op_type = "Unheard"
    replace_graph(folder, file, model)
    return folder


def test_a_classifier_that_cannot_be_opened_ends_the_start(
    bundle_folder: Path, service_settings: Settings, tmp_path: Path
) -> None:
    folder = with_a_graph_that_cannot_be_opened(bundle_folder, tmp_path / "bundle", CLASSIFIER)
    with pytest.raises(BundleError, match=rf"{CLASSIFIER}: onnxruntime cannot load it .*Unheard"):
        with_service(folder, service_settings, lambda service: service.classify(some_wav(0.5)))


def test_a_vocoder_that_cannot_be_opened_leaves_the_classifier(
    bundle_folder: Path, service_settings: Settings, tmp_path: Path
) -> None:
    folder = with_a_graph_that_cannot_be_opened(bundle_folder, tmp_path / "bundle", VOCODER)

    async def use(service: Service) -> float:
        with pytest.raises(BundleError, match=VOCODER):
            await all_events(service, asked(steps=1))
        return float((await service.classify(some_wav(0.5))).probabilities.sum())

    assert with_service(folder, service_settings, use) == pytest.approx(1.0, abs=1e-5)


def test_samples_that_are_not_finite_are_refused(bundle_folder: Path, service_settings: Settings) -> None:
    bad = np.array([0.0, np.nan], dtype=np.float32)
    with pytest.raises(InputError, match="finite"):
        with_service(bundle_folder, service_settings, lambda service: service.classify_waveform(bad))


@pytest.mark.parametrize("name", ["SERMODELS_DEVICE", "SERMODELS_PRECISION"])
def test_settings_name_the_bad_variable(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}=tpu"):
        Settings.from_environment({name: "tpu"})
    assert Settings.from_environment({}) == Settings()
    assert 1 <= usable_cores() <= 4096


def test_a_stopped_service_does_not_start_again(bundle_folder: Path, service_settings: Settings) -> None:
    async def restart() -> None:
        async with started(bundle_folder, service_settings) as service:
            pass
        await service.start()

    with pytest.raises(ServeError, match="stopped"):
        asyncio.run(restart())


def test_verdicts_are_given_while_the_queue_is_full(bundle_folder: Path, service_settings: Settings) -> None:
    async def crowd(service: Service) -> list[GeneratedClip]:
        flood = asyncio.gather(*(service.classify_waveform(voice(0.5)) for _ in range(9)), return_exceptions=True)
        _, clips = await all_events(service, asked(count=3))
        await flood
        return clips

    settings = replace(service_settings, queue_size=1, max_batch=1)
    assert len(with_service(bundle_folder, settings, crowd)) == 3


@pytest.mark.parametrize("rate_hz", [8_000, SECOND, 48_000])
def test_a_wav_sounds_the_same_read_here_or_by_a_worker(
    rate_hz: int, bundle_folder: Path, service_settings: Settings
) -> None:
    plain = encode(voice(0.7), format="wav", sample_rate_hz=rate_hz)
    padded = plain + b"LIST\x04\0\0\0INFO"  # no longer plain

    async def both(service: Service) -> list[NDArray[np.float32]]:
        return [await service.decode(plain), await service.decode(padded)]

    assert read_plain_wav(plain) is not None
    assert read_plain_wav(padded) is None
    here, worker = with_service(bundle_folder, service_settings, both)
    np.testing.assert_allclose(here, worker, rtol=0, atol=1e-6)


def test_a_plain_wav_may_be_too_long_as_well(bundle_folder: Path, service_settings: Settings) -> None:
    settings = replace(service_settings, max_duration_s=1.0)
    with pytest.raises(TooLargeError, match="longer than 1 s"):
        with_service(bundle_folder, settings, lambda service: service.decode(some_wav(1.1)))


def test_a_wav_of_one_sample_is_answered(bundle_folder: Path, service_settings: Settings) -> None:
    tiny = wav_bytes(np.array([0.5], dtype=np.float32), SECOND)
    answer = with_service(bundle_folder, service_settings, lambda service: service.classify(tiny))
    assert np.isfinite(answer.probabilities).all()
