"""The demo as a person meets it: in a browser, at a desk and on a phone, in light and dark, by mouse and keyboard."""

import numpy as np
import pytest
from playwright.sync_api import Locator, expect

from sermodels.emotions import COMMON_EMOTIONS
from tests.browser.conftest import Open, Visit
from tests.serve.recordings import encode, spoken
from tests.serve.serving import some_wav

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
LOOKS = [("desktop", "light"), ("desktop", "dark"), ("phone", "light")]


def upload(visit: Visit, content: bytes, *, name: str = "voice.wav", kind: str = "audio/wav") -> None:
    with visit.page.expect_file_chooser() as chooser:
        visit.page.get_by_label("Drop an audio file here to upload").first.click()
    chooser.value.set_files({"name": name, "mimeType": kind, "buffer": content})


def shares(answer: Locator) -> dict[str, float]:
    """The percentages beside the bars."""
    rows = [row.split("\n") for row in answer.locator(".ser-bars li").all_inner_texts()]
    return {row[0]: float(row[-1].replace("<1", "0.5").rstrip("%").strip()) for row in rows}


def assert_answered(visit: Visit, where: str = "#classify-answer") -> None:
    answer = visit.page.locator(where)
    answer.locator(".ser-verdict").first.wait_for()
    given = shares(answer)
    assert tuple(given) == COMMON_EMOTIONS
    assert sum(given.values()) == pytest.approx(100.0, abs=4.0)
    assert max(given, key=lambda name: given[name]) in answer.locator(".ser-verdict").first.inner_text()
    expect(answer.get_by_role("img", name="Log-mel").first).to_be_visible()


def duration_s(audio: Locator) -> float:
    """How long the browser says that a sound lasts, once it knows."""
    return float(
        audio.evaluate(
            "a => new Promise(done => a.readyState ? done(a.duration) : a.onloadedmetadata = () => done(a.duration))"
        )
    )


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_an_uploaded_recording_is_answered(visit: Open, size: str, theme: str) -> None:
    page = visit(size=size, theme=theme)
    page.picture("0-start")
    upload(page, some_wav(2.0))
    assert_answered(page)
    note = page.page.locator("#classify-answer .ser-note")
    expect(note).to_contain_text("ser-classifier, version 3")
    expect(note).to_contain_text("never heard")
    assert page.page.locator("#classify-answer .ser-timeline").count() == 0
    page.picture("1-classify")


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_a_long_recording_has_a_timeline(visit: Open, size: str, theme: str) -> None:
    page = visit(size=size, theme=theme)
    upload(page, some_wav(14.0))
    expect(page.page.get_by_role("img", name="Probability of each emotion over 14 s")).to_be_visible()
    assert page.sideways_px() == 0
    page.picture("2-timeline")


def test_the_microphone_is_answered(visit: Open) -> None:
    page = visit()
    page.page.get_by_label("Record audio").first.click()
    page.page.get_by_role("button", name="Record", exact=True).click()
    page.page.wait_for_timeout(1500)
    page.page.get_by_role("button", name="Stop", exact=True).click()
    assert_answered(page)
    page.picture("3-microphone")


def test_an_example_is_answered(visit: Open) -> None:
    page = visit()
    page.page.locator(".ser-examples button").first.click()
    assert_answered(page)
    expect(page.page.locator("#classify-answer")).to_contain_text("Sounds most like")


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_other_recordings_of_the_speaker_change_the_answer(visit: Open, size: str, theme: str) -> None:
    page = visit(size=size, theme=theme)
    upload(page, some_wav(2.0))
    assert_answered(page)
    page.page.get_by_role("button", name="Other recordings of this speaker").click()
    page.page.locator("#known input[type=file]").set_input_files(
        [{"name": f"{seconds}.wav", "mimeType": "audio/wav", "buffer": some_wav(seconds)} for seconds in (1.0, 3.0)]
    )
    expect(page.page.locator("#known")).to_contain_text("3.0")
    page.page.locator("#classify-button").click()
    expect(page.page.locator("#classify-answer .ser-note")).to_contain_text("relative to 2 other recordings")
    assert_answered(page)
    assert page.sideways_px() == 0
    page.picture("6-known")


