"""Stages `caching` and `splitting`: the corpus collected, its log-mels cached, and who is tested decided."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from sermodels.cache import CacheReport, cache_log_mels, read_log_mels
from sermodels.config import Config
from sermodels.corpora import load_corpus
from sermodels.corpora.utterance import Corpus, Utterance
from sermodels.errors import AudioError
from sermodels.files import write_json
from sermodels.known import known_files
from sermodels.plots import log_mel_grid, save_figure
from sermodels.splits import Split, make_splits
from sermodels.stages.context import cache_folder, read_utterances, utterance_json
from sermodels.store import StageResult, run_stage

EXAMPLES_PER_EMOTION = 4


def run_caching(
    config: Config, workspace: Path, *, skip_unreadable: bool, on_progress: Callable[[float], None] | None = None
) -> tuple[StageResult, CacheReport]:
    """Collect the corpus and cache every log-mel; the stage holds `corpus.json` with all readable utterances.

    Raises CorpusError, and AudioError naming every unreadable recording unless `skip_unreadable`; what could be cached
    is cached either way.
    """
    known = known_files(workspace)
    corpus = load_corpus(config.corpus, known)
    folder = cache_folder(workspace)
    report = cache_log_mels(corpus.utterances, config.front_end, folder, known=known, on_progress=on_progress)
    if report.unreadable and not skip_unreadable:
        raise AudioError(report.message())
    lost = {identifier for identifier, _ in report.unreadable}
    readable = Corpus(tuple(u for u in corpus.utterances if u.identifier not in lost), corpus.notes)
    digest = readable.digest() if lost else report.corpus_digest
    inputs = {"corpus": digest, "front_end": config.front_end.model_dump()}
    return run_stage(
        workspace, "caching", inputs, lambda stage: _describe(readable, report, config, folder, stage)
    ), report


def _describe(corpus: Corpus, report: CacheReport, config: Config, cache: Path, folder: Path) -> None:
    """Write the utterances, what was noticed, and a picture of a few of them."""
    value = {
        "digest": corpus.digest(),
        "notes": list(corpus.notes),
        "unreadable": [list(pair) for pair in report.unreadable],
        "counts": {name: dict(counts) for name, counts in corpus.counts().items()},
        "speakers": list(corpus.speakers()),
        "utterances": [utterance_json(utterance) for utterance in corpus.utterances],
    }
    examples = [_examples(corpus.utterances, emotion) for emotion in config.corpus.emotions]
    rows = [read_log_mels(cache, row, config.front_end) for row in examples]
    save_figure(log_mel_grid(rows, config.corpus.emotions, config.front_end, "Recordings"), folder / "recordings.png")
    write_json(folder / "corpus.json", value)


def _examples(utterances: Sequence[Utterance], emotion: str) -> list[Utterance]:
    """A few recordings of an emotion, spread over the corpus."""
    own = [utterance for utterance in utterances if utterance.emotion == emotion]
    return own[:: max(1, len(own) // EXAMPLES_PER_EMOTION)][:EXAMPLES_PER_EMOTION]


def run_splitting(config: Config, workspace: Path, prepared: StageResult) -> list[Path]:
    """Make and check the splits; returns one file each. Raises SplitError."""
    utterances = read_utterances(prepared)
    splits = make_splits(utterances, config.split)
    inputs = {"prepared": prepared.key, "split": config.split.model_dump()}
    stage = run_stage(workspace, "splitting", inputs, lambda folder: _write_splits(splits, folder))
    return [stage.folder / f"split-{number}.json" for number in range(len(splits))]


def _write_splits(splits: Sequence[Split], folder: Path) -> None:
    """One file a split."""
    for number, split in enumerate(splits):
        write_json(folder / f"split-{number}.json", asdict(split))
