"""What every kind of job shares: a Django form as the schema of its params."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from django.db.models import Model

from features.jobs import sweeps
from features.models import Corpus, Job, Sae
from features.params_form import ParamsForm

T = TypeVar("T", bound=Model)
MAKES_SAES = ("train_sae", "add_sae")


class JobForm(ParamsForm):
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

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """What a job of these params does, as the title of its page."""
        named = params.get("slug") or params.get("sae")
        return f"{cls.title}: {named}" if named else cls.title

    def require(self, row: T | None, name: str, noun: str, others: Iterable[str]) -> T | None:
        """The row; None where an earlier job of the chain will make it."""
        if row is None and name in self.promised:
            return None
        return super().require(row, name, noun, others)

    def find_corpus(self, slug: str) -> Corpus | None:
        """The corpus of that slug; None where it is promised."""
        return self.require(
            Corpus.objects.filter(slug=slug).first(),
            slug,
            "corpus",
            Corpus.objects.values_list("slug", flat=True),
        )

    def find_sae(self, path: str) -> Sae | None:
        """The SAE at MODEL/SLUG; None where it is promised."""
        model, _, slug = path.partition("/")
        found = Sae.objects.select_related("model").filter(model__slug=model, slug=slug).first()
        return self.require(
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
