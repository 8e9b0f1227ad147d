"""The job that adds a language model."""

from django import forms

from features.jobs.forms.base import JobForm
from features.models import LanguageModel
from features.slugs import is_slug, not_a_fixed_word


class AddModel(JobForm):
    """Read a causal language model and its tokenizer, and keep their shape, revision, hooks and
    vocabulary.
    """

    kind = "add_model"
    title = "Add a model"
    about = "Reads a causal Hugging Face model from a hub or a folder and lists its hook points."

    slug = forms.CharField(
        max_length=63,
        validators=[is_slug, not_a_fixed_word],
        help_text="Its name in URLs, such as gpt2-small.",
    )
    source = forms.CharField(
        max_length=500,
        help_text="A hub id (openai-community/gpt2), or a folder that the worker can read. "
        "Safetensors only.",
    )
    revision = forms.CharField(
        max_length=100,
        required=False,
        help_text="Branch, tag or commit of the hub; empty for the newest. A folder has none.",
    )

    def clean_slug(self) -> str:
        """Refuse a slug that is taken."""
        slug: str = self.cleaned_data["slug"]
        if LanguageModel.objects.filter(slug=slug).exists() or self.being_made(slug=slug):
            raise forms.ValidationError(
                f"There is a model “{slug}” already, or a job is adding it; choose another slug."
            )
        return slug
