"""Check a fetched SAE against the model that it is to explain, and test it on real tokens.

    load        the folder that `sources` wrote, with every scale folded
    claims      compare the claims of its configuration with the model
    test        evaluate its reconstruction on TEST_TOKENS tokens
    diagnose    warn if the test went badly, with the probable cause

What cannot work raises `InvalidInput`; what looks wrong becomes a note or a warning.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from sae_lens import SAE
from safetensors import safe_open

from features.records import (
    NORM_RATIO,
    CountingRule,
    Evaluation,
    ImportedSae,
    LogLine,
    Progress,
    SequenceRecord,
    TrainedSae,
)
from workers.pipeline.data.tokens import adds_bos
from workers.pipeline.model.counted_tokens import measure_median_norms
from workers.pipeline.model.hooks import resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.claims import (
    DEFAULT_CONTEXT_SIZE,
    Claims,
    check_contexts,
    check_model,
    choose_hook,
    last_part,
    parse_claims,
)
from workers.pipeline.sae.diagnosis import PLAUSIBLE_VARIANCE, diagnose_reconstruction
from workers.pipeline.sae.evaluate import evaluate
from workers.pipeline.sae.folder import WEIGHTS
from workers.pipeline.sae.io import content_hash, load_sae
from workers.pipeline.sae.normalized_input import fold_norm_gain, mlp_input_of
from workers.pipeline.sae.reconstruct import require_fit
from workers.pipeline.sae.settings import describe_settings
from workers.pipeline.sae.sources import FetchedSae

TEST_TOKENS = 4096
NO_CHOICE: Mapping[str, Any] = MappingProxyType({})
Sequences = Callable[[int, bool], Iterator[SequenceRecord]]


class EvaluationCorpus(NamedTuple):
    """The corpus of the test: its name, and its contexts by context size and whether they begin
    with BOS.
    """

    name: str
    sequences: Sequences


def import_sae(
    language: Language,
    model_names: Collection[str],
    fetched: FetchedSae,
    folder: Path,
    hook: str,
    corpus: EvaluationCorpus,
    allow_other_model: bool,
    should_stop: Callable[[], bool],
    chosen: Mapping[str, Any] = NO_CHOICE,
) -> Iterator[Progress | LogLine | ImportedSae]:
    """Check and test the SAE in `folder` at `hook`, by default the hook of its configuration.

    `model_names` are names of the model `language`; `chosen` are fields of `CountingRule` that
    override what the configuration says of the tokens that count. Yields log lines, progress in
    tokens and at the end one `ImportedSae`, unless `should_stop()` returned true.

    Raises `InvalidInput` with the field `source` (files), `hook`, `corpus`, or `anyway` if the SAE
    was made for another model and `allow_other_model` is false.
    """
    sae = load_sae(str(folder), device=str(language.device))
    claims = parse_claims(sae)
    hook = choose_hook(language.model, claims, hook)
    norm_notes = []
    if hook == mlp_input_of(claims.hook):
        norm_notes.append(fold_norm_gain(language, folder, claims.hook))
        sae = load_sae(str(folder), device=str(language.device))
    require_fit(sae, resolve_hook(language.model, hook))
    context_size = min(claims.context_size or DEFAULT_CONTEXT_SIZE, language.context_size)
    notes = [
        *check_model(language, model_names, claims, allow_other_model),
        *check_contexts(language, claims, context_size),
        *norm_notes,
    ]
    yield from map(LogLine, notes)
    unused_settings = describe_settings(fetched.config)
    yield from (LogLine(f"Warning: {warning}") for warning in unused_settings)
    bos = adds_bos(language.tokenizer) if claims.prepend_bos is None else claims.prepend_bos
    rule = (claims.rule or CountingRule(NORM_RATIO))._replace(**chosen)
    if rule.norm_ratio and not rule.median_norm:
        medians = measure_median_norms(
            language, [hook], corpus.sequences(context_size, bos), should_stop
        )
        rule = rule._replace(median_norm=medians.get(hook, 0.0))
    contexts = _Recorded(corpus.sequences(context_size, bos))
    evaluation: Evaluation | None = None
    for record in evaluate(language, sae, hook, contexts, TEST_TOKENS, should_stop, rule):
        if isinstance(record, Evaluation):
            evaluation = record
        elif isinstance(record, Progress):
            yield record._replace(note=f"Testing its reconstruction on {corpus.name}")
    if evaluation is None:
        return
    for note in describe_outliers(evaluation, claims.rule):
        notes.append(note)
        yield LogLine(note)
    diagnosis = diagnose_reconstruction(language, sae, hook, contexts.recorded, evaluation)
    yield from (LogLine(f"Warning: {warning}") for warning in diagnosis)
    warnings = [*unused_settings, *diagnosis]
    origin = {
        **_published_origin(fetched, claims, folder),
        "notes": notes,
        "warnings": warnings,
        "test": {
            "tokens": evaluation.tokens,
            "corpus": corpus.name,
            "values": evaluation.values,
            "counted_tokens": {**rule._asdict(), "left_out": evaluation.left_out._asdict()},
        },
    }
    imported = _sae_record(sae, fetched, folder, hook, context_size, bos)
    yield ImportedSae(imported._replace(rule=rule), origin)


def describe_outliers(evaluation: Evaluation, trained: CountingRule | None) -> Iterator[str]:
    """Yield a note about the outliers (attention sinks) of the test, if there were any: what they
    do to the explained variance, and whether the SAE was trained on them.

    `trained` is the rule in the SAE's configuration.
    """
    values, outliers = evaluation.values, evaluation.left_out.outliers
    both = values.get("explained_variance_with_outliers")
    if not outliers or both is None:
        return
    without = values.get("explained_variance", math.nan)
    if trained and trained.norm_ratio:
        trained_on = "It was trained without such tokens, as its configuration says."
    elif both >= max(without, PLAUSIBLE_VARIANCE):
        trained_on = "It reconstructs them, so it was trained with such tokens."
    else:
        trained_on = "It does not reconstruct them, so it was trained without such tokens."
    yield (
        f"{outliers:,} of the test's tokens are outliers with a norm above "
        f"{evaluation.rule.norm_ratio:g} times the median (attention sinks) and are left out: the "
        f"explained variance is {without:.3g}, with them {both:.3g}. {trained_on}"
    )


class _Recorded:
    """An iterator over contexts that keeps those it has returned."""

    def __init__(self, contexts: Iterator[SequenceRecord]) -> None:
        self.contexts, self.recorded = contexts, list[SequenceRecord]()

    def __iter__(self) -> Iterator[SequenceRecord]:
        for context in self.contexts:
            self.recorded.append(context)
            yield context


def _sae_record(
    sae: SAE[Any], fetched: FetchedSae, folder: Path, hook: str, context_size: int, bos: bool
) -> TrainedSae:
    return TrainedSae(
        path=str(folder),
        sha256=content_hash(str(folder)),
        architecture=str(sae.cfg.metadata.training_architecture or sae.cfg.architecture()),
        d_in=int(sae.cfg.d_in),
        width=int(sae.cfg.d_sae),
        hook=hook,
        context_size=context_size,
        config={**fetched.config, "prepend_bos": bos},
        metrics={},
    )


def _published_origin(fetched: FetchedSae, claims: Claims, folder: Path) -> dict[str, Any]:
    """Where the SAE is from, what it claims, and its weights as they are in the file: the type and
    [minimum, mean, maximum] decoder norm.
    """
    with safe_open(folder / WEIGHTS, "pt") as file:
        decoder = file.get_tensor("W_dec")
    norms = decoder.float().norm(dim=-1)
    return {
        **fetched.provenance,
        "model_name": last_part(claims.model),
        "hook_name": claims.hook,
        "dtype": str(decoder.dtype).removeprefix("torch."),
        "decoder_norms": [norms.min().item(), norms.mean().item(), norms.max().item()],
        "normalize_activations": str(fetched.config.get("normalize_activations") or "none"),
    }
