"""Fields of a backbone's configuration that transformers would stumble over, or read over."""

import pytest

from medim.backbones.build import config_of, refuse_unread
from medim.common.errors import UserError

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 40,
}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hidden_act": "sillu"}, "unknown activation 'sillu'; did you mean 'silu'"),
        ({"num_key_value_heads": 3}, "num_attention_heads 4 is no multiple of num_key_value_heads, which is 3"),
        ({"pad_token_id": 40}, "pad_token_id 40 is no id of vocab_size 40"),
        ({"attention_dropout": 2.0}, "'attention_dropout': Input should be less than 1"),
        ({"rms_norm_eps": 0.0}, "'rms_norm_eps': Input should be greater than 0"),
        ({"torch_dtype": "float8"}, "'torch_dtype': Input should be 'float32'"),
        ({"rope_theta": "big"}, "'rope_theta': Input should be a valid number"),
        ({"rope_scaling": {"type": "linear", "factor": "2"}}, "rope_scaling.factor: a number above 0 is needed (given: '2')"),
        ({"rope_parameters": {"rope_type": "yarnn"}}, "unknown rope_parameters.rope_type 'yarnn'; did you mean 'yarn'"),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 0}}},
            "rope_parameters.full_attention.rope_theta: a number above 0",
        ),
    ],
)
def test_a_field_that_no_model_can_be_made_of_is_named(fields, said):
    with pytest.raises(UserError) as error:
        config_of(LLAMA | fields, "'config.json': backbone")
    assert said in str(error.value)
    assert str(error.value).startswith("'config.json': backbone: ")


def test_a_misspelt_field_is_named():
    with pytest.raises(UserError, match=r"unknown field of backbone llama 'hidden_sise'; did you mean 'hidden_size'"):
        refuse_unread({"hidden_sise": 3}, config_of(LLAMA))
    refuse_unread(LLAMA | {"rope_theta": 1e4}, config_of(LLAMA))
