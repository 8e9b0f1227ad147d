"""What an SAE's configuration claims about its model, hook and contexts, compared with the model
that it is imported for.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from sae_lens import SAE
from transformers import PreTrainedModel

from features.records import NORM_RATIO, CountingRule, InvalidInput, same_model
from workers.pipeline.data.tokens import adds_bos
from workers.pipeline.model.hooks import MLP_IN, decoder_blocks, hook_names, resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.folder import RULE_METADATA
from workers.pipeline.sae.normalized_input import mlp_input_of
from workers.pipeline.sae.setting_values import CONFIG

DEFAULT_CONTEXT_SIZE = 128


class Claims(NamedTuple):
    """The claims as written in the configuration; empty or None if it makes none.

    `rule` says which tokens the SAE was trained on.
    """

    model: str
    revision: str
    hook: str
    hook_in_modules: str
    context_size: int | None
    prepend_bos: bool | None
    rule: CountingRule | None


def parse_claims(sae: SAE[Any]) -> Claims:
    """Return the claims of a loaded SAE, whose configuration is in SAELens's current form."""
    metadata = sae.cfg.metadata
    size = metadata.context_size
    return Claims(
        model=str(metadata.model_name or ""),
        revision=str(metadata.model_revision or ""),
        hook=str(metadata.hook_name or ""),
        hook_in_modules=str(metadata.hf_hook_name or ""),
        context_size=size if isinstance(size, int) and size > 1 else None,
        prepend_bos=None if metadata.prepend_bos is None else bool(metadata.prepend_bos),
        rule=_parse_rule(metadata),
    )


def _parse_rule(metadata: Any) -> CountingRule | None:
    """The rule that we saved, or what SAELens's `seqpos_slice` says of the first positions."""
    saved = getattr(metadata, RULE_METADATA, None)
    if isinstance(saved, dict) and set(saved) == set(CountingRule._fields):
        return CountingRule(**saved)
    start = next(iter(metadata.seqpos_slice or []), None)
    first = start - (metadata.prepend_bos is not False) if isinstance(start, int) else 0
    return CountingRule(NORM_RATIO, 0.0, first) if first > 0 else None


def canonical_hook_name(model: PreTrainedModel, name: str, in_modules: str = "") -> str | None:
    """Return our name for a hook that is named as in SAELens or by a Hugging Face module.

    Returns None if we have no such hook.
    """
    with_attention = re.sub(r"^(blocks\.\d+\.)hook_z$", r"\1attn.hook_z", name)
    candidates = (
        with_attention,
        mlp_input_of(name),
        _hook_of_module(model, name),
        _hook_of_module(model, in_modules),
    )
    for candidate in filter(None, candidates):
        try:
            return resolve_hook(model, candidate).name
        except InvalidInput:
            continue
    return None


def choose_hook(model: PreTrainedModel, claims: Claims, requested: str) -> str:
    """Return the requested hook, or if it is empty, the one that the configuration names.

    Raises `InvalidInput("hook")` if the model does not have it.
    """
    if requested:
        return resolve_hook(model, requested).name
    hook = canonical_hook_name(model, claims.hook, claims.hook_in_modules)
    if hook:
        return hook
    names, layers = hook_names(model), len(decoder_blocks(model))
    problem = "does not say"
    if claims.hook:
        problem = f"says {claims.hook!r}, which this model of {layers} layers does not have"
    raise InvalidInput(
        "hook",
        f"{CONFIG} {problem}: choose where the SAE reads, {names[0]} to {names[-1]}, or for a "
        f"transcoder blocks.0.{MLP_IN} to blocks.{layers - 1}.{MLP_IN}.",
    )


def check_model(
    language: Language, model_names: Collection[str], claims: Claims, allow_other_model: bool
) -> Iterator[str]:
    """Yield a note if the SAE may be of another model than `language`, known as `model_names`.

    Raises `InvalidInput("anyway")` if it claims another model, unless `allow_other_model`.
    """
    names = " or ".join(sorted(filter(None, set(model_names))))
    if claims.revision and claims.revision == language.revision:
        return
    if not claims.model:
        yield (
            f"{CONFIG} does not say which model the SAE was made for; it is taken for one of "
            f"{names}."
        )
    elif not same_model(claims.model, model_names):
        difference = f"The SAE was made for {last_part(claims.model)!r}, but this model is {names}."
        if not allow_other_model:
            raise InvalidInput(
                "anyway",
                f"{difference} Where they are the same by another name, tick “Use it anyway”.",
            )
        yield f"{difference} It is used anyway."


def check_contexts(language: Language, claims: Claims, context_size: int) -> Iterator[str]:
    """Yield a note for each way in which contexts of `context_size` differ from those claimed."""
    if claims.context_size is None:
        yield f"{CONFIG} does not say how long its contexts were; {context_size} tokens are used."
    elif claims.context_size > context_size:
        yield (
            f"It was trained on contexts of {claims.context_size} tokens, but the model takes "
            f"{context_size}."
        )
    if claims.prepend_bos is None:
        begins = "begin with BOS" if adds_bos(language.tokenizer) else "do not begin with BOS"
        yield (
            f"{CONFIG} does not say whether its contexts began with BOS. It is run on contexts "
            f"that {begins}, as the model's tokenizer does."
        )
    elif not claims.prepend_bos:
        yield "It was trained on contexts that do not begin with BOS, and is run on such."
    elif language.tokenizer.bos_token_id is None:
        yield "It was trained on contexts that begin with BOS, but this model's tokenizer has none."


def last_part(model_name: str) -> str:
    """Return the last part of a model's path or hub id: a full path is private."""
    return model_name.rstrip("/").rpartition("/")[2]


def _hook_of_module(model: PreTrainedModel, path: str) -> str | None:
    """The hook at a module's `path.input` or `path.output`; the default is its output."""
    module_path, _, side = path.rpartition(".")
    if side not in ("input", "output"):
        module_path, side = path, "output"
    if match := re.search(r"\.(\d+)\.pre_feedforward_layernorm$", module_path):
        return f"blocks.{match[1]}.{MLP_IN}" if side == "output" else None
    paths = {id(module): module_path for module_path, module in model.named_modules()}
    for name in hook_names(model):
        if name.endswith("hook_resid_pre"):
            continue
        point = resolve_hook(model, name)
        path_in_model = f".{paths[id(point.module)]}"  # sparsify leaves the first names out
        is_named = module_path and path_in_model.endswith(f".{module_path}")
        if is_named and (point.side, point.scale) == (side, 1):
            return name
    return None
