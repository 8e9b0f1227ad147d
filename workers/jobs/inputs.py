"""The rows that a job's params name, checked against what they were when it started, and a corpus
as contexts.
"""

from collections.abc import Iterator

from features import redaction
from features.models import Corpus, Dashboard, LanguageModel, Sae
from features.records import CountingRule, InvalidInput, SequenceRecord
from features.selectors import catalog as catalog_selectors
from features.services import catalog as catalog_services
from workers.lifecycle.work import RunningJob
from workers.pipeline.data import corpora
from workers.pipeline.data import tokens as token_data
from workers.pipeline.model.counted_tokens import measure_median_norms
from workers.pipeline.model.language import Language


def sequences(
    language: Language,
    corpus: Corpus,
    context_size: int,
    held_out: bool,
    *,
    bos: bool,
    seen: token_data.OnDocument | None = None,
) -> Iterator[SequenceRecord]:
    """The corpus as contexts, always the same ones in the same order. `bos` is the SAE's setting,
    which counts where the corpus leaves it open.

    `seen` is called with each document. `InvalidInput("corpus")` where the rules of the corpus do
    not fit this model.
    """
    _require_compatible(corpus, language)
    documents = corpora.load_documents(
        corpus.source, text_column=corpus.text_column, held_out=held_out
    )
    cut = token_data.pack if corpus.packing == Corpus.Packing.PACKED else token_data.separate
    return cut(
        documents,
        language.tokenizer,
        context_size,
        prepend_bos=corpus.begins_with_bos(bos),
        on_document=seen,
    )


def _require_compatible(corpus: Corpus, language: Language) -> None:
    if corpus.bos == Corpus.Bos.ALWAYS and language.tokenizer.bos_token_id is None:
        raise InvalidInput(
            "corpus",
            f"“{corpus}” begins every context with BOS, but the model's tokenizer has none.",
        )
    if corpus.chat and not language.tokenizer.chat_template:
        raise InvalidInput(
            "corpus",
            f"“{corpus}” holds conversations, but the tokenizer of "
            f"{redaction.of_source(language.tokenizer.name_or_path)} has no"
            " chat template: choose a chat model, or a corpus of plain text.",
        )


def rule(job: RunningJob, sae: Sae, language: Language, corpus: Corpus) -> CountingRule:
    """Which tokens count for this SAE: the job's settings, or where it has none those of the SAE.

    The median norm is stored with the SAE; where it is not yet, it is measured on `corpus`.
    """
    names = ("norm_ratio", "first_positions")
    given = {name: job.params[name] for name in names if job.params.get(name) is not None}
    chosen = sae.rule._replace(**given)
    if chosen.norm_ratio and not chosen.median_norm:
        contexts = sequences(language, corpus, sae.context_size, False, bos=sae.prepend_bos)
        medians = measure_median_norms(language, [sae.hook], contexts, job.should_stop)
        job.raise_if_stopped()
        catalog_services.store_median_norm(sae, medians[sae.hook])
        chosen = chosen._replace(median_norm=sae.rule.median_norm)
    return chosen


def model(job: RunningJob) -> LanguageModel:
    """The model of the job. `InvalidInput("model")` where it is gone."""
    slug = job.params["model"]
    try:
        return catalog_selectors.model(slug)
    except LanguageModel.DoesNotExist:
        raise InvalidInput("model", f"There is no model “{slug}” any more.") from None


def corpus(job: RunningJob) -> Corpus:
    """The corpus of the job. `InvalidInput("corpus")` where it is gone, or its source has changed
    since it was added.
    """
    slug = job.params["corpus"]
    row = catalog_selectors.corpora().filter(slug=slug).first()
    if row is None:
        raise InvalidInput("corpus", f"There is no corpus “{slug}” any more.")
    revision = corpora.describe_corpus(row.source, row.text_column).revision
    if revision != row.revision:
        raise InvalidInput(
            "corpus",
            f"{row.source} is now {revision}, but “{slug}” was added at {row.revision}: add "
            "it again.",
        )
    return row


def dashboard(sae: Sae, because: str) -> Dashboard:
    """The dashboards of an SAE. `InvalidInput("sae")` where it has none; `because` says what needs
    them.
    """
    row = Dashboard.objects.filter(sae=sae).first()
    if row is None:
        raise InvalidInput(
            "sae", f"{sae} has no dashboards, {because}. Make them, then run this again."
        )
    return row


def sae(path: str) -> Sae:
    """The SAE at MODEL/SLUG. `InvalidInput("sae")` where it is gone."""
    try:
        return catalog_selectors.sae(*path.split("/", 1))
    except Sae.DoesNotExist:
        raise InvalidInput("sae", f"There is no SAE “{path}” any more.") from None
