"""The classifier's answer, as a page shows it and as a client reads it."""

from html import escape
from typing import Any

from serve.answers import Classification
from serve.context import request_id
from serve.pictures import bars_picture, dot, log_mel_picture, percent, timeline_picture
from serve.schemas import ClassifyAnswer, ModelSummary


def answer_data(result: Classification) -> dict[str, Any]:
    """What POST /v1/classify answers."""
    return ClassifyAnswer.of(result, request_id=request_id()).model_dump(mode="json")


def answer_page(result: Classification) -> str:
    """Verdict, bars, timeline of a long recording, log-mel, and how far to trust all that."""
    front_end = result.bundle.manifest.front_end
    over_time = timeline_picture(result.windows, result.labels, duration_s=result.duration_s) if result.windows else ""
    return (
        f'<section class="ser-card" aria-live="polite">{verdict(result)}{bars_picture(result)}{trust(result)}'
        f"{over_time}{log_mel_picture(result.log_mel, front_end, title='Log-mel')}</section>"
    )


def verdict(result: Classification) -> str:
    """One line: the most probable emotion."""
    share = percent(float(result.probabilities.max()))
    return (
        f'<p class="ser-verdict">{dot(result.emotion)}<span>Sounds most like <strong>{escape(result.emotion)}'
        f"</strong></span><span>{share}</span></p>"
    )


def trust(result: Classification) -> str:
    """The model's version and its honest score, and what else the answer rests on."""
    model, count = ModelSummary.of(result.bundle), result.known_recordings
    score = f" {score_words(model, len(result.labels))}" if model.test_uar is not None else ""
    known = f" The answer is relative to {count} other recording{'s' * (count > 1)} of the speaker." if count else ""
    return (
        f'<p class="ser-note"><strong>{escape(model.name)}, version {escape(model.version)}.</strong>'
        f"{score} {escape(model.notice)}{known}</p>"
    )


def score_words(model: ModelSummary, classes: int) -> str:
    """What the score is, on whom it was measured, and what guessing would reach."""
    assert model.test_uar is not None
    whom = "speakers that it had never heard" if model.unseen_speakers else "speakers that it had heard in training"
    kind = "" if model.unseen_speakers else ", speaker-dependent"
    return (
        f"On {whom} it got {percent(model.test_uar)} right (UAR{kind}: the average over the emotions); "
        f"guessing gets {percent(1 / classes)}."
    )
