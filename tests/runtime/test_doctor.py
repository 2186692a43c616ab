import json
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from boats_runtime import doctor
from boats_runtime.doctor import examine, works
from boats_runtime.errors import ProviderError
from boats_runtime.providers.session import PROVIDERS
from support.process import run_command

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_doctor_model.py"


def test_tiny_model__equals_the_output_of_the_script(tmp_path: Path) -> None:
    path = tmp_path / "doctor.onnx"
    subprocess.run([sys.executable, SCRIPT, path], check=True)
    assert path.read_bytes() == doctor.TINY_MODEL.read_bytes()


def test_examine__this_machine() -> None:
    findings = examine(None)
    assert works(findings)
    assert findings["providers"].keys() == PROVIDERS.keys()
    cpu = findings["providers"]["cpu"]
    assert cpu["status"] == "works"
    assert cpu["first_ms"] > 0
    assert cpu["p50_ms"] > 0
    assert findings["onnxruntime"]["problem"] == ""
    assert list(findings["onnxruntime"]["wheels"].values()) == [onnxruntime.__version__]
    assert findings["cpu"]["granted"] <= findings["cpu"]["seen"]
    assert {"JPEG", "PNG", "WEBP", "BMP", "TIFF"} <= set(findings["photos"])
    json.dumps(findings, allow_nan=False)


def test_examine__absent_provider_has_instructions() -> None:
    available = onnxruntime.get_available_providers()
    absent = [name for name, other in PROVIDERS.items() if other.full_name not in available]
    findings = examine(None)["providers"]
    for name in absent:
        assert findings[name] == {"status": "absent", "detail": PROVIDERS[name].install}


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_examine__provider_that_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu = PROVIDERS["cuda"].full_name, PROVIDERS["cpu"].full_name
    if cuda in onnxruntime.get_available_providers():
        pytest.skip("the ONNX Runtime installed here has CUDA")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [cuda, cpu])
    findings = examine(None)["providers"]
    assert findings["cuda"]["status"] == "refused"
    assert "of its nodes would run on the CPU: " in findings["cuda"]["detail"]
    assert findings["cpu"]["status"] == "works"


def test_examine__given_model() -> None:
    findings = examine(b"not a model")
    assert not works(findings)
    assert findings["providers"]["cpu"]["status"] == "refused"


def test_examine__unusable_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ProviderError("two are installed")

    monkeypatch.setattr(doctor, "import_onnxruntime", fail)
    findings = examine(None)
    assert not works(findings)
    assert findings["onnxruntime"]["problem"] == "two are installed"
    assert findings["providers"] == {}


def test_doctor__table(tmp_path: Path) -> None:
    result = run_command("boats-doctor", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("boats ")
    assert any(line.split()[:2] == ["cpu", "works"] for line in lines)
    assert any(line.startswith("threads ") for line in lines)


def test_doctor__json(tmp_path: Path, tiny_model: Path) -> None:
    result = run_command("boats-doctor", "--json", "--model", tiny_model, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["schema_version"] == doctor.SCHEMA_VERSION


def test_doctor__both_wheels(tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime-gpu"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.28.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.28.0\n")
    result = run_command("boats-doctor", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 4
    assert "ONNX Runtime  onnxruntime 1.28.0, onnxruntime-gpu 1.28.0" in result.stdout
    assert "are both installed and overwrite each other" in result.stderr
    assert result.stderr.count("\n") == 1


def test_doctor__not_a_model(tmp_path: Path, image_path: Path) -> None:
    result = run_command("boats-doctor", "--model", image_path, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (3, "")
    assert f"{image_path}: not an ONNX model" in result.stderr
