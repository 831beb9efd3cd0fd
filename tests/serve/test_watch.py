"""What a watched server keeps: records of real answers, without sound, in bounded space, at no request's cost."""

import dataclasses
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from sermodels.cache import cache_log_mels, read_log_mels
from sermodels.corpora.utterance import Utterance
from sermodels.files import sha256_of_file
from sermodels.log_mel_statistics import STATISTICS, log_mel_statistics
from serve.app import create_app
from serve.records import RecordFolder, read_records, record_files
from serve.service import Service
from serve.settings import Settings
from tests.serve.conftest import CONFIG

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watch") / "not" / "there" / "yet"


@pytest.fixture(scope="module")
def client(bundle_folder: Path, service_settings: Settings, folder: Path) -> Iterator[TestClient]:
    settings = dataclasses.replace(service_settings, watch_dir=folder)
    service = Service.load(bundle_folder, challenger=bundle_folder, settings=settings)
    with TestClient(create_app(service, with_demo=False)) as opened:
        yield opened


@pytest.fixture(scope="module")
def example(bundle_folder: Path) -> Path:
    return bundle_folder / "examples" / "fear.wav"


def records_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in record_files(folder) for line in path.read_text("utf-8").splitlines()]


def metric(client: TestClient, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.M)
    return float(found[1]) if found else 0.0


def wait_for(condition: Callable[[], bool]) -> None:
    """Until a record that no request waits for is written."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_answer_is_recorded_without_sound_or_name(client: TestClient, folder: Path, example: Path) -> None:
    upload = {"file": ("Maria Mustermann.wav", example.read_bytes())}
    answer = client.post("/v1/classify", files=upload, headers={"X-Request-ID": "my-id"}).json()
    wait_for(lambda: metric(client, 'sermodels_watch_records_total{outcome="kept"}') == 1)
    (record,) = records_in(folder)
    assert set(record) == {"time", "model", "emotion", "probabilities", "statistics"}
    assert record["model"] == "ser-classifier/3"
    assert record["emotion"] == answer["emotion"]
    assert record["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-4)
    assert record["statistics"].keys() == STATISTICS.keys()
    assert record["time"].endswith("+00:00")
    assert len(record["time"]) == len("2026-03-04T05:06+00:00"), "the minute, so that logs do not tell who it was"
    (path,) = record_files(folder)
    text = path.read_text("utf-8")
    assert len(text) < 1_000, "there is no room for sound"
    assert not re.search("my-id|Maria|testclient", text)


def test_a_served_recording_is_described_as_the_cache_describes_it(folder: Path, example: Path, tmp_path: Path) -> None:
    sha256 = sha256_of_file(example)
    clip = Utterance(identifier="a", path=example, sha256=sha256, corpus="c", speaker="s", sex="f", emotion="fear")
    cache_log_mels([clip], CONFIG.front_end, tmp_path)
    (log_mel,) = read_log_mels(tmp_path, [clip], CONFIG.front_end)
    cached = log_mel_statistics(log_mel, CONFIG.front_end)
    served = records_in(folder)[0]["statistics"]
    assert served == pytest.approx(cached, rel=1e-3, abs=0.01)


def test_answers_are_counted(client: TestClient, example: Path) -> None:
    answer = client.post("/v1/classify?model=challenger", files={"file": example.read_bytes()}).json()
    counted = f'sermodels_answers_total{{emotion="{answer["emotion"]}",model="ser-classifier/3"}}'
    assert metric(client, counted) >= 1
    highest = 'sermodels_answer_confidence_bucket{le="+Inf",model="ser-classifier/3"}'
    assert metric(client, highest) == metric(client, 'sermodels_answer_confidence_count{model="ser-classifier/3"}') >= 2


def test_a_folder_that_cannot_be_written_fails_no_request(
    client: TestClient, folder: Path, example: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file where the folder was")
    failed = 'sermodels_watch_records_total{outcome="failed"}'
    for _ in range(3):
        assert client.post("/v1/classify", files={"file": example.read_bytes()}).status_code == 200
    wait_for(lambda: metric(client, failed) == 3)
    assert caplog.text.count("answers are not recorded") == 1
    folder.unlink()
    assert client.post("/v1/classify", files={"file": example.read_bytes()}).status_code == 200
    wait_for(folder.exists)
    wait_for(lambda: len(records_in(folder)) == 1)
    assert metric(client, failed) == 3


def test_nothing_is_kept_unless_asked_for(
    bundle_folder: Path, service_settings: Settings, example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with TestClient(create_app(Service.load(bundle_folder, settings=service_settings), with_demo=False)) as unwatched:
        assert unwatched.post("/v1/classify", files={"file": example.read_bytes()}).status_code == 200
        assert metric(unwatched, 'sermodels_watch_records_total{outcome="kept"}') == 0
    assert list(tmp_path.iterdir()) == []
    assert Settings.from_environment({}).watch_dir is None
    assert Settings.from_environment({"SERMODELS_WATCH_DIR": "there"}).watch_dir == Path("there")


def record(when: datetime, number: int = 0) -> dict[str, Any]:
    return {"time": when.isoformat(timespec="minutes"), "number": number}


def test_files_are_of_a_day_and_a_size_and_the_oldest_go(tmp_path: Path) -> None:
    records = RecordFolder(tmp_path, max_file_bytes=200, max_folder_bytes=800)
    for number in range(40):
        records.append(record(NOW + timedelta(days=number // 20), number))
    files = record_files(tmp_path)
    assert sum(path.stat().st_size for path in files) <= 800
    assert all(path.stat().st_size <= 200 for path in files)
    assert {path.name[:18] for path in files} == {"answers-2026-03-05"}
    kept = [one["number"] for one in records_in(tmp_path)]
    assert kept == list(range(kept[0], 40)), "the newest, in order, none lost between files"
    assert len(kept) > 10


def test_records_are_read_since_a_moment_and_damage_is_counted(tmp_path: Path) -> None:
    records = RecordFolder(tmp_path)
    for hours in (0, 30, 31):
        records.append(record(NOW + timedelta(hours=hours), hours))
    with open(record_files(tmp_path)[-1], "a", encoding="utf-8") as file:
        file.write('{"time": "2026-03-05T')  # a disk that was full
    found = list(read_records(tmp_path, since=EPOCH))
    assert [one["number"] if one else None for one in found] == [0, 30, 31, None]
    assert [one["number"] for one in read_records(tmp_path, since=NOW + timedelta(hours=31)) if one] == [31]
    assert list(read_records(tmp_path, since=NOW + timedelta(days=9))) == []


def test_records_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    folders = [RecordFolder(tmp_path, max_file_bytes=20_000) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(folders[number % 4].append, record(NOW, number)) for number in range(2_000)]
    assert all(job.result() is None for job in jobs)
    assert sorted(one["number"] for one in records_in(tmp_path)) == list(range(2_000))
    assert np.all([path.stat().st_mode & 0o007 == 0 for path in record_files(tmp_path)])
