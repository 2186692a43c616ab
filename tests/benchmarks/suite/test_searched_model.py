import json
from pathlib import Path

from boats_runtime.classifier import Classifier
from boats_runtime.preprocessing import Preprocessing
from suite import peer_runtimes
from suite.searched_model import DEFAULT, SearchedModel, read_searched_model


def test_read_searched_model__choice_of_the_record(tmp_path: Path) -> None:
    names = ("resnet18 64x64 fp32", "resnet18 96x64 int8")
    record = tmp_path / "search.json"
    candidates = [
        {
            "name": name,
            "backbone": "resnet18",
            "height": height,
            "width": 64,
            "precision": name[-4:],
            "cross_validation": {"folds": [0.8, 0.9]},
        }
        for name, height in zip(names, (64, 96), strict=True)
    ]
    environment = {"when": "2026-11-25T00:00:00Z", "commit": "abc"}
    content = {"candidates": candidates, "chosen": names[1], "circumstances": environment}
    record.write_text(json.dumps(content))
    model = read_searched_model(record)
    assert (model.backbone, model.precision) == ("resnet18", "int8")
    assert (model.preprocessing.height, model.preprocessing.width) == (96, 64)
    assert "accuracy 0.850 on held-out groups" in model.description


def test_read_searched_model__no_record(tmp_path: Path) -> None:
    assert read_searched_model(tmp_path / "search.json") == DEFAULT


def test_write_searched__file_that_is_timed(tmp_path: Path, image_path: Path) -> None:
    model = SearchedModel("shufflenet_v2_x0_5", Preprocessing(64, 96), "int8", "")
    peer_runtimes.write_searched(model, tmp_path / "searched.onnx")
    (tmp_path / "image.jpg").write_bytes(image_path.read_bytes())
    tasks = peer_runtimes.open_searched(tmp_path)
    assert list(tasks) == [peer_runtimes.SEARCHED, peer_runtimes.SEARCHED_FILE]
    for task in tasks.values():
        task()
    preprocessing = Classifier(tmp_path / "searched.onnx", "cpu").metadata.preprocessing
    assert (preprocessing.height, preprocessing.width) == (64, 96)


def test_write_searched__backbone_is_not_installed(tmp_path: Path) -> None:
    model = SearchedModel("no.such.module:make", Preprocessing(64, 96), "int8", "")
    peer_runtimes.write_searched(model, tmp_path / "searched.onnx")
    assert not list(tmp_path.iterdir())
