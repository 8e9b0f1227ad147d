"""Load a causal language model and its tokenizer: plain Hugging Face modules with raw, unfolded
weights.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from jaxtyping import Int64
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from features.records import InvalidInput, ModelRecord
from workers.pipeline.data import hub
from workers.pipeline.data.lfs import refuse_pointers
from workers.pipeline.data.tokens import adds_bos, special_ids, vocabulary
from workers.pipeline.model.decoder import embedding_rows
from workers.pipeline.model.hooks import decoder_blocks, hook_names, hook_refusals
from workers.pipeline.model.stored_dtype import dtype_in_files


@dataclass(frozen=True)
class Language:
    """A language model ready to run: in eval mode, without gradients, on `device`.

    `special_ids` are the ids of BOS, EOS, padding and other special tokens, which no statistic
    counts. `revision` identifies the weights: a commit of the hub or a hash of the files.
    `stored_dtype` is the type of the weights on disk, which may differ from the type in memory.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    special_ids: Int64[Tensor, " special"]
    revision: str
    stored_dtype: str = "float32"

    @property
    def context_size(self) -> int:
        """The largest number of positions that the model takes."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", 0)) or 2048


def load_language(
    source: str, revision: str = "", device: str = "cpu", dtype: str = "auto"
) -> Language:
    """Load a model from the Hugging Face hub (owner/name) or a local folder.

    A folder has config.json, safetensors weights and a tokenizer. `revision` is a branch, tag or
    commit of the hub, the default branch if empty. `dtype` "auto" is the type of the stored
    weights, on a CPU always float32. No code of the source is executed: remote code and pickles
    are refused.

    Raises `InvalidInput` (field `source`, `revision` or `dtype`) if something is missing or
    invalid.
    """
    source, loaded_revision, options = _locate(source, revision)
    config = _from_pretrained(source, AutoConfig.from_pretrained, **options)
    tokenizer = _load_tokenizer(source, options)
    model = _load_model(source, config, device, dtype, options)
    _check_vocabulary(model, tokenizer)
    torch_device = torch.device(device)
    special = torch.tensor(sorted(special_ids(tokenizer)), dtype=torch.int64, device=torch_device)
    stored_dtype = dtype_in_files(_weight_files(source, loaded_revision)) or _dtype_name(config)
    return Language(model, tokenizer, torch_device, special, loaded_revision, stored_dtype)


def check_contexts_fit(language: Language, ids: Int64[Tensor, "batch pos"]) -> None:
    """Raise `InvalidInput("context_size")` if the contexts are longer than the model takes, and
    `InvalidInput("text")` if they hold a token that it has no embedding for.
    """
    check_embeddings(language, ids.flatten())
    if ids.shape[1] > language.context_size:
        raise InvalidInput(
            "context_size",
            f"Contexts have {ids.shape[1]} tokens, but the model takes {language.context_size} "
            "at most.",
        )


def check_embeddings(language: Language, ids: Int64[Tensor, " pos"]) -> None:
    """Raise `InvalidInput("text")` if a token has no embedding.

    A tokenizer may have more ids than the model has rows, such as Gemma 3's `<image_soft_token>`
    in the model that reads text only, or a padding token that was added for training.
    """
    rows = embedding_rows(language.model)
    largest = int(ids.max()) if len(ids) else 0
    if largest >= rows:
        token = language.tokenizer.convert_ids_to_tokens(largest)
        raise InvalidInput(
            "text",
            f"A text holds the token {token} with the id {largest:,}, and the model has "
            f"embeddings for {rows:,} ids only. Leave that token out.",
        )


def describe_model(language: Language) -> ModelRecord:
    """Return the model's shape, hooks and vocabulary as a record."""
    config = language.model.config.get_text_config()
    return ModelRecord(
        architecture=type(language.model).__name__,
        revision=language.revision,
        layers=len(decoder_blocks(language.model)),
        d_model=int(config.hidden_size),
        vocabulary_size=int(config.vocab_size),
        context_size=language.context_size,
        parameters=sum(parameter.numel() for parameter in language.model.parameters()),
        dtype=language.stored_dtype,
        bos_token_id=language.tokenizer.bos_token_id,
        hooks=hook_names(language.model),
        hook_refusals=dict(hook_refusals(language.model)),
        tokens=vocabulary(language.tokenizer),
        adds_bos=adds_bos(language.tokenizer),
    )


def folder_revision(folder: Path) -> str:
    """Return `sha256:` and 12 hex digits of the hash of config.json and all safetensors files."""
    digest = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return f"sha256:{digest.hexdigest()[:12]}"


