"""What was measured, as lines for a terminal."""

from collections.abc import Iterator, Sequence

from boats_evaluate.evaluation import Evaluation, FileResult
from boats_evaluate.file_metrics import CLAIMABLE
from boats_evaluate.gate import Verdict
from boats_evaluate.results import find_strangers
from boats_metrics.classification import format_class_table

TOP = 10
"""Confusions, and photos that can't be read, that are listed."""


def to_lines(evaluation: Evaluation, references: Sequence[tuple[str, float]]) -> Iterator[str]:
    """Yields what a person wants to know.

    Args:
        evaluation: What the files said.
        references: Names and accuracies of others, on other photos.
    """
    main = evaluation.main
    yield f"{main.name} on {evaluation.folder}: {len(evaluation.photos)} photos"
    yield from _summary(main)
    yield ""
    yield from _classes(main)
    if main.measures.confusions:
        yield ""
        yield from _confusions(main)
    if evaluation.groups:
        yield ""
        yield from _groups(evaluation)
    if evaluation.files[1:] or references:
        yield ""
        yield from _files(evaluation, references)
    if evaluation.strangers:
        yield ""
        yield from _strangers(evaluation)
    if evaluation.unreadable:
        yield ""
        yield "could not be read, and not counted"
        for name, error in evaluation.unreadable[:TOP]:
            yield f"  {name}: {error}"
        if evaluation.unreadable[TOP:]:
            yield f"  and {len(evaluation.unreadable) - TOP} more: --json lists all"


def gate_lines(verdict: Verdict) -> Iterator[str]:
    """Yields what the gate found."""
    outcome = "refused" if verdict.refused else "passed"
    yield f"gate {outcome}: against {verdict.baseline} on the same {verdict.photos} photos"
    if verdict.only_now or verdict.only_then:
        yield (
            f"  not compared: {verdict.only_now} photos that the baseline lacks, "
            f"{verdict.only_then} that are only in it"
        )
    width = max(len(check.name) for check in verdict.checks)
    yield f"  {'':{width}}  before    now  p(worse)"
    for check in verdict.checks:
        sign = "  refused" if check.refused else ""
        numbers = f"{check.before:6.3f}  {check.after:5.3f}  {check.p_worse:8.2g}"
        yield f"  {check.name:{width}}  {numbers}{sign}"
    if verdict.too_few:
        yield f"  not checked, fewer than {CLAIMABLE} photos: {', '.join(verdict.too_few)}"


def _summary(file: FileResult) -> Iterator[str]:
    metrics, measures = file.measures.metrics, file.measures
    for name, value, (low, high) in (
        ("accuracy", metrics.accuracy, metrics.intervals.accuracy),
        ("balanced accuracy", metrics.balanced_accuracy, metrics.intervals.balanced_accuracy),
        ("macro-F1", metrics.macro_f1, metrics.intervals.macro_f1),
    ):
        yield f"  {name:17}  {value:.3f} (95 %: {low:.3f} to {high:.3f})"
    yield f"  {'calibration error':17}  {measures.reliability.calibration_error:.3f}"
    threshold, coverage, accuracy = measures.point
    rightly = "" if accuracy is None else f", {accuracy:.1%} of those rightly"
    yield (
        f"  {f'unknown under {threshold:g}':17}  {coverage:.1%} of the photos are answered{rightly}"
    )


def _classes(file: FileResult) -> Iterator[str]:
    header, *lines = format_class_table(file.measures.metrics)
    yield header
    few = False
    for line, row in zip(lines, file.measures.metrics.classes, strict=True):
        few = few or row.support < CLAIMABLE
        yield line + (" *" if row.support < CLAIMABLE else "")
    if few:
        yield f"* fewer than {CLAIMABLE} photos: nothing can be claimed of this class"


def _confusions(file: FileResult) -> Iterator[str]:
    shown = file.measures.confusions[:TOP]
    yield "most frequent mistakes"
    left = max(len(one.label) for one in shown)
    right = max(len(one.predicted) for one in shown)
    for one in shown:
        yield (
            f"  {one.label:{left}}  taken for  {one.predicted:{right}}"
            f"  {one.count:4d} of {one.support}"
        )
    more = file.measures.confusions[TOP:]
    if more:
        yield f"  and {sum(one.count for one in more)} photos in {len(more)} other ways"


def _groups(evaluation: Evaluation) -> Iterator[str]:
    groups = evaluation.groups
    if groups is None:
        return
    width = max(len("group"), *(len(group.name) for group in groups.shown))
    yield f"{'group':{width}}  accuracy (95 %)         macro-F1  photos"
    for group in groups.shown:
        metrics = group.metrics
        low, high = metrics.intervals.accuracy
        sign = " *" if metrics.images < CLAIMABLE else ""
        yield (
            f"{group.name:{width}}  {metrics.accuracy:.3f} ({low:.3f} to {high:.3f})"
            f"  {metrics.macro_f1:8.3f}  {metrics.images:6d}{sign}"
        )
    if groups.left_out:
        yield f"and {groups.left_out} smaller groups"


def _files(evaluation: Evaluation, references: Sequence[tuple[str, float]]) -> Iterator[str]:
    names = [file.name for file in evaluation.files] + [name for name, _ in references]
    width = max(len("file"), *map(len, names))
    yield f"{'file':{width}}  accuracy  balanced  macro-F1  worse on  better on  p (McNemar)"
    for file in evaluation.files:
        metrics = file.measures.metrics
        numbers = (
            f"{metrics.accuracy:8.3f}  {metrics.balanced_accuracy:8.3f}  {metrics.macro_f1:8.3f}"
        )
        pair = file.pairing
        paired = f"  {pair.lost:8d}  {pair.won:9d}  {pair.p_two_sided:11.2g}" if pair else ""
        yield f"{file.name:{width}}  {numbers}{paired}"
    for name, accuracy in references:
        yield f"{name:{width}}  {accuracy:8.3f}  on other photos, as given"


def _strangers(evaluation: Evaluation) -> Iterator[str]:
    yield "classes that the model doesn't know, counted apart"
    rows = list(find_strangers(evaluation, evaluation.main))
    width = max(len(row.label) for row in rows)
    for row in rows:
        yield (
            f"  {row.label:{width}}  {row.called_unknown} of {row.photos} called unknown, "
            f"most taken for {row.taken_for}"
        )
