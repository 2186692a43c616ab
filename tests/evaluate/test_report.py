import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.report import make_report, render, short_names
from boats_evaluate.selection import MAX_PICTURES, select
from boats_runtime.classifier import Classifier

MakeEvaluation = Callable[..., Evaluation]
VOID = {"meta", "link", "img", "input", "br", "line", "circle", "rect", "polyline"}


class Page(HTMLParser):
    """Collects a page's tags, and the text inside scripts and styles."""

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
def text(evaluated: Evaluation, colours: Path) -> str:
    return make_report(evaluated, Classifier(colours, "cpu"), [("the <b>other</b>", 0.872)], 24)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def data_of(page: Page) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(page.code["script"][0])
    return value


def test_make_report__well_formed(page: Page) -> None:
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    anchors = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert anchors <= {f"#{name}" for name in ids}


def test_make_report__names_are_text(text: str, page: Page) -> None:
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 2
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert images
    assert all(str(attrs["src"]).startswith("data:image/jpeg;base64,") for attrs in images)
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert "&lt;script&gt;" in text
    assert "green &amp; co" in text
    assert "the &lt;b&gt;other&lt;/b&gt;" in text
    assert "<script>" in data_of(page)["labels"]


def test_make_report__loads_nothing(text: str, page: Page) -> None:
    for _, attrs in page.tags:
        for name in ("src", "href", "action", "srcset"):
            assert str(attrs.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"url\(|@import|https?://", text)


def test_make_report__policy_allows_its_own_code_alone(page: Page) -> None:
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
        "style-src": f"'sha256-{to_base64(style)}'",
        "script-src": f"'sha256-{to_base64(script)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # A policy of digests forbids styles in attributes.
    assert not any("style" in attrs for _, attrs in page.tags)


def to_base64(text: str) -> str:
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


def test_make_report__what_the_scripts_need(page: Page, evaluated: Evaluation) -> None:
    data = data_of(page)
    assert data["photos"] == len(data["rows"]) == len(data["pictures"]) == 20
    assert sorted(row[4] for row in data["rows"]) == list(range(20))
    truth = sorted(row[1:3] for row in data["rows"])
    pairs = zip(evaluated.targets, evaluated.main.answers.predicted, strict=True)
    assert truth == sorted([int(one), int(other)] for one, other in pairs)
    assert len(data["curve"]) == 101
    assert data["curve"][0] == [20, 17]


def test_make_report__mistakes_and_where_it_looked(text: str) -> None:
    assert "All 3 mistakes, the highest score first" in text
    assert text.count('alt="Where the model looked: ') == 3


def test_make_report__disagreements_are_shown(text: str) -> None:
    # All that it doesn't take for red itself.
    assert "<p>15 of 20 photos. ✓ marks what is right.</p>" in text
    assert text.count("✗ red") == 14


def test_render__bounded_and_says_so(make_evaluation: MakeEvaluation) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 16, 100_000)
    predicted = np.where(rng.random(100_000) < 0.9, targets, rng.integers(0, 16, 100_000))
    labels = tuple(f"class {number}" for number in range(16))
    evaluation = make_evaluation(labels, targets, predicted, scores=rng.random(100_000))
    chosen = select(evaluation, 24)
    places = chosen.listed[:MAX_PICTURES].tolist()
    # Each picture as large as real ones are.
    small = dict.fromkeys(places, "data:image/jpeg;base64," + "A" * 4000)
    text = render(evaluation, chosen, [], small, [])
    assert len(text) < 5e6
    assert "5,000 of 100,000 photos can be looked at in this page" in text
    assert "600 have a picture" in text


@pytest.mark.parametrize("predicted", [0, 1])
def test_render__one_photo(make_evaluation: MakeEvaluation, predicted: int) -> None:
    evaluation = make_evaluation(("a", "b"), np.array([0]), np.array([predicted]))
    text = render(evaluation, select(evaluation, 0), [], {0: ""}, [])
    assert Page(text).open == []
    assert ("Most frequent mistakes" in text) == (predicted == 1)
    assert "The surest mistakes" not in text


def test_short_names__only_where_they_differ() -> None:
    assert short_names(["a/int8.onnx", "b/fp32.onnx"]) == ["int8.onnx", "fp32.onnx"]
    assert short_names(["a/m.onnx", "b/m.onnx"]) == ["a/m.onnx", "b/m.onnx"]
