"""Text output of an evaluation."""

from collections.abc import Iterator, Sequence

from boats_evaluate.evaluation import Evaluation, FileResult, Reference
from boats_evaluate.file_metrics import MIN_SUPPORT, Confusion, Groups, UnknownClass
from boats_evaluate.gate import GateResult
from boats_metrics.classification import ClassificationMetrics, format_class_table
from boats_metrics.jackknife import describe_intervals
from boats_runtime.text import escape_text

MAX_ROWS = 10
"""Maximum number of confusions and of unreadable images that are listed."""


def format_evaluation(
    evaluation: Evaluation, references: Sequence[Reference], gate: GateResult | None = None
) -> str:
    """Return a text report with the result of the deployment gate, if there is one."""
    main = evaluation.main
    sections = (
        _format_summary(evaluation),
        _format_classes(main.metrics.classification),
        _format_confusions(main.metrics.confusions),
        _format_groups(evaluation.groups),
        _format_files(evaluation.files, references),
        _format_unknown_classes(main.unknown_classes),
        _format_unreadable(evaluation.unreadable),
        _format_gate(gate),
    )
    texts = ("\n".join(map(escape_text, section)) for section in sections)
    return "\n\n".join(filter(None, texts))


def _format_summary(evaluation: Evaluation) -> Iterator[str]:
    file = evaluation.main
    metrics, intervals = file.metrics.classification, file.metrics.classification.intervals
    yield f"{file.name} on {evaluation.folder}: {metrics.images} images"
    for name, value, (low, high) in (
        ("accuracy", metrics.accuracy, intervals.accuracy),
        ("balanced accuracy", metrics.balanced_accuracy, intervals.balanced_accuracy),
        ("macro-F1", metrics.macro_f1, intervals.macro_f1),
    ):
        yield f"  {name:17}  {value:.3f} (95%: {low:.3f} to {high:.3f})"
    yield f"  {'intervals':17}  {describe_intervals(intervals.unit, intervals.groups)}"
    if note := file.split_note:
        yield f"  {'images':17}  {note}"
    yield f"  {'calibration error':17}  {file.metrics.reliability.calibration_error:.3f}"
    threshold, coverage, accuracy = file.metrics.at_threshold
    selective = "" if accuracy is None else f", selective accuracy {accuracy:.1%}"
    name = f"threshold {threshold:g}" if threshold else "no threshold"
    yield f"  {name:17}  coverage {coverage:.1%}{selective}"


def _format_classes(metrics: ClassificationMetrics) -> Iterator[str]:
    header, *lines = format_class_table(metrics)
    yield header
    one_group = metrics.one_group_classes
    for line, row in zip(lines, metrics.classes, strict=True):
        few = " *" if row.support < MIN_SUPPORT else ""
        yield line + few + (" +" if row.label in one_group else "")
    if any(row.support < MIN_SUPPORT for row in metrics.classes):
        yield f"* fewer than {MIN_SUPPORT} images: not reliable"
    if one_group:
        yield "+ images of one group only: says nothing about other groups"


def _format_confusions(confusions: Sequence[Confusion]) -> Iterator[str]:
    shown, hidden = confusions[:MAX_ROWS], confusions[MAX_ROWS:]
    if not shown:
        return
    yield "most frequent confusions"
    label_width = max(len(row.label) for row in shown)
    predicted_width = max(len(row.predicted) for row in shown)
    for row in shown:
        yield (
            f"  {row.label:{label_width}}  predicted as  {row.predicted:{predicted_width}}"
            f"  {row.count:4d} of {row.support}"
        )
    if hidden:
        yield f"  and {sum(row.count for row in hidden)} images in {len(hidden)} other confusions"


