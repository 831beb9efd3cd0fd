"""The model card of a classifier, written from its own run: data, figures with intervals, gaps, limits."""

from collections.abc import Mapping

from sermodels.calibration import expected_calibration_error, negative_log_likelihood
from sermodels.config import Config
from sermodels.evaluation import figures
from sermodels.predictions import Predictions, adapted
from sermodels.splits import Split
from sermodels.statistics import accuracy, interval, speakers_in_words

DATA = {
    "emodb": "EmoDB (Burkhardt et al. 2005): 10 actors, German, 10 sentences; free to use with citation.",
    "ravdess": "RAVDESS speech (Livingstone & Russo 2018): 24 actors, North American English, 2 sentences; "
    "CC BY-NC-SA 4.0, so a model trained on it is not for commercial use.",
    "demo": "Synthetic speech of espeak-ng. **Numbers measured on it mean nothing about people.**",
}
OTHER_DATA = "{name}: recordings of whoever trained the model, under their terms."
PROTOCOLS = {
    "speaker": "Tested on speakers that no part of the model has heard.",
    "corpus": "Tested on a corpus that no part of the model has heard.",
    "seed": "Speaker-dependent, for comparison with published numbers: the tested speakers were also trained on.",
}
CARD = """{voices} Stage `{stage}`, {split}, {backbone}.
Trained on {training:,} clips; {development:,} clips of other recordings chose the epoch.
Tested once on {test:,} clips of {speakers}.

| | test |
| --- | --- |
| UAR, 95 % interval over speakers | **{uar}** |
| UAR where other recordings of the speaker are known, without labels | {uar_known_speaker} |
| UAR where other recordings of the corpus are known, without labels or speakers | {uar_known_corpus} |
| accuracy, 95 % interval | {accuracy} |
| macro-F1 | {macro_f1:.3f} |
| calibration error, 0 is best | {ece:.3f} |
| negative log-likelihood, nats | {nll:.3f} |
| accuracy on training clips above that on development clips | {gap:.3f} |

| recall of | |
| --- | --- |
{recalls}

**Who it is worse for.** {groups}

**Starting weights.** {weights}

**Data.**
{data}

**What to expect elsewhere.** These are acted, short, studio recordings. On spontaneous speech, other languages,
children, old voices, telephone lines and noise the answers are worse, and their probabilities are too sure. Measure it
before you rely on it: `python -m flows evaluate your.csv --model ser-classifier@champion`.

**Meant for** research on speech emotion, teaching, and demonstrations to people who know that it is wrong often.

**Not for** decisions about a person: hiring, policing, insurance, schooling, health, or watching people at work, where
emotion recognition is also forbidden by law in the European Union (Regulation 2024/1689, article 5). The model hears
how a voice sounds, not what somebody feels.
"""


DIFFUSION_CARD = """Makes log-mel spectrograms of acted emotional speech ({emotions}): the sound of a voice, no words.
Trained on {training:,} clips, {split}. How good its clips are, and how many are near-copies of a training clip, is
among the figures of the run's stage `synthesis`.

**Data.**
{data}

**Meant for** research on speech emotion: more training clips, and listening to what a classifier has learnt.

**Not for** imitating a person, or passing a made voice off as somebody's.
"""


def diffusion_card(config: Config, split: Split) -> str:
    """Markdown for everyone who meets the diffusion model."""
    emotions = ", ".join(config.corpus.emotions)
    return DIFFUSION_CARD.format(emotions=emotions, training=len(split.training), split=split.name, data=_data(config))


def model_card(
    config: Config, split: Split, test: Predictions, *, stage: str, weights: str, gap: float, synthetic: bool
) -> str:
    """Markdown for everyone who meets the model; `gap` is training accuracy less development accuracy."""
    groups = {kind: test.groups[kind] for kind in ("corpus", "sex")}
    found = figures(test.truth, test.probabilities, test.labels, groups)
    return CARD.format(
        voices=PROTOCOLS[split.protocol] + (" It was also trained on clips of a diffusion model." if synthetic else ""),
        stage=stage,
        split=split.name,
        backbone=config.classifier.backbone,
        training=len(split.training),
        development=len(split.development),
        test=len(split.test),
        speakers=speakers_in_words(test),
        uar=interval(test),
        uar_known_speaker=interval(adapted(test, to="speaker")),
        uar_known_corpus=interval(adapted(test, to="corpus")),
        accuracy=interval(test, accuracy),
        macro_f1=found["macro_f1"],
        ece=expected_calibration_error(test.truth, test.probabilities),
        nll=negative_log_likelihood(test.truth, test.probabilities),
        gap=gap,
        recalls="\n".join(f"| {label} | {found[f'recall/{label}']:.3f} |" for label in _tested(found, test)),
        groups=_gaps(found),
        weights=weights,
        data=_data(config),
    )


def _data(config: Config) -> str:
    """What each corpus is, and its licence."""
    names = [*config.corpus.names, *config.corpus.manifests]
    return "\n".join(f"- {DATA.get(name, OTHER_DATA.format(name=name))}" for name in names)


def _tested(found: Mapping[str, float], test: Predictions) -> list[str]:
    """The emotions that occur in the test clips."""
    return [label for label in test.labels if f"recall/{label}" in found]


def _gaps(found: Mapping[str, float]) -> str:
    """UAR of each corpus and each sex, in words."""
    sexes = {"f": "women", "m": "men"}
    parts = [
        f"{sexes.get(value, value)} {score:.3f}"
        for name, score in found.items()
        if name.startswith("uar/")
        for value in [name.rsplit("/", 1)[1]]
    ]
    return f"UAR by group: {', '.join(parts)}." if parts else "The groups of its speakers are not known."
