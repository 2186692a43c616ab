import errno
import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from boats_runtime.errors import OutputError, RunError
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from boats_train.runs.run import (
    Run,
    check_output,
    find_run,
    library_versions,
    load_run,
    read_config,
    write_run,
)
from support.networks import Payload

FILES = (
    "config.json",
    "metrics.json",
    "versions.json",
    "backbone.safetensors",
    "estimator.skops",
    "digests.json",
)


def make_run(loaded_run: Run, backbone: str, width: int) -> Run:
    """Return `loaded_run` with another network and an estimator fitted on noise."""
    torch.manual_seed(0)
    network = FeatureNetwork(build_backbone(backbone), loaded_run.preprocessing)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, width)).astype(np.float32)
    estimator = LogisticRegression().fit(features, np.arange(30) % 3)
    config = replace(loaded_run.config, backbone=backbone)
    return replace(loaded_run, config=config, network=network, estimator=estimator)


@pytest.fixture(scope="module")
def run(loaded_run: Run) -> Run:
    """A small run."""
    return make_run(loaded_run, "shufflenet_v2_x0_5", 1024)


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(run, tmp_path_factory.mktemp("runs"), "written")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of `written` to change."""
    return Path(shutil.copytree(written, tmp_path / "copy"))


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of a run and its digest."""
    (folder / name).write_bytes(content)
    digests = json.loads((folder / "digests.json").read_text())
    digests[name] = hashlib.sha256(content).hexdigest()
    (folder / "digests.json").write_text(json.dumps(digests))


def rewrite_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    rewrite(folder, "config.json", json.dumps(config).encode())


def classify(run: Run) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (5, 64, 160, 3), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        return run.estimator.predict_proba(run.network(pixels).numpy())


@pytest.mark.parametrize(
    ("backbone", "width"),
    [("shufflenet_v2_x0_5", 1024), ("mnasnet0_5", 1280), ("squeezenet1_1", 512), ("swin_t", 768)],
)
def test_load_run__gives_the_same_probabilities(
    loaded_run: Run, backbone: str, width: int, tmp_path: Path
) -> None:
    run = make_run(loaded_run, backbone, width)
    loaded = load_run(write_run(run, tmp_path, "name"))
    np.testing.assert_array_equal(classify(loaded), classify(run))


def test_load_run__other_attributes(run: Run, written: Path) -> None:
    loaded = load_run(written)
    assert loaded.config == run.config
    assert loaded.classes == run.classes == ("barca lunga", "gòndola", "topa")
    assert loaded.preprocessing == run.preprocessing
    assert loaded.metrics == run.metrics
    assert loaded.versions == run.versions == library_versions()
    assert set(loaded.versions) == {
        "python", "boats", "numpy", "pillow", "scikit-learn", "skops", "torch", "torchvision",
    }  # fmt: skip
    assert not loaded.network.training


def test_write_run__files(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == set(FILES)
    digests = json.loads((written / "digests.json").read_text())
    assert digests == {
        name: hashlib.sha256((written / name).read_bytes()).hexdigest()
        for name in FILES
        if name != "digests.json"
    }
    assert written.stat().st_mode & 0o777 == 0o755


def test_write_run__latest_is_a_relative_link(run: Run, tmp_path: Path) -> None:
    parent = tmp_path / "some" / "runs"
    for name in ("first", "second"):
        assert write_run(run, parent, name) == parent / name
        assert (parent / "latest").readlink() == Path(name)
    assert sorted(path.name for path in parent.iterdir()) == ["first", "latest", "second"]
    assert load_run(parent / "latest").config == run.config


def test_write_run__symbolic_links_are_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for name in ("first", "second"):
        folder = write_run(replace(run, versions={"boats": name}), tmp_path, name)
        assert (tmp_path / "latest").read_text() == f"{name}\n"
        for path in (tmp_path, tmp_path / "latest"):
            assert find_run(path) == folder
            assert load_run(path).versions == {"boats": name}
    monkeypatch.undo()
    write_run(run, tmp_path, "third")
    assert (tmp_path / "latest").readlink() == Path("third")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "first", "latest", "second", "third",
    ]  # fmt: skip


def test_find_run__text_file_names_no_run(tmp_path: Path) -> None:
    (tmp_path / "latest").write_text("../elsewhere\n")
    with pytest.raises(RunError, match="not a run folder"):
        load_run(tmp_path)


def test_write_run__name_exists(run: Run, tmp_path: Path) -> None:
    names = [write_run(run, tmp_path, "name").name for _ in range(3)]
    assert names == ["name", "name-2", "name-3"]
    assert (tmp_path / "latest").readlink() == Path("name-3")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc")  # noqa: PTH112
def test_write_run__parent_cannot_be_written(run: Run) -> None:
    with pytest.raises(OutputError, match=r"/proc/boats: the run cannot be written: "):
        write_run(run, Path("/proc/boats"), "name")


def test_write_run__latest_is_a_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(OutputError, match=r"latest: not a link to the latest run; rename it"):
        write_run(run, tmp_path, "name")
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_check_output__creates_nothing(tmp_path: Path) -> None:
    check_output(tmp_path / "some" / "runs")
    assert list(tmp_path.iterdir()) == []


