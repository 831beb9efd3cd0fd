"""The Gradio demo at /, in the server's own process and on its own service."""

import hmac
import os

from fastapi import FastAPI

from serve.demo_files import private_folder
from serve.service import Service


def mount_demo(app: FastAPI, service: Service) -> FastAPI:
    """Add the demo to an app, after all of its routes.

    Gradio reads its environment when it is imported, so that comes first: no analytics, and a folder of our own.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(private_folder())
    import gradio as gr

    from serve.demo_page import build_page
    from serve.demo_script import HEAD
    from serve.demo_style import CSS, theme

    page = build_page(service)
    page.has_launched = True  # before this is set, Gradio does not check which files a request names
    key = service.settings.api_key
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth=None if key is None else lambda user, password: hmac.compare_digest(password.encode(), key.encode()),
        auth_message="Any user name, and the API key as password.",
        show_error=False,
        max_file_size=service.settings.max_body_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        theme=theme(),
        css=CSS,
        head=HEAD,
    )
    return app
