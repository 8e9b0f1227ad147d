"""Training: one SAE, or a sweep of several from one forward pass."""

import re
from collections.abc import Mapping
from typing import Any

from django import forms

from features import hook_names
from features.formfields import ListField, split_values
from features.jobs import sweeps, training_memory
from features.jobs.forms.base import FollowUp, JobForm, Shape
from features.jobs.forms.compute_dashboards import ComputeDashboards
from features.jobs.forms.on_sae import TOKENS_HELP, first_positions_field, norm_ratio_field
from features.models import Corpus, Job, LanguageModel
from features.records import NORM_RATIO, SAE_ARCHITECTURES
from features.slugs import is_slug, not_a_page_of_a_model

BOS_CHOICES = (
    ("tokenizer", "As the tokenizer does"),
    ("always", "Always"),
    ("never", "Never"),
)
FEATURES_PER_DIMENSION = 8
USUAL_CONTEXT = 128
SUGGESTED_SLUG = re.compile(
    r"(\d+-(res-pre|res|mlp-in|mlp|att|z)(-[a-z]+)?|sweep|topk|batchtopk|matryoshka|jumprelu|gated|standard)(-\d+)?"
)
"""A slug of this form follows the hook and the architecture; one that a person wrote stays."""


class TrainSae(JobForm):
    """Train SAEs on hook points of one model."""

    kind = "train_sae"
    title = "Train an SAE"
    resumable = True
    assumed_speed = 1e11
    about = (
        "Trains a sparse autoencoder on the activations of a hook point while a corpus runs "
        "through the model. Several hooks, "
        "or several values separated by commas, make a sweep: every combination, all from one "
        "forward pass."
    )

    model = forms.CharField(help_text="The language model to train on.")
    slug = forms.CharField(
        max_length=63,
        validators=[is_slug, not_a_page_of_a_model],
        help_text="The SAE's name in its URL, such as 2-res-topk. In a sweep each SAE adds its "
        "own settings.",
    )
    corpus = forms.CharField(help_text="The text to run; a part of it is held out for evaluation.")
    hook = ListField(
        forms.CharField(),
        help_text="The activations to train on: residual stream, MLP or attention of a layer. "
        "Middle layers have the most concepts.",
    )
    architecture = ListField(
        forms.ChoiceField(
            choices=[(name, known.title) for name, known in SAE_ARCHITECTURES.items()]
        ),
        initial="topk",
        help_text="How features are made sparse.",
    )
    width = ListField(
        forms.IntegerField(min_value=1, max_value=2**20),
        initial=2048,
        help_text="Number of features, 1 to 1,048,576. Eight times the model's width is usual.",
    )
    k = ListField(
        forms.IntegerField(min_value=1, max_value=4096),
        initial=24,
        required=False,
        label="k",
        help_text="Features that fire per token, for TopK; the mean for BatchTopK and "
        "Matryoshka, the target for JumpReLU.",
    )
    sparsity = ListField(
        forms.FloatField(min_value=1e-9, max_value=1000),
        required=False,
        help_text="Weight of the sparsity penalty, above 0 (standard, gated, JumpReLU). Leave it "
        "empty for the architecture's default.",
    )
    tokens = forms.IntegerField(
        min_value=10_000, max_value=10**11, initial=1_000_000, help_text=TOKENS_HELP
    )
    context_size = forms.IntegerField(
        min_value=8,
        max_value=8192,
        initial=128,
        help_text="Tokens per context, at most the model's own.",
    )
    bos = forms.ChoiceField(
        choices=BOS_CHOICES,
        initial="tokenizer",
        label="Start contexts with BOS",
        help_text="The default is what the model's tokenizer does by itself, as the model was "
        "trained. A corpus may have a rule of its own.",
    )
    norm_ratio = norm_ratio_field(NORM_RATIO)
    first_positions = first_positions_field(0)
    learning_rate = ListField(
        forms.FloatField(min_value=1e-7, max_value=1.0),
        required=False,
        help_text="Of Adam, 1e-7 to 1. Leave it empty for the architecture's default.",
    )
    seed = ListField(
        forms.IntegerField(min_value=0, max_value=2**31 - 1),
        initial=0,
        help_text="The same seed gives the same start.",
    )
    dead_tokens = forms.IntegerField(
        min_value=2048,
        max_value=10**10,
        initial=100_000,
        label="Dead after",
        help_text="Tokens. A feature that has not fired for this many tokens counts as dead; the "
        "TopK family revives it.",
    )
    then = forms.BooleanField(
        initial=True,
        required=False,
        label="Then compute dashboards and evaluate",
        help_text="More jobs, queued when this one finishes.",
    )

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Train a TopK SAE on demo-python, residual stream after layer 2."""
        sweep = sweeps.sweep_of(params)
        if len(sweep.saes) > 1:
            return f"Train {len(sweep.saes)} SAEs on {params.get('model')}, {sweep.description}"
        known = SAE_ARCHITECTURES.get(params.get("architecture", ""))
        name = known.title.partition(":")[0] if known else "new"
        return (
            f"Train a {name} SAE on {params.get('model')}, "
            f"{hook_names.parse_hook(params.get('hook', '')).words}"
        )

    @classmethod
    def defaults(cls, data: Mapping[str, str]) -> dict[str, Any]:
        """A hook in the middle of the model, a usual width and context, and a slug that is free."""
        values = super().defaults(data)
        models = LanguageModel.objects.order_by("id")
        model = models.filter(slug=values["model"] or "").first() or models.first()
        if model is None:
            return values
        values["model"] = values["model"] or model.slug
        hooks = [hook for hook in split_values(values["hook"] or "") if hook in model.hooks]
        hooks = hooks or [hook_names.middle(model.hooks)]
        values["hook"] = ",".join(hooks)
        if not data.get("width"):
            values["width"] = FEATURES_PER_DIMENSION * model.d_model
        if not data.get("context_size"):
            values["context_size"] = min(USUAL_CONTEXT, model.context_size)
        if not values["slug"] or SUGGESTED_SLUG.fullmatch(values["slug"]):
            values["slug"] = _free_slug(
                model, _slug_of(hooks, split_values(values["architecture"]))
            )
        return values

    @classmethod
    def promises(cls, params: Mapping[str, Any]) -> list[str]:
        """The SAEs."""
        return [f"{params['model']}/{slug}" for slug in sweeps.sweep_of(params).saes]

    @classmethod
    def follow_ups(cls, params: Mapping[str, Any]) -> list[FollowUp]:
        """Dashboards and all that comes after them, where they are wanted."""
        if not params.get("then"):
            return []
        return ComputeDashboards.of_new_saes(cls.promises(params), params["corpus"])

    @classmethod
    def operations(cls, shape: Shape) -> float:
        """To encode and decode takes 4 d width, and the way back twice as much."""
        return shape.forward_to_hook + 12 * shape.weights

    @classmethod
    def memory(cls, params: Mapping[str, Any], model: LanguageModel) -> int:
        """All of it, in bytes."""
        return training_memory.memory_of(params, model).total

    @classmethod
    def compares_with_earlier(cls, params: Mapping[str, Any]) -> bool:
        """A sweep compares its own SAEs."""
        return len(sweeps.sweep_of(params).saes) == 1

    def clean_corpus(self) -> str:
        """The corpus must exist."""
        self.find_corpus(self.cleaned_data["corpus"])
        return str(self.cleaned_data["corpus"])

    def clean(self) -> dict[str, Any]:
        """Checks that need two fields: hooks and context against the model, k against the width,
        slugs, how many, memory.
        """
        cleaned = super().clean() or {}
        model = self._model(cleaned)
        self._check_k(cleaned)
        self._check_bos(cleaned, model)
        if not self.errors:
            cleaned = _without_unused(cleaned)
            self._check_sweep(cleaned)
        if (
            model
            and not self.errors
            and (message := training_memory.shortage(cleaned, model, self.queue))
        ):
            self.add_error("width", message)
        return cleaned

    def _model(self, cleaned: dict[str, Any]) -> LanguageModel | None:
        """The model, with hooks and context checked against it."""
        try:
            model = self.find_model(cleaned["model"]) if "model" in cleaned else None
        except forms.ValidationError as error:
            self.add_error("model", error)
            return None
        if model is None:
            return None
        for hook in split_values(cleaned.get("hook") or []):
            if hook not in model.hooks:
                self.add_error("hook", model.without_hook(hook))
        if (cleaned.get("context_size") or 0) > model.context_size:
            self.add_error(
                "context_size", f"{model} was made for at most {model.context_size} tokens."
            )
        return model

    def _check_bos(self, cleaned: dict[str, Any], model: LanguageModel | None) -> None:
        """The choice must agree with the corpus and be possible for the model."""
        bos = cleaned.get("bos")
        corpus = Corpus.objects.filter(slug=cleaned.get("corpus")).first()
        if corpus and bos != "tokenizer" and corpus.bos not in (Corpus.Bos.ASKED, bos):
            self.add_error(
                "bos",
                f"The corpus “{corpus}” has a rule of its own, {corpus.cut}: choose "
                f"“{dict(BOS_CHOICES)['tokenizer']}”, which follows it, or another corpus.",
            )
        elif model and bos == "always" and model.bos_token_id is None:
            self.add_error("bos", f"The tokenizer of {model} has no BOS: choose “Never”.")

    def _check_k(self, cleaned: dict[str, Any]) -> None:
        architectures = split_values(cleaned.get("architecture"))
        use_k = any(sweeps.unused_setting(name) != "k" for name in architectures if name)
        if not use_k or not cleaned.get("width") or "k" in self.errors:
            return
        narrowest = min(split_values(cleaned["width"]))
        if not cleaned.get("k"):
            self.add_error("k", "This architecture needs k: how many features fire per token.")
        elif max(split_values(cleaned["k"])) > narrowest:
            self.add_error("k", f"k is at most the width, {narrowest}.")

    def _check_sweep(self, cleaned: dict[str, Any]) -> None:
        """How many SAEs there are, and whether each can have its name."""
        model, sweep = cleaned["model"], sweeps.sweep_of(cleaned)
        if len(sweep.saes) > sweeps.MAX_SAES:
            self.add_error(
                None,
                f"These settings make {_many(len(sweep.saes))} SAEs ({sweep.description}); "
                f"one sweep trains at most {sweeps.MAX_SAES}. Give fewer values, or start several "
                "sweeps.",
            )
            return
        if any(self.refuse_taken(model, slug) for slug in sweep.saes):  # one error is enough
            return
        longest = max(sweep.saes, key=len)
        try:
            is_slug(longest)
        except forms.ValidationError:
            self.add_error(
                "slug",
                f"“{longest}” would be {len(longest)} characters long, and 63 are the most: "
                "shorten it.",
            )


def _slug_of(hooks: list[str], architectures: list[str]) -> str:
    """What all SAEs have in common: the hook, the architecture."""
    parts = [hook_names.parse_hook(hooks[0]).short] if len(hooks) == 1 else []
    parts += architectures if len(architectures) == 1 else []
    return "-".join(parts or ["sweep"])[:58]


def _free_slug(model: LanguageModel, slug: str) -> str:
    """`slug`, or with the first number behind it that neither an SAE nor a job that trains one
    has.
    """
    training = Job.objects.filter(kind=TrainSae.kind, params__model=model.slug)
    taken = {
        *model.saes.values_list("slug", flat=True),
        *training.exclude(state__in=Job.FINAL).values_list("params__slug", flat=True),
    }
    if slug not in taken:
        return slug
    return next(name for n in range(2, len(taken) + 3) if (name := f"{slug}-{n}") not in taken)


def _many(count: int) -> str:
    return f"{count}" if count < sweeps.MAX_COUNTED else f"{sweeps.MAX_COUNTED:,} or more"


def _without_unused(cleaned: dict[str, Any]) -> dict[str, Any]:
    """Drop a setting that no architecture uses, so that no page shows what had no effect."""
    unused = {sweeps.unused_setting(name) for name in split_values(cleaned["architecture"])}
    return {name: value for name, value in cleaned.items() if {name} != unused}
