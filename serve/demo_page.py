"""The page: a heading and five tabs."""

import gradio as gr

from serve.demo_about import about_tab
from serve.demo_classify import classify_tab
from serve.demo_compare import compare_tab
from serve.demo_edit import edit_tab
from serve.demo_generate import generate_tab
from serve.service import Service

TITLE = "Emotion in speech"
HEADER = f"""<header class="ser-header"><h1>{TITLE}</h1>
<p>Record a voice and see which emotion it sounds like; or let a model make sound with an emotion of your choice.</p>
</header>"""
TABS = {
    "Classify": classify_tab,
    "Generate": generate_tab,
    "Compare": compare_tab,
    "Edit": edit_tab,
    "About": about_tab,
}
CLEAN_EVERY_S, KEEP_S = 600, 3000
"""Uploads and answers are deleted at the first cleaning after this age."""
RUNNING, WAITING = 16, 64
"""Requests of one kind that run at once, and that wait; the service bounds the work itself."""


def build_page(service: Service) -> gr.Blocks:
    """The demo of a service."""
    page = gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CLEAN_EVERY_S, KEEP_S))
    with page:
        gr.HTML(HEADER)
        with gr.Tabs():
            for name, build in TABS.items():
                with gr.Tab(name):
                    build(service)
    page.queue(default_concurrency_limit=RUNNING, max_size=WAITING)
    return page
