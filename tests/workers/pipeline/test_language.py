"""Loading a model: exactly the weights that are there, or one sentence about what is wrong."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from features.records import InvalidInput
from workers.pipeline.dashboards.logit_lens import masked_tokens
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.language import describe_model, load_language
from workers.pipeline.model.prompts import prompt_ids


@pytest.fixture
def copy(model_folders, tmp_path):
    """A copy of the tiny Llama's folder, to break."""
    return shutil.copytree(model_folders["llama"], tmp_path / "copy")


def refusal(source, **options) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load_language(str(source), **options)
    return caught.value


def test_the_weights_are_those_of_transformers_untouched(model_folders, llama):
    plain = AutoModelForCausalLM.from_pretrained(model_folders["llama"]).eval()
    ids = torch.arange(1, 20)[None]
    assert torch.equal(llama.model(ids).logits, plain(ids).logits)
    assert not llama.model.training
    assert not any(p.requires_grad for p in llama.model.parameters())


def test_bfloat16_weights_run_in_float32_on_a_cpu_and_are_described_as_stored(
    model_folders, tokenizer, tmp_path
):
    half = AutoModelForCausalLM.from_pretrained(model_folders["llama"], dtype=torch.bfloat16)
    half.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    language = load_language(str(tmp_path))
    assert language.model.dtype == torch.float32
    assert describe_model(language).dtype == "bfloat16"
    assert load_language(str(tmp_path), dtype="bfloat16").model.dtype == torch.bfloat16


def test_the_description_says_shape_hooks_and_vocabulary(llama):
    record = describe_model(llama)
    assert (record.architecture, record.layers, record.d_model, record.context_size) == (
        "LlamaForCausalLM",
        3,
        32,
        64,
    )
    assert (
        record.vocabulary_size == 400
    )  # as padded models have: more rows than the tokenizer has tokens
    assert len(record.tokens) == len(llama.tokenizer) < 400
    assert record.parameters == sum(p.numel() for p in llama.model.parameters())
    assert record.bos_token_id == 0
    assert record.tokens[0].special
    assert record.hooks[0] == "blocks.0.hook_resid_pre"
    assert len(record.hooks) == 15
    assert record.hook_refusals == {}


def test_the_revision_follows_the_weights(model_folders, copy):
    same = load_language(str(copy)).revision
    assert same == load_language(str(model_folders["llama"])).revision
    assert same.startswith("sha256:")
    LlamaForCausalLM(LlamaConfig.from_pretrained(copy)).save_pretrained(copy)
    assert load_language(str(copy)).revision != same


def test_a_missing_folder_is_named(tmp_path):
    error = refusal(tmp_path / "nowhere")
    assert error.field == "source"
    assert "no folder" in error.message


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["config.json"], "config.json"),
        (["model.safetensors"], "safetensors"),
        (["tokenizer.json", "tokenizer_config.json"], "tokenizer"),
    ],
)
def test_a_folder_that_lacks_a_part_is_told_which(copy, files, says):
    for name in files:
        (copy / name).unlink()
    error = refusal(copy)
    assert error.field == "source"
    assert says in error.message


def test_pickled_weights_are_refused(copy):
    (copy / "pytorch_model.bin").write_bytes(b"pickle")
    (copy / "model.safetensors").unlink()
    assert "pickles are refused" in refusal(copy).message


def test_a_model_that_predicts_no_next_token_is_refused(tokenizer, tmp_path):
    config = BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=400,
        is_decoder=True,
    )
    BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    error = refusal(tmp_path)
    assert error.field == "source"
    assert "causal language model" in error.message


def test_weights_that_are_cut_short_are_refused(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert refusal(copy).field == "source"


def test_a_tokenizer_of_another_model_is_refused(copy):
    config = LlamaConfig.from_pretrained(copy)
    config.vocab_size = 300
    LlamaForCausalLM(config).save_pretrained(copy)
    assert "do not match" in refusal(copy).message


def test_added_tokens_beyond_the_embeddings_load_and_only_texts_with_one_are_refused(copy):
    """As `<image_soft_token>` of Gemma 3, or a padding token that a fine-tune added."""
    tokenizer = AutoTokenizer.from_pretrained(copy)
    config = LlamaConfig.from_pretrained(copy)
    config.vocab_size = len(tokenizer)
    LlamaForCausalLM(config).save_pretrained(copy)
    tokenizer.add_special_tokens({"pad_token": "<image>"})
    tokenizer.save_pretrained(copy)
    language = load_language(str(copy))
    assert language.special_ids.max() == config.vocab_size
    assert not masked_tokens(language).all()
    hook = "blocks.0.hook_resid_post"
    assert prompt_ids(language, "def cat", chat=False, bos=False)
    next(activations_at(language, [hook], [torch.tensor([[1, config.vocab_size - 1]])]))
    with pytest.raises(InvalidInput, match="holds the token <image>"):
        next(activations_at(language, [hook], [torch.tensor([[1, config.vocab_size]])]))
    with pytest.raises(InvalidInput, match="holds the token <image>"):
        prompt_ids(language, "def <image> cat", chat=False, bos=False)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_git_lfs_pointer_is_called_one(copy, name):
    (copy / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n")
    assert f"{name} is a Git LFS pointer" in refusal(copy).message


@pytest.mark.parametrize("alone", [False, True])
def test_a_lora_adapter_is_refused_and_not_left_out(copy, alone):
    (copy / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (copy / "adapter_model.safetensors").write_bytes(b"")
    if alone:
        (copy / "config.json").unlink()
    assert "merge it first" in refusal(copy).message


def test_the_dtype_is_that_of_the_file_whatever_the_configuration_says(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    assert describe_model(load_language(str(copy))).dtype == "float32"


def test_shards_that_are_missing_are_refused_by_name(copy):
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    with safe_open(copy / "model-00001-of-00002.safetensors", "pt") as file:
        names = list(file.keys())
    shards = {name: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, name in enumerate(names)}
    index = {"metadata": {"total_size": 1}, "weight_map": shards}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002.safetensors" in refusal(copy).message


def test_an_unknown_architecture_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "telepathy"}))
    assert refusal(copy).field == "source"


def test_an_unknown_dtype_is_refused(copy):
    assert refusal(copy, dtype="float8").field == "dtype"


def test_a_hub_id_without_a_connection_says_that_a_folder_works(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    error = refusal("nobody/no-such-model")
    assert error.field == "source"
    assert "works offline" in error.message
