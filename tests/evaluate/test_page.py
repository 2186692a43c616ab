"""The page in a real browser."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.report import make_report, render
from boats_evaluate.selection import select
from boats_runtime.classifier import Classifier

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
# WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio: text that is too faint on its ground.
FAINT = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgb = (colour, ground) => {
  canvas.fillStyle = `rgb(${ground.join(" ")})`; canvas.fillRect(0, 0, 1, 1);
  canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const light = (c) => c.map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const groundOf = (element) => element
  ? rgb(getComputedStyle(element).backgroundColor, groundOf(element.parentElement))
  : [255, 255, 255];
const faint = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !element.checkVisibility() || element.closest("svg, script")) continue;
  const ground = groundOf(element);
  const ink = rgb(getComputedStyle(element).color, ground);
  const [low, high] = [light(ground), light(ink)].sort((a, b) => a - b);
  const ratio = (high + 0.05) / (low + 0.05);
  if (ratio < 4.5) faint.push(`${element.outerHTML.slice(0, 90)} ${ratio.toFixed(2)}`);
}
return faint;
"""

Browser = webdriver.Chrome
MakeEvaluation = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def page(evaluated: Evaluation, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(make_report(evaluated, Classifier(colours, "cpu"), [("other", 0.5)], 24))
    return path


@pytest.fixture
def browser(chromium: Browser, page: Path) -> Iterator[Browser]:
    """The page, opened at desktop width; afterwards the console must be empty."""
    show(chromium, page)
    yield chromium
    assert chromium.get_log("browser") == []


def show(browser: Browser, page: Path, width: int = 1280, scheme: str = "light") -> None:
    """Opens a page, and reads off what was logged before."""
    emulate(browser, width, scheme)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page.as_uri())


