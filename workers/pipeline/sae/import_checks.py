"""Check an SAE from elsewhere against the model it is to explain, and test it on real tokens.

`foreign` put its files into a folder; here they are loaded and folded, every claim of its
configuration is compared with the model, and its reconstruction is measured as `evaluate` does.
What cannot work is refused; what looks wrong is said.
"""

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sae_lens import SAE
from safetensors import safe_open
from transformers import PreTrainedModel

from features.records import (
    Evaluation,
    ImportedSae,
    InvalidInput,
    LogLine,
    Progress,
    SequenceRecord,
    TrainedSae,
)
from features.redaction import same_model
from workers.pipeline.model.hooks import MLP_IN, decoder_blocks, hook_names, resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.converters import FetchedSae
from workers.pipeline.sae.diagnosis import Suspicion, diagnose_reconstruction
from workers.pipeline.sae.evaluate import evaluate
from workers.pipeline.sae.folder import CONFIG, WEIGHTS
from workers.pipeline.sae.io import content_hash, load_sae, require_fit

TEST_TOKENS = 4096
USUAL_CONTEXT = 128
Sequences = Callable[[int, bool], Iterator[SequenceRecord]]


class Claims(NamedTuple):
    """What the SAE's configuration says of where it belongs, as it says it; empty or None where it
    does not.
    """

    model: str
    revision: str
    hook: str
    hook_in_modules: str
    context_size: int | None
    prepend_bos: bool


def import_sae(
    language: Language,
    known_as: Collection[str],
    brought: FetchedSae,
    folder: Path,
    hook: str,
    sequences: Sequences,
    corpus: str,
    anyway: bool,
    should_stop: Callable[[], bool],
) -> Iterator[Progress | LogLine | ImportedSae]:
    """Check and test the SAE in `folder` at `hook` (empty: where its configuration says), and
    describe it at the end.

    `known_as` are names of the model; `sequences(context_size, prepend_bos)` are contexts of
    `corpus`. Nothing comes after `should_stop()` turned true. `InvalidInput`: `source` (files),
    `hook`, `corpus`, or `anyway` where it was made for another model and that is not to be
    overlooked.
    """
    sae = load_sae(str(folder), device=str(language.device))
    claims = parse_claims(sae)
    at = _hook(language, claims, hook)
    require_fit(sae, resolve_hook(language.model, at))
    notes = [*_model_notes(language, known_as, claims, anyway)]
    context_size = min(claims.context_size or USUAL_CONTEXT, language.context_size)
    notes += _context_notes(language, claims, context_size)
    for note in notes:
        yield LogLine(note)
    held: list[SequenceRecord] = []

    def kept() -> Iterator[SequenceRecord]:
        for sequence in sequences(context_size, claims.prepend_bos):
            held.append(sequence)
            yield sequence

    measured: Evaluation | None = None
    for record in evaluate(language, sae, at, kept(), TEST_TOKENS, should_stop):
        if isinstance(record, Evaluation):
            measured = record
        elif isinstance(record, Progress):
            yield record._replace(note=f"Testing its reconstruction on {corpus}")
    if measured is None:
        return
    found = diagnose_reconstruction(language, sae, at, held, measured)
    for suspicion in found:
        yield LogLine(f"Warning: {suspicion.text}")
    yield ImportedSae(_made(sae, brought, folder, at, context_size, claims), _origin(
        brought, folder, claims, notes, found, measured, corpus
    ))  # fmt: skip


def parse_claims(sae: SAE[Any]) -> Claims:
    """What the loaded configuration says; SAELens has brought older forms into today's."""
    data = sae.cfg.metadata
    size = data.context_size
    return Claims(
        model=str(data.model_name or ""),
        revision=str(data.model_revision or ""),
        hook=str(data.hook_name or ""),
        hook_in_modules=str(data.hf_hook_name or ""),
        context_size=size if isinstance(size, int) and size > 1 else None,
        prepend_bos=data.prepend_bos is not False,
    )


def canonical_hook_name(model: PreTrainedModel, name: str, in_modules: str = "") -> str | None:
    """Our name for a hook that SAELens names its way, or by a Hugging Face module; None for one
    that we do not have.
    """
    spelt = re.sub(r"^(blocks\.\d+\.)hook_z$", r"\1attn.hook_z", name)
    for candidate in (spelt, *(_of_module(model, path) for path in (name, in_modules))):
        try:
            if candidate:
                return resolve_hook(model, candidate).name
        except InvalidInput:
            continue
    return None


