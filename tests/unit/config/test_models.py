"""What a pipeline file may say about the model."""

import pytest

from hvd_imgcls.config import parse_config, to_yaml
from hvd_imgcls.config.reading.consistency import require_one_normalization
from hvd_imgcls.config.reading.problems import ConfigProblemsError
from hvd_imgcls.errors import ConfigError

PIPELINE = """
data: {source: {name: digits}}
model: %s
optimizer: {name: sgd}
schedule: {name: cosine, base_learning_rate: 0.1}
train: {global_batch_size: 64, num_epochs: 20}
"""


def parse(model, *overrides):
    return parse_config(PIPELINE % model, overrides, origin="x.yaml")


@pytest.mark.parametrize(
    "model",
    [
        "{name: plain_cnn, num_filters: [8, 16], num_convolutions: 1}",
        "{name: resnet32}",
        "{name: resnet50, zero_gamma: false, stem: small}",
        "{name: vit, width: 64, num_heads: 4}",
        "{name: cae, num_filters: [4]}",
        "{name: keras_application, application: MobileNetV2, weights: a.h5, dropout: 0.2}",
        "{name: keras_file, path: a.keras, replace_head: never}",
        "{name: given}",
    ],
)
def test_model_reads_back_equal(model):
    config = parse(model)
    assert parse_config(to_yaml(config), origin="again") == config
    assert config.model.name in model


@pytest.mark.parametrize(
    ("model", "key", "said"),
    [
        ("{name: resnet21}", "model.name", "did you mean"),
        (
            "{name: resnet50, zero_gama: true}",
            "model.zero_gama",
            "did you mean 'model.zero_gamma'?",
        ),
        ("{name: resnet56, stem: small}", "model.stem", "one of name"),
        ("{name: resnet34, stem: large}", "model.stem", "'small'|imagenet, small"),
        ("{name: plain_cnn, num_filters: []}", "model.num_filters", ""),
        ("{name: plain_cnn, num_filters: [4, 0]}", "model.num_filters.1", ""),
        ("{name: vit, width: 10, num_heads: 3}", "model", "divisible by num_heads"),
        ("{name: vit, dropout: 1}", "model.dropout", ""),
        ("{name: keras_application}", "model.application", "add it"),
        (
            "{name: keras_application, application: Resnet50}",
            "model.application",
            "did you mean 'ResNet50'?",
        ),
        ("{name: keras_file, path: ''}", "model.path", ""),
        ("{name: given, path: a}", "model.path", "unknown key"),
        ("null", "model", ""),
    ],
)
def test_wrong_model_names_its_key(model, key, said):
    with pytest.raises(ConfigProblemsError) as raised:
        parse(model)
    assert [problem.key for problem in raised.value.problems] == [key]
    assert any(word in str(raised.value) for word in said.split("|"))


IMAGENET = "--data.normalization={name: imagenet}"


@pytest.mark.parametrize(
    "model",
    [
        "{name: keras_application, application: MobileNet}",
        "{name: keras_file, path: a.keras}",
        "{name: given}",
    ],
)
def test_normalization_of_a_model_that_has_its_own_is_refused(model):
    require_one_normalization(parse(model))
    with pytest.raises(
        ConfigError, match=r"data\.normalization: got 'imagenet'.*remove data.normalization"
    ):
        require_one_normalization(parse(model, IMAGENET))


@pytest.mark.parametrize(
    "model",
    ["{name: resnet50}", "{name: keras_file, path: a.keras, normalization_in_model: false}"],
)
def test_normalization_of_other_models_is_taken(model):
    require_one_normalization(parse(model, IMAGENET))