def test_read_config__invalid_file(folder: Path) -> None:
    (folder / "config.json").write_text("[]")
    with pytest.raises(RunError, match=f"^{folder}: config.json is not a JSON object"):
        read_config(folder)


def test_load_run__folder_of_runs(run: Run, tmp_path: Path) -> None:
    write_run(run, tmp_path / "runs", "first")
    latest = replace(run, versions={"boats": "latest"})
    write_run(latest, tmp_path / "runs", "second")
    assert load_run(tmp_path / "runs").versions == latest.versions
    assert read_config(tmp_path / "runs") == run.config


def test_load_run__not_a_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "latest"):
        with pytest.raises(RunError, match="not a run folder; train a run with boats-train"):
            load_run(folder)


@pytest.mark.parametrize("name", FILES)
def test_load_run__file_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    message = "not a run folder" if name == "config.json" else f"copy: {name} does not exist"
    with pytest.raises(RunError, match=message):
        load_run(folder)


@pytest.mark.parametrize("name", FILES[:-1])
@pytest.mark.parametrize("change", ["a bit", "shorter", "empty"])
def test_load_run__file_altered(folder: Path, name: str, change: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    changed = {"a bit": bytes(content), "shorter": bytes(content[:-1]), "empty": b""}[change]
    (folder / name).write_bytes(changed)
    with pytest.raises(RunError, match=f"copy: {name} was changed after the training"):
        load_run(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "digests.json is not JSON"),
        (b"\xff\xfe", "digests.json is not JSON"),
        (b"[]", "digests.json is not a JSON object"),
        (b"{}", "config.json was changed after the training"),
    ],
)
def test_load_run__digests_altered(folder: Path, content: bytes, message: str) -> None:
    (folder / "digests.json").write_bytes(content)
    with pytest.raises(RunError, match=message):
        load_run(folder)


@pytest.mark.parametrize("version", [2, 0, None, "1"])
def test_load_run__other_schema(folder: Path, version: object) -> None:
    rewrite_config(folder, lambda config: config.update(schema_version=version))
    with pytest.raises(RunError, match=rf"schema version {version!r} instead of 1: .*newer boats"):
        load_run(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("config"), "exactly the keys"),
        (lambda config: config["config"].update(seed="0"), "config: seed is '0'"),
        (lambda config: config["config"].update(height=1), "--image-size 1x160"),
        (lambda config: config["config"].update(backbone="boatnet"), "--backbone boatnet: not a"),
        (lambda config: config.pop("preprocessing"), "preprocessing: expected the keys"),
        (lambda config: config["preprocessing"].update(height=0), "height is 0"),
        (lambda config: config.pop("classes"), "classes is not a list of strings"),
        (lambda config: config.update(classes="abc"), "classes is not a list of strings"),
        (lambda config: config.update(classes=[1, 2, 3]), "classes is not a list of strings"),
    ],
)
def test_load_run__invalid_config(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    rewrite_config(folder, change)
    with pytest.raises(RunError, match=rf"^{folder}: .*{message}"):
        load_run(folder)


def test_load_run__backbone_of_another_network(folder: Path) -> None:
    rewrite_config(folder, lambda config: config["config"].update(backbone="shufflenet_v2_x1_0"))
    with pytest.raises(
        RunError, match=r"backbone\.safetensors: not weights of shufflenet_v2_x1_0: "
    ):
        load_run(folder)


def test_load_run__backbone_is_not_safetensors(folder: Path) -> None:
    rewrite(folder, "backbone.safetensors", b"not tensors")
    with pytest.raises(RunError, match="not weights of shufflenet_v2_x0_5: "):
        load_run(folder)


def test_load_run__untrusted_type(folder: Path) -> None:
    import skops.io  # after boats_train.runs.run, which ignores its warnings

    rewrite(folder, "estimator.skops", skops.io.dumps(FunctionTransformer(func=os.system)))
    with pytest.raises(RunError, match=r"estimator\.skops: untrusted types: posix\.system"):
        load_run(folder)


def test_load_run__estimator_is_a_pickle(folder: Path, tmp_path: Path) -> None:
    created = tmp_path / "created"
    content = pickle.dumps(Payload(created))
    rewrite(folder, "estimator.skops", content)
    with pytest.raises(RunError, match=r"estimator\.skops: cannot be read"):
        load_run(folder)
    assert not created.exists()
    pickle.loads(content)  # noqa: S301
    assert created.exists()


@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "pickle.loads"])
def test_load_run__archive_with_a_function(folder: Path, function: str) -> None:
    """The class of the estimator in the archive is replaced by a function."""
    with zipfile.ZipFile(folder / "estimator.skops") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(contents["schema.json"])
    schema["__module__"], schema["__class__"] = function.split(".")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (contents | {"schema.json": json.dumps(schema).encode()}).items():
            archive.writestr(name, content)
    rewrite(folder, "estimator.skops", buffer.getvalue())
    with pytest.raises(RunError, match=f"untrusted types: {function}"):
        load_run(folder)
