import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.report import make_report, render_report, shorten_names
from boats_evaluate.selection import MAX_THUMBNAILS, select_images
from boats_runtime.classifier import Classifier
from support.evaluations import make_evaluation

VOID = {"meta", "link", "img", "input", "br", "line", "circle", "rect", "polyline"}
"""Elements without an end tag."""


class Page(HTMLParser):
    """Tags of a page, and the text inside its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.code: dict[str, list[str]] = {"script": [], "style": []}
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.code:
            self.code[self.open[-1]].append(data)


@pytest.fixture(scope="module")
def text(evaluation: Evaluation, color_model: Path) -> str:
    reference = ("the <b>other</b>", 0.872)
    return make_report(evaluation, Classifier(color_model, "cpu"), [reference], 24)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def read_script_data(page: Page) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(page.code["script"][0])
    return value


def test_make_report__well_formed(page: Page) -> None:
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    anchors = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert anchors <= {f"#{name}" for name in ids}


def test_make_report__escapes_names(text: str, page: Page) -> None:
    assert [tag for tag, _ in page.tags].count("script") == 2
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert images
    assert all(str(attrs["src"]).startswith("data:image/jpeg;base64,") for attrs in images)
    assert "&lt;script&gt;" in text
    assert "green &amp; co" in text
    assert "the &lt;b&gt;other&lt;/b&gt;" in text
    assert "<script>" in read_script_data(page)["labels"]


def test_make_report__loads_nothing(text: str, page: Page) -> None:
    for _, attrs in page.tags:
        for name in ("src", "href", "action", "srcset"):
            assert str(attrs.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"url\(|@import|https?://", text)


def test_make_report__content_security_policy(page: Page) -> None:
    (policy,) = (
        attrs["content"]
        for tag, attrs in page.tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    (style,), (_, script) = page.code["style"], page.code["script"]
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{hash_to_base64(style)}'",
        "script-src": f"'sha256-{hash_to_base64(script)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # The policy forbids style attributes.
    assert not any("style" in attrs for _, attrs in page.tags)


def hash_to_base64(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_make_report__accessible(page: Page) -> None:
    assert ("html", {"lang": "en"}) in page.tags
    for tag, attrs in page.tags:
        if tag == "img":
            assert attrs["alt"]
        if tag == "th":
            assert attrs["scope"] in {"col", "row"}
        if tag == "svg":
            assert attrs.get("aria-hidden") or attrs.get("aria-label")
        if tag == "button":
            assert attrs["type"] == "button"


def test_make_report__script_data(page: Page, evaluation: Evaluation) -> None:
    data = read_script_data(page)
    assert data["total"] == len(data["rows"]) == len(data["thumbnails"]) == 20
    assert sorted(row[4] for row in data["rows"]) == list(range(20))
    pairs = np.column_stack([evaluation.targets, evaluation.main.predictions.predicted])
    assert sorted(row[1:3] for row in data["rows"]) == sorted(pairs.tolist())
    assert len(data["curve"]) == 101
    assert data["curve"][0] == [20, 17]


def test_make_report__mistakes_and_disagreements(text: str) -> None:
    assert "All 3 mistakes, sorted by score" in text
    assert text.count('alt="Saliency map: ') == 3
    assert "<p>15 of 20 images. ✓ marks correct predictions.</p>" in text
    assert text.count("✗ red") == 14


def test_render_report__size_for_100_000_images(large_evaluation: Evaluation) -> None:
    selection = select_images(large_evaluation, 24)
    # Each thumbnail has a realistic size.
    uri = "data:image/jpeg;base64," + "A" * 4000
    thumbnails = dict.fromkeys(selection.listed[:MAX_THUMBNAILS].tolist(), uri)
    thumbnails |= dict.fromkeys(selection.disagreements.tolist(), uri)
    text = render_report(large_evaluation, selection, [], thumbnails, [])
    assert len(text) < 5e6
    assert "5,000 of 100,000 images can be viewed on this page" in text
    assert f"{len(thumbnails)} have a thumbnail" in text


@pytest.mark.parametrize("predicted", [0, 1])
def test_render_report__one_image(predicted: int) -> None:
    evaluation = make_evaluation(("a", "b"), np.array([0]), np.array([predicted]))
    text = render_report(evaluation, select_images(evaluation, 0), [], {0: ""}, [])
    assert Page(text).open == []
    assert ("Most frequent confusions" in text) == (predicted == 1)
    assert "Mistakes with the highest scores" not in text


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/int8.onnx", "b/fp32.onnx"], ["int8.onnx", "fp32.onnx"]),
        (["a/m.onnx", "b/m.onnx"], ["a/m.onnx", "b/m.onnx"]),
    ],
)
def test_shorten_names__only_if_unique(names: list[str], expected: list[str]) -> None:
    assert shorten_names(names) == expected
