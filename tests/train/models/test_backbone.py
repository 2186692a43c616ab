import hashlib
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models import Weights, WeightsEnum

from boats_runtime.errors import DataError, UsageError
from boats_train.models.backbone import (
    DownloadError,
    build_backbone,
    download_weights,
    load_state,
    load_weights,
    read_state,
)

State = dict[str, torch.Tensor]

FAMILIES = {
    "alexnet": ("features", 256),
    "convnext_tiny": ("features", 768),
    "densenet121": ("features", 1024),
    "efficientnet_b0": ("features", 1280),
    "efficientnet_v2_s": ("features", 1280),
    "googlenet": ("inception5b", 1024),
    "inception_v3": ("Mixed_7c", 2048),
    "mnasnet0_5": ("layers", 1280),
    "mobilenet_v2": ("features", 1280),
    "mobilenet_v3_large": ("features", 960),
    "mobilenet_v3_small": ("features", 576),
    "regnet_y_400mf": ("trunk_output", 440),
    "resnet18": ("layer4", 512),
    "resnet50": ("layer4", 2048),
    "resnext50_32x4d": ("layer4", 2048),
    "shufflenet_v2_x0_5": ("conv5", 1024),
    "squeezenet1_1": ("features", 512),
    "swin_t": ("permute", 768),
    "swin_v2_t": ("permute", 768),
    "vgg11": ("features", 512),
    "wide_resnet50_2": ("layer4", 2048),
}
"""A network of each family that takes photos of any shape: its last layer with a map, and D."""

BEHIND_THE_MAP: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "densenet121": F.relu,
    "convnext_tiny": lambda image: F.layer_norm(image.mean((2, 3)), (768,), eps=1e-6)[
        ..., None, None
    ],
}


