"""Load a causal language model and its tokenizer as they are: raw weights, plain Hugging Face
modules, no folding.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
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
from workers.pipeline.data.tokens import special_ids, vocabulary
from workers.pipeline.model.hooks import hook_names


@dataclass(frozen=True)
class Language:
    """A model ready to run: in eval mode, without gradients, on `device`.

    `special_ids` are the tokens that no statistic counts (BOS, EOS, padding, …); `revision` says
    which weights these are, `stored_dtype` their type on disk (the model may run in another).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    special_ids: Int64[Tensor, " special"]
    revision: str
    stored_dtype: str = "float32"

    @property
    def context_size(self) -> int:
        """The most positions the model takes."""
        return (
            int(getattr(self.model.config.get_text_config(), "max_position_embeddings", 0)) or 2048
        )


def load_language(
    source: str, revision: str = "", device: str = "cpu", dtype: str = "auto"
) -> Language:
    """Load a Hugging Face hub id or a local folder (config, safetensors weights, tokenizer).

    `dtype` "auto" is the type of the weights; half precision runs as float32 on a CPU. Nothing of
    the source is executed (no remote code, no pickles). Raises `InvalidInput` (field `source`, or
    `revision`) with what is missing.
    """
    folder = Path(source).expanduser()
    local = folder.is_dir()
    if local:
        source = str(folder)
        _check_folder(folder)
    elif source.startswith(("/", ".", "~")) or source.count("/") > 1:
        raise InvalidInput(
            "source",
            f"There is no folder {source}. Give a hub id (owner/name) or a folder with "
            "config.json.",
        )
    options: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    repository = None if local else hub.find_repository(source, revision)
    if repository:
        if repository.unreachable and not hub.file_sizes(repository, ["config.json"]):
            raise repository.unreachable
        options["revision"] = (
            repository.commit
        )  # every file of one commit, whatever is pushed meanwhile
    config = _ask(source, AutoConfig.from_pretrained, **options)
    tokenizer = _tokenizer(source, options)
    model = _model(source, config, device, dtype, options)
    rows = int(model.get_input_embeddings().weight.size(0))  # type: ignore[operator]
    if (largest := max(tokenizer.get_vocab().values())) >= rows:
        raise InvalidInput(
            "source",
            f"The tokenizer has ids up to {largest}, the model only {rows} embeddings: they do "
            "not match.",
        )
    at = torch.device(device)
    ids = torch.tensor(sorted(special_ids(tokenizer)), dtype=torch.int64, device=at)
    known = repository.commit if repository else folder_revision(folder)
    return Language(
        model, tokenizer, at, ids, known, str(_stored_dtype(config)).removeprefix("torch.")
    )


def check_context_length(language: Language, ids: Int64[Tensor, "batch pos"]) -> None:
    """`InvalidInput("context_size")` where contexts are longer than the model was made for."""
    if ids.shape[1] > language.context_size:
        raise InvalidInput(
            "context_size",
            f"Contexts have {ids.shape[1]} tokens, but the model takes {language.context_size} "
            "at most.",
        )


def describe_model(language: Language) -> ModelRecord:
    """The model's shape, hooks and vocabulary, as ingest stores them."""
    config = language.model.config.get_text_config()
    return ModelRecord(
        architecture=type(language.model).__name__,
        revision=language.revision,
        layers=int(config.num_hidden_layers),
        d_model=int(config.hidden_size),
        vocabulary_size=int(config.vocab_size),
        context_size=language.context_size,
        parameters=sum(parameter.numel() for parameter in language.model.parameters()),
        dtype=language.stored_dtype,
        bos_token_id=language.tokenizer.bos_token_id,
        hooks=hook_names(language.model),
        tokens=vocabulary(language.tokenizer),
    )


def folder_revision(folder: Path) -> str:
    """`sha256:` and 12 hex digits over config.json and every safetensors file of a model folder."""
    digest = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return f"sha256:{digest.hexdigest()[:12]}"


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise InvalidInput(
            "source", f"{folder} has no config.json, so it is not a Hugging Face model folder."
        )
    if not any(folder.glob("*.safetensors")):
        raise InvalidInput(
            "source",
            f"{folder} has no *.safetensors weights (pickles are refused): save it with "
            "save_pretrained.",
        )
    if not any(
        (folder / name).is_file()
        for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
    ):
        raise InvalidInput(
            "source",
            f"{folder} has no tokenizer. Put the model's tokenizer files (tokenizer.json, …) in "
            "it.",
        )


def _ask(source: str, load: Any, **options: Any) -> Any:
    """Call a `from_pretrained`; what it says of a bad source becomes a `InvalidInput`."""
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


def _tokenizer(source: str, options: dict[str, Any]) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = _ask(source, AutoTokenizer.from_pretrained, **options)
    if not tokenizer.get_vocab():
        raise InvalidInput(
            "source", f"The tokenizer of {source} is empty: is tokenizer.json missing?"
        )
    return tokenizer


def _model(
    source: str, config: Any, device: str, dtype: str, options: dict[str, Any]
) -> PreTrainedModel:
    """The weights, complete or refused, in the type that the device runs well."""
    on_cpu = torch.device(device).type == "cpu"
    wanted = _stored_dtype(config) if dtype == "auto" else getattr(torch, dtype, None)
    if not isinstance(wanted, torch.dtype):
        raise InvalidInput(
            "dtype", f"There is no dtype {dtype!r}; use auto, float32, bfloat16 or float16."
        )
    if dtype == "auto" and on_cpu:
        wanted = torch.float32
    load = AutoModelForCausalLM.from_pretrained
    model, report = _ask(
        source,
        load,
        config=config,
        dtype=wanted,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    if missing := sorted(report["missing_keys"]):
        raise InvalidInput(
            "source",
            f"{source} lacks weights of {type(model).__name__}: {', '.join(missing[:3])}"
            f"{' …' if len(missing) > 3 else ''}. Is it a causal language model?",
        )
    hook_names(model)
    return model.to(device).eval().requires_grad_(False)


def _stored_dtype(config: Any) -> torch.dtype:
    return (
        getattr(config, "dtype", None)
        or getattr(config.get_text_config(), "dtype", None)
        or torch.float32
    )