def _format_groups(groups: Groups | None) -> Iterator[str]:
    if groups is None:
        return
    width = max(len("group"), *map(len, groups.shown))
    yield f"{'group':{width}}  accuracy (95%)          macro-F1  images"
    for name, metrics in groups.shown.items():
        low, high = metrics.intervals.accuracy
        mark = " *" if metrics.images < MIN_SUPPORT else ""
        yield (
            f"{name:{width}}  {metrics.accuracy:.3f} ({low:.3f} to {high:.3f})"
            f"  {metrics.macro_f1:8.3f}  {metrics.images:6d}{mark}"
        )
    if groups.omitted:
        yield f"and {groups.omitted} smaller groups"


def _format_files(files: Sequence[FileResult], references: Sequence[Reference]) -> Iterator[str]:
    names = [file.name for file in files] + [name for name, _ in references]
    if len(names) == 1:
        return
    width = max(len("file"), *map(len, names))
    yield f"{'file':{width}}  accuracy  balanced  macro-F1  lost  won            p"
    for file in files:
        metrics = file.metrics.classification
        line = f"{file.name:{width}}  {metrics.accuracy:8.3f}  {metrics.balanced_accuracy:8.3f}"
        line += f"  {metrics.macro_f1:8.3f}"
        if row := file.comparison:
            line += f"  {row.lost:4d}  {row.won:3d}  {row.p_two_sided:11.2g}"
        yield line
    for name, accuracy in references:
        yield f"{name:{width}}  {accuracy:8.3f}  reported on other images"
    if len(files) > 1:
        yield f"lost, won: images that only {names[0]} or only the other file predicts correctly"
        unit = files[0].metrics.classification.intervals.unit
        larger = ", or the jackknife over groups if its p is larger" if unit == "groups" else ""
        yield f"p: both are equally accurate, McNemar's test{larger}"


def _format_unknown_classes(rows: Sequence[UnknownClass]) -> Iterator[str]:
    if rows:
        yield "classes that the model does not have, not included in the metrics"
    width = max((len(row.label) for row in rows), default=0)
    for row in rows:
        yield (
            f"  {row.label:{width}}  {row.below_threshold} of {row.images} reported as unknown, "
            f"most frequent prediction: {row.top_prediction}"
        )


def _format_unreadable(unreadable: Sequence[tuple[str, str]]) -> Iterator[str]:
    if unreadable:
        yield "unreadable images, not included in the metrics"
    for name, error in unreadable[:MAX_ROWS]:
        yield f"  {name}: {error}"
    if unreadable[MAX_ROWS:]:
        yield f"  and {len(unreadable) - MAX_ROWS} more; --json lists all"


def _format_gate(result: GateResult | None) -> Iterator[str]:
    if result is None:
        return
    outcome = {"fail": "refused", "pass": "passed"}.get(result.verdict, result.verdict)
    yield f"gate {outcome}: compared with {result.baseline} on the same {result.images} images"
    yield f"  {describe_intervals(result.unit, result.groups)}"
    if result.only_evaluated or result.only_baseline:
        yield (
            f"  not compared: {result.only_evaluated} images missing from the baseline, "
            f"{result.only_baseline} images only in the baseline"
        )
    width = max(len(check.name) for check in result.checks)
    confidence = f"{1 - result.significance:.4g}"
    yield f"  {'':{width}}  before    now  loss in points, from .. to  allowed  verdict"
    for check in result.checks:
        low, high = check.loss
        worse = ", worse on these images" if check.refused and check.verdict != "fail" else ""
        yield (
            f"  {check.name:{width}}  {check.before:6.3f}  {check.after:5.3f}"
            f"  {low:16.1f} .. {high:5.1f}  {check.allowed_drop:7g}  {check.verdict}{worse}"
        )
    yield "  pass: no image is lost, or a loss above the allowed one is excluded"
    yield f"  fail: a loss above the allowed one is shown; losses at a confidence of {confidence}"
    if result.select("untested"):
        yield "  untested: too few images or groups to exclude a loss above the allowed one"
    if result.unchecked:
        yield f"  not checked, fewer than {MIN_SUPPORT} images: {', '.join(result.unchecked)}"
