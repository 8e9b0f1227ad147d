"""What every kind of job shares: a Django form as the schema of its params."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from features import hook_names
from features.jobs import sweeps
from features.models import Corpus, Job, LanguageModel, Sae
from features.params_form import ParamsForm, T


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A job that is queued when another finishes: its kind and its form's data.

    It brings the follow-ups of its own form, or `follow_ups` where these are given.
    """

    kind: str
    data: dict[str, Any]
    follow_ups: tuple["FollowUp", ...] | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What a job runs per token: a model up to a hook, and SAEs there, `weights` the sum of their
    d x width.
    """

    model: LanguageModel
    hook: str
    weights: float

    @property
    def forward(self) -> float:
        """Operations of a forward pass: a multiplication and an addition per parameter."""
        return 2.0 * self.model.parameters

    @property
    def forward_to_hook(self) -> float:
        """Operations of a forward pass that ends at the hook."""
        layer = hook_names.parse_hook(self.hook).layer
        return self.forward * ((layer + 1) / self.model.layers if layer is not None else 1.0)


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
    assumed_speed: ClassVar[float | None] = None
    """Operations per second of a computer with two cores, where no job of the kind has finished
    yet; None where jobs of the kind read no tokens.
    """

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

    @classmethod
    def defaults(cls, data: Mapping[str, str]) -> dict[str, Any]:
        """Values for every field of the start page: those of `data` that are not empty, else a
        proposal.
        """
        values: dict[str, Any] = {name: field.initial for name, field in cls.base_fields.items()}
        values |= {name: value for name, value in data.items() if value}
        if "corpus" in values and not values["corpus"]:
            values["corpus"] = Corpus.objects.order_by("id").values_list("slug", flat=True).first()
        if "sae" in values and not values["sae"]:
            values["sae"] = str(Sae.objects.select_related("model").order_by("-id").first() or "")
        return values

    @classmethod
    def promises(cls, params: Mapping[str, Any]) -> list[str]:
        """Names of what a job of these params will make, which its follow-ups may use."""
        return []

    @classmethod
    def follow_ups(cls, params: Mapping[str, Any]) -> list[FollowUp]:
        """The jobs that a job of these params brings along."""
        return []

    @classmethod
    def operations(cls, shape: Shape) -> float:
        """Floating-point operations per token, of kinds with an `assumed_speed`."""
        raise NotImplementedError

    @classmethod
    def memory(cls, params: Mapping[str, Any], model: LanguageModel) -> int:
        """Bytes that the job takes; 0 where that is not estimated."""
        return 0

    @classmethod
    def compares_with_earlier(cls, params: Mapping[str, Any]) -> bool:
        """Whether the job's page compares its SAE with those that earlier jobs made."""
        return False

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
        making = Job.objects.filter(params__model=model, params__has_key="slug").exclude(
            state__in=Job.FINAL
        )
        return any(slug in sweeps.sweep_of(job.params).saes for job in making)

    def refuse_taken(self, model: str, slug: str) -> bool:
        """Whether `sae_taken`, with an error at `slug` if so."""
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
