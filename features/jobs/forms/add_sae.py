"""The job that imports an SAE made elsewhere."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import Q

from features import sae_sources
from features.jobs.forms.base import FollowUp, JobForm
from features.jobs.forms.compute_dashboards import ComputeDashboards
from features.jobs.forms.on_sae import first_positions_field, norm_ratio_field
from features.models import Corpus, Dashboard, Job, LanguageModel
from features.records import NORM_RATIO
from features.slugs import is_slug, not_a_page_of_a_model

STDLIB = "python-stdlib"
AS_CONFIGURED = "Leave it empty for what its configuration says, else {}."


class AddSae(JobForm):
    """Fetch an SAE from a folder, a hub or SAELens's registry, check it against its model, and test
    it on real tokens.
    """

    kind = "add_sae"
    title = "Import an SAE"
    about = (
        "Fetches an SAE from a folder, a hub or SAELens's registry, checks it against the "
        "model, and tests it on real tokens."
    )

    model = forms.CharField(help_text="The language model that it explains.")
    slug = forms.CharField(
        max_length=63,
        validators=[is_slug, not_a_page_of_a_model],
        help_text="The SAE's name in its URL, such as 6-res-jb.",
    )
    source = forms.CharField(
        max_length=500,
        help_text="A folder in SAELens's format on the worker, a hub repository (owner/name), or "
        "an entry of SAELens's registry"
        " (release:id). Safetensors only.",
    )
    subfolder = forms.CharField(
        max_length=300,
        required=False,
        help_text="The folder inside a hub repository that holds several SAEs. The registry and "
        "a folder have none.",
    )
    revision = forms.CharField(
        max_length=100,
        required=False,
        help_text="Branch, tag or commit of the hub; empty for the newest. A folder has none.",
    )
    hook = forms.CharField(
        max_length=100,
        required=False,
        help_text="The hook point. Leave it empty to use the one in its configuration.",
    )
    corpus = forms.CharField(
        required=False,
        help_text="Text for the test and the following jobs. Leave it empty to use the corpus "
        "last used with the model.",
    )
    norm_ratio = norm_ratio_field(None, AS_CONFIGURED.format(f"{NORM_RATIO:g}"))
    first_positions = first_positions_field(None, AS_CONFIGURED.format("0"))
    anyway = forms.BooleanField(
        initial=False,
        required=False,
        label="Use it anyway",
        help_text="Even if its configuration names another model. Choose this if that is another "
        "name of the same model.",
    )
    then = forms.BooleanField(
        initial=True,
        required=False,
        label="Then compute dashboards and evaluate it",
        help_text="Two more jobs, queued when this one finishes.",
    )

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Import gpt2-small/6-res-jb."""
        return f"Import {params.get('model')}/{params.get('slug')}"

    @classmethod
    def defaults(cls, data: Mapping[str, str]) -> dict[str, Any]:
        """The oldest model."""
        values = super().defaults(data)
        models = LanguageModel.objects.order_by("id").values_list("slug", flat=True)
        return {**values, "model": values["model"] or models.first()}

    @classmethod
    def promises(cls, params: Mapping[str, Any]) -> list[str]:
        """The SAE."""
        return [f"{params['model']}/{params['slug']}"]

    @classmethod
    def follow_ups(cls, params: Mapping[str, Any]) -> list[FollowUp]:
        """Dashboards and all that comes after them, where they are wanted."""
        if not params.get("then"):
            return []
        return ComputeDashboards.of_new_saes(cls.promises(params), params["corpus"])

    def params(self) -> dict[str, Any]:
        """What was given: a place that was left empty is no setting."""
        return {name: value for name, value in super().params().items() if value != ""}

    def clean_source(self) -> str:
        """Something that can be looked up: an entry of the registry must be there, and be no
        pickle.
        """
        source: str = self.cleaned_data["source"]
        try:
            sae_sources.parse_source(source)
        except LookupError as error:
            raise forms.ValidationError(str(error.args[0]), code="unknown") from None
        return source

    def clean_subfolder(self) -> str:
        """A path inside the repository, and never out of it."""
        folder: str = self.cleaned_data["subfolder"].strip("/")
        if ".." in folder.split("/"):
            raise forms.ValidationError("Write a path inside the repository, without “..”.")
        return folder

    def clean_corpus(self) -> str:
        """The corpus must exist; empty is the one last used with the model, or the only one there
        is, or without any the standard library.
        """
        slug = self.cleaned_data["corpus"] or _last_corpus(self.cleaned_data.get("model", ""))
        if slug:
            self.find_corpus(slug)
            return str(slug)
        known = list(Corpus.objects.order_by("slug").values_list("slug", flat=True))
        if len(known) > 1:
            raise forms.ValidationError(
                f"No corpus was used with this model yet. Choose one: {', '.join(known[:20])}."
            )
        return known[0] if known else STDLIB

    def clean(self) -> dict[str, Any]:
        """Checks that need two fields: slug and hook against the model, and a corpus for what
        follows.
        """
        cleaned = super().clean() or {}
        if "model" in cleaned:
            self._against_model(cleaned)
        slug = cleaned.get("corpus")
        if (
            slug
            and cleaned.get("then")
            and slug not in self.promised
            and not Corpus.objects.filter(slug=slug).exists()
        ):
            self.add_error(
                "corpus",
                "Dashboards and evaluation need a corpus: add one first, or leave them out.",
            )
        return cleaned

    def _against_model(self, cleaned: dict[str, Any]) -> None:
        try:
            model = self.find_model(cleaned["model"])
        except forms.ValidationError as error:
            self.add_error("model", error)
            return
        slug, hook = cleaned.get("slug"), cleaned.get("hook")
        if slug:
            self.refuse_taken(cleaned["model"], slug)
        if model and hook and not model.has_hook(hook):
            self.add_error("hook", model.without_hook(hook))


def _last_corpus(model: str) -> str:
    """The slug of the corpus that was last used with a model, of those that still exist; empty if
    there is none.
    """
    jobs = Job.objects.filter(
        Q(params__model=model) | Q(params__sae__startswith=f"{model}/"),
        params__corpus__in=list(Corpus.objects.values_list("slug", flat=True)),
    )
    if last := jobs.order_by("-id").values_list("params__corpus", flat=True).first():
        return str(last)
    shown = Dashboard.objects.filter(sae__model__slug=model).order_by("-id")
    return shown.values_list("corpus__slug", flat=True).first() or ""
