"""The model card that travels in the bundle: figures from the run, data, licences and limits."""

from serve.bundle import Manifest

FIGURES = {
    "test_uar": "UAR on the test clips",
    "test_accuracy": "accuracy on the test clips",
    "development_uar": "UAR on the development clips, which chose the epoch",
    "int8/agreement": "clips on which the int8 graph gives the same answer",
}


def model_card(manifest: Manifest) -> str:
    """Markdown for people who only open the demo."""
    source = manifest.provenance.classifier
    figures = [
        f"- {text}: **{manifest.metrics[name]:.3f}**" for name, text in FIGURES.items() if name in manifest.metrics
    ]
    return "\n".join(
        [
            f"## {source.name}, version {source.version}",
            "",
            f"Stage {source.stage}, split {source.split}. {whose_voices(manifest)}",
            "",
            *figures,
            "",
            f"Emotions: {', '.join(manifest.labels)}. Acted speech in German and English; spontaneous speech, other",
            "languages, children and telephone lines are unlike it, and the answers are worse there.",
            "",
            "**Data.** EmoDB (Burkhardt et al. 2005) is free to use with citation. RAVDESS (Livingstone & Russo",
            "2018) is CC BY-NC-SA 4.0, so a model trained on it is not for commercial use.",
            "",
            "**Not for** decisions about a person: hiring, policing, insurance, schooling, health, or watching",
            "people at work. The model hears how a voice sounds, not what somebody feels.",
            "",
        ]
    )


def whose_voices(manifest: Manifest) -> str:
    """What kind of number the scores are."""
    if manifest.provenance.synthetic_speech:
        return "Trained and tested on synthetic speech: its numbers mean nothing about people."
    if manifest.provenance.protocol == "seed":
        return "Speaker-dependent: the tested speakers were also trained on."
    return "Tested on speakers that no part of the model has heard."