def _of_module(model: PreTrainedModel, path: str) -> str | None:
    """The hook at a module's `path.input` or `path.output` (the default)."""
    place, _, side = path.rpartition(".")
    if side not in ("input", "output"):
        place, side = path, "output"
    if match := re.search(r"\.(\d+)\.pre_feedforward_layernorm$", place):
        return f"blocks.{match[1]}.{MLP_IN}" if side == "output" else None
    modules = {id(module): name for name, module in model.named_modules()}
    for name in hook_names(model):
        point = resolve_hook(model, name)
        if (modules[id(point.module)], point.side) == (place, side) and not name.endswith(
            "hook_resid_pre"
        ):
            return name
    return None


def _hook(language: Language, claims: Claims, asked: str) -> str:
    model = language.model
    if asked:
        return resolve_hook(model, asked).name
    found = canonical_hook_name(model, claims.hook, claims.hook_in_modules)
    if found:
        return found
    names, layers = hook_names(model), len(decoder_blocks(model))
    said = (
        f"says {claims.hook!r}, which this model of {layers} layers does not have"
        if claims.hook
        else "does not say"
    )
    raise InvalidInput(
        "hook", f"{CONFIG} {said}: choose where the SAE reads, {names[0]} to {names[-1]}."
    )


def _model_notes(
    language: Language, known_as: Collection[str], claims: Claims, anyway: bool
) -> Iterator[str]:
    here = " or ".join(sorted({name for name in known_as if name}))
    if claims.revision and claims.revision == language.revision:
        return
    if not claims.model:
        yield (
            f"{CONFIG} does not say which model the SAE was made for; it is taken for one of "
            f"{here}."
        )
    elif not same_model(claims.model, known_as):
        told = f"The SAE was made for {_last(claims.model)!r}, but this model is {here}."
        if not anyway:
            raise InvalidInput(
                "anyway", f"{told} Where they are the same by another name, tick “Use it anyway”."
            )
        yield f"{told} It is used anyway."


def _context_notes(language: Language, claims: Claims, context_size: int) -> Iterator[str]:
    if claims.context_size is None:
        yield f"{CONFIG} does not say how long its contexts were; {context_size} tokens are used."
    elif claims.context_size > context_size:
        yield (
            f"It was trained on contexts of {claims.context_size} tokens, but the model takes "
            f"{context_size}."
        )
    if not claims.prepend_bos:
        yield "It was trained on contexts that do not begin with BOS, and is run on such."
    elif language.tokenizer.bos_token_id is None:
        yield "It was trained on contexts that begin with BOS, but this model's tokenizer has none."


def _made(
    sae: SAE[Any], brought: FetchedSae, folder: Path, hook: str, context_size: int, claims: Claims
) -> TrainedSae:
    return TrainedSae(
        path=str(folder),
        sha256=content_hash(str(folder)),
        architecture=str(sae.cfg.metadata.training_architecture or sae.cfg.architecture()),
        d_in=int(sae.cfg.d_in),
        width=int(sae.cfg.d_sae),
        hook=hook,
        context_size=context_size,
        config={**brought.config, "prepend_bos": claims.prepend_bos},
        metrics={},
    )


def _origin(
    brought: FetchedSae,
    folder: Path,
    claims: Claims,
    notes: list[str],
    found: list[Suspicion],
    measured: Evaluation,
    corpus: str,
) -> dict[str, Any]:
    with safe_open(folder / WEIGHTS, "pt") as file:
        decoder = file.get_tensor("W_dec")
    norms = decoder.float().norm(dim=-1)
    return {
        **brought.provenance,
        "model_name": _last(claims.model),
        "hook_name": claims.hook,
        "dtype": str(decoder.dtype).removeprefix("torch."),
        "decoder_norms": [norms.min().item(), norms.mean().item(), norms.max().item()],
        "normalize_activations": str(brought.config.get("normalize_activations") or "none"),
        "notes": notes,
        "warnings": [suspicion.text for suspicion in found],
        "test": {"tokens": measured.tokens, "corpus": corpus, "values": measured.values},
    }


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]
