"""Report page: one HTML file that needs no other files and no network."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from boats_evaluate.evaluation import Evaluation, Reference
from boats_evaluate.file_metrics import MIN_SUPPORT
from boats_evaluate.gate import GateResult
from boats_evaluate.saliency import compute_saliency, draw_saliency
from boats_evaluate.selection import MAX_THUMBNAILS, PageSelection, select_classes, select_images
from boats_evaluate.thumbnails import MISTAKE_SIZE, encode_data_uri, load_reduced, make_thumbnails
from boats_metrics.jackknife import describe_intervals
from boats_runtime import __version__
from boats_runtime.classifier import Classifier
from boats_runtime.errors import ImageError
from boats_runtime.progress import track
from boats_runtime.text import escape_text

SCRIPTS = ("sorting.js", "confusion.js", "threshold.js")
MAX_CONFUSIONS = 12
MAX_UNREADABLE = 100

SHADES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
"""Shares of a class from which a cell of the confusion matrix has the next darker shade."""


@dataclass(frozen=True)
class Mistake:
    """An incorrect prediction, with the data URIs of the image and of its saliency map.

    The data URIs are empty if the file cannot be read anymore.
    """

    index: int
    image: str = ""
    saliency: str = ""
    description: str = "the image cannot be read anymore"


def make_report(
    evaluation: Evaluation,
    classifier: Classifier,
    references: Sequence[Reference],
    max_mistakes: int,
    gate: GateResult | None = None,
) -> str:
    """Make the report page.

    Args:
        evaluation: Evaluation.
        classifier: Evaluated model, for the saliency maps.
        references: Accuracies of other models on other images.
        max_mistakes: Maximum number of mistakes that are explained.
        gate: Result of the deployment gate, if there is one.
    """
    selection = select_images(evaluation, max_mistakes)
    indices = track(selection.mistakes.tolist(), "mistakes explained", len(selection.mistakes))
    mistakes = [explain_mistake(evaluation, classifier, index) for index in indices]
    with_thumbnail = np.append(selection.listed[:MAX_THUMBNAILS], selection.disagreements)
    unique = list(dict.fromkeys(with_thumbnail.tolist()))
    uris = make_thumbnails([evaluation.images[index] for index in unique])
    thumbnails = dict(zip(unique, uris, strict=True))
    return render_report(evaluation, selection, mistakes, thumbnails, references, gate)


def explain_mistake(evaluation: Evaluation, classifier: Classifier, index: int) -> Mistake:
    """Compute the saliency map of one image, given by its index into `Evaluation.images`."""
    image, predictions = evaluation.images[index], evaluation.main.predictions
    try:
        reduced = load_reduced(image, MISTAKE_SIZE)
        pixels = classifier.prepare(image.path)
    except ImageError:  # removed since the predictions
        return Mistake(index)
    predicted, score = int(predictions.predicted[index]), float(predictions.scores[index])
    saliency = compute_saliency(classifier, pixels, predicted, score)
    description = "no single part is decisive"
    if saliency.region:
        drop = saliency.max_drop
        description = f"mostly {saliency.region}: blurring it lowers the score by {drop:.2f}"
    drawing = draw_saliency(reduced, saliency)
    return Mistake(index, encode_data_uri(reduced), encode_data_uri(drawing), description)


def render_report(
    evaluation: Evaluation,
    selection: PageSelection,
    mistakes: Sequence[Mistake],
    thumbnails: Mapping[int, str],
    references: Sequence[Reference],
    gate: GateResult | None = None,
) -> str:
    """Render the template of the page.

    Names are escaped, also their control characters, and a Content-Security-Policy prevents the
    page from loading anything.

    Thumbnails are data URIs by index into `Evaluation.images`, empty for unreadable images.
    """
    page = package_files("boats_evaluate") / "page"
    style = (page / "report.css").read_text(encoding="utf-8")
    script = "\n".join((page / name).read_text(encoding="utf-8") for name in SCRIPTS)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("boats_evaluate", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _format_percent,
        "decimals": "{:.3f}".format,
        "thousands": "{:,}".format,
    }
    environment.globals |= {"shade": _select_shade, "describe_intervals": describe_intervals}
    main = evaluation.main
    return environment.get_template("report.html.jinja").render(
        evaluation=evaluation,
        main=main,
        names=shorten_names([file.name for file in evaluation.files]),
        folder="/".join(evaluation.folder.resolve().parts[-2:]),
        metrics=main.metrics.classification,
        reliability=main.metrics.reliability,
        correct=int(evaluation.correct.sum()),
        selection=selection,
        classes=select_classes(evaluation).tolist(),
        confusions=main.metrics.confusions[:MAX_CONFUSIONS],
        mistakes=mistakes,
        thumbnails=thumbnails,
        unreadable=evaluation.unreadable[:MAX_UNREADABLE],
        references=references,
        gate=gate,
        min_support=MIN_SUPPORT,
        data=_make_script_data(evaluation, selection, thumbnails),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        style=style,
        style_hash=_hash_for_policy(style),
        script=script,
        script_hash=_hash_for_policy(script),
    )


def shorten_names(names: Sequence[str]) -> list[str]:
    """Return the file names without folders; the full paths if file names are not unique."""
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(short) else list(names)


def _make_script_data(
    evaluation: Evaluation, selection: PageSelection, thumbnails: Mapping[int, str]
) -> dict[str, Any]:
    """Return the data of the page's scripts.

    Each row is an array, to keep the page small: file name, true class, predicted class, score,
    index of the thumbnail or -1. The curve has the numbers of covered images and of correct ones
    among them at each threshold.
    """
    predictions, total = evaluation.main.predictions, len(evaluation.images)
    available = {index: uri for index, uri in thumbnails.items() if uri}
    positions = {index: position for position, index in enumerate(available)}
    curve = evaluation.main.metrics.curve
    covered = [(round(point.coverage * total), point.accuracy or 0.0) for point in curve]
    return {
        "labels": list(map(escape_text, evaluation.labels)),
        "rows": [
            [
                escape_text(evaluation.images[index].path.name),
                int(evaluation.targets[index]),
                int(predictions.predicted[index]),
                round(float(predictions.scores[index]), 3),
                positions.get(index, -1),
            ]
            for index in selection.listed.tolist()
        ],
        "thumbnails": list(available.values()),
        "total": total,
        "curve": [[count, round(accuracy * count)] for count, accuracy in covered],
    }


def _finalize(value: object) -> object:
    """Escape control characters in a value of the template that is not HTML already."""
    return escape_text(value) if type(value) is str else value


def _select_shade(count: int, support: int) -> int:
    """Return the shade of a confusion matrix cell, 0 to `len(SHADES)`."""
    return int(np.searchsorted(SHADES, count / support, side="right"))


def _format_percent(share: float | None) -> str:
    return "\N{EN DASH}" if share is None else f"{100 * share:.1f}%"


def _hash_for_policy(text: str) -> str:
    """Return the SHA-256 of a text in the format of a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
