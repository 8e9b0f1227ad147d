"""Training: one SAE, or a sweep of several from one forward pass."""

from collections.abc import Mapping
from typing import Any

from django import forms

from features import hook_names
from features.formfields import Several, split
from features.jobs import sweeps
from features.jobs.forms.base import JobForm
from features.jobs.forms.evaluate_sae import TOKENS_HELP
from features.models import LanguageModel
from features.services import memory
from features.slugs import is_slug, not_a_page_of_a_model

ARCHITECTURES = [
    ("topk", "TopK: the k largest fire"),
    ("batchtopk", "BatchTopK: k on average over a batch"),
    ("matryoshka", "Matryoshka: nested BatchTopK"),
    ("jumprelu", "JumpReLU: a learned threshold each"),
    ("gated", "Gated: separate gate and size"),
    ("standard", "Standard: ReLU with an L1 penalty"),
]
WITH_K = frozenset({"topk", "batchtopk", "matryoshka", "jumprelu"})


class TrainSae(JobForm):
    """Train SAEs on hook points of one model."""

    kind = "train_sae"
    title = "Train an SAE"
    resumable = True
    about = (
        "Trains a sparse autoencoder on the activations of a hook point while a corpus runs "
        "through the model. Several hooks, "
        "or several values with commas between, make a sweep: every combination, all from one "
        "forward pass."
    )

    model = forms.CharField(help_text="The language model to read.")
    slug = forms.CharField(
        max_length=63,
        validators=[is_slug, not_a_page_of_a_model],
        help_text="The SAE's name in its address, such as 2-res-topk. In a sweep each SAE adds "
        "what it differs in.",
    )
    corpus = forms.CharField(help_text="The text to run; a part of it is held out for evaluation.")
    hook = Several(
        forms.CharField(),
        help_text="Where to read: residual stream, MLP or attention of a layer. The middle "
        "layers hold the most concepts.",
    )
    architecture = Several(
        forms.ChoiceField(choices=ARCHITECTURES),
        initial="topk",
        help_text="How the features are kept sparse.",
    )
    width = Several(
        forms.IntegerField(min_value=1, max_value=2**20),
        initial=2048,
        help_text="Number of features, 1 to 1,048,576. Eight times the model's width is usual.",
    )
    k = Several(
        forms.IntegerField(min_value=1, max_value=4096),
        initial=24,
        required=False,
        label="k",
        help_text="Features that fire per token, for TopK; the mean for BatchTopK and "
        "Matryoshka, the target for JumpReLU.",
    )
    sparsity = Several(
        forms.FloatField(min_value=1e-9, max_value=1000),
        required=False,
        help_text="Weight of the sparsity penalty, above 0 (standard, gated, JumpReLU). Empty "
        "takes the architecture's default.",
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
    learning_rate = Several(
        forms.FloatField(min_value=1e-7, max_value=1.0),
        required=False,
        help_text="Of Adam, 1e-7 to 1. Empty takes the architecture's own default.",
    )
    seed = Several(
        forms.IntegerField(min_value=0, max_value=2**31 - 1),
        initial=0,
        help_text="The same seed gives the same start.",
    )
    dead_tokens = forms.IntegerField(
        min_value=2048,
        max_value=10**10,
        initial=100_000,
        label="Dead after",
        help_text="Tokens. A feature that did not fire in so many counts as dead; the TopK "
        "family revives it.",
    )
    then = forms.BooleanField(
        initial=True,
        required=False,
        label="Then make dashboards and evaluate",
        help_text="More jobs, queued when this one finishes.",
    )

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Train a TopK SAE on demo-python, residual stream after layer 2."""
        if len(sweep := sweeps.members(params)) > 1:
            return (
                f"Train {len(sweep)} SAEs on {params.get('model')}, {sweeps.combinations(params)}"
            )
        name = dict(ARCHITECTURES).get(params.get("architecture", ""), "new").partition(":")[0]
        return (
            f"Train a {name} SAE on {params.get('model')}, "
            f"{hook_names.read(params.get('hook', '')).words}"
        )

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
        if not self.errors:
            cleaned = _kept(cleaned)
            self._check_sweep(cleaned)
        if model and not self.errors and (refusal := memory.refusal(cleaned, model, self.queue)):
            self.add_error("width", refusal)
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
        for hook in split(cleaned.get("hook") or []):
            if hook not in model.hooks:
                self.add_error(
                    "hook",
                    f"{model} has no hook “{hook}”. It has {model.hooks[0]} to {model.hooks[-1]}.",
                )
        if (cleaned.get("context_size") or 0) > model.context_size:
            self.add_error(
                "context_size", f"{model} was made for at most {model.context_size} tokens."
            )
        return model

    def _check_k(self, cleaned: dict[str, Any]) -> None:
        if (
            not WITH_K & set(split(cleaned.get("architecture")))
            or not cleaned.get("width")
            or "k" in self.errors
        ):
            return
        narrowest = min(split(cleaned["width"]))
        if not cleaned.get("k"):
            self.add_error("k", "This architecture needs k: how many features fire per token.")
        elif max(split(cleaned["k"])) > narrowest:
            self.add_error("k", f"k is at most the width, {narrowest}.")

    def _check_sweep(self, cleaned: dict[str, Any]) -> None:
        """How many SAEs there are, and whether each can have its name."""
        model, sweep = cleaned["model"], sweeps.members(cleaned)
        if len(sweep) > sweeps.MOST:
            self.add_error(
                None,
                f"These settings make {_many(len(sweep))} SAEs ({sweeps.combinations(cleaned)}); "
                "one sweep trains at most "
                f"{sweeps.MOST}. Give fewer values, or start several sweeps.",
            )
            return
        if any(
            self.refuse_taken(model, slug) for slug in sweep
        ):  # one sentence is enough: the first
            return
        try:
            is_slug(max(sweep, key=len))
        except forms.ValidationError:
            longest = max(sweep, key=len)
            self.add_error(
                "slug",
                f"“{longest}” would be {len(longest)} characters long, and 63 are the most: "
                "shorten it.",
            )


def _many(count: int) -> str:
    return f"{count}" if count < sweeps.ENOUGH else f"{sweeps.ENOUGH:,} or more"


def _kept(cleaned: dict[str, Any]) -> dict[str, Any]:
    """Without the settings that none of the architectures reads."""
    unread = {sweeps.UNREAD.get(name) for name in split(cleaned["architecture"])}
    return {name: value for name, value in cleaned.items() if {name} != unread}
