"""The page: one file that opens offline, for people who decide by looking."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.file_metrics import CLAIMABLE
from boats_evaluate.results import find_strangers
from boats_evaluate.saliency import Saliency, draw_saliency, find_saliency
from boats_evaluate.selection import MAX_PICTURES, Selection, choose_classes, select
from boats_evaluate.thumbnails import LARGE, draw_small, fit, to_uri
from boats_runtime import __version__
from boats_runtime.classifier import Classifier
from boats_runtime.errors import ImageError
from boats_runtime.progress import track

SCRIPTS = ("sorting.js", "confusion.js", "threshold.js")
TOP = 12
"""Confusions that are listed."""

MAX_UNREADABLE = 100
"""Photos that can't be read that are listed."""

SHADES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
"""Shares of a class at which a cell of the confusion matrix becomes a shade darker."""


@dataclass(frozen=True)
class Mistake:
    """A mistake that is shown large.

    Attributes:
        place: In `Evaluation.photos`.
        photo: Data URI of the photo.
        saliency: Data URI of where the file looked.
        looked: The same in words.
    """

    place: int
    photo: str
    saliency: str
    looked: str


def make_report(
    evaluation: Evaluation,
    classifier: Classifier,
    references: Sequence[tuple[str, float]],
    mistakes: int,
) -> str:
    """Makes the page.

    Args:
        evaluation: What the files said.
        classifier: The judged file, which is asked where it looked.
        references: Names and accuracies of others, on other photos.
        mistakes: How many are shown large.
    """
    chosen = select(evaluation, mistakes)
    shown = track(chosen.mistakes.tolist(), "mistakes explained")
    large = [explain(evaluation, classifier, place) for place in shown]
    pictured = [*chosen.listed[:MAX_PICTURES].tolist(), *chosen.disagreements.tolist()]
    places = list(dict.fromkeys(pictured))
    uris = draw_small([evaluation.photos[place] for place in places])
    small = dict(zip(places, uris, strict=True))
    return render(evaluation, chosen, large, small, references)


def explain(evaluation: Evaluation, classifier: Classifier, place: int) -> Mistake:
    """Asks the file where it looked on one photo."""
    photo, answers = evaluation.photos[place], evaluation.main.answers
    try:
        image = fit(photo, LARGE)
        pixels = classifier.prepare(photo.path)
    except ImageError:  # gone since it was judged
        return Mistake(place, "", "", "the photo can't be read any more")
    predicted, score = int(answers.predicted[place]), float(answers.scores[place])
    saliency = find_saliency(classifier, pixels, predicted, score)
    return Mistake(place, to_uri(image), to_uri(draw_saliency(image, saliency)), _tell(saliency))


def render(
    evaluation: Evaluation,
    chosen: Selection,
    mistakes: Sequence[Mistake],
    small: dict[int, str],
    references: Sequence[tuple[str, float]],
) -> str:
    """Fills the page's template; names are escaped, and nothing may be loaded from elsewhere.

    Args:
        evaluation: What the files said.
        chosen: What is shown of it.
        mistakes: Those that are shown large.
        small: Data URIs of photos, by their place in `Evaluation.photos`.
        references: Names and accuracies of others, on other photos.
    """
    page = package_files("boats_evaluate") / "page"
    style = (page / "report.css").read_text(encoding="utf-8")
    script = "\n".join((page / name).read_text(encoding="utf-8") for name in SCRIPTS)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("boats_evaluate", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "share": _share, "thousands": "{:,}".format}
    environment.globals["shade"] = _shade
    main = evaluation.main
    return environment.get_template("report.html.jinja").render(
        evaluation=evaluation,
        main=main,
        names=short_names([file.name for file in evaluation.files]),
        folder="/".join(evaluation.folder.resolve().parts[-2:]),
        metrics=main.measures.metrics,
        right=int(evaluation.right.sum()),
        chosen=chosen,
        classes=choose_classes(evaluation).tolist(),
        confusions=main.measures.confusions[:TOP],
        mistakes=mistakes,
        small=small,
        strangers=list(find_strangers(evaluation, main)),
        unreadable=evaluation.unreadable[:MAX_UNREADABLE],
        references=references,
        claimable=CLAIMABLE,
        data=_data(evaluation, chosen, small),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        style=style,
        style_hash=_digest(style),
        script=script,
        script_hash=_digest(script),
    )


def short_names(names: Sequence[str]) -> list[str]:
    """Returns files' names without their folders, where that still tells them apart."""
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(short) else list(names)


def _data(evaluation: Evaluation, chosen: Selection, small: dict[int, str]) -> dict[str, Any]:
    """Returns what the page's scripts need; rows are arrays, to be small.

    A row is: file name, true class, predicted class, score, place of its picture or -1.
    """
    answers, photos = evaluation.main.answers, len(evaluation.photos)
    uris = [uri for uri in small.values() if uri]
    pictures = {place: number for number, place in enumerate(p for p, uri in small.items() if uri)}
    return {
        "labels": evaluation.labels,
        "rows": [
            [
                evaluation.photos[place].path.name,
                int(evaluation.targets[place]),
                int(answers.predicted[place]),
                round(float(answers.scores[place]), 3),
                pictures.get(place, -1),
            ]
            for place in chosen.listed.tolist()
        ],
        "pictures": uris,
        "photos": photos,
        "curve": _counts(evaluation.main.measures.curve, photos),
    }


def _counts(curve: Iterable[tuple[float, float, float | None]], photos: int) -> list[list[int]]:
    """Returns how many photos are answered, and how many rightly, at each threshold."""
    rows = []
    for _, coverage, accuracy in curve:
        answered = round(coverage * photos)
        rows.append([answered, round((accuracy or 0.0) * answered)])
    return rows


def _tell(saliency: Saliency) -> str:
    if not saliency.place:
        return "no part alone decides"
    return f"most at the {saliency.place}: {saliency.largest:.2f} less if it is blurred"


def _shade(count: int, support: int) -> int:
    """Returns 0 to 6: how large a part of its class a cell is."""
    return int(np.searchsorted(SHADES, count / support, side="right"))


def _percent(share: float | None) -> str:
    return "\N{EN DASH}" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _digest(text: str) -> str:
    """Returns a text's SHA-256 as a Content-Security-Policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