NOTE_PROGRESS = """() => {
    const answer = document.querySelector('#generate-answer');
    window.progressShown = new Promise(settle => {
        setTimeout(() => settle(false), 60000);
        new MutationObserver(() => answer.querySelector('progress') && settle(true))
            .observe(answer, {childList: true, subtree: true});
    });
}"""
"""The test's model is so fast that whoever looks from time to time may miss it."""


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_generated_clips_can_be_heard(visit: Open, size: str, theme: str) -> None:
    page = visit(size=size, theme=theme)
    page.tab("Generate")
    page.page.evaluate(NOTE_PROGRESS)
    page.page.locator("#generate-button").click()
    assert page.page.evaluate("() => window.progressShown"), "no progress in a minute"
    page.picture("4-generating")
    sounds = page.page.locator("#generate-answer audio")
    sounds.first.wait_for()
    assert sounds.count() == 2
    for sound in sounds.all():
        assert duration_s(sound) > 0.3
    played = sounds.first.evaluate(
        "a => new Promise(done => { a.ontimeupdate = () => a.currentTime > 0.05 && done(a.currentTime); a.play(); })"
    )
    assert played > 0.05
    assert_answered(page, "#generate-answer .ser-card >> nth=0")
    assert page.page.locator("#generate-answer .ser-verdict").count() == 2
    assert page.sideways_px() == 0
    page.picture("5-generated")


CANCEL_AT_FIRST_STEP = """() => {
    const answer = document.querySelector('#generate-answer'), stop = document.querySelector('#cancel-button');
    new MutationObserver((_, observer) => {
        if (!answer.querySelector('progress') || stop.disabled) return;
        observer.disconnect();
        stop.click();
    }).observe(answer, {childList: true, subtree: true});
}"""


def test_a_run_can_be_cancelled(visit: Open) -> None:
    """The test's model is so fast that the page itself has to press the button."""
    page = visit()
    page.tab("Generate")
    stop = page.page.locator("#cancel-button")
    expect(stop).to_be_disabled()
    page.page.get_by_role("button", name="Sampling").click()
    page.page.get_by_label("number input for Clips").fill("16")
    page.page.get_by_label("number input for Steps").locator("visible=true").fill("20")
    page.page.evaluate(CANCEL_AT_FIRST_STEP)
    page.page.locator("#generate-button").click()
    expect(page.page.locator("#generate-answer")).to_contain_text("Stopped")
    expect(stop).to_be_disabled()
    assert page.page.locator("#generate-answer audio").count() == 0


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_compare_shows_both_models(visit: Open, size: str, theme: str) -> None:
    page = visit(size=size, theme=theme)
    page.tab("Compare")
    page.page.locator(".ser-examples button:visible").first.click()
    answers = page.page.locator("#compare-answer")
    answers.locator(".ser-verdict").nth(1).wait_for()
    expect(answers).to_contain_text("Champion")
    expect(answers).to_contain_text("Challenger")
    assert page.sideways_px() == 0
    page.picture("6-compare")


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_edit_shows_before_and_after(visit: Open, size: str, theme: str) -> None:
    page = visit(size=size, theme=theme)
    page.tab("Edit")
    with page.page.expect_response("**/gradio_api/file=**"):
        page.page.locator(".ser-examples button:visible").first.click()
    page.page.get_by_role("button", name="Edit", exact=True).click()
    sounds = page.page.locator("#edit-answer audio")
    sounds.nth(1).wait_for()
    assert all(duration_s(sound) > 0.3 for sound in sounds.all())
    assert page.sideways_px() == 0
    page.picture("7-edit")


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_about_has_licences_limits_and_this_servers_address(visit: Open, address: str, size: str, theme: str) -> None:
    page = visit(size=size, theme=theme)
    page.tab("About")
    for text in ("EmoDB", "CC BY-NC-SA", "must not be used for", "gradio_client", f"{address}/v1/classify"):
        expect(page.page.locator("body")).to_contain_text(text)
    page.page.wait_for_timeout(300)
    assert page.sideways_px() == 0
    page.picture("8-about")


def test_a_file_that_is_no_recording_is_said_in_plain_words(visit: Open) -> None:
    page = visit()
    upload(page, b"Dear diary, today I felt nothing. " * 20, name="voice.wav")
    expect(page.page.get_by_test_id("toast-body")).to_contain_text("not a recording")
    page.picture("9-no-recording")


def test_a_text_file_is_said_in_plain_words(visit: Open) -> None:
    page = visit()
    upload(page, b"Dear diary, today I felt nothing. " * 20, name="diary.txt", kind="text/plain")
    expect(page.page.get_by_test_id("toast-body")).to_contain_text("not a recording that can be read; send wav")
    page.picture("9-text-file")


