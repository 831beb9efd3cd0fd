"""The tab About: what the models are, what they cannot do, and whose recordings they learnt from."""

from typing import Any

import gradio as gr

from serve.bundle import Bundle
from serve.demo_run import when_opened
from serve.schemas import ModelSummary
from serve.service import Service

LIMITS = """
## What it cannot do
- It hears how a voice **sounds**, not what a person **feels**. The recordings it learnt from are **acted**, by few
  speakers, in German and English, or those of a speech synthesiser; everyday speech, other languages, children, old
  or ill voices are strange to it.
- Its score holds for clean recordings like those. Noise, music, several speakers or a telephone make it worse, and
  its percentages are no measure of how sure one may be.
- Generated clips say nothing: they have no words and no speaker. A model trained for minutes makes hardly more than
  noise.

## What it must not be used for
Decisions about people: hiring, schooling, insurance, credit, policing, border control, medical or psychological
diagnosis; watching staff, pupils or customers; guessing the feelings of anyone who has not agreed. In the European
Union, emotion recognition at work and in education is prohibited (Regulation (EU) 2024/1689, Article 5). Do not use
the generator to make anybody seem to say or feel something.

## Recordings it may have learnt from
- **EmoDB**: free; cite Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: *A Database of German Emotional Speech*, 2005.
- **RAVDESS**: CC BY-NC-SA 4.0, so not for commercial use, and share alike; cite Livingstone and Russo, 2018.

A model trained on RAVDESS is bound to that corpus' terms.

## Your recordings
They go to this server and nowhere else, and are deleted after an hour at the latest or when it stops.
"""
API = """
## For programs
Documentation of the HTTP interface: [/docs](docs), as OpenAPI: [/openapi.json](openapi.json).
```
curl -F file=@clip.wav {address}/v1/classify
curl -F file=@clip.wav -F known=@monday.wav -F known=@tuesday.wav {address}/v1/classify
```
This page can be used from Python too; its endpoints are `/classify`, `/generate`, `/compare` and `/edit`:
```python
from gradio_client import Client, handle_file

answer, page = Client("{address}").predict(handle_file("clip.wav"), api_name="/classify")
print(answer["probabilities"])
```
"""


def about_tab(service: Service) -> None:
    """Build the tab."""

    def shown(request: gr.Request) -> tuple[str, Any, str, str]:
        address = str(request.base_url).rstrip("/")
        accordion = gr.Accordion(visible=bool(service.card))
        return models_text(service), accordion, service.card, LIMITS + API.format(address=address)

    models = gr.Markdown(models_text(service), elem_classes="ser-prose")
    with gr.Accordion("Model card", open=False, visible=bool(service.card)) as accordion:
        card = gr.Markdown(service.card, elem_classes="ser-prose")
    more = gr.Markdown(LIMITS, elem_classes="ser-prose")
    when_opened(shown, outputs=[models, accordion, card, more])


def models_text(service: Service) -> str:
    """Which models answer, and where they run."""
    lines = [_model_line(role.capitalize(), bundle) for role, bundle in service.bundles().items()]
    place = "a graphics card" if service.device == "cuda" else "the processor"
    return "\n".join(["## Models", *lines, f"- They run on {place} of this server."])


def _model_line(role: str, bundle: Bundle) -> str:
    """One model with its version, score and origin."""
    model, provenance = ModelSummary.of(bundle), bundle.manifest.provenance
    score = (
        f"UAR {model.test_uar:.3f} on test recordings (split `{model.split}`). " if model.test_uar is not None else ""
    )
    made = f" Exported on {provenance.created[:10]} from commit `{provenance.git_commit[:12]}`."
    return f"- **{role}**: {model.name}, version {model.version}, stage {model.stage}. {score}{model.notice}{made}"