def _locate(source: str, revision: str) -> tuple[str, str, dict[str, Any]]:
    """The folder or hub id to load, the revision of its weights, and options for transformers.

    A revision of the hub is resolved to a commit first, so that all files are of one commit.
    """
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    folder = Path(source).expanduser()
    if folder.is_dir():
        _check_folder(folder)
        return str(folder), folder_revision(folder), options
    if source.startswith(("/", ".", "~")) or source.count("/") > 1:
        message = (
            f"There is no folder {source}. Give a hub id (owner/name) or a folder with config.json."
        )
        raise InvalidInput("source", message)
    repository = hub.find_repository(source, revision)
    if repository.unreachable and not hub.file_sizes(repository, ["config.json"]):
        raise repository.unreachable
    if hub.file_sizes(repository, [ADAPTER]):
        raise InvalidInput("source", f"{source} {ADAPTER_PROBLEM}")
    options |= {"local_files_only": False, "revision": repository.commit}
    return source, repository.commit, options


TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")


ADAPTER = "adapter_config.json"
ADAPTER_PROBLEM = (
    "holds a LoRA adapter, which would be left out: merge it first (PEFT's merge_and_unload, then "
    "save_pretrained), and give the merged model. If you want the model without it, give a copy "
    f"without {ADAPTER}."
)


def _check_folder(folder: Path) -> None:
    refuse_pointers([*folder.glob("*.json"), *folder.glob("*.safetensors")])
    problem = ""
    if (folder / ADAPTER).is_file():
        problem = ADAPTER_PROBLEM
    elif not (folder / "config.json").is_file():
        problem = "has no config.json, so it is not a Hugging Face model folder."
    elif not any(folder.glob("*.safetensors")):
        problem = (
            "has no *.safetensors weights (pickles are refused): save it with save_pretrained."
        )
    elif not any((folder / name).is_file() for name in TOKENIZER_FILES):
        problem = "has no tokenizer. Put the model's tokenizer files (tokenizer.json, …) in it."
    if problem:
        raise InvalidInput("source", f"{folder} {problem}")


def _from_pretrained(source: str, load: Any, **options: Any) -> Any:
    """Call `load`, a `from_pretrained` method. Its errors become `InvalidInput("source")`."""
    try:
        return load(source, **options)
    except (OSError, SafetensorError) as error:
        raise InvalidInput("source", f"Cannot load {source}: {_first_line(error)}") from error
    except (ValueError, KeyError, ImportError, RuntimeError) as error:
        raise InvalidInput(
            "source", f"Cannot load {source} as a causal language model: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _load_tokenizer(source: str, options: dict[str, Any]) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = _from_pretrained(
        source, AutoTokenizer.from_pretrained, **options
    )
    if not tokenizer.get_vocab():
        raise InvalidInput(
            "source", f"The tokenizer of {source} is empty: is tokenizer.json missing?"
        )
    return tokenizer


def _load_model(
    source: str, config: Any, device: str, dtype: str, options: dict[str, Any]
) -> PreTrainedModel:
    model, report = _from_pretrained(
        source,
        AutoModelForCausalLM.from_pretrained,
        config=config,
        dtype=_runtime_dtype(config, device, dtype),
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    if missing := sorted(report["missing_keys"]):
        names = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise InvalidInput(
            "source",
            f"{source} lacks weights of {type(model).__name__}: {names}. "
            "Is it a causal language model?",
        )
    model = model.to(device).eval().requires_grad_(False)
    if not hook_names(model):
        reason = next(iter(hook_refusals(model).values()))
        raise InvalidInput(
            "source", f"{type(model).__name__} has no activations to hook into: {reason}"
        )
    return model


def _runtime_dtype(config: Any, device: str, name: str) -> torch.dtype:
    if name == "auto":
        on_cpu = torch.device(device).type == "cpu"
        return torch.float32 if on_cpu else _stored_dtype(config)
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        message = f"There is no dtype {name!r}; use auto, float32, bfloat16 or float16."
        raise InvalidInput("dtype", message)
    return dtype


def _weight_files(source: str, revision: str) -> list[Path]:
    """The safetensors files of a folder, or those of a hub repository in the cache."""
    folder = Path(source)
    if folder.is_dir():
        return sorted(folder.glob("*.safetensors"))
    config = try_to_load_from_cache(source, "config.json", revision=revision)
    return sorted(Path(config).parent.glob("*.safetensors")) if isinstance(config, str) else []


def _dtype_name(config: Any) -> str:
    return str(_stored_dtype(config)).removeprefix("torch.")


def _stored_dtype(config: Any) -> torch.dtype:
    """The type of the weights as the configuration has it."""
    return (
        getattr(config, "dtype", None)
        or getattr(config.get_text_config(), "dtype", None)
        or torch.float32
    )


def _check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Added tokens may lie beyond the model's rows: only texts that hold one are refused."""
    embeddings, vocabulary = embedding_rows(model), tokenizer.get_vocab()
    ordinary = vocabulary.keys() - tokenizer.get_added_vocab().keys() or vocabulary.keys()
    largest = max(vocabulary[token] for token in ordinary)
    if largest >= embeddings:
        raise InvalidInput(
            "source",
            f"The tokenizer has ids up to {largest}, the model only {embeddings} embeddings: they "
            "do not match.",
        )
