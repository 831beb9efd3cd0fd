"""The demo over HTTP: its endpoints, what it refuses, and what it leaves behind. The page itself: tests/browser."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError, AuthenticationError

from sermodels.emotions import COMMON_EMOTIONS
from serve.bundle import load_bundle
from serve.demo_files import NOT_HERE, address, keep, private_folder, read_recording
from serve.errors import InputError, TooLargeError
from tests.serve.serving import ROOT, Server, serving, some_wav

KEY = "a key for tests"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio_client.*")


class Demo:
    """A running demo, the folder of its temporary files, and a recording to send it."""

    def __init__(self, server: Server, temporary: Path, recording: Path) -> None:
        self.server, self.temporary, self.recording = server, temporary, recording
        self.http = httpx.Client(base_url=server.url, timeout=60)

    def client(self, **options: Any) -> Client:
        return Client(self.server.url, verbose=False, download_files=str(self.recording.parent / "got"), **options)

    def files(self) -> set[Path]:
        """All files that the server keeps."""
        return {path for path in self.temporary.rglob("*") if path.is_file()}

    def event(self, name: str, data: list[Any]) -> str:
        """What the demo's raw interface answers."""
        joined = self.http.post(f"/gradio_api/call/{name}", json={"data": data}).raise_for_status()
        return self.http.get(f"/gradio_api/call/{name}/{joined.json()['event_id']}").text


def start(folder: Path, bundle: Path, *options: str, **environment: Any) -> Iterator[Demo]:
    temporary = folder / "temporary"
    temporary.mkdir()
    recording = folder / "voice.wav"
    recording.write_bytes(some_wav(1.5))
    with serving(bundle, *options, demo=True, TMPDIR=str(temporary), **environment) as server:
        demo = Demo(server, temporary, recording)
        yield demo
        demo.http.close()


