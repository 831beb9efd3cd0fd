"""The demo's looks, in Gradio's own colours, so that light and dark follow its theme."""

import gradio as gr

CSS = """
.gradio-container { max-width: 1180px !important; margin-inline: auto !important; width: 100%; }
.main.fillable, .main > .wrap { width: 100%; }
.gradio-container .html-container { padding: 0 !important; }
.gradio-container { --color-accent: #c2410c; }
.dark .gradio-container { --color-accent: #fb923c; }
.audio-container .timestamps, .audio-container .controls button, .audio-container .settings-wrapper button,
.audio-container .source-selection button:not(.selected) { color: var(--body-text-color-subdued) !important; }
.audio-container { contain: inline-size; }
.ser-header h1 { font-size: 1.7rem; font-weight: 650; margin: .4rem 0 .1rem; color: var(--body-text-color); }
.ser-header p { margin: 0; color: var(--body-text-color-subdued); font-size: 1rem; }
.ser-label { margin: .3rem 0 -.6rem !important; font-size: var(--block-label-text-size);
  color: var(--body-text-color-subdued); }
.ser-examples { gap: .4rem !important; flex-wrap: wrap; }
.ser-examples button { flex: 0 1 auto !important; width: auto; }
.ser-seed { align-items: end; }
.ser-empty { border: 1px dashed var(--border-color-primary); border-radius: var(--block-radius); text-align: center;
  padding: 2.5rem 1rem; margin: 0; color: var(--body-text-color-subdued); }
.ser-card { background: var(--block-background-fill); border: 1px solid var(--border-color-primary);
  border-radius: var(--block-radius); padding: 1rem; min-width: 0; color: var(--body-text-color); }
.ser-card h3, .ser-columns h3 { font-size: 1rem; font-weight: 600; margin: 0 0 .6rem; color: var(--body-text-color); }
.ser-cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(270px, 100%), 1fr)); }
.ser-columns { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); }
.ser-card audio { width: 100%; height: 40px; margin-bottom: .5rem; display: block; }
.ser-file { display: block; font-size: .84rem; text-align: right; margin: -.3rem 0 .4rem; }
.dark .ser-card audio { color-scheme: dark; }
.ser-verdict { display: flex; align-items: baseline; gap: .5rem; font-size: 1.15rem; margin: 0 0 .6rem; }
.ser-verdict > span:last-child { margin-left: auto; font-variant-numeric: tabular-nums; font-weight: 600; }
.ser-dot { display: inline-block; flex: none; width: .75em; height: .75em; border-radius: 50%; margin-right: .15em; }
.ser-bars { list-style: none; margin: 0 0 .8rem; padding: 0; display: grid; gap: .35rem; font-size: .92rem; }
.ser-bars li { display: grid; grid-template-columns: 5.6rem 1fr 3.2rem; gap: .6rem; align-items: center; margin: 0; }
.ser-bars > li > i { display: block; height: .8rem; border-radius: .4rem; overflow: hidden;
  background: var(--border-color-primary); }
.ser-bars > li > i > i { display: block; height: 100%; border-radius: .4rem; min-width: 2px; }
.ser-bars li > span:last-child { text-align: right; font-variant-numeric: tabular-nums; }
.ser-bars .ser-first { font-weight: 650; }
.ser-note { font-size: .84rem; line-height: 1.4; color: var(--body-text-color-subdued); margin: 0 0 .8rem;
  padding-left: .7rem; border-left: 3px solid var(--border-color-primary); }
.ser-note strong { color: var(--body-text-color); }
.ser-plot { margin: .8rem 0 0; display: grid; grid-template-columns: 2.4rem minmax(0, 1fr);
  grid-template-rows: auto 8.5rem 1.5rem; }
.ser-plot figcaption { grid-column: 1 / -1; font-size: .84rem; color: var(--body-text-color-subdued);
  margin-bottom: .5rem; }
.ser-pane { grid-column: 2; grid-row: 2; position: relative; overflow: hidden; border-radius: 4px; }
.ser-pane > img, .ser-pane > svg { position: absolute; inset: 0; width: 100% !important; height: 100% !important;
  max-width: none; margin: 0 !important; }
.ser-axis-y { grid-column: 1; grid-row: 2; position: relative; }
.ser-axis-x { grid-column: 2; grid-row: 3; position: relative; }
.ser-axis-y, .ser-axis-x { font-size: .72rem; line-height: 1; color: var(--body-text-color-subdued);
  font-variant-numeric: tabular-nums; }
.ser-axis-y span { position: absolute; right: .55rem; transform: translateY(50%); }
.ser-axis-y span::after { content: ""; position: absolute; right: -.5rem; top: 50%; width: .3rem;
  border-top: 1px solid currentColor; }
.ser-axis-x span { position: absolute; top: .5rem; transform: translateX(-50%); }
.ser-axis-x span::before { content: ""; position: absolute; left: 50%; top: -.42rem; height: .3rem;
  border-left: 1px solid currentColor; }
.ser-axis-x span:first-child { transform: none; }
.ser-axis-x span:first-child::before { left: 0; }
.ser-axis-x b { position: absolute; right: 0; top: .5rem; font-weight: 400; background: var(--block-background-fill);
  padding-left: .3rem; }
.ser-timeline { grid-template-rows: auto 6rem 1.5rem auto; }
.ser-quiet { fill: var(--block-background-fill); opacity: .72; }
.ser-legend { grid-column: 1 / -1; grid-row: 4; display: flex; flex-wrap: wrap; gap: .2rem .9rem; font-size: .8rem;
  margin-top: .3rem; }
.ser-progress { display: block; font-size: .9rem; margin-bottom: .8rem; color: var(--body-text-color); }
.ser-progress progress { display: block; width: 100%; height: .6rem; margin-top: .3rem; border: 0; border-radius: .3rem;
  overflow: hidden; appearance: none; background: var(--border-color-primary); }
.ser-progress progress::-webkit-progress-bar { background: var(--border-color-primary); }
.ser-progress progress::-webkit-progress-value { background: #d9730d; }
.ser-progress progress::-moz-progress-bar { background: #d9730d; }
.ser-prose { max-width: 50rem; }
.ser-prose pre, .ser-prose code { white-space: pre-wrap !important; overflow-wrap: anywhere; }
button:focus-visible, input:focus-visible, a:focus-visible, [role=tab]:focus-visible, audio:focus-visible {
  outline: 3px solid #d9730d !important; outline-offset: 2px; }
@media (max-width: 480px) {
  .gradio-container { padding-inline: .6rem !important; }
  .ser-card { padding: .8rem; }
  .tab-container button { padding-inline: .4rem !important; font-size: .85rem !important; }
}
"""


def theme() -> gr.themes.Base:
    """Gradio's own, with text that can be read and a bold face that is whole: its semi-bold has capitals only."""
    families = (gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif")
    mono = (gr.themes.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "Consolas", "monospace")
    subdued = {"body_text_color_subdued": "#5b6472", "body_text_color_subdued_dark": "#a9b0bd"}
    info = {"block_info_text_color": "#5b6472", "block_info_text_color_dark": "#a9b0bd"}
    buttons = {f"button_primary_background_fill{end}": "#c2410c" for end in ("", "_dark")}
    pressed = {f"button_primary_background_fill_hover{end}": "#9a3412" for end in ("", "_dark")}
    return gr.themes.Default(font=families, font_mono=mono).set(**subdued, **info, **buttons, **pressed)
