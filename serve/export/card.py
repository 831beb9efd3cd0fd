"""The card that travels in the bundle: the classifier's model card, and what exporting it measured."""

from serve.bundle import Manifest

FIGURES = {
    "int8/agreement": "clips on which the int8 graph gives the same answer",
    "int8/development_uar": "UAR of the int8 graph on development clips",
    "int8/float32_development_uar": "UAR of the float32 graph on the same clips",
}


def bundle_card(manifest: Manifest, card: str) -> str:
    """Markdown for people who only open the demo."""
    source = manifest.provenance.classifier
    exported = [f"- {text}: {manifest.metrics[name]:.3f}" for name, text in FIGURES.items() if name in manifest.metrics]
    title = f"## {source.name}, version {source.version}\n\nEmotions: {', '.join(manifest.labels)}.\n\n"
    return title + card + ("\n**Exported graph.**\n" + "\n".join(exported) + "\n" if exported else "")
