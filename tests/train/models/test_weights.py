import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import torch
import torchvision
from torchvision.models import Weights, WeightsEnum

from boats_runtime.errors import DataError
from boats_train.models.backbone import build_backbone, load_weights
from boats_train.models.torchvision_backbones import download_weights
from boats_train.models.weights import DownloadError, read_state
from support.networks import Payload, assert_same_state, make_network, save_state
from support.servers import ScriptedServer, run_server


def test_read_state__pickled_code_is_not_executed(tmp_path: Path) -> None:
    path, created = tmp_path / "weights.pth", tmp_path / "created"
    torch.save({"conv1.weight": Payload(created)}, path)
    with pytest.raises(DataError, match=r"weights\.pth: not a weights file") as error:
        read_state(path)
    assert "weights_only" not in str(error.value)  # the advice of PyTorch executes the code
    assert not created.exists()
    torch.load(path, weights_only=False)
    assert created.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights\n", b"PK\x03\x04" + bytes(60)])
def test_read_state__not_a_weights_file(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: not a weights file"):
        read_state(tmp_path / name)


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(3),
        [torch.zeros(3)],
        {"state_dict": {"conv1.weight": torch.zeros(3)}},
        {"conv1.weight": torch.zeros(3), "epoch": 3},
        {1: torch.zeros(3)},
    ],
)
def test_read_state__not_a_state_dict(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "weights.pth")
    with pytest.raises(DataError, match=r"weights\.pth: not a state dict from names to tensors"):
        read_state(tmp_path / "weights.pth")


@pytest.mark.parametrize("name", ["missing.pth", ".", "missing.safetensors"])
def test_read_state__file_does_not_exist(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="file does not exist"):
        read_state(tmp_path / name)


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of the weights, not created yet; proxies are off."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with run_server() as server:
        yield server


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    """A state dict whose name contains its hash, as in torchvision."""
    path = save_state({"weight": torch.arange(20.0)}, tmp_path / "net.pth")
    return path.rename(tmp_path / f"net-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")


def make_weights(url: str) -> WeightsEnum:
    class ServedWeights(WeightsEnum):
        IMAGENET1K_V1 = Weights(url=url, transforms=lambda image: image, meta={})

    return ServedWeights.IMAGENET1K_V1


def test_download_weights__cached_after_the_first_download(
    server: ScriptedServer, checkpoints: Path, state_file: Path
) -> None:
    weights = make_weights(server.add(f"/{state_file.name}", state_file.read_bytes()))
    for _ in range(2):
        assert torch.equal(download_weights(weights)["weight"], torch.arange(20.0))
    assert len(server.requests) == 1
    assert [path.name for path in checkpoints.iterdir()] == [state_file.name]


def test_download_weights__wrong_hash(
    server: ScriptedServer, checkpoints: Path, state_file: Path
) -> None:
    url = server.add("/net-00c0ffee.pth", state_file.read_bytes())
    with pytest.raises(DownloadError, match=f"from {url} .*invalid hash value") as error:
        download_weights(make_weights(url))
    assert str(error.value).endswith(
        "give --weights PATH with a state dict, or --weights none for random ones"
    )
    assert not list(checkpoints.iterdir())


@pytest.mark.usefixtures("checkpoints")
def test_download_weights__not_found(server: ScriptedServer) -> None:
    with pytest.raises(DownloadError, match=r"HTTP Error 404.*give --weights PATH"):
        download_weights(make_weights(server.url("/net-00c0ffee.pth")))


@pytest.mark.usefixtures("checkpoints")
def test_download_weights__not_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 smtp.example ESMTP\r\n")

        thread = Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/net-00c0ffee.pth"
        with pytest.raises(DownloadError, match="could not be downloaded"):
            download_weights(make_weights(url))
        thread.join()


@pytest.mark.parametrize("content", [b"", b"not weights\n"])
def test_download_weights__damaged_cache(content: bytes, checkpoints: Path) -> None:
    checkpoints.mkdir(parents=True)
    (checkpoints / "net-00c0ffee.pth").write_bytes(content)
    with pytest.raises(DownloadError, match="give --weights PATH"):
        download_weights(make_weights("http://127.0.0.1/net-00c0ffee.pth"))


def test_load_weights__imagenet_weights_are_version_1(checkpoints: Path) -> None:
    checkpoints.mkdir(parents=True)
    versions = torchvision.models.MobileNet_V2_Weights
    states = {}
    for version in (versions.IMAGENET1K_V1, versions.IMAGENET1K_V2):
        states[version] = make_network("mobilenet_v2").state_dict()
        save_state(states[version], checkpoints / Path(version.url).name)
    backbone = build_backbone("mobilenet_v2")
    load_weights(backbone, "mobilenet_v2", "imagenet")
    assert_same_state(backbone, states[versions.IMAGENET1K_V1])
