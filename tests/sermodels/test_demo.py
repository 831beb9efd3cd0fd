"""The demo corpus: complete, deterministic, resumable, and said to be synthetic."""

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sermodels.corpora.demo import DEMO_NOTICE, DemoClip, demo_clips, make_demo_corpus, small_demo_clips
from sermodels.corpora.emodb import SEX_OF_SPEAKER, parse_emodb
from sermodels.corpora.ravdess import parse_ravdess
from sermodels.emotions import COMMON_EMOTIONS
from sermodels.errors import CorpusError, StorageError
from sermodels.files import sha256_of_file

REPOSITORY = Path(__file__).resolve().parents[2]
FEW = demo_clips()[::60]
"""Eight clips of both halves."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_demo_corpus(folder)
    return folder


def test_both_halves_hold_all_their_classes() -> None:
    counts = Counter((clip.name.split("/")[0], clip.emotion) for clip in demo_clips())

    assert {emotion for half, emotion in counts if half == "emodb"} == {*COMMON_EMOTIONS, "boredom"}
    assert {emotion for half, emotion in counts if half == "ravdess"} == {*COMMON_EMOTIONS, "calm", "surprise"}
    assert all(counts["emodb", emotion] + counts["ravdess", emotion] >= 50 for emotion in COMMON_EMOTIONS)
    assert counts.total() == len({clip.name for clip in demo_clips()}) == 468


def test_every_speaker_speaks_each_emotion_and_both_sexes_are_equally_many() -> None:
    spoken = {(clip.voice.speaker, clip.name.split("/")[0], clip.voice.sex) for clip in demo_clips()}
    pairs = {(clip.voice, clip.emotion) for clip in demo_clips() if clip.emotion in COMMON_EMOTIONS}

    assert Counter(sex for _, _, sex in spoken) == {"m": 9, "f": 9}
    assert len(pairs) == 18 * 6


def test_voices_differ() -> None:
    voices = {clip.voice for clip in demo_clips()}

    assert len({(voice.variant, voice.pitch_st, voice.rate, voice.formants) for voice in voices}) == 18


@pytest.mark.parametrize("clip", [*demo_clips()[::7], *small_demo_clips()[::7]], ids=lambda clip: clip.name)
def test_names_say_in_both_schemes_what_is_spoken(clip: DemoClip) -> None:
    path = Path(clip.name)
    labels = parse_emodb(path) if clip.name.startswith("emodb/") else parse_ravdess(path)

    assert labels is not None
    assert (labels.emotion, labels.speaker, labels.sex) == (clip.emotion, clip.voice.speaker, clip.voice.sex)
    assert labels.intensity == clip.intensity


def test_names_have_the_published_form_and_sex() -> None:
    for clip in demo_clips():
        half, *_, name = clip.name.split("/")
        speaker = clip.voice.speaker
        if half == "emodb":
            assert re.fullmatch(rf"{speaker}a0[1-7][WLEAFTN]a\.wav", name)
            assert SEX_OF_SPEAKER[speaker] == clip.voice.sex
        else:
            assert re.fullmatch(rf"03-01-(01-01|0[2-8]-0[12])-0[12]-0[12]-{speaker}\.wav", name)
            assert clip.voice.sex == ("m" if int(speaker) % 2 else "f")
            assert f"/Actor_{speaker}/" in clip.name


def test_small_corpus_holds_each_common_emotion_of_each_speaker_once() -> None:
    small = small_demo_clips()

    assert len(small) == len({(clip.voice, clip.emotion) for clip in small}) == 18 * 6
    assert {clip.emotion for clip in small} == set(COMMON_EMOTIONS)
    assert set(small) < set(demo_clips())


def test_recordings_are_16_bit_mono_of_one_to_five_seconds(corpus: Path) -> None:
    for clip in demo_clips():
        info = soundfile.info(corpus / clip.name)
        rate_hz = 16_000 if clip.name.startswith("emodb/") else 22_050
        assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "PCM_16", 1, rate_hz)
        assert 1.0 < info.duration < 5.0


def test_recordings_are_not_clipped_and_ravdess_is_the_quiet_half(corpus: Path) -> None:
    peaks: dict[str, list[float]] = {"emodb": [], "ravdess": []}
    for clip in demo_clips():
        waveform, _ = soundfile.read(corpus / clip.name)
        assert np.isfinite(waveform).all()
        peaks[clip.name.split("/")[0]].append(np.abs(waveform).max())

    assert max(peaks["emodb"] + peaks["ravdess"]) < 0.99
    assert min(peaks["ravdess"]) > 0.01
    assert np.median(peaks["ravdess"]) < 0.2 < 0.4 < np.median(peaks["emodb"])


def test_mark_names_every_file_and_says_that_the_speech_is_synthetic(corpus: Path) -> None:
    mark = json.loads((corpus / "demo.json").read_text(encoding="utf-8"))

    assert mark["synthetic"] is True
    assert mark["seed"] == 0
    assert mark["notice"] == DEMO_NOTICE
    assert mark["files"] == {clip.name: sha256_of_file(corpus / clip.name) for clip in demo_clips()}
    assert len(set(mark["files"].values())) == 468


def test_notice_says_synthetic_and_nothing_about_people() -> None:
    assert "synthetic speech" in DEMO_NOTICE
    assert "mean nothing about people" in DEMO_NOTICE


def test_every_recording_says_itself_that_it_is_synthetic(corpus: Path) -> None:
    for clip in FEW:
        with soundfile.SoundFile(corpus / clip.name) as file:
            assert file.comment.startswith("synthetic speech")


def test_another_order_and_folder_give_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    make_demo_corpus(tmp_path, clips=FEW[::-1])

    assert all((tmp_path / clip.name).read_bytes() == (corpus / clip.name).read_bytes() for clip in FEW)


def test_another_seed_replaces_every_recording(tmp_path: Path) -> None:
    make_demo_corpus(tmp_path, clips=FEW, seed=0)
    first = _contents(tmp_path)
    make_demo_corpus(tmp_path, clips=FEW[:5], seed=1)
    second = _contents(tmp_path)

    assert second.keys() == {clip.name for clip in FEW[:5]}
    assert all(first[name] != second[name] for name in second)
    assert json.loads((tmp_path / "demo.json").read_text())["seed"] == 1


def test_complete_corpus_is_left_alone(corpus: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = _times(corpus)
    started_s = time.perf_counter()
    make_demo_corpus(corpus)

    assert time.perf_counter() - started_s < 3.0
    assert _times(corpus) == before
    assert "demo corpus" not in capfd.readouterr().err


def test_progress_is_shown_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_demo_corpus(tmp_path, clips=FEW[:2])

    assert re.search(r"demo corpus: 100%.*2/2", capfd.readouterr().err)


def test_killed_run_is_completed(corpus: Path, tmp_path: Path) -> None:
    _kill_when_some_are_made(tmp_path)
    assert not (tmp_path / "demo.json").exists()
    before = _times(tmp_path)
    assert 10 <= len(before) < 108

    make_demo_corpus(tmp_path, clips=small_demo_clips())

    after = _times(tmp_path)
    assert {name: after[name] for name in before} == before
    assert _contents(tmp_path) == {clip.name: (corpus / clip.name).read_bytes() for clip in small_demo_clips()}
    assert (tmp_path / "demo.json").exists()


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_damaged_recording_is_made_again(tmp_path: Path, damage: str) -> None:
    make_demo_corpus(tmp_path, clips=FEW)
    before, times = _contents(tmp_path), _times(tmp_path)
    name = FEW[3].name
    if damage == "missing":
        (tmp_path / name).unlink()
    elif damage == "truncated":
        (tmp_path / name).write_bytes(before[name][:30])
    else:
        (tmp_path / name).write_bytes(before[name][:-2] + b"\x55\x55")

    make_demo_corpus(tmp_path, clips=FEW)

    assert _contents(tmp_path) == before
    assert [other for other, when in _times(tmp_path).items() if when != times[other]] == [name]


def test_another_version_is_made_again(tmp_path: Path) -> None:
    make_demo_corpus(tmp_path, clips=FEW[:2])
    for path in (tmp_path / "demo.json", *tmp_path.rglob("*.wav")):
        path.write_bytes(re.sub(rb'("version": |version )1', rb"\g<1>0", path.read_bytes()))

    make_demo_corpus(tmp_path, clips=FEW[:2])

    assert json.loads((tmp_path / "demo.json").read_text())["version"] == 1
    with soundfile.SoundFile(tmp_path / FEW[0].name) as file:
        assert file.comment.endswith("version 1, seed 0")


def test_real_recordings_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "emodb" / "03a01Fa.wav"
    path.parent.mkdir()
    soundfile.write(path, np.zeros(160), 16_000)
    before = path.read_bytes()

    with pytest.raises(CorpusError, match=r"03a01Fa\.wav.*no recording of the demo corpus.*empty folder"):
        make_demo_corpus(tmp_path, clips=FEW)

    assert _contents(tmp_path) == {"emodb/03a01Fa.wav": before}


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "emodb").write_text("a file where the folder belongs")

    with pytest.raises(StorageError, match=r"emodb.*check the folder"):
        make_demo_corpus(tmp_path, clips=FEW)


def _kill_when_some_are_made(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sermodels.corpora.demo import make_demo_corpus, small_demo_clips; "
        "make_demo_corpus(Path(sys.argv[1]), clips=small_demo_clips())"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 60
    while len(_times(folder)) < 10 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.wav")}


def _times(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*.wav")}
