"""The audit: what it counts, what it finds wrong, and what the command says and returns."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from sermodels.corpora.__main__ import main
from sermodels.corpora.demo import demo_clips, make_demo_corpus
from sermodels.corpora.emodb import EMODB, EMOTION_OF_LETTER, SEX_OF_SPEAKER, TEXTS
from sermodels.corpora.ravdess import RAVDESS

WriteWav = Callable[..., Path]

REPOSITORY = Path(__file__).resolve().parents[2]


def _emodb_stems() -> list[str]:
    """Names for as many recordings of each emotion as EmoDB has."""
    grid = [(f"{speaker}{text}", take) for take, text, speaker in product("ab", TEXTS, SEX_OF_SPEAKER)]
    return [
        f"{start}{letter}{take}"
        for letter, emotion in EMOTION_OF_LETTER.items()
        for start, take in grid[: EMODB.published[emotion]]
    ]


@pytest.fixture(scope="module")
def complete_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both corpora with all recordings that were published, each a few bytes long and unlike all others."""
    folder = tmp_path_factory.mktemp("complete")
    ravdess = [f"ravdess/Actor_{stem[-2:]}/{stem}.wav" for stem in sorted(RAVDESS.published_stems)]
    for number, name in enumerate([*(f"emodb/{stem}.wav" for stem in _emodb_stems()), *ravdess]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_tiny_wav(number))
    return folder


def _tiny_wav(number: int) -> bytes:
    samples = number.to_bytes(2, "little") * 8
    form = (b"WAVEfmt ", 16, 1 | 1 << 16, 16_000, 32_000, 2 | 16 << 16)  # PCM, one channel, 16 bits
    header = (b"RIFF", 36 + len(samples), *form, b"data", len(samples))
    return b"".join(part if isinstance(part, bytes) else part.to_bytes(4, "little") for part in header) + samples


@pytest.fixture
def data_dir(complete_dir: Path, tmp_path: Path) -> Path:
    """The complete corpora, to be changed."""
    return Path(shutil.copytree(complete_dir, tmp_path / "data"))


Audit = Callable[[Path], tuple[int, list[str], str]]


@pytest.fixture
def run_audit(capsys: pytest.CaptureFixture[str]) -> Audit:
    """Runs the command; gives its exit code, its lines and the last line of stderr."""

    def run(target: Path) -> tuple[int, list[str], str]:
        code = main(["audit", str(target)])
        output = capsys.readouterr()
        return code, output.out.splitlines(), (output.err.splitlines() or [""])[-1]

    return run


def _problems(lines: list[str]) -> list[str]:
    return [line.removeprefix("  problem: ") for line in lines if line.startswith("  problem: ")]


def test_the_real_corpora_are_whole(real_corpora_dir: Path, run_audit: Audit) -> None:
    code, lines, _ = run_audit(real_corpora_dir)
    assert code == 0
    assert lines[-1] == "six emotions: 1,510 clips (emodb 454 + ravdess 1,056), 34 speakers"
    text = "\n".join(lines)
    for part in (
        "recordings: 535: anger 127, disgust 46, fear 69, happiness 71, neutral 79, sadness 62, boredom 81",
        "six emotions: 454: anger 127, disgust 46, fear 69, happiness 71, neutral 79, sadness 62",
        "speakers: 10 (5 f, 5 m)",
        "sample rates: 16,000 Hz (535)",
        "duration: min 1.23 s, mean 2.78 s, max 8.98 s",
        "total duration: 24.8 min",
        "recordings: 1,440: anger 192, disgust 192, fear 192, happiness 192, neutral 96, sadness 192, calm 192, surpr",
        "speakers: 24 (12 f, 12 m)",
        "duration: min 2.94 s, mean 3.70 s, max 5.27 s",
        "note: ravdess/03-01-03-01-02-01-07 and ravdess/03-01-03-01-02-02-07 are one recording under 2 names",
    ):
        assert part in text
    assert _problems(lines) == []


def test_complete_corpora_in_one_folder_or_alone(complete_dir: Path, run_audit: Audit) -> None:
    code, lines, errors = run_audit(complete_dir)
    assert (code, lines[-1]) == (0, "six emotions: 1,510 clips (emodb 454 + ravdess 1,056), 34 speakers")
    assert "error" not in errors
    code, lines, _ = run_audit(complete_dir / "emodb")
    assert (code, lines[-1]) == (0, "six emotions: 454 clips (emodb 454), 10 speakers")
    code, lines, _ = run_audit(complete_dir / "ravdess")
    assert (code, lines[-1]) == (0, "six emotions: 1,056 clips (ravdess 1,056), 24 speakers")


