import pytest

from boats_data.image_sizes import MAX_AREA, Size
from boats_runtime.errors import UsageError
from boats_train.search.options import (
    MAX_LADDER_AREA,
    SearchOptions,
    check_options,
    make_ladder,
    parse_backbones,
    parse_precisions,
    parse_sizes,
)


@pytest.mark.parametrize(
    ("median", "sizes"),
    [
        ((240, 800), [(128, 416), (160, 544), (192, 640), (256, 832)]),
        ((100, 100), [(64, 64), (96, 96)]),
        ((32, 32), [(64, 64)]),
        ((3000, 4000), [(192, 256), (288, 384), (352, 448), (384, 512)]),
    ],
)
def test_make_ladder__by_kind_of_image(median: Size, sizes: list[Size]) -> None:
    assert make_ladder(median) == sizes


@pytest.mark.parametrize("median", [(240, 800), (800, 240), (5000, 100), (480, 640), (7, 9000)])
def test_make_ladder__sizes_are_bounded(median: Size) -> None:
    sizes = make_ladder(median)
    assert 1 <= len(sizes) <= 6
    assert all(side % 32 == 0 for size in sizes for side in size)
    areas = [height * width for height, width in sizes]
    assert areas == sorted(areas)
    assert max(areas) <= max(MAX_LADDER_AREA, MAX_AREA) * 1.3


def test_parse_sizes__given() -> None:
    assert parse_sizes("160x528, 224,160x528", (1, 1)) == [(160, 528), (224, 224)]


def test_parse_backbones__names_and_weights() -> None:
    pairs = parse_backbones("resnet18=a=b.pth, timm:tf_efficientnet_lite0,own.code:make")
    assert pairs == [
        ("resnet18", "a=b.pth"),
        ("timm:tf_efficientnet_lite0", "imagenet"),
        ("own.code:make", "factory"),
    ]
    assert parse_backbones("")[0] == ("mobilenet_v2", "imagenet")


def test_parse_precisions__in_the_given_order() -> None:
    assert parse_precisions("int8, fp32,int8") == ["int8", "fp32"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": "160x"}, "--sizes 160x: 160x: expected auto, HEIGHTxWIDTH"),
        ({"sizes": "16"}, "each side must be 24 to 8192"),
        ({"backbones": "a,,b"}, "--backbones a,,b: expected NAME or NAME=WEIGHTS"),
        ({"backbones": "a="}, "--backbones a=: expected NAME or NAME=WEIGHTS"),
        ({"backbones": "a,a=b"}, "--backbones a,a=b: a backbone occurs twice"),
        ({"precisions": "fp16"}, "--precisions fp16: choose of fp32, int8"),
        ({"budget_ms": 0.0}, "--budget-ms 0: must be above 0"),
        ({"budget_mb": float("nan")}, "--budget-mb nan: must be above 0"),
    ],
)
def test_search_options__invalid_value(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SearchOptions(**options)  # type: ignore[arg-type]


def test_check_options__other_options_with_a_search() -> None:
    with pytest.raises(UsageError, match="chooses its backbone and image size: omit --from"):
        check_options(SearchOptions(), ["--from", "--tune"], search=True)
    check_options(SearchOptions(budget_ms=3.0), [], search=True)


@pytest.mark.parametrize("options", [SearchOptions(budget_ms=3.0), SearchOptions(dry_run=True)])
def test_check_options__without_a_search(options: SearchOptions) -> None:
    with pytest.raises(UsageError, match="--dry-run are for --search"):
        check_options(options, [], search=False)
    check_options(SearchOptions(), ["--from"], search=False)
