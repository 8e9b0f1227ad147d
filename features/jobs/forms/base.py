"""What every kind of job shares: a Django form as the schema of its params."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, TypeVar

from django import forms
from django.core.exceptions import ValidationError

from features.jobs import sweeps
from features.models import Corpus, Job, LanguageModel, Sae
from features.records import InvalidParams

T = TypeVar("T")
MAKES_SAES = ("train_sae", "add_sae")


class JobForm(forms.Form):
    """Params of one kind of job. `promised` names rows that an earlier job of the same chain will
    make.

    What is promised cannot be checked yet; the worker checks it again when the job runs.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    queue: ClassVar[str] = "jobs"
    resumable: ClassVar[bool] = False
    """Whether a cancelled or failed job keeps its last checkpoint, for a new one to go on from."""
    part: ClassVar[str] = ""
    """The kind of the parts that a job with more than one of `shards` is divided into."""

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        promised: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(data, **kwargs)
        self.promised = frozenset(promised)
        for name, field in self.fields.items():
            if data is not None and name not in data and field.initial is not None:
                self.data = {
                    **self.data,
                    name: field.initial,
                }  # what the API or a command leaves out takes its default

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """What a job of these params does, as the title of its page."""
        named = params.get("slug") or params.get("sae")
        return f"{cls.title}: {named}" if named else cls.title

    def params(self) -> dict[str, Any]:
        """The cleaned values as they go into `Job.params`."""
        return {name: value for name, value in self.cleaned_data.items() if value is not None}

    def find_model(self, slug: str) -> LanguageModel | None:
        """The model of that slug, None where it is promised; a `ValidationError` that lists what
        there is otherwise.
        """
        return self._find(
            LanguageModel.objects.filter(slug=slug).first(),
            slug,
            "model",
            LanguageModel.objects.values_list("slug", flat=True),
        )

    def find_corpus(self, slug: str) -> Corpus | None:
        """The corpus of that slug, likewise."""
        return self._find(
            Corpus.objects.filter(slug=slug).first(),
            slug,
            "corpus",
            Corpus.objects.values_list("slug", flat=True),
        )

    def find_sae(self, path: str) -> Sae | None:
        """The SAE at MODEL/SLUG, likewise."""
        model, _, slug = path.partition("/")
        found = Sae.objects.select_related("model").filter(model__slug=model, slug=slug).first()
        return self._find(
            found, path, "SAE", (str(sae) for sae in Sae.objects.select_related("model")[:20])
        )

    def sae_taken(self, model: str, slug: str) -> bool:
        """Whether the model has an SAE of that slug, or a job of any kind is making it."""
        if Sae.objects.filter(model__slug=model, slug=slug).exists():
            return True
        making = Job.objects.filter(kind__in=MAKES_SAES, params__model=model).exclude(
            state__in=Job.FINAL
        )
        return any(slug in sweeps.members(job.params) for job in making)

    def refuse_taken(self, model: str, slug: str) -> bool:
        """Say beside `slug` where `sae_taken`; whether it is."""
        taken = self.sae_taken(model, slug)
        if taken:
            self.add_error(
                "slug",
                f"{model} has an SAE “{slug}” already, or a job is making it; choose another slug.",
            )
        return taken

    def being_made(self, kind: str = "", **params: str) -> bool:
        """Whether a job of that kind (this one) with such params is under way: what it will make is
        as good as there.
        """
        wanted = {f"params__{name}": value for name, value in params.items()}
        return (
            Job.objects.filter(kind=kind or self.kind, **wanted)
            .exclude(state__in=Job.FINAL)
            .exists()
        )

    def _find(self, found: T | None, name: str, noun: str, others: Any) -> T | None:
        if found is None and name not in self.promised:
            known = ", ".join(list(others)[:20]) or "none yet"
            raise ValidationError(f"There is no {noun} “{name}”. Known: {known}.", code="unknown")
        return found


def check(
    form_class: type[JobForm], data: Mapping[str, Any], promised: Collection[str] = ()
) -> dict[str, Any]:
    """The cleaned params, or `InvalidParams`; names that the form does not know are refused too."""
    form = form_class(data, promised=promised)
    unknown = {name: ["There is no such setting."] for name in data if name not in form.fields}
    if unknown or not form.is_valid():
        raise InvalidParams(
            unknown | {field: [str(e) for e in errors] for field, errors in form.errors.items()}
        )
    return form.params()
