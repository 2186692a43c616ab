from dataclasses import replace

import numpy as np
import pytest

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.notes import (
    describe_split,
    find_training_split,
    is_epoch_chosen,
)
from boats_evaluate.report import render_report
from boats_evaluate.results import to_json
from boats_evaluate.selection import select_images
from boats_evaluate.terminal import format_evaluation
from support.evaluations import make_evaluation

PROVENANCE = {
    "config": {"model": "finetune", "unfreeze": "2"},
    "data": {"train": "1", "valid": "2"},
}


@pytest.fixture
def grouped() -> Evaluation:
    """Evaluation of images of three classes on two days; class c occurs on one day only."""
    targets = np.repeat([0, 1, 2], [20, 20, 10])
    groups = np.where(targets == 2, 1, np.arange(50) % 2)
    evaluation = make_evaluation(("a", "b", "c"), targets, targets, groups=groups)
    file = replace(evaluation.main, training_split="valid", epoch_chosen=True)
    return replace(evaluation, files=(file,))


def render(evaluation: Evaluation) -> str:
    return render_report(evaluation, select_images(evaluation, 0), [], {}, [])


def test_find_training_split__by_the_digest_of_the_images() -> None:
    assert find_training_split(PROVENANCE, "2") == "valid"
    assert find_training_split(PROVENANCE, "3") is None


@pytest.mark.parametrize("value", [None, [], "2", 2])
def test_find_training_split__malformed_provenance(value: object) -> None:
    assert find_training_split({"data": value}, "2") is None
    assert not is_epoch_chosen({"config": value})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model": "finetune", "unfreeze": "2"}, True),
        ({"model": "finetune", "unfreeze": "0"}, False),
        ({"model": "cnn", "unfreeze": "0"}, False),
        ({"model": "svm", "unfreeze": "all"}, False),
        ({"model": "svm"}, False),
    ],
)
def test_is_epoch_chosen__only_where_the_backbone_is_trained(
    config: dict[str, str], expected: bool
) -> None:
    assert is_epoch_chosen({"config": config}) is expected


def test_describe_split__only_where_the_number_is_optimistic() -> None:
    assert "trained on these" in describe_split("train", epoch_chosen=False)
    assert "epoch" in describe_split("valid", epoch_chosen=True)
    assert "epoch" not in describe_split("valid", epoch_chosen=False)
    assert (
        describe_split("test", epoch_chosen=True) == describe_split(None, epoch_chosen=True) == ""
    )


def test_format_evaluation__marks_classes_of_one_group(grouped: Evaluation) -> None:
    lines = format_evaluation(grouped, []).splitlines()
    assert [line[0] for line in lines if line.endswith(" +")] == ["c"]
    assert "+ images of one group only: says nothing about other groups" in lines
    assert to_json(grouped)["files"][0]["one_group_classes"] == ("c",)
    assert render(grouped).count(">one group</span>") == 1


def test_format_evaluation__without_groups_nothing_is_marked(grouped: Evaluation) -> None:
    evaluation = make_evaluation(grouped.labels, grouped.targets, grouped.targets)
    assert " +" not in format_evaluation(evaluation, [])
    assert ">one group<" not in render(evaluation)


def test_format_evaluation__names_the_choice_of_the_epoch(grouped: Evaluation) -> None:
    note = "the epoch of the model was chosen by its macro-F1 on these images: too optimistic"
    assert f"  images             {note}" in format_evaluation(grouped, [])
    assert note in render(grouped)
    assert to_json(grouped)["files"][0]["epoch_chosen_on_these"] is True