@pytest.mark.parametrize(
    ("format", "kind"),
    [("webm", "video/webm"), ("ogg", "video/ogg"), ("m4a", "audio/x-m4a"), ("mp3", "audio/mpeg"), ("flac", "")],
)
def test_what_phones_and_browsers_record_is_answered(visit: Open, format: str, kind: str) -> None:
    """A browser calls a recording in webm a video."""
    page = visit()
    upload(page, encode(spoken(), format=format), name=f"voice.{format}", kind=kind)
    assert_answered(page)


def test_nothing_to_classify_is_said_in_plain_words(visit: Open) -> None:
    page = visit()
    page.page.locator("#classify-button").click()
    expect(page.page.get_by_test_id("toast-body")).to_contain_text("There is no recording yet")


@pytest.mark.parametrize("tab", ["Classify", "Generate", "Compare", "Edit", "About"])
def test_on_a_phone_nothing_scrolls_sideways(visit: Open, tab: str) -> None:
    page = visit(size="phone")
    page.tab(tab)
    page.page.wait_for_timeout(300)
    assert page.sideways_px() == 0


def luminance(colour: str) -> float:
    """Relative luminance of a CSS colour, WCAG 2.2."""
    parts = np.array([float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


GROUND = """e => { for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (colour != 'rgba(0, 0, 0, 0)') return colour; } return 'rgb(255, 255, 255)'; }"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(visit: Open, theme: str) -> None:
    """WCAG 2.2 level AA: 4.5 to 1."""
    page = visit(theme=theme)
    page.page.locator(".ser-examples button").first.click()
    assert_answered(page)
    ground = luminance(page.page.locator("#classify-answer .ser-card").evaluate(GROUND))
    assert (ground < 0.2) == (theme == "dark")
    for place in (
        ".ser-header p", ".ser-verdict strong", ".ser-note", ".ser-bars li", ".ser-axis-x", ".ser-label",
        "#classify-button", ".ser-examples button >> nth=0", "[role=tab][aria-selected=true]",
    ):  # fmt: skip
        text = page.page.locator(place).first
        colours = text.evaluate("e => getComputedStyle(e).color"), text.evaluate(GROUND)
        low, high = sorted(luminance(colour) for colour in colours)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (place, colours)


def test_the_keyboard_reaches_and_presses_the_main_button(visit: Open) -> None:
    page = visit()
    page.page.locator(".ser-examples button").first.focus()
    page.page.keyboard.press("Enter")
    assert_answered(page)
    page.page.locator("body").press("Home")
    reached: list[str] = []
    page.page.get_by_role("tab", name="Classify").focus()
    while "classify-button" not in reached and len(reached) < 40:
        page.page.keyboard.press("Tab")
        reached.append(page.page.evaluate("document.activeElement.id"))
    assert "classify-button" in reached
    outline = page.page.locator("#classify-button").evaluate("e => getComputedStyle(e).outlineWidth")
    assert float(outline.removesuffix("px")) >= 2
    with page.page.expect_response("**/gradio_api/queue/join**"):
        page.page.keyboard.press("Space")


def test_every_control_has_a_name(visit: Open) -> None:
    page = visit()
    for tab in ("Classify", "Generate", "Compare", "Edit"):
        page.tab(tab)
        page.page.wait_for_timeout(300)
        nameless = page.page.evaluate(
            """() => [...document.querySelectorAll('button, input, audio, [role=img], img')]
            .filter(e => e.checkVisibility() && !e.closest('[aria-hidden=true]'))
            .filter(e => !(e.innerText || '').trim() && !e.getAttribute('aria-label') && !e.getAttribute('title')
                && !e.getAttribute('aria-labelledby') && !(e.labels && e.labels.length) && !e.alt)
            .map(e => e.outerHTML.slice(0, 200))"""
        )
        assert nameless == []


def test_the_heading_says_what_this_is(visit: Open) -> None:
    page = visit()
    expect(page.page).to_have_title("Emotion in speech")
    expect(page.page.get_by_role("heading", level=1)).to_have_text("Emotion in speech")
    tabs = page.page.get_by_role("tab").all_inner_texts()
    assert tabs == ["Classify", "Generate", "Compare", "Edit", "About"]
    assert page.page.locator("footer a:visible").count() == 0
