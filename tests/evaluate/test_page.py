"""Behavior of the report page in Chromium."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

import support
from boats_evaluate.evaluation import Evaluation
from boats_evaluate.report import make_report, render_report
from boats_evaluate.selection import select_images
from boats_runtime.classifier import Classifier

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
FIND_LOW_CONTRAST = Path(support.__file__).with_name("find_low_contrast.js")

Browser = webdriver.Chrome


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
def page(
    evaluation: Evaluation, color_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    classifier = Classifier(color_model, "cpu")
    path.write_text(make_report(evaluation, classifier, [("other", 0.5)], 24))
    return path


@pytest.fixture
def browser(chromium: Browser, page: Path) -> Iterator[Browser]:
    """The page at desktop width; the browser console must be empty at the end."""
    open_page(chromium, page)
    yield chromium
    assert chromium.get_log("browser") == []


def open_page(browser: Browser, page: Path, width: int = 1280, scheme: str = "light") -> None:
    """Open a page and discard the logs of earlier pages."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page.as_uri())


def find(browser: Browser, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def find_texts(browser: Browser, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def click(browser: Browser, element: WebElement) -> None:
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element
    )
    element.click()


def test_page__sends_no_requests(browser: Browser, page: Path) -> None:
    entries = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [
        entry["params"]["request"]["url"]
        for entry in entries
        if entry["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
    images = browser.find_elements(By.TAG_NAME, "img")
    assert images
    assert all(image.get_property("naturalWidth") for image in images)


def test_page__policy_blocks_other_scripts(chromium: Browser, page: Path) -> None:
    open_page(chromium, page)
    chromium.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = 'document.title = 1'; document.body.append(script);"
    )
    assert chromium.title != "1"
    (entry,) = chromium.get_log("browser")
    assert "Content Security Policy" in entry["message"]


def test_page__sorts_tables(browser: Browser) -> None:
    class_heading, *_, images_heading = browser.find_elements(
        By.CSS_SELECTOR, "#classes thead th button"
    )
    labels, counts = "#classes tbody th", "#classes tbody tr td:last-child"
    assert find_texts(browser, counts) == ["9", "7", "4"]
    for order, expected in (("descending", ["9", "7", "4"]), ("ascending", ["4", "7", "9"])):
        click(browser, images_heading)
        assert find_texts(browser, counts) == expected
        assert find_texts(browser, f'#classes th[aria-sort="{order}"]') == ["Images"]
        assert len(browser.find_elements(By.CSS_SELECTOR, "#classes [aria-sort]")) == 1
    names = ["<script>", "green & co", "red n < 5"]
    for expected in (names, names[::-1]):
        click(browser, class_heading)
        assert find_texts(browser, labels) == expected


def test_page__confusion_cell_shows_its_images(browser: Browser) -> None:
    cell = find(browser, '.matrix button[data-row="1"][data-column="2"]')
    assert cell.get_attribute("title") == "green & co predicted as red: 2 of 7"
    webdriver.ActionChains(browser).scroll_to_element(cell).move_to_element(cell).perform()
    assert find(browser, "#readout").text == "green & co predicted as red: 2 of 7 (28.6%)"
    click(browser, cell)
    assert find(browser, "dialog[open] h2").text == "green & co predicted as red"
    assert find(browser, "#images-note").text == "2 of 7 images"
    names = find_texts(browser, "#images-list .detail")
    assert sorted(names) == ["20130304_0.jpg", '20130305_1"><img src=x>.jpg']
    images = browser.find_elements(By.CSS_SELECTOR, "#images-list img")
    descriptions = [image.get_attribute("alt") for image in images]
    assert descriptions == ["Image of green & co predicted as red"] * 2
    click(browser, find(browser, "#close"))
    assert browser.find_elements(By.CSS_SELECTOR, "dialog[open]") == []


def test_page__dialog_by_keyboard(browser: Browser) -> None:
    cell = find(browser, '.matrix button[data-row="0"][data-column="0"]')
    cell.send_keys(Keys.ENTER)
    assert find(browser, "dialog[open] h2").text == "<script> predicted correctly"
    assert len(find_texts(browser, "#images-list li")) == 9
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert browser.find_elements(By.CSS_SELECTOR, "dialog[open]") == []
    assert browser.switch_to.active_element == cell


def test_page__slider_updates_the_numbers(browser: Browser, evaluation: Evaluation) -> None:
    slider = find(browser, "#slider")
    ids = ("#threshold-value", "#coverage", "#selective-accuracy", "#unknown", "#incorrect")
    assert slider.get_attribute("value") == "50"
    assert [find(browser, name).text for name in ids] == texts_at_threshold(evaluation, 50)
    for key, step in ((Keys.ARROW_RIGHT, 51), (Keys.END, 100), (Keys.HOME, 0)):
        slider.send_keys(key)
        assert [find(browser, name).text for name in ids] == texts_at_threshold(evaluation, step)
        x = float(find(browser, "#marker").get_attribute("x1") or 0)
        assert x == pytest.approx(44 + 3 * step)
    assert "selective accuracy 85.0%" in (slider.get_attribute("aria-valuetext") or "")


def texts_at_threshold(evaluation: Evaluation, step: int) -> list[str]:
    covered = evaluation.main.predictions.scores >= step / 100
    count, correct = int(covered.sum()), int(evaluation.correct[covered].sum())
    accuracy = f"{100 * correct / count:.1f}%" if count else "\N{EN DASH}"
    total = len(evaluation.correct)
    return [
        f"{step / 100:.2f}", f"{100 * count / total:.1f}%", accuracy,
        f"{total - count} of {total}", str(count - correct),
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page__fits_the_width_with_enough_contrast(
    chromium: Browser, page: Path, width: int, scheme: str
) -> None:
    open_page(chromium, page, width, scheme)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    assert chromium.execute_script(FIND_LOW_CONTRAST.read_text()) == []
    assert chromium.get_log("browser") == []


def test_page__dark_color_scheme(chromium: Browser, page: Path) -> None:
    backgrounds = set()
    for scheme in ("light", "dark"):
        open_page(chromium, page, 1280, scheme)
        backgrounds.add(find(chromium, "body").value_of_css_property("background-color"))
    assert len(backgrounds) == 2


def test_page__prints(browser: Browser) -> None:
    assert len(browser.print_page()) > 10_000


def test_page__100_000_images(
    chromium: Browser, large_evaluation: Evaluation, tmp_path: Path
) -> None:
    evaluation, targets = large_evaluation, large_evaluation.targets
    selection = select_images(evaluation, 24)
    thumbnails = dict.fromkeys(selection.disagreements.tolist(), "")
    path = tmp_path / "large.html"
    path.write_text(render_report(evaluation, selection, [], thumbnails, []))
    open_page(chromium, path)
    elements: Any = chromium.execute_script("return document.querySelectorAll('*').length")
    assert elements < 5000
    assert "5,000 of 100,000 images can be viewed" in find(chromium, "#confusion").text
    click(chromium, find(chromium, '.matrix button[data-row="3"][data-column="3"]'))
    in_cell = (targets == 3) & (evaluation.main.predictions.predicted == 3)
    count, viewable = in_cell.sum(), in_cell[selection.listed].sum()
    note = f"{count} of {np.sum(targets == 3)} images; {viewable} can be viewed here"
    assert find(chromium, "#images-note").text == note
    assert len(find_texts(chromium, "#images-list li")) == min(48, viewable)
    find(chromium, "#close").click()
    find(chromium, "#slider").send_keys(Keys.HOME)
    assert find(chromium, "#unknown").text == "0 of 100,000"
    assert chromium.get_log("browser") == []
