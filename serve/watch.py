"""Who hears every answer: it is counted for Prometheus and, where a folder is named, kept as a record."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import BoundedSemaphore

from serve.answers import Classification
from serve.metrics import Metrics
from serve.records import RecordFolder, model_name, record_of

MAX_WAITING = 32
"""Answers that may wait to be written; more are left out, since no request waits for a record and each holds memory."""

_log = logging.getLogger(__name__)


class Watch:
    """Counts answers and, off the event loop, keeps records of them; whatever fails here fails no request."""

    def __init__(self, folder: Path | None, metrics: Metrics) -> None:
        """With `folder` None answers are only counted."""
        self._metrics = metrics
        self._records = RecordFolder(folder) if folder else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="watch")
        self._room = BoundedSemaphore(MAX_WAITING)
        self._failing, self._closed = False, False

    def answered(self, answer: Classification) -> None:
        """A request was answered."""
        self._metrics.count_answer(model_name(answer.bundle), answer.emotion, float(answer.probabilities.max()))
        if self._records is None or self._closed:
            return
        if not self._room.acquire(blocking=False):
            self._metrics.count_record("left_out")
            return
        # A fault of ours is logged by the future, which has nobody else to tell.
        self._thread.submit(self._keep, self._records, answer).add_done_callback(Future.result)

    def close(self) -> None:
        """Write what waits, and take no more."""
        self._closed = True
        self._thread.shutdown()

    def _keep(self, records: RecordFolder, answer: Classification) -> None:
        """Write one record; a disk that fails is named once, and once more when it works again."""
        try:
            records.append(record_of(answer, now=datetime.now(UTC)))
        except OSError as error:
            self._metrics.count_record("failed")
            if not self._failing:
                _log.warning("answers are not recorded: %s; requests are answered all the same", error)
            self._failing = True
            return
        finally:
            self._room.release()
        if self._failing:
            _log.info("answers are recorded again in %s", records.folder)
        self._failing = False
        self._metrics.count_record("kept")
