import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from boats_export import export
from boats_export.export import export_run
from boats_export.verify import find_photos
from boats_runtime.classifier import Classifier
from boats_runtime.errors import CheckError, DataError, ModelError, OutputError
from boats_train.run import Run


@pytest.fixture
def ready(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the tests the seconds of an export: what is exported is always `tiny_model`."""
    monkeypatch.setattr(export, "assemble", lambda _: onnx.load(tiny_model))


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Makes writing larger files fail, as on a full disk."""
    resource = pytest.importorskip("resource", reason="needs POSIX's limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ignore(_: str) -> None:
    pass


@pytest.mark.usefixtures("ready")
def test_export_run__file_appears(loaded_run: Run, tmp_path: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "boats.onnx"
    parity = export_run(loaded_run, out, find_photos(loaded_run, None), lines.append)
    assert (parity.photos, parity.labels_equal) == (7, 7)
    assert list(tmp_path.iterdir()) == [out]
    assert stat.S_IMODE(out.stat().st_mode) == 0o644
    recorded = Classifier(out, "cpu").metadata.provenance["parity"]
    assert recorded == {
        "photos": 7,
        "labels_equal": 7,
        "largest_difference": parity.largest_difference,
    }
    assert [line for line in lines if "7 photos" in line]


@pytest.mark.usefixtures("ready")
def test_export_run__replaces_an_older_file(loaded_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "boats.onnx"
    out.write_text("older")
    export_run(loaded_run, out, find_photos(loaded_run, None), ignore)
    assert Classifier(out, "cpu").metadata.labels == loaded_run.classes
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("older", [True, False])
def test_export_run__file_differs_from_the_run(
    loaded_run: Run, tmp_path: Path, older: bool
) -> None:
    out = tmp_path / "boats.onnx"
    if older:
        out.write_text("older")
    second, first, *rest = loaded_run.classes
    other = replace(loaded_run, classes=(first, second, *rest))
    with pytest.raises(CheckError, match="no file was written"):
        export_run(other, out, find_photos(loaded_run, None), ignore)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"] * older


def test_export_run__more_names_than_probabilities(
    loaded_run: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(tiny_model)
    entry = next(entry for entry in model.metadata_props if entry.key == "boats.labels")
    entry.value = '["barca lunga", "gondola", "topa", "vaporetto"]'
    monkeypatch.setattr(export, "assemble", lambda _: model)
    with pytest.raises(ModelError, match="its outputs are not probabilities"):
        export_run(loaded_run, tmp_path / "x.onnx", find_photos(loaded_run, None), ignore)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("ready")
def test_export_run__no_photo_can_be_read(loaded_run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_text("no photo")
    with pytest.raises(DataError, match="none of the 1 photos"):
        export_run(loaded_run, tmp_path / "boats.onnx", [tmp_path / "broken.jpg"], ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.jpg"]


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("size", [0, 1_000_000])
def test_export_run__disk_is_full(loaded_run: Run, tmp_path: Path, size: int) -> None:
    out = tmp_path / "boats.onnx"
    out.write_text("older")
    photos = find_photos(loaded_run, None)
    with (
        files_up_to(size),
        pytest.raises(OutputError, match=r"boats\.onnx: can't be written: File too large"),
    ):
        export_run(loaded_run, out, photos, ignore)
    assert list(tmp_path.iterdir()) == [out]
    assert out.read_text() == "older"


def no_folder(tmp_path: Path) -> Path:
    return tmp_path / "nowhere" / "boats.onnx"


def file_for_a_folder(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file" / "boats.onnx"


@pytest.mark.parametrize("place", [no_folder, file_for_a_folder])
def test_export_run__place_cant_be_written(
    loaded_run: Run, tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    out = place(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match=f"{out.parent}: can't be written: "):
        export_run(loaded_run, out, [], ignore)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("ready")
def test_export_run__place_is_a_folder(loaded_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "boats.onnx"
    out.mkdir()
    with pytest.raises(OutputError, match=r"boats\.onnx: can't be written: Is a directory"):
        export_run(loaded_run, out, find_photos(loaded_run, None), ignore)
    assert list(tmp_path.iterdir()) == [out]
