"""What a watched server keeps of an answer: a line of JSON in dated files, without sound, identifiers and addresses."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sermodels.log_mel_statistics import log_mel_statistics
from serve.answers import Classification
from serve.bundle import Bundle

MAX_FILE_BYTES = 5_000_000
MAX_FOLDER_BYTES = 200_000_000
"""About 450,000 answers; the oldest files go first."""

Record = dict[str, Any]


def model_name(bundle: Bundle) -> str:
    """Which registered version answers, such as `ser-classifier/3`."""
    source = bundle.manifest.provenance.classifier
    return f"{source.name}/{source.version}"


def record_of(answer: Classification, *, now: datetime) -> Record:
    """What is kept: the minute, the model, its verdict, and the log-mel's statistics."""
    statistics = log_mel_statistics(answer.log_mel, answer.bundle.manifest.front_end)
    return {
        "time": now.astimezone(UTC).isoformat(timespec="minutes"),
        "model": model_name(answer.bundle),
        "emotion": answer.emotion,
        "probabilities": {label: round(value, 4) for label, value in answer.by_label().items()},
        "statistics": {name: round(value, 4) for name, value in statistics.items()},
    }


class RecordFolder:
    """A folder of records, `answers-DATE-NUMBER.jsonl`, of bounded size; several processes may append to it."""

    def __init__(
        self, folder: Path, *, max_file_bytes: int = MAX_FILE_BYTES, max_folder_bytes: int = MAX_FOLDER_BYTES
    ) -> None:
        """Nothing is written yet."""
        self.folder, self.max_file_bytes, self.max_folder_bytes = folder, max_file_bytes, max_folder_bytes

    def append(self, record: Record) -> None:
        """Add a line, whole, by one write. Raises OSError."""
        line = (json.dumps(record, separators=(",", ":")) + "\n").encode()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._file(record["time"][:10], len(line))
        if not path.exists():
            self._make_room()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(f"{path}: the disk is full")
        finally:
            os.close(descriptor)

    def _file(self, date: str, size: int) -> Path:
        """The day's last file, or the next one where the line does not fit."""
        files = sorted(self.folder.glob(f"answers-{date}-*.jsonl"))
        if not files:
            return self.folder / f"answers-{date}-0000.jsonl"
        last = files[-1]
        if last.stat().st_size + size <= self.max_file_bytes:
            return last
        return self.folder / f"answers-{date}-{int(last.stem[-4:]) + 1:04d}.jsonl"

    def _make_room(self) -> None:
        """Delete the oldest files until one more fits."""
        files = record_files(self.folder)
        sizes = [path.stat().st_size for path in files]
        while files and sum(sizes) + self.max_file_bytes > self.max_folder_bytes:
            files.pop(0).unlink(missing_ok=True)
            sizes.pop(0)


def record_files(folder: Path) -> list[Path]:
    """The files of records in a folder, the oldest first."""
    return sorted(folder.glob("answers-*.jsonl"))


def read_records(folder: Path, *, since: datetime) -> Iterator[Record | None]:
    """Every record that is not older than `since`, and None for a line that a full disk cut off."""
    first = since.astimezone(UTC)
    for path in record_files(folder):
        if path.stem[8:18] < first.date().isoformat():
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record: Record = json.loads(line)
                recent = datetime.fromisoformat(record["time"]) >= first
            except (ValueError, KeyError, TypeError):
                yield None
                continue
            if recent:
                yield record
