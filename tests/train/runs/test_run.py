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
import safetensors.torch
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from boats_runtime.errors import OutputError, RunError
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from boats_train.runs.run import (
    Run,
    check_place,
    library_versions,
    load_run,
    read_config,
    write_run,
)

FILES = (
    "config.json",
    "metrics.json",
    "versions.json",
    "backbone.safetensors",
    "estimator.skops",
    "digests.json",
)


def make_run(loaded_run: Run, backbone: str, width: int) -> Run:
    """Gives `loaded_run` another network, and an estimator fitted on noise."""
    torch.manual_seed(0)
    network = FeatureNetwork(build_backbone(backbone), loaded_run.preprocessing)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, width)).astype(np.float32)
    estimator = LogisticRegression().fit(features, np.arange(30) % 3)
    config = replace(loaded_run.config, backbone=backbone)
    return replace(loaded_run, config=config, network=network, estimator=estimator)


@pytest.fixture(scope="module")
def run(loaded_run: Run) -> Run:
    """A run of 1.5 MB."""
    return make_run(loaded_run, "shufflenet_v2_x0_5", 1024)


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(run, tmp_path_factory.mktemp("runs"), "written")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(written, tmp_path / "copy"))


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Alters a file of a run as somebody would who alters its digest too."""
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


def test_load_run__trained_classifier(loaded_run: Run, tmp_path: Path) -> None:
    loaded = load_run(write_run(loaded_run, tmp_path, "name"))
    np.testing.assert_array_equal(classify(loaded), classify(loaded_run))


def test_load_run__keeps_everything_else(run: Run, written: Path) -> None:
    loaded = load_run(written)
    assert loaded.config == run.config
    assert loaded.classes == run.classes == ("barca lunga", "gòndola", "topa")
    assert loaded.preprocessing == run.preprocessing
    assert loaded.metrics == run.metrics
    assert loaded.versions == run.versions == library_versions()
    assert not loaded.network.training


def test_library_versions__of_everything_that_shapes_a_run() -> None:
    assert set(library_versions()) == {
        "python", "boats", "numpy", "pillow", "scikit-learn", "skops", "torch", "torchvision",
    }  # fmt: skip


def test_write_run__files(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == set(FILES)
    digests = json.loads((written / "digests.json").read_text())
    assert digests == {
        name: hashlib.sha256((written / name).read_bytes()).hexdigest()
        for name in FILES
        if name != "digests.json"
    }
    assert written.stat().st_mode & 0o777 == 0o755


def test_write_run__parent_is_made(run: Run, tmp_path: Path) -> None:
    folder = write_run(run, tmp_path / "some" / "runs", "name")
    assert folder == tmp_path / "some" / "runs" / "name"
    assert (folder / "digests.json").is_file()


def test_write_run__latest_moves(run: Run, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_run(run, tmp_path, name)
        # Relative: the folder of runs can be moved as a whole.
        assert (tmp_path / "latest").readlink() == Path(name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "latest", "second"]
    assert load_run(tmp_path / "latest").config == run.config


def test_write_run__name_is_taken(run: Run, tmp_path: Path) -> None:
    names = [write_run(run, tmp_path, "name").name for _ in range(3)]
    assert names == ["name", "name-2", "name-3"]
    assert (tmp_path / "latest").readlink() == Path("name-3")


def test_write_run__parent_is_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(OutputError, match=r"runs: the run can't be written: Not a directory"):
        write_run(run, tmp_path / "runs", "name")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc")  # noqa: PTH112
def test_write_run__parent_cant_be_written(run: Run) -> None:
    with pytest.raises(OutputError, match=r"/proc/boats: the run can't be written: "):
        write_run(run, Path("/proc/boats"), "name")


def test_write_run__latest_is_somebodys_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(OutputError, match=r"latest: is in the way of the link to the newest run"):
        write_run(run, tmp_path, "name")
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_check_place__makes_nothing(tmp_path: Path) -> None:
    check_place(tmp_path / "some" / "runs")
    assert list(tmp_path.iterdir()) == []


def test_read_config__names_the_folder(folder: Path) -> None:
    (folder / "config.json").write_text("[]")
    with pytest.raises(RunError, match=f"^{folder}: config.json is not a JSON object"):
        read_config(folder)


def test_write_run__nothing_is_left_of_a_failure(run: Run, tmp_path: Path) -> None:
    class Unknown:
        def __reduce__(self) -> str:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device"):
        write_run(replace(run, estimator=Unknown()), tmp_path, "name")
    assert list(tmp_path.iterdir()) == []


def test_load_run__no_run_here(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "latest"):
        with pytest.raises(RunError, match="no run here; train one with boats-train"):
            load_run(folder)


@pytest.mark.parametrize("name", FILES)
def test_load_run__file_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    message = "no run here" if name == "config.json" else f"copy: {name} is missing"
    with pytest.raises(RunError, match=message):
        load_run(folder)


@pytest.mark.parametrize("name", FILES[:-1])
@pytest.mark.parametrize("change", ["a bit", "shorter", "empty"])
def test_load_run__file_altered(folder: Path, name: str, change: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    changed = {"a bit": bytes(content), "shorter": bytes(content[:-1]), "empty": b""}[change]
    (folder / name).write_bytes(changed)
    with pytest.raises(RunError, match=f"copy: {name} is not the file that training wrote"):
        load_run(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "digests.json is not JSON"),
        (b"\xff\xfe", "digests.json is not JSON"),
        (b"[]", "digests.json is not a JSON object"),
        (b"{}", "config.json is not the file that training wrote"),
    ],
)
def test_load_run__digests_altered(folder: Path, content: bytes, message: str) -> None:
    (folder / "digests.json").write_bytes(content)
    with pytest.raises(RunError, match=message):
        load_run(folder)


@pytest.mark.parametrize("version", [2, 0, None, "1"])
def test_load_run__other_schema(folder: Path, version: object) -> None:
    rewrite_config(folder, lambda config: config.update(schema_version=version))
    with pytest.raises(RunError, match=rf"schema {version!r}, this boats reads 1: .*--upgrade"):
        load_run(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("config"), "exactly the keys"),
        (lambda config: config["config"].update(seed="0"), "its config has seed = '0'"),
        (lambda config: config["config"].update(height=1), "--image-size 1x160"),
        (lambda config: config["config"].update(backbone="boatnet"), "--backbone boatnet: not a"),
        (lambda config: config.pop("preprocessing"), "preprocessing: expected the keys"),
        (lambda config: config["preprocessing"].update(height=0), "height is 0"),
        (lambda config: config.pop("classes"), "classes is not a list of names"),
        (lambda config: config.update(classes="abc"), "classes is not a list of names"),
        (lambda config: config.update(classes=[1, 2, 3]), "classes is not a list of names"),
    ],
)
def test_load_run__config_is_not_one(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    rewrite_config(folder, change)
    with pytest.raises(RunError, match=rf"^{folder}: .*{message}"):
        load_run(folder)


def test_load_run__backbone_of_another_network(folder: Path) -> None:
    rewrite_config(folder, lambda config: config["config"].update(backbone="shufflenet_v2_x1_0"))
    with pytest.raises(RunError, match=r"backbone\.safetensors is not of shufflenet_v2_x1_0: "):
        load_run(folder)


@pytest.mark.parametrize(
    ("keep", "message"), [(slice(1, None), "it lacks conv1.0.weight"), (slice(0), "it lacks")]
)
def test_load_run__backbone_lacks_weights(folder: Path, keep: slice, message: str) -> None:
    state = build_backbone("shufflenet_v2_x0_5").state_dict()
    kept = {key: state[key] for key in list(state)[keep]}
    rewrite(folder, "backbone.safetensors", safetensors.torch.save(kept))
    with pytest.raises(RunError, match=rf"backbone\.safetensors is not of shuffle.*{message}"):
        load_run(folder)


def test_load_run__backbone_is_not_safetensors(folder: Path) -> None:
    rewrite(folder, "backbone.safetensors", b"not tensors")
    with pytest.raises(RunError, match=r"backbone\.safetensors is not of shufflenet_v2_x0_5"):
        load_run(folder)


def test_load_run__type_that_is_not_trusted(folder: Path) -> None:
    import skops.io  # after boats_train.runs.run, which knows of its warnings

    rewrite(folder, "estimator.skops", skops.io.dumps(FunctionTransformer(func=os.system)))
    with pytest.raises(RunError, match=r"estimator\.skops holds types not trusted: posix\.system"):
        load_run(folder)


class CodeInside:
    """Unpickled, it makes the file that it names."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.marker,)


def test_load_run__estimator_is_a_pickle(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "code ran"
    content = pickle.dumps(CodeInside(marker))
    rewrite(folder, "estimator.skops", content)
    with pytest.raises(RunError, match=r"estimator\.skops can't be read"):
        load_run(folder)
    assert not marker.exists()
    pickle.loads(content)  # noqa: S301
    assert marker.exists()


@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "pickle.loads"])
def test_load_run__archive_that_names_a_function(folder: Path, function: str) -> None:
    """A real archive, edited by hand: its classifier would be made by that function."""
    with zipfile.ZipFile(folder / "estimator.skops") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(contents["schema.json"])
    schema["__module__"], schema["__class__"] = function.split(".")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (contents | {"schema.json": json.dumps(schema).encode()}).items():
            archive.writestr(name, content)
    rewrite(folder, "estimator.skops", buffer.getvalue())
    with pytest.raises(RunError, match=f"types not trusted: {function}"):
        load_run(folder)