def test_a_corpus_is_told_by_its_files_whatever_its_folder_is_called(data_dir: Path, run_audit: Audit) -> None:
    for name, clips in (("emodb", "454"), ("ravdess", "1,056")):
        folder = (data_dir / name).rename(data_dir.parent / f"my {name} copy")
        code, lines, _ = run_audit(folder)
        assert code == 0
        assert lines[-1].startswith(f"six emotions: {clips} clips ({name} {clips})")


def test_the_copy_that_holds_ravdess_twice_is_whole(data_dir: Path, run_audit: Audit) -> None:
    shutil.copytree(data_dir / "ravdess", data_dir / "ravdess" / "audio_speech_actors_01-24")
    code, lines, _ = run_audit(data_dir)
    assert code == 0
    assert lines[-1] == "six emotions: 1,510 clips (emodb 454 + ravdess 1,056), 34 speakers"
    assert any("1,440 copies dropped" in line for line in lines)


def test_a_recording_under_two_names_is_reported_and_no_failure(data_dir: Path, run_audit: Audit) -> None:
    actor = data_dir / "ravdess" / "Actor_07"
    shutil.copy(actor / "03-01-03-01-02-01-07.wav", actor / "03-01-03-01-02-02-07.wav")
    code, lines, _ = run_audit(data_dir)
    assert code == 0
    assert any("03-01-03-01-02-01-07 and ravdess/03-01-03-01-02-02-07 are one recording" in line for line in lines)


def test_every_problem_is_listed_by_file_name(data_dir: Path, run_audit: Audit) -> None:
    emodb, actor = data_dir / "emodb", data_dir / "ravdess" / "Actor_07"
    truncated, empty = emodb / "03a01Wa.wav", emodb / "08a02Fa.wav"
    truncated.write_bytes(truncated.read_bytes()[:-3])
    empty.write_bytes(b"")
    misnamed = (actor / "03-01-03-01-02-01-07.wav").rename(actor / "03-01-13-01-02-01-07.wav")
    other = emodb / "wav" / "03a02Wa.wav"
    other.parent.mkdir()
    other.write_bytes(_tiny_wav(60_000))
    code, lines, error = run_audit(data_dir)
    problems = _problems(lines)
    assert code == 1
    assert error == f"error: {len(problems)} problems in {data_dir}, listed above"
    for path in (truncated, empty, misnamed, other):
        assert sum(problem.startswith(f"{path}: ") for problem in problems) == 1, path
    assert "ravdess: 191 recordings of happiness, 192 are published" in problems
    assert "ravdess: 03-01-03-01-02-01-07.wav is missing" in problems
    assert len(problems) == 6
    assert lines[-1] == "six emotions: 1,509 clips (emodb 454 + ravdess 1,055), 34 speakers"


def test_a_missing_actor_is_seen_in_the_counts(data_dir: Path, run_audit: Audit) -> None:
    shutil.rmtree(data_dir / "ravdess" / "Actor_12")
    code, lines, _ = run_audit(data_dir / "ravdess")
    assert code == 1
    assert len(_problems(lines)) == 8
    assert "ravdess: 92 recordings of neutral, 96 are published" in _problems(lines)


def test_a_recording_too_many_is_seen(data_dir: Path, run_audit: Audit) -> None:
    (data_dir / "emodb" / "16b10Nz.wav").write_bytes(_tiny_wav(60_000))
    code, lines, error = run_audit(data_dir)
    assert (code, error) == (1, f"error: 1 problem in {data_dir}, listed above")
    assert _problems(lines) == ["emodb: 80 recordings of neutral, 79 are published"]


def test_an_empty_corpus_folder_beside_a_whole_one(data_dir: Path, run_audit: Audit) -> None:
    shutil.rmtree(data_dir / "ravdess")
    (data_dir / "ravdess").mkdir()
    code, lines, _ = run_audit(data_dir)
    assert code == 1
    assert _problems(lines)[0].startswith(f"{data_dir / 'ravdess'}: holds no .wav file; put the ravdess recordings")
    assert lines[-1] == "six emotions: 454 clips (emodb 454 + ravdess 0), 10 speakers"


@pytest.mark.parametrize(("make", "reason"), [(False, "there is no such folder"), (True, "holds no corpus")])
def test_a_missing_or_empty_folder_is_an_error(tmp_path: Path, run_audit: Audit, make: bool, reason: str) -> None:
    if make:
        (tmp_path / "data").mkdir()
    code, lines, error = run_audit(tmp_path / "data")
    assert (code, lines) == (1, [])
    assert error.startswith(f"error: {tmp_path / 'data'}: {reason}; put recordings there as ")
    assert error.endswith(f"python -m sermodels.corpora download {tmp_path / 'data'}")


