"""Jobs that make, measure and show sparse autoencoders."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms

from features import hooks
from features.kinds.base import JobForm
from features.slugs import is_slug

ARCHITECTURES = [
    ("topk", "TopK: the k largest fire"),
    ("batchtopk", "BatchTopK: k on average over a batch"),
    ("matryoshka", "Matryoshka: nested BatchTopK"),
    ("jumprelu", "JumpReLU: a learned threshold each"),
    ("gated", "Gated: separate gate and size"),
    ("standard", "Standard: ReLU with an L1 penalty"),
]
WITH_K = frozenset({"topk", "batchtopk", "matryoshka", "jumprelu"})
UNREAD = {"gated": "k", "standard": "k", "topk": "sparsity", "batchtopk": "sparsity", "matryoshka": "sparsity"}
"""The setting that an architecture does not read: it is not kept, so that no page shows what had no effect."""
TOKENS_HELP = "Special tokens are not counted. More tokens find rarer features and take longer."


class TrainSae(JobForm):
    """Train an SAE on one hook point of a model."""

    kind = "train_sae"
    title = "Train an SAE"
    about = "Trains a sparse autoencoder on the activations of one hook point while a corpus runs through the model."

    model = forms.CharField(help_text="The language model to read.")
    slug = forms.CharField(
        max_length=63, validators=[is_slug], help_text="The SAE's name in its address, such as 2-res-topk."
    )
    corpus = forms.CharField(help_text="The text to run; a part of it is held out for evaluation.")
    hook = forms.CharField(
        help_text="Where to read: residual stream, MLP or attention of one layer. The middle layers hold the most concepts."
    )
    architecture = forms.ChoiceField(
        choices=ARCHITECTURES, initial="topk", help_text="How the features are kept sparse."
    )
    width = forms.IntegerField(
        min_value=1,
        max_value=2**20,
        initial=2048,
        help_text="Number of features, 1 to 1,048,576. Eight times the model's width is usual.",
    )
    k = forms.IntegerField(
        min_value=1,
        max_value=4096,
        initial=24,
        required=False,
        label="k",
        help_text="Features that fire per token, for TopK; the mean for BatchTopK and Matryoshka, the target for JumpReLU.",
    )
    sparsity = forms.FloatField(
        min_value=1e-9,
        max_value=1000,
        required=False,
        help_text="Weight of the sparsity penalty, above 0 (standard, gated, JumpReLU). Empty takes the architecture's default.",
    )
    tokens = forms.IntegerField(min_value=10_000, max_value=10**11, initial=1_000_000, help_text=TOKENS_HELP)
    context_size = forms.IntegerField(
        min_value=8, max_value=8192, initial=128, help_text="Tokens per context, at most the model's own."
    )
    learning_rate = forms.FloatField(
        min_value=1e-7,
        max_value=1.0,
        required=False,
        help_text="Of Adam, 1e-7 to 1. Empty takes the architecture's own default.",
    )
    seed = forms.IntegerField(
        min_value=0, max_value=2**31 - 1, initial=0, help_text="The same seed gives the same start."
    )
    then = forms.BooleanField(
        initial=True,
        required=False,
        label="Then evaluate it and make dashboards",
        help_text="Two more jobs, queued when this one finishes.",
    )

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Train a TopK SAE on demo-python, residual stream after layer 2."""
        name = dict(ARCHITECTURES).get(params.get("architecture", ""), "new").partition(":")[0]
        return f"Train a {name} SAE on {params.get('model')}, {hooks.read(params.get('hook', '')).words}"

    def clean_corpus(self) -> str:
        """The corpus must exist."""
        self.find_corpus(self.cleaned_data["corpus"])
        return str(self.cleaned_data["corpus"])

    def clean(self) -> dict[str, Any]:
        """Checks that need two fields: hook and context against the model, k against the width, the slug against its model."""
        cleaned = super().clean() or {}
        if "model" in cleaned:
            self._against_model(cleaned)
        k, width = cleaned.get("k"), cleaned.get("width")
        if cleaned.get("architecture") in WITH_K and width:
            if not k:
                self.add_error("k", "This architecture needs k: how many features fire per token.")
            elif k > width:
                self.add_error("k", f"k is at most the width, {width}.")
        unread = UNREAD.get(cleaned.get("architecture", ""))
        return {name: value for name, value in cleaned.items() if name != unread}

    def _against_model(self, cleaned: dict[str, Any]) -> None:
        try:
            model = self.find_model(cleaned["model"])
        except forms.ValidationError as error:
            self.add_error("model", error)
            return
        slug = cleaned.get("slug")
        if slug and self.sae_taken(cleaned["model"], slug):
            self.add_error(
                "slug", f"{cleaned['model']} has an SAE “{slug}” already, or a job is making it; choose another slug."
            )
        if model is None:
            return
        hook, context = cleaned.get("hook"), cleaned.get("context_size")
        if hook and hook not in model.hooks:
            self.add_error("hook", f"{model} has no hook “{hook}”. It has {model.hooks[0]} to {model.hooks[-1]}.")
        if context and context > model.context_size:
            self.add_error("context_size", f"{model} was made for at most {model.context_size} tokens.")


class OnSae(JobForm):
    """What jobs on an existing SAE share."""

    verb: ClassVar[str]

    sae = forms.CharField(label="SAE", help_text="As MODEL/SLUG.")
    corpus = forms.CharField(help_text="The text to run.")

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Evaluate demo-python/2-res."""
        return f"{cls.verb} {params.get('sae')}"

    def clean_sae(self) -> str:
        """The SAE must exist."""
        self.find_sae(self.cleaned_data["sae"])
        return str(self.cleaned_data["sae"])

    def clean_corpus(self) -> str:
        """The corpus must exist."""
        self.find_corpus(self.cleaned_data["corpus"])
        return str(self.cleaned_data["corpus"])


class EvaluateSae(OnSae):
    """Measure an SAE on text that it was not trained on."""

    kind = "evaluate_sae"
    title = "Evaluate an SAE"
    verb = "Evaluate"
    about = "Measures sparsity, explained variance and the model's loss with the reconstruction spliced in, on held-out text."

    tokens = forms.IntegerField(
        min_value=1_000,
        max_value=10**9,
        initial=50_000,
        help_text="Held-out tokens to measure on; special tokens are not counted.",
    )


class ComputeDashboards(OnSae):
    """Run an SAE over a corpus and keep what each feature fires on."""

    kind = "compute_dashboards"
    title = "Make dashboards"
    verb = "Make the dashboards of"
    about = "One pass over the corpus: top examples, samples of every band, histograms and logits of every feature."

    tokens = forms.IntegerField(min_value=1_000, max_value=10**11, initial=400_000, help_text=TOKENS_HELP)

    def clean_sae(self) -> str:
        """The SAE must exist, and no other job may be writing its features: two would mix their ranges."""
        sae = super().clean_sae()
        if self.being_made(sae=sae):
            raise forms.ValidationError(f"A job is making the dashboards of {sae} already; wait for it or cancel it.")
        return sae
