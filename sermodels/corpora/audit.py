"""What lies in a corpus folder, counted, decoded and compared with what was published."""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tqdm import tqdm

from sermodels.audio import decode_audio
from sermodels.corpora import same_content_notes
from sermodels.corpora.folder import Findings, collect
from sermodels.corpora.manifest import read_manifest
from sermodels.corpora.sources import DEMO_MARK, Source
from sermodels.corpora.utterance import Corpus, Utterance
from sermodels.emotions import ALL_EMOTIONS, COMMON_EMOTIONS
from sermodels.errors import AudioError, CorpusError

SYNTHETIC = "synthetic speech, its numbers mean nothing about people"
NAMED_MISSING = 20
"""So many missing recordings are named; with more, a whole part of the corpus is missing and the counts tell."""


@dataclass(frozen=True)
class Audit:
    """The audit of one source: its report, line by line, and everything that is wrong with it."""

    source: Source
    utterances: tuple[Utterance, ...]
    lines: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Decoded:
    duration_s: float
    rate_hz: int


def audit(source: Source) -> Audit:
    """Count, decode and compare one source; what is wrong is in the result, nothing is raised for it."""
    findings = _findings(source)
    utterances = findings.corpus.utterances
    decoded, unreadable = _decode_all(utterances, source.name)
    problems = (*findings.problems, *unreadable, *_incompleteness(source, utterances))
    lines = [f"{source.name} ({source.path}){': ' + SYNTHETIC if source.synthetic else ''}"]
    if utterances:
        lines += [f"  {line}" for line in _figures(utterances, decoded)]
    lines += [f"  note: {note}" for note in (*findings.corpus.notes, *same_content_notes(utterances))]
    lines += [f"  problem: {problem}" for problem in problems]
    return Audit(source, utterances, tuple(lines), problems)


def _findings(source: Source) -> Findings:
    try:
        if source.scheme is None:
            return read_manifest(source.path)
        return collect(source.path, source.scheme, name=source.name)
    except CorpusError as error:
        return Findings(Corpus(()), (str(error),))


def totals(audits: Sequence[Audit]) -> list[str]:
    """A line with the clips of the six common emotions in all sources; synthetic ones have their own line before it."""
    synthetic = [one for one in audits if one.source.synthetic]
    real = [one for one in audits if not one.source.synthetic]
    lines = [f"{_total(synthetic)}: {SYNTHETIC}"] if synthetic else []
    return [*lines, _total(real)] if real else lines


def _total(audits: Sequence[Audit]) -> str:
    common = {one.source.name: [u for u in one.utterances if u.emotion in COMMON_EMOTIONS] for one in audits}
    parts = " + ".join(f"{name} {len(utterances):,}" for name, utterances in common.items())
    speakers = {utterance.speaker for utterances in common.values() for utterance in utterances}
    return f"six emotions: {sum(map(len, common.values())):,} clips ({parts}), {len(speakers)} speakers"


def _decode_all(utterances: Sequence[Utterance], name: str) -> tuple[list[_Decoded], list[str]]:
    """Duration and rate of every recording that can be decoded, and why the others cannot."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoding = pool.map(_decode, utterances)
        progress = tqdm(decoding, total=len(utterances), desc=f"decoding {name}", unit="file", disable=not utterances)
        results = list(progress)
    return [one for one in results if isinstance(one, _Decoded)], [one for one in results if isinstance(one, str)]


def _decode(utterance: Utterance) -> _Decoded | str:
    try:
        waveform, rate_hz = decode_audio(utterance.path)
    except AudioError as error:
        return str(error)
    return _Decoded(len(waveform) / rate_hz, rate_hz)


def _figures(utterances: Sequence[Utterance], decoded: Sequence[_Decoded]) -> list[str]:
    common = [utterance for utterance in utterances if utterance.emotion in COMMON_EMOTIONS]
    sex_of_speaker = {utterance.speaker: utterance.sex for utterance in utterances}
    sexes = Counter(sex_of_speaker.values())
    unknown = f", {sexes['']} unknown" if sexes[""] else ""
    lines = [
        f"recordings: {_counts(utterances)}",
        f"six emotions: {_counts(common)}",
        f"speakers: {len(sex_of_speaker)} ({sexes['f']} f, {sexes['m']} m{unknown})",
    ]
    return lines + _audio_figures(decoded) if decoded else lines


def _audio_figures(decoded: Sequence[_Decoded]) -> list[str]:
    rates = Counter(one.rate_hz for one in decoded)
    durations_s = [one.duration_s for one in decoded]
    total_s = sum(durations_s)
    return [
        "sample rates: " + ", ".join(f"{rate_hz:,} Hz ({count:,})" for rate_hz, count in sorted(rates.items())),
        f"duration: min {min(durations_s):.2f} s, mean {total_s / len(decoded):.2f} s, max {max(durations_s):.2f} s",
        f"total duration: {total_s / 60:.1f} min",
    ]


def _counts(utterances: Sequence[Utterance]) -> str:
    counts = Counter(utterance.emotion for utterance in utterances)
    return f"{len(utterances):,}: " + ", ".join(f"{name} {counts[name]}" for name in ALL_EMOTIONS if counts[name])


def _incompleteness(source: Source, utterances: Sequence[Utterance]) -> list[str]:
    """What the source lacks, or has beyond, the published corpus; the demo corpus only needs to be finished."""
    if source.synthetic:
        mark = source.path.parent / DEMO_MARK
        if not utterances or mark.is_file():
            return []
        remedy = f"python -m sermodels.corpora demo {source.path.parent}"
        return [f"{mark}: is missing, so the demo corpus is unfinished; run {remedy}"]
    if source.scheme is None:
        return []
    counts = Counter(utterance.emotion for utterance in utterances)
    published = source.scheme.published
    found = [
        f"{source.name}: {counts[emotion]} recordings of {emotion}, {published[emotion]} are published"
        for emotion in sorted(published)
        if counts[emotion] != published[emotion]
    ]
    missing = sorted(source.scheme.published_stems - {utterance.path.stem for utterance in utterances})
    return found + [f"{source.name}: {stem}.wav is missing" for stem in missing if len(missing) <= NAMED_MISSING]