@pytest.fixture(scope="module")
def demo(bundle_folder: Path, challenger_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    yield from start(tmp_path_factory.mktemp("demo"), bundle_folder, "--challenger", str(challenger_folder))


@pytest.fixture(scope="module")
def locked(challenger_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo with an API key, no challenger and no diffusion model."""
    yield from start(tmp_path_factory.mktemp("locked"), challenger_folder, SERMODELS_API_KEY=KEY)


def file_data(path: str, **more: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def assert_probabilities(given: dict[str, float]) -> None:
    assert tuple(given) == COMMON_EMOTIONS
    assert sum(given.values()) == pytest.approx(1.0, abs=1e-5)


def test_classify_answers_as_the_http_interface_does(demo: Demo) -> None:
    answer, page = demo.client().predict(handle_file(str(demo.recording)), api_name="/classify")
    with demo.recording.open("rb") as file:
        theirs = demo.http.post("/v1/classify", files={"file": file}).raise_for_status().json()
    assert answer["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-5)
    assert_probabilities(answer["probabilities"])
    assert answer["model"] == theirs["model"]
    assert answer["duration_s"] == pytest.approx(1.5)
    assert answer["timeline"] == []
    assert f"<strong>{answer['emotion']}</strong>" in page
    assert "ser-timeline" not in page


def test_other_recordings_of_the_speaker_are_heard_as_the_http_interface_does(demo: Demo, tmp_path: Path) -> None:
    others = [tmp_path / "one.wav", tmp_path / "two.wav"]
    for seconds, path in enumerate(others, start=1):
        path.write_bytes(some_wav(seconds))
    known = [handle_file(str(path)) for path in others]
    answer, page = demo.client().predict(handle_file(str(demo.recording)), known, api_name="/classify")
    sent = [("file", demo.recording.read_bytes()), *(("known", path.read_bytes()) for path in others)]
    theirs = demo.http.post("/v1/classify", files=sent).raise_for_status().json()
    assert answer["known_recordings"] == theirs["known_recordings"] == 2
    assert answer["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-5)
    assert "relative to 2 other recordings of the speaker" in page


def test_too_many_other_recordings_are_said_in_plain_words(demo: Demo) -> None:
    recording = handle_file(str(demo.recording))
    with pytest.raises(AppError, match="These are 21 other recordings; at most 20 are used"):
        demo.client().predict(recording, [recording] * 21, api_name="/classify")


def test_a_long_recording_has_a_timeline(demo: Demo, tmp_path: Path) -> None:
    recording = tmp_path / "long.wav"
    recording.write_bytes(some_wav(14.0))
    answer, page = demo.client().predict(handle_file(str(recording)), api_name="/classify")
    assert len(answer["timeline"]) > 3
    assert "ser-timeline" in page


def test_the_score_is_said_beside_the_answer(demo: Demo) -> None:
    _, page = demo.client().predict(handle_file(str(demo.recording)), api_name="/classify")
    assert "ser-classifier, version 3" in page
    assert "speakers that it had never heard it got 50&nbsp;% right" in page
    assert "guessing gets 17&nbsp;%" in page
    assert "means nothing" in page, "this bundle is of synthetic speech"


def test_generate_gives_sound_verdict_and_progress(demo: Demo) -> None:
    job = demo.client().submit("anger", 1.0, 7, 2, 4, 1.5, api_name="/generate")
    answer, files, page = job.result(timeout=120)
    assert [clip["emotion"] for clip in answer["clips"]] == ["anger", "anger"]
    for clip, file in zip(answer["clips"], files, strict=True):
        assert_probabilities(clip["verdict"]["probabilities"])
        assert Path(file).read_bytes()[:4] == b"RIFF"
        assert Path(file).stat().st_size == 44 + 2 * round(clip["duration_s"] * clip["sample_rate_hz"])
    assert page.count("<audio ") == 2
    pictures = [output[2] for output in job.outputs()[:-1]]
    assert len(pictures) == 4
    assert all(f"Step {step} of 4" in picture for step, picture in enumerate(pictures, 1))


def test_the_same_seed_gives_the_same_sound(demo: Demo) -> None:
    made = [demo.client().predict("fear", 1.0, seed, 1, 2, 1.0, api_name="/generate")[1][0] for seed in (5, 5, 6)]
    first, again, other = (Path(file).read_bytes() for file in made)
    assert first == again != other


def test_compare_gives_both_answers(demo: Demo) -> None:
    answer, page = demo.client().predict(handle_file(str(demo.recording)), api_name="/compare")
    assert set(answer) == {"champion", "challenger"}
    for side in answer.values():
        assert_probabilities(side["probabilities"])
    assert answer["champion"]["probabilities"] != answer["challenger"]["probabilities"]
    assert "Champion" in page
    assert "Challenger" in page


def test_edit_gives_before_and_after(demo: Demo) -> None:
    recording = handle_file(str(demo.recording))
    answer, file, page = demo.client().predict(recording, "sadness", 0.5, 0, 4, 1.5, api_name="/edit")
    assert_probabilities(answer["before"]["probabilities"])
    assert_probabilities(answer["after"]["verdict"]["probabilities"])
    assert Path(file).read_bytes()[:4] == b"RIFF"
    assert page.count("<audio ") == 2


def test_only_four_endpoints_are_shown(demo: Demo) -> None:
    shown = demo.client().view_api(return_format="dict")
    assert set(shown["named_endpoints"]) == {"/classify", "/generate", "/compare", "/edit"}
    names = [parameter["parameter_name"] for parameter in shown["named_endpoints"]["/generate"]["parameters"]]
    assert names == ["emotion", "intensity", "seed", "count", "steps", "guidance"]


@pytest.mark.parametrize(
    ("content", "message"), [(b"not a sound at all " * 40, "not a recording"), (b"RIFF", "not a recording")]
)
def test_what_is_no_recording_is_said_in_plain_words(demo: Demo, tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "note.wav"
    file.write_bytes(content)
    with pytest.raises(AppError, match=message):
        demo.client().predict(handle_file(str(file)), api_name="/classify")
    assert "Traceback" not in demo.server.log


def test_nothing_to_classify_is_said_in_plain_words(demo: Demo) -> None:
    assert "There is no recording yet" in demo.event("classify", [None, None])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["anger", 9.0, 0, 1, 4, 1.0], "greater than maximum value"),
        (["anger", 1.0, -1, 1, 4, 1.0], "less than minimum value"),
        (["hunger", 1.0, 0, 1, 4, 1.0], "hunger"),
        (["anger", 1.0, 2**32, 1, 4, 1.0], "Seed: Input should be less than"),
    ],
)
def test_what_cannot_be_generated_is_refused(demo: Demo, data: list[Any], message: str) -> None:
    answer = demo.event("generate", data)
    assert "event: error" in answer
    assert message in answer


SECRET = b"RIFF a file of the server that nobody may read"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.wav"
    path.write_bytes(SECRET)
    return path


def assert_refused(demo: Demo, answer: str, before: set[Path]) -> None:
    assert "event: complete" not in answer
    assert "probabilities" not in answer
    assert demo.files() == before


@pytest.mark.parametrize("endpoint", ["classify", "compare", "edit"])
@pytest.mark.parametrize(
    "spelling", ["{}", "//{}", "/tmp/..{}", "file://{}", "{}\0", "http://127.0.0.1:9{}", "https://example.invalid{}"]
)
def test_no_file_of_the_server_and_no_address_is_read(demo: Demo, secret: Path, endpoint: str, spelling: str) -> None:
    more: dict[str, list[Any]] = {"edit": ["anger", 0.5, 0, 4, 1.0], "classify": [None], "compare": []}
    before = demo.files()
    assert_refused(demo, demo.event(endpoint, [file_data(spelling.format(secret)), *more[endpoint]]), before)


def test_no_other_way_of_naming_a_file_works(demo: Demo, secret: Path, bundle_folder: Path) -> None:
    with demo.recording.open("rb") as file:
        (mine,) = demo.http.post("/gradio_api/upload", files={"files": ("voice.wav", file)}).raise_for_status().json()
    assert "event: complete" in demo.event("classify", [file_data(mine), None])
    before = demo.files()
    for data in (
        file_data("voice.wav", url=str(secret)),
        file_data(str(secret), url="http://127.0.0.1/", is_stream="true"),
        file_data("/etc/passwd", orig_name="voice.wav"),
        file_data(str(bundle_folder / "bundle.json")),
        str(secret),
        {"path": str(secret)},
    ):
        assert_refused(demo, demo.event("classify", [data, None]), before)
        assert_refused(demo, demo.event("classify", [file_data(mine), [data]]), before)


def test_the_queue_and_the_direct_call_refuse_as_well(demo: Demo, secret: Path) -> None:
    """Every function that takes a recording, also those behind the examples' buttons, by its number."""
    config = demo.http.get("/config").json()
    audio = {part["id"] for part in config["components"] if part["type"] == "audio"}
    takers = [entry for entry in config["dependencies"] if audio & set(entry["inputs"])]
    assert len(takers) >= 5
    before = demo.files()
    for entry in takers:
        more: list[Any] = ["anger", 0.5, 0, 4, 1.0] if len(entry["inputs"]) > 2 else [None]
        more = more[: len(entry["inputs"]) - 1]
        body = {"data": [file_data(str(secret)), *more], "fn_index": entry["id"], "session_hash": "abc"}
        direct = demo.http.post("/gradio_api/run/predict", json=body)
        assert_refused(demo, direct.text, before)
        demo.http.post("/gradio_api/queue/join", json=body)
        with demo.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": "abc"}) as stream:
            told = "".join(stream.iter_text())
        assert '"success":false' in told
        assert_refused(demo, told, before)


def test_no_file_of_the_server_can_be_fetched(demo: Demo, secret: Path, bundle_folder: Path) -> None:
    for path in (secret, bundle_folder / "bundle.json", ROOT / "pyproject.toml", "/etc/passwd", "/proc/self/environ"):
        answer = demo.http.get(f"/gradio_api/file={path}")
        assert answer.status_code in (403, 404)
        assert SECRET not in answer.content


def test_a_body_that_is_too_large_is_refused(demo: Demo) -> None:
    answer = demo.http.post("/gradio_api/upload", files={"files": ("big.wav", bytes(26_000_000))})
    assert answer.status_code == 413


def test_the_page_names_no_other_host_and_has_no_analytics(demo: Demo) -> None:
    config = demo.http.get("/config").json()
    assert config["analytics_enabled"] is False
    assert config["footer_links"] == []


def test_with_a_key_the_demo_asks_for_it(locked: Demo) -> None:
    assert locked.http.get("/config").status_code == 401
    assert locked.http.post("/gradio_api/call/classify", json={"data": [None]}).status_code == 401
    assert locked.http.post("/gradio_api/upload", files={"files": ("a.wav", b"RIFF")}).status_code == 401
    with pytest.raises((AuthenticationError, ValueError), match="Could not login"):
        locked.client(auth=("me", "a wrong key"))


def test_with_the_key_it_works_and_says_what_is_not_served(locked: Demo) -> None:
    client = locked.client(auth=("anybody", KEY))
    answer, _ = client.predict(handle_file(str(locked.recording)), api_name="/classify")
    assert_probabilities(answer["probabilities"])
    with pytest.raises(AppError, match="No challenger is served"):
        client.predict(handle_file(str(locked.recording)), api_name="/compare")
    with pytest.raises(AppError, match="no diffusion model"):
        client.predict("anger", 1.0, 0, 1, 1, 1.0, api_name="/generate")


def test_nothing_is_left_when_the_server_ends(bundle_folder: Path, tmp_path: Path) -> None:
    for demo in start(tmp_path, bundle_folder):
        demo.client().predict(handle_file(str(demo.recording)), api_name="/classify")
        (folder,) = demo.temporary.glob("sermodels-demo-*")
        assert folder.stat().st_mode & 0o077 == 0, "others may look into it"
        assert demo.files()
        demo.server.process.send_signal(signal.SIGTERM)
        assert demo.server.wait() == 0
        assert not demo.files()
        assert not folder.exists()


def test_the_examples_are_the_bundle_s(bundle_folder: Path, demo: Demo) -> None:
    config = demo.http.get("/config").json()
    buttons = [part["props"].get("value") for part in config["components"] if part["type"] == "button"]
    for path in load_bundle(bundle_folder).examples():
        assert path.stem.replace("-", " ").replace("_", " ") in buttons


def read(path: str | None, *, max_bytes: int = 100) -> bytes:
    return asyncio.run(read_recording(path, max_bytes=max_bytes))


def test_only_uploads_are_read(tmp_path: Path) -> None:
    path = Path(keep(b"a recording", "voice.wav"))
    assert path.is_relative_to(private_folder())
    assert read(str(path)) == b"a recording"
    with pytest.raises(TooLargeError, match=r"11 bytes; allowed are 10\."):
        read(str(path), max_bytes=10)
    outside = tmp_path / "outside.wav"
    outside.write_bytes(b"secret")
    link = path.with_name("link.wav")
    link.symlink_to(outside)
    for wrong in (str(outside), str(link), str(path.parent), f"{path.parent}/../../outside.wav", "a\0b", "/etc/passwd"):
        with pytest.raises(InputError) as caught:
            read(wrong)
        assert str(caught.value) == NOT_HERE


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_recording_is_an_error_with_its_remedy(nothing: str | None) -> None:
    with pytest.raises(InputError, match="record one, upload one or click an example"):
        read(nothing)


def test_an_address_is_quoted() -> None:
    assert address("/tmp/a b/ä.wav") == "gradio_api/file=/tmp/a%20b/%C3%A4.wav"


def test_the_demo_imports_neither_torch_nor_matplotlib() -> None:
    program = (
        "import sys, serve.demo, serve.demo_page, serve.demo_style\n"
        "print(sorted({'torch', 'matplotlib', 'librosa', 'mlflow', 'prefect'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, check=True)
    assert result.stdout.strip() == "[]"
