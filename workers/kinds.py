"""What each kind of job does: read the rows, run the pipeline, write what it yields, and finish in one transaction."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.db import transaction

from features import ingest, jobs, names
from features.models import Corpus, LanguageModel, Sae
from features.records import Evaluation, FeatureRange, SequenceRecord, TrainedSae
from features.selectors import catalog
from features.services import catalog as writing
from features.version import VERSION
from workers import artifacts, resident
from workers.pipeline import corpora, tokens
from workers.pipeline.dashboards import dashboards
from workers.pipeline.errors import BadInput
from workers.pipeline.evaluate import evaluate
from workers.pipeline.language import Language, describe, load_language
from workers.pipeline.train import TrainSettings, train
from workers.running import Work


def add_model(work: Work) -> None:
    """Read a model's shape, hooks and vocabulary."""
    source, revision = work.params["source"], work.params.get("revision", "")
    work.say(f"Reading {names.of_source(source)}.")
    record = describe(load_language(source, revision))
    work.go_on()
    with transaction.atomic():
        model = writing.add_model(work.params["slug"], source, record)
        jobs.finish(work.job, {"model": model.slug})


def add_corpus(work: Work) -> None:
    """Check that a corpus can be read."""
    source, column = work.params["source"], work.params["text_column"]
    work.say(f"Reading {names.of_source(source)}.")
    revision, note = corpora.describe_corpus(source, column)
    work.go_on()
    with transaction.atomic():
        corpus = writing.add_corpus(work.params["slug"], source, column, work.params.get("licence", ""), revision, note)
        jobs.finish(work.job, {"corpus": corpus.slug})


def train_sae(work: Work) -> None:
    """Train, from the last checkpoint where there is one."""
    model, corpus = _model(work), _corpus(work)
    language = resident.language(model)
    settings = training_settings(work.params)
    resume = None
    if work.job.checkpoint:
        resume = str(artifacts.get(work.job.checkpoint, work.folder / "resume"))
        work.say(f"Resuming from {work.job.checkpoint}.")
    stream = partial(_sequences, language, corpus, settings.context_size, False)
    records = train(language, stream, settings, str(work.folder), resume_from=resume, should_stop=work.should_stop)
    for record in work.results(records):
        assert isinstance(record, TrainedSae)
        artifact = artifacts.put(record.path, f"saes/{model.slug}/{work.params['slug']}-{record.sha256[:12]}")
        with transaction.atomic():
            sae = writing.add_sae(model, work.params["slug"], record, artifact, corpus, work.job)
            jobs.finish(work.job, {"sae": str(sae)})
        artifacts.remove(f"jobs/{work.job.pk}")


def evaluate_sae(work: Work) -> None:
    """Measure on held-out text."""
    sae, corpus = _sae(work), _corpus(work)
    language = resident.language(sae.model)
    held_out = _sequences(language, corpus, sae.context_size, True)
    records = evaluate(language, resident.sae(sae), sae.hook, held_out, work.params["tokens"], work.should_stop)
    for record in work.results(records):
        assert isinstance(record, Evaluation)
        with transaction.atomic():
            writing.keep_evaluation(sae, record, corpus, work.job)
            jobs.finish(work.job, {"sae": str(sae), **record.values})


def compute_dashboards(work: Work) -> None:
    """Fill the features of an SAE, and declare them complete at the end."""
    sae, corpus = _sae(work), _corpus(work)
    language = resident.language(sae.model)
    contexts = _sequences(language, corpus, sae.context_size, False)
    wanted = work.params["tokens"]
    records = dashboards(language, resident.sae(sae), sae.hook, contexts, wanted, should_stop=work.should_stop)
    examples = counted = 0
    for record in work.results(records):
        assert isinstance(record, FeatureRange)
        counted = record.tokens
        examples += ingest.write_range(sae, corpus, sae.context_size, record)
    with transaction.atomic():
        shown = ingest.finish(sae, corpus, counted, work.job, VERSION)
        work.say(f"{shown.alive:,} of {sae.width:,} features fired; {examples:,} examples kept.")
        jobs.finish(work.job, {"sae": str(sae), "alive": shown.alive, "tokens": counted})


def training_settings(params: dict[str, Any]) -> TrainSettings:
    """The params of a `train_sae` job as the pipeline takes them; ten checkpoints, at most a million tokens apart."""
    taken = ("hook", "architecture", "width", "k", "tokens", "context_size", "learning_rate", "seed")
    given: dict[str, Any] = {name: params[name] for name in taken if params.get(name) is not None}
    given["l0_coefficient" if given["architecture"] == "jumprelu" else "l1_coefficient"] = params.get("sparsity")
    return TrainSettings(**given, checkpoint_tokens=min(max(params["tokens"] // 10, 10_000), 1_000_000))


RUNNERS: dict[str, Callable[[Work], None]] = {
    "add_model": add_model,
    "add_corpus": add_corpus,
    "train_sae": train_sae,
    "evaluate_sae": evaluate_sae,
    "compute_dashboards": compute_dashboards,
}


def _sequences(language: Language, corpus: Corpus, context_size: int, held_out: bool) -> Iterator[SequenceRecord]:
    """The corpus as packed contexts, always the same ones in the same order."""
    documents = corpora.documents(corpus.source, text_column=corpus.text_column, held_out=held_out)
    return tokens.pack(documents, language.tokenizer, context_size)


def _model(work: Work) -> LanguageModel:
    slug = work.params["model"]
    try:
        return catalog.model(slug)
    except LanguageModel.DoesNotExist:
        raise BadInput("model", f"There is no model “{slug}” any more.") from None


def _corpus(work: Work) -> Corpus:
    slug = work.params["corpus"]
    corpus = catalog.corpora().filter(slug=slug).first()
    if corpus is None:
        raise BadInput("corpus", f"There is no corpus “{slug}” any more.")
    revision, _ = corpora.describe_corpus(corpus.source, corpus.text_column)
    if revision != corpus.revision:
        raise BadInput(
            "corpus", f"{corpus.source} is now {revision}, but “{slug}” was added at {corpus.revision}: add it again."
        )
    return corpus


def _sae(work: Work) -> Sae:
    path = work.params["sae"]
    try:
        return catalog.sae(*path.split("/", 1))
    except Sae.DoesNotExist:
        raise BadInput("sae", f"There is no SAE “{path}” any more.") from None