def run_and_watch(
    network: nn.Module, image: torch.Tensor, layer: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns what a network gives, and what went into and came out of one of its layers."""
    seen: list[torch.Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(
        lambda _, inputs, output: seen.extend((inputs[0], output))
    )
    with torch.inference_mode():
        output = network(image)
    hook.remove()
    return output, *seen


def assert_same(features: torch.Tensor, expected: torch.Tensor) -> None:
    largest = float(expected.abs().max())
    assert largest > 0  # random networks shrink what they are given, but not to nothing
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5 * largest)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 96, 224, generator=generator)


@pytest.mark.parametrize("name", FAMILIES)
def test_build_backbone__features_are_the_average_of_the_last_map(
    name: str, image: torch.Tensor
) -> None:
    layer, width = FAMILIES[name]
    backbone = build_backbone(name)
    features, _, last_map = run_and_watch(backbone, image, layer)
    assert not backbone.training
    assert features.shape == (2, width)
    assert features.dtype == torch.float32
    behind = BEHIND_THE_MAP.get(name, lambda image: image)
    assert_same(features, behind(last_map).mean((2, 3)))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_build_backbone__without_auxiliary_heads(name: str) -> None:
    assert not [key for key in build_backbone(name).state_dict() if key.lower().startswith("aux")]


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("resnet5", ["resnet50"]),
        ("resnet_18", ["resnet18"]),
        ("mobilnet_v2", ["mobilenet_v2"]),
        ("ResNet50", ["resnet50"]),
        ("efficientnet", ["efficientnet_b7"]),
        ("", ["resnet50"]),
        ("fcn_resnet50", ["resnet50"]),
        ("quantized_mobilenet_v2", ["mobilenet_v2"]),
    ],
)
def test_build_backbone__unknown_name_names_close_ones(name: str, close: list[str]) -> None:
    with pytest.raises(UsageError, match=f"^--backbone {name}: not a classification") as caught:
        build_backbone(name)
    named = str(caught.value).partition("there are ")[2].removesuffix(" and more").split(", ")
    assert set(close) <= set(named)
    assert len(named) <= 6
    assert set(named) <= set(torchvision.models.list_models(module=torchvision.models))


def make_network(name: str) -> nn.Module:
    """Makes a torchvision network as a whole, as torchvision does when it has weights for it."""
    options = {}
    if name in ("googlenet", "inception_v3"):
        options = {"transform_input": True, "init_weights": False}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training, not 0 and 1
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def save_state(state: State, path: Path) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", "fc"),
        ("mobilenet_v3_small", "classifier"),
        ("shufflenet_v2_x0_5", "fc"),
        ("mnasnet0_5", "classifier"),
        ("googlenet", "fc"),
    ],
)
def test_load_weights__features_are_those_of_torchvision(
    name: str, head: str, suffix: str, image: torch.Tensor, tmp_path: Path
) -> None:
    network = make_network(name)
    path = save_state(network.state_dict(), tmp_path / f"weights{suffix}")
    backbone = build_backbone(name)
    load_weights(backbone, name, str(path))
    _, expected, _ = run_and_watch(network, image, head)
    with torch.inference_mode():
        assert_same(backbone(image), expected)


def test_load_weights__inception_with_its_auxiliary_head(
    image: torch.Tensor, tmp_path: Path
) -> None:
    network = make_network("inception_v3")
    assert any(key.startswith("AuxLogits") for key in network.state_dict())
    path = save_state(network.state_dict(), tmp_path / "weights.pth")
    backbone = build_backbone("inception_v3")
    load_weights(backbone, "inception_v3", str(path))
    _, expected, _ = run_and_watch(network, image, "fc")
    with torch.inference_mode():
        assert_same(backbone(image), expected)


def test_load_weights__without_the_head(tmp_path: Path) -> None:
    state = build_backbone("mobilenet_v3_small").state_dict()
    assert not any(key.startswith("classifier") for key in state)
    path = save_state(state, tmp_path / "weights.safetensors")
    backbone = build_backbone("mobilenet_v3_small")
    load_weights(backbone, "mobilenet_v3_small", str(path))
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


def test_load_weights__none_keeps_the_random_ones() -> None:
    backbone = build_backbone("squeezenet1_1")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    load_weights(backbone, "squeezenet1_1", "none")
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_load_weights__real_imagenet_file(boats_weights: Path, image: torch.Tensor) -> None:
    network = torchvision.models.get_model("mobilenet_v2", weights=None).eval()
    network.load_state_dict(torch.load(boats_weights, weights_only=True))
    backbone = build_backbone("mobilenet_v2")
    load_weights(backbone, "mobilenet_v2", str(boats_weights))
    _, expected, _ = run_and_watch(network, image, "classifier")
    with torch.inference_mode():
        assert_same(backbone(image), expected)


@pytest.mark.parametrize(
    ("theirs", "mine", "reason"),
    [
        ("resnet18", "resnet34", r"it lacks layer1\.2\.conv1\.weight"),
        ("resnet34", "resnet18", r"it has an unknown layer1\.2\.conv1\.weight"),
        ("squeezenet1_0", "squeezenet1_1", "size mismatch|it lacks"),
        ("mobilenet_v3_small", "shufflenet_v2_x0_5", r"it lacks conv1\.0\.weight"),
    ],
)
def test_load_weights__of_another_network(
    theirs: str, mine: str, reason: str, tmp_path: Path
) -> None:
    path = save_state(build_backbone(theirs).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(DataError, match=rf"weights\.pth: not weights of {mine}: .*({reason})"):
        load_weights(build_backbone(mine), mine, str(path))


def test_load_state__old_densenet_keys() -> None:
    # As in torchvision's own files: .norm.1.weight, not .norm1.weight.
    state = build_backbone("densenet121").state_dict()
    old = {}
    for key, value in state.items():
        parts = key.split(".")
        if any(part.startswith("denselayer") for part in parts):
            parts[-2] = f"{parts[-2][:-1]}.{parts[-2][-1]}"
        old[".".join(parts)] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    backbone = build_backbone("densenet121")
    assert load_state(backbone, old) == ([], [])
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


class CodeInside:
    """Unpickled, it makes the file that it names."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.marker,)


def test_read_state__code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "code ran"
    torch.save({"conv1.weight": CodeInside(marker)}, tmp_path / "weights.pth")
    with pytest.raises(
        DataError, match=r"weights\.pth: not a file of weights: only tensors"
    ) as got:
        read_state(tmp_path / "weights.pth")
    assert "weights_only" not in str(got.value)  # PyTorch's advice is how to run the code
    assert not marker.exists()
    # The same file does run it where PyTorch is told to: the trap is a real one.
    torch.load(tmp_path / "weights.pth", weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights\n", b"PK\x03\x04" + bytes(60)])
def test_read_state__not_a_file_of_weights(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: not a file of weights"):
        read_state(tmp_path / name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_read_state__truncated(suffix: str, tmp_path: Path) -> None:
    path = save_state({"weight": torch.zeros(1000)}, tmp_path / f"weights{suffix}")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="not a file of weights"):
        read_state(path)


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
def test_read_state__not_names_to_tensors(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "weights.pth")
    with pytest.raises(DataError, match=r"weights\.pth: not a state dict \(names to tensors\)"):
        read_state(tmp_path / "weights.pth")


@pytest.mark.parametrize("name", ["nowhere.pth", ".", "nowhere.safetensors"])
def test_read_state__no_such_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_state(tmp_path / name)


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of weights, and no proxy between the tests and their own servers."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "torch"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address of the HTTP server that serves it."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = folder / self.path.removeprefix("/")
            if not path.is_file():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            self.wfile.write(path.read_bytes())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def weights_at(url: str) -> WeightsEnum:
    class ServedWeights(WeightsEnum):
        IMAGENET1K_V1 = Weights(url=url, transforms=lambda image: image, meta={})

    return ServedWeights.IMAGENET1K_V1


def serve_state(folder: Path) -> tuple[State, str]:
    """Puts a state dict into a folder; its name has its hash, as torchvision's have."""
    state = {"weight": torch.randn(4, 5)}
    path = save_state(state, folder / "net.pth")
    name = f"net-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    path.rename(folder / name)
    return state, name


def test_download_weights__right_hash(served: tuple[Path, str], torch_home: Path) -> None:
    folder, address = served
    state, name = serve_state(folder)
    downloaded = download_weights(weights_at(f"{address}/{name}"))
    assert torch.equal(downloaded["weight"], state["weight"])
    assert (torch_home / "hub" / "checkpoints" / name).is_file()


def test_download_weights__cached(served: tuple[Path, str], torch_home: Path) -> None:
    folder, address = served
    state, name = serve_state(folder)
    download_weights(weights_at(f"{address}/{name}"))
    (folder / name).unlink()
    again = download_weights(weights_at(f"{address}/{name}"))
    assert torch.equal(again["weight"], state["weight"])
    assert torch_home.is_dir()


def test_download_weights__wrong_hash(served: tuple[Path, str], torch_home: Path) -> None:
    folder, address = served
    _, name = serve_state(folder)
    (folder / name).rename(folder / "net-00c0ffee.pth")
    url = f"{address}/net-00c0ffee.pth"
    with pytest.raises(DownloadError, match=f"from {url} .*invalid hash value") as caught:
        download_weights(weights_at(url))
    assert "give --weights PATH" in str(caught.value)
    assert "--weights none" in str(caught.value)
    assert not list((torch_home / "hub" / "checkpoints").iterdir())


@pytest.mark.usefixtures("torch_home")
def test_download_weights__not_there(served: tuple[Path, str]) -> None:
    with pytest.raises(DownloadError, match=r"HTTP Error 404.*give --weights PATH"):
        download_weights(weights_at(f"{served[1]}/net-00c0ffee.pth"))


@pytest.mark.usefixtures("torch_home")
def test_download_weights__connection_refused() -> None:
    with socket.socket() as closed:  # bound, so that nobody else takes the port, but not listening
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/net-00c0ffee.pth"
        with pytest.raises(DownloadError, match=r"refused.*give --weights PATH .*--weights none"):
            download_weights(weights_at(url))


@pytest.mark.usefixtures("torch_home")
def test_download_weights__not_http_at_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 smtp.example ESMTP\r\n")

        thread = Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/net-00c0ffee.pth"
        with pytest.raises(DownloadError, match="could not be downloaded"):
            download_weights(weights_at(url))
        thread.join()


@pytest.mark.parametrize("content", [b"", b"not weights\n"])
def test_download_weights__damaged_cache(content: bytes, torch_home: Path) -> None:
    cached = torch_home / "hub" / "checkpoints" / "net-00c0ffee.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    with pytest.raises(DownloadError, match="give --weights PATH"):
        download_weights(weights_at("http://127.0.0.1/net-00c0ffee.pth"))


def test_load_weights__imagenet_is_the_first_recipe(torch_home: Path) -> None:
    cache = torch_home / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    recipes = torchvision.models.MobileNet_V2_Weights
    states = {}
    for recipe in (recipes.IMAGENET1K_V1, recipes.IMAGENET1K_V2):
        states[recipe] = make_network("mobilenet_v2").state_dict()
        save_state(states[recipe], cache / Path(recipe.url).name)
    backbone = build_backbone("mobilenet_v2")
    load_weights(backbone, "mobilenet_v2", "imagenet")
    first = states[recipes.IMAGENET1K_V1]
    assert all(torch.equal(value, first[key]) for key, value in backbone.state_dict().items())


def test_load_weights__imagenet_cant_be_downloaded(torch_home: Path) -> None:
    weights = torchvision.models.get_model_weights("squeezenet1_1")
    # The cache is a file: the download can't start, whatever the network of this machine.
    torch_home.write_text("")
    with pytest.raises(DownloadError, match=f"ImageNet weights .* from {weights.DEFAULT.url}"):
        load_weights(build_backbone("squeezenet1_1"), "squeezenet1_1", "imagenet")
