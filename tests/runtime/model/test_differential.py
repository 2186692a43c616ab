"""Whatever the check of a model file accepts satisfies every rule when `onnx` parses it."""

import onnx
import pytest

from boats_runtime.errors import ModelError
from boats_runtime.model.digest import write_digest
from boats_runtime.model.file import OPSETS, check_content
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.model.shapes import RULES
from boats_runtime.preprocessing import Preprocessing
from support.aimed_mutants import make_mutants
from support.classifiers import fit_calibrated_svc, make_features
from support.damaged_files import make_model_file

MUTANTS = 5000

ATTRIBUTE_VALUES = ("f", "i", "s", "t", "floats", "ints", "strings")


def assert_rules(content: bytes, properties: dict[str, str]) -> None:
    """Check the rules of `docs/reference/model-file.md` on the model that `onnx` parses."""
    model = onnx.load_model_from_string(content)
    assert properties == {entry.key: entry.value for entry in model.metadata_props}
    assert len(properties) == len(model.metadata_props)
    assert [entry.domain in ("", "ai.onnx") for entry in model.opset_import] == [True]
    assert model.opset_import[0].version in OPSETS
    assert not [*model.functions, *model.training_info, *model.configuration]
    graph = model.graph
    assert not [*graph.sparse_initializer, *graph.quantization_annotation]
    tensors = list(graph.initializer)
    for node in graph.node:
        assert node.op_type in RULES
        assert node.domain in ("", "ai.onnx")
        assert len({attribute.name for attribute in node.attribute}) == len(node.attribute)
        for attribute in node.attribute:
            fields = {field.name for field, _ in attribute.ListFields()}
            assert fields <= {"name", "type", "doc_string", *ATTRIBUTE_VALUES}
            if "t" in fields:
                tensors.append(attribute.t)
    for tensor in tensors:
        assert not tensor.external_data
        assert tensor.data_location == onnx.TensorProto.DEFAULT
    names = [tensor.name for tensor in graph.initializer]
    names += [value.name for value in graph.input]
    names += [name for node in graph.node for name in node.output if name]
    assert len(names) == len(set(names))
    # The parser did not skip anything.
    size = model.ByteSize()
    model.DiscardUnknownFields()
    assert model.ByteSize() == size


@pytest.fixture
def exported_file() -> bytes:
    """A file as `boats-export` writes it: the small CNN on small images with an SVM."""
    from boats_export.assemble import Layout, assemble
    from boats_export.classifier_graph import export_classifier
    from boats_export.network import export_network
    from boats_train.models.feature_network import FeatureNetwork
    from boats_train.models.small_cnn import FEATURES, SmallCNN

    preprocessing = Preprocessing(16, 40)
    network = FeatureNetwork(SmallCNN(preprocessing.height, preprocessing.width), preprocessing)
    classifier = fit_calibrated_svc(*make_features(3, 60, width=FEATURES))
    model = assemble(
        export_network(network, preprocessing), export_classifier(classifier, FEATURES), Layout()
    )
    metadata = ModelMetadata(("a", "b", "c"), preprocessing)
    onnx.helper.set_model_props(model, metadata.to_properties())
    return write_digest(model.SerializeToString())


def check_mutants(content: bytes) -> None:
    accepted = 0
    messages: set[str] = set()
    for mutant in make_mutants(content, MUTANTS):
        try:
            properties = check_content(mutant)
        except ModelError as error:
            messages.add(str(error))
            continue
        accepted += 1
        assert_rules(mutant, properties)
    assert not any("\n" in message for message in messages)
    assert MUTANTS // 100 < accepted < MUTANTS // 2


def test_check_content__mutants_of_an_exported_file(exported_file: bytes) -> None:
    check_mutants(exported_file)


def test_check_content__mutants_of_a_quantized_file() -> None:
    check_mutants(make_model_file())