def test_a_folder_without_permission_is_an_error(locked: Path, run_audit: Audit) -> None:
    for target in (locked, locked.parent):
        code, lines, error = run_audit(target)
        assert code == 1
        assert error.startswith("error: ")
        assert "Permission denied" in "\n".join([*lines, error])


def test_a_manifest_is_audited(tmp_path: Path, write_wav: WriteWav, run_audit: Audit) -> None:
    for content, name in enumerate(("a", "b", "c")):
        write_wav(tmp_path / f"{name}.wav", content=content)
    manifest = tmp_path / "own.csv"
    manifest.write_text("path,emotion,speaker,sex\na.wav,anger,1,f\nb.wav,calm,2,\nc.wav,fear,1,f\n")
    code, lines, _ = run_audit(manifest)
    assert code == 0
    assert "  recordings: 3: anger 1, fear 1, calm 1" in lines
    assert "  speakers: 2 (1 f, 0 m, 1 unknown)" in lines
    assert lines[-1] == "six emotions: 2 clips (own 2), 1 speakers"
    manifest.write_text(manifest.read_text() + "d.wav,anger,1,f\na.wav,joy,1,f\n")
    code, lines, _ = run_audit(manifest)
    assert code == 1
    assert [problem.split(": ")[0] for problem in _problems(lines)] == [f"{manifest} line 5", f"{manifest} line 6"]


def test_a_missing_manifest_is_a_problem(tmp_path: Path, run_audit: Audit) -> None:
    code, lines, _ = run_audit(tmp_path / "none.csv")
    assert code == 1
    assert _problems(lines)[0].startswith(f"{tmp_path / 'none.csv'}: cannot be read")


@pytest.fixture(scope="module")
def demo_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo corpus of a dozen clips."""
    folder = tmp_path_factory.mktemp("data") / "demo"
    make_demo_corpus(folder, clips=demo_clips()[:6] + demo_clips()[-6:])
    return folder


@pytest.mark.parametrize("place", ["..", ".", "emodb"])
def test_a_demo_corpus_says_that_it_is_synthetic(demo_dir: Path, run_audit: Audit, place: str) -> None:
    target = (demo_dir / place).resolve()
    code, lines, _ = run_audit(target)
    assert code == 0
    assert lines[0] == f"demo-emodb ({demo_dir / 'emodb'}): synthetic speech, its numbers mean nothing about people"
    assert lines[-1].startswith("six emotions: ")
    assert "demo-emodb" in lines[-1]
    assert lines[-1].endswith("synthetic speech, its numbers mean nothing about people")


def test_real_and_synthetic_clips_are_not_added_up(data_dir: Path, demo_dir: Path, run_audit: Audit) -> None:
    shutil.copytree(demo_dir, data_dir / "demo")
    code, lines, _ = run_audit(data_dir)
    assert code == 0
    assert "synthetic" in lines[-2]
    assert lines[-1] == "six emotions: 1,510 clips (emodb 454 + ravdess 1,056), 34 speakers"


def test_an_unfinished_demo_corpus_is_a_problem(demo_dir: Path, tmp_path: Path, run_audit: Audit) -> None:
    shutil.copytree(demo_dir, tmp_path / "demo")
    (tmp_path / "demo" / "demo.json").unlink()
    code, lines, _ = run_audit(tmp_path)
    assert code == 1
    assert all("demo.json: is missing, so the demo corpus is unfinished" in problem for problem in _problems(lines))


def test_the_demo_command_refuses_to_replace_recordings(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (data_dir / "emodb" / "03a01Wa.wav").read_bytes()
    assert main(["demo", str(data_dir), "--seed", "3"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert (data_dir / "emodb" / "03a01Wa.wav").read_bytes() == before


def test_the_command_shows_progress_and_no_traceback(complete_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sermodels.corpora", "audit"]
    done = subprocess.run([*command, str(complete_dir)], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "decoding ravdess: 100%" in done.stderr
    failed = subprocess.run(
        [*command, str(tmp_path / "none")], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["audit"], ["weigh", "data"], ["demo", "data", "--seed", "x"], ["download"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: python -m sermodels.corpora" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import runpy, sys, atexit; sys.argv = ['corpora', '--help']; heavy = {'numpy', 'pydantic', 'pooch', 'torch'}; "
        "atexit.register(lambda: print('heavy:', sorted(heavy & sys.modules.keys()))); "
        "runpy.run_module('sermodels.corpora', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "audit" in done.stdout
    assert "heavy: []" in done.stdout