def emulate(browser: Browser, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def find(browser: Browser, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def texts(browser: Browser, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def press(browser: Browser, element: WebElement) -> None:
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element
    )
    element.click()


def requests_of(browser: Browser) -> list[str]:
    entries = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    sent = [entry for entry in entries if entry["method"] == "Network.requestWillBeSent"]
    return [entry["params"]["request"]["url"] for entry in sent]


def test_page__opens_without_a_request(browser: Browser, page: Path) -> None:
    requests = requests_of(browser)
    assert page.as_uri() in requests
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
    pictures = browser.find_elements(By.TAG_NAME, "img")
    assert pictures
    assert all(picture.get_property("naturalWidth") for picture in pictures)


def test_page__a_class_called_script_is_text(browser: Browser) -> None:
    assert "<script>" in texts(browser, "#classes tbody th")
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 2


def test_page__policy_refuses_what_is_not_its_own(chromium: Browser, page: Path) -> None:
    show(chromium, page)
    chromium.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = 'document.title = 1'; document.body.append(script);"
    )
    assert chromium.title != "1"
    (entry,) = chromium.get_log("browser")
    assert "Content Security Policy" in entry["message"]


def test_page__sorting(browser: Browser) -> None:
    class_heading, *_, photos = browser.find_elements(By.CSS_SELECTOR, "#classes thead th")
    rows = "#classes tbody tr td:last-child"
    assert texts(browser, rows) == ["9", "7", "4"]
    press(browser, photos.find_element(By.TAG_NAME, "button"))
    assert photos.get_attribute("aria-sort") == "descending"
    assert class_heading.get_attribute("aria-sort") is None
    press(browser, photos.find_element(By.TAG_NAME, "button"))
    assert texts(browser, rows) == ["4", "7", "9"]
    assert photos.get_attribute("aria-sort") == "ascending"
    press(browser, class_heading.find_element(By.TAG_NAME, "button"))
    assert labels_of(browser) == ["<script>", "green & co", "red"]
    press(browser, class_heading.find_element(By.TAG_NAME, "button"))
    assert labels_of(browser) == ["red", "green & co", "<script>"]


def labels_of(browser: Browser) -> list[str]:
    return [text.removesuffix(" too few") for text in texts(browser, "#classes tbody th")]


def test_page__confusion_cell_shows_its_photos(browser: Browser) -> None:
    cell = find(browser, '.matrix button[data-row="1"][data-column="2"]')
    assert cell.get_attribute("title") == "green & co taken for red: 2 of 7"
    webdriver.ActionChains(browser).scroll_to_element(cell).move_to_element(cell).perform()
    assert find(browser, "#readout").text == "green & co taken for red: 2 of 7 (28.6 %)"
    press(browser, cell)
    assert find(browser, "dialog[open] h2").text == "green & co taken for red"
    assert find(browser, "#photos-note").text == "2 of 7 photos"
    files = texts(browser, "#photos-list .file")
    assert sorted(files) == ["20130304_0.jpg", '20130305_1"><img src=x>.jpg']
    pictures = browser.find_elements(By.CSS_SELECTOR, "#photos-list img")
    assert [one.get_attribute("alt") for one in pictures] == [
        "Photo of green & co, taken for red"
    ] * 2
    press(browser, find(browser, "#close"))
    assert browser.find_elements(By.CSS_SELECTOR, "dialog[open]") == []


def test_page__by_keyboard(browser: Browser) -> None:
    cell = find(browser, '.matrix button[data-row="0"][data-column="0"]')
    cell.send_keys(Keys.ENTER)
    assert find(browser, "dialog[open] h2").text == "<script> named rightly"
    assert len(texts(browser, "#photos-list li")) == 9
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert browser.find_elements(By.CSS_SELECTOR, "dialog[open]") == []
    assert browser.switch_to.active_element == cell


def test_page__slider_updates_the_numbers(browser: Browser, evaluated: Evaluation) -> None:
    slider = find(browser, "#slider")
    scores = evaluated.main.answers.scores
    shown = ("#at", "#answered", "#accuracy", "#unknown", "#wrong")
    assert slider.get_attribute("value") == "50"
    assert [find(browser, name).text for name in shown] == numbers_at(evaluated, 50)
    for key, place in ((Keys.ARROW_RIGHT, 51), (Keys.END, 100), (Keys.HOME, 0)):
        slider.send_keys(key)
        assert [find(browser, name).text for name in shown] == numbers_at(evaluated, place)
        x = float(find(browser, "#marker").get_attribute("x1") or 0)
        assert x == pytest.approx(44 + 3 * place)
    assert (scores >= 0).all()
    assert "of those right" in (slider.get_attribute("aria-valuetext") or "")


def numbers_at(evaluation: Evaluation, place: int) -> list[str]:
    answered = evaluation.main.answers.scores >= place / 100
    count, right = int(answered.sum()), int(evaluation.right[answered].sum())
    accuracy = f"{100 * right / count:.1f} %" if count else "\N{EN DASH}"
    total = len(evaluation.right)
    return [
        f"{place / 100:.2f}", f"{100 * count / total:.1f} %", accuracy,
        f"{total - count} of {total}", str(count - right),
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page__fits_and_can_be_read(chromium: Browser, page: Path, width: int, scheme: str) -> None:
    show(chromium, page, width, scheme)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    assert chromium.execute_script(FAINT) == []
    assert chromium.get_log("browser") == []


def test_page__light_and_dark_differ(chromium: Browser, page: Path) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        show(chromium, page, 1280, scheme)
        grounds.add(find(chromium, "body").value_of_css_property("background-color"))
    assert len(grounds) == 2


def test_page__printed(browser: Browser) -> None:
    assert len(browser.print_page()) > 10_000


def test_page__100_000_photos(
    chromium: Browser, make_evaluation: MakeEvaluation, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 16, 100_000)
    predicted = [
        np.where(rng.random(100_000) < share, targets, rng.integers(0, 16, 100_000))
        for share in (0.9, 0.85)
    ]
    labels = tuple(f"class {number}" for number in range(16))
    evaluation = make_evaluation(labels, targets, *predicted, scores=rng.random(100_000))
    chosen = select(evaluation, 24)
    small = dict.fromkeys(chosen.disagreements.tolist(), "")
    path = tmp_path / "large.html"
    path.write_text(render(evaluation, chosen, [], small, []))
    show(chromium, path)
    elements: Any = chromium.execute_script("return document.querySelectorAll('*').length")
    assert elements < 5000
    assert "5,000 of 100,000 photos can be looked at" in find(chromium, "#confusion").text
    cell = find(chromium, '.matrix button[data-row="3"][data-column="3"]')
    press(chromium, cell)
    note = find(chromium, "#photos-note").text
    count = np.sum((targets == 3) & (predicted[0] == 3))
    listed = np.sum(
        (targets == 3) & (predicted[0] == 3) & np.isin(np.arange(100_000), chosen.listed)
    )
    assert note == f"{count} of {np.sum(targets == 3)} photos; {listed} can be looked at here"
    assert len(texts(chromium, "#photos-list li")) == min(48, listed)
    find(chromium, "#close").click()
    find(chromium, "#slider").send_keys(Keys.HOME)
    assert find(chromium, "#unknown").text == "0 of 100,000"
    assert chromium.get_log("browser") == []
