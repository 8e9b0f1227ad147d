"""What may be asked of the steering engine: one schema for the page, the API and the worker."""

import math
from collections.abc import Mapping
from typing import Any

from django import forms

from features.inference.text_activations import MOST_CHARACTERS
from features.models import Feature, LanguageModel
from features.records import InvalidParams

MOST_FEATURES = 32
MOST_STRENGTH = 100.0
MOST_LENGTH = 512
METHODS = {
    "add": "add",
    "clamp": "clamp to",
    "scale": "scale by",
    "ablate": "ablate",
    "project": "project out",
}
UNITS = {"maximum": "× maximum", "norm": "× norm"}
"""Of the feature, or of the activation that it is added to."""
STRONG = ("add", "clamp", "scale")
"""Methods that have a strength."""
PLACES = {
    "all": "all positions",
    "prompt": "the prompt only",
    "generated": "generated tokens only",
    "chosen": "chosen tokens of the prompt",
}
MODES = {"text": "text to go on with", "chat": "a question, through the chat template"}
STRENGTHS = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5, 3.0)
"""What a sweep tries unless it is told."""
KNOBS = {"sae", "index", "method", "strength", "unit"}


class FeaturesField(forms.Field):
    """A list of {sae, index, method, strength, unit}; the last three have defaults."""

    default_error_messages = {"required": f"Choose 1 to {MOST_FEATURES} features to steer with."}

    def clean(self, value: Any) -> list[dict[str, Any]]:
        """The features, complete and in order. Says of which entry something is wrong."""
        given = value or []
        if not isinstance(given, list) or not all(isinstance(entry, Mapping) for entry in given):
            raise forms.ValidationError(
                "Give a list of objects with sae, index, method, strength and unit."
            )
        if not 0 < len(given) <= MOST_FEATURES:
            raise forms.ValidationError(
                f"Steer with 1 to {MOST_FEATURES} features; these are {len(given)}."
            )
        cleaned = [_knob(entry) for entry in given]
        names = [(knob["sae"], knob["index"]) for knob in cleaned]
        for sae, index in names:
            if names.count((sae, index)) > 1:
                raise forms.ValidationError(
                    f"{sae}/{index} is there twice: say once what is done to it."
                )
        return cleaned


class NumbersField(forms.Field):
    """A list of numbers, or one text of them between commas."""

    def __init__(self, *, whole: bool = False, most: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.whole, self.most = whole, most

    def clean(self, value: Any) -> list[Any]:
        """The numbers in order, each once."""
        parts = (
            value if isinstance(value, list | tuple) else str(value or "").replace(",", " ").split()
        )
        try:
            numbers = [int(str(part)) if self.whole else float(part) for part in parts]
        except (TypeError, ValueError):
            raise forms.ValidationError(
                "Write numbers with commas between them, such as 1, 2, 4."
            ) from None
        if len(numbers) > self.most or not all(math.isfinite(number) for number in numbers):
            raise forms.ValidationError(f"Give at most {self.most} numbers, none of them infinite.")
        return sorted(set(numbers))


class SteerForm(forms.Form):
    """A prompt, the features that are changed while the model goes on from it, where, and how
    tokens are drawn.

    `rows` are the features' rows by (slug of the SAE, index), once the form is valid.
    """

    model = forms.CharField(max_length=63)
    prompt = forms.CharField(
        strip=False,
        max_length=MOST_CHARACTERS,
        widget=forms.Textarea({"rows": 5, "placeholder": "What the model goes on from"}),
        error_messages={"required": "Write a prompt: the model goes on from it."},
    )
    mode = forms.ChoiceField(
        choices=list(MODES.items()), initial="text", required=False, label="Prompt is"
    )
    features = FeaturesField()
    where = forms.ChoiceField(
        choices=list(PLACES.items()), initial="all", required=False, label="Steer"
    )
    tokens = NumbersField(whole=True, most=2000, required=False, label="Chosen tokens")
    special = forms.BooleanField(required=False, label="special tokens too")
    temperature = forms.FloatField(min_value=0, max_value=5, initial=0.5, required=False)
    top_p = forms.FloatField(
        min_value=0.01, max_value=1, initial=0.95, required=False, label="Top-p"
    )
    frequency_penalty = forms.FloatField(min_value=-2, max_value=2, initial=0.0, required=False)
    seed = forms.IntegerField(min_value=0, max_value=2**31 - 1, initial=16, required=False)
    length = forms.IntegerField(
        min_value=1, max_value=MOST_LENGTH, initial=48, required=False, label="New tokens"
    )
    strengths = NumbersField(most=8, required=False)

    def __init__(self, data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.rows: dict[tuple[str, int], Feature] = {}
        for name, field in self.fields.items():
            if data is not None and self.data.get(name) in (None, "") and field.initial is not None:
                self.data = {**self.data, name: field.initial}

    def clean_prompt(self) -> str:
        """Line ends as models know them, however a browser sends them."""
        prompt: str = self.cleaned_data["prompt"]
        return prompt.replace("\r\n", "\n")

    def clean_model(self) -> LanguageModel:
        """The model's row."""
        found = LanguageModel.objects.filter(slug=self.cleaned_data["model"]).first()
        if found is None:
            known = (
                ", ".join(LanguageModel.objects.values_list("slug", flat=True)[:20]) or "none yet"
            )
            raise forms.ValidationError(
                f"There is no model “{self.cleaned_data['model']}”. Known: {known}."
            )
        return found

    def clean(self) -> dict[str, Any]:
        """Features exist, belong to this model, and have what their unit needs; a sweep is of one
        that is added.
        """
        cleaned = super().clean() or {}
        if "model" in cleaned and "features" in cleaned:
            self._find(cleaned["model"], cleaned["features"])
        if (
            cleaned.get("where") == "chosen"
            and not cleaned.get("tokens")
            and "tokens" not in self.errors
        ):
            self.add_error(
                "tokens", "Choose tokens of the prompt by their positions, counted from 0."
            )
        if cleaned.get("strengths"):
            if len(cleaned.get("features", [])) != 1 or cleaned["features"][0]["method"] != "add":
                self.add_error(
                    "strengths", "A sweep over strengths is of one feature that is added."
                )
            elif max(map(abs, cleaned["strengths"])) > MOST_STRENGTH:
                self.add_error(
                    "strengths", f"Strengths go from -{MOST_STRENGTH:g} to {MOST_STRENGTH:g}."
                )
        return cleaned

    def params(self) -> dict[str, Any]:
        """The cleaned values as a run keeps them."""
        values = {name: value for name, value in self.cleaned_data.items() if name != "model"}
        return {**values, "model": self.cleaned_data["model"].slug}

    def _find(self, model: LanguageModel, knobs: list[dict[str, Any]]) -> None:
        wanted = Feature.objects.filter(
            sae__model=model,
            sae__slug__in={k["sae"] for k in knobs},
            index__in={k["index"] for k in knobs},
        ).select_related("sae__model", "label")
        self.rows = {(row.sae.slug, row.index): row for row in wanted}
        for knob in knobs:
            name, row = (
                f"{knob['sae']}/{knob['index']}",
                self.rows.get((knob["sae"], knob["index"])),
            )
            if row is None:
                self.add_error("features", f"{model} has no feature {name} with dashboards.")
            elif (
                knob["unit"] == "maximum"
                and knob["method"] in ("add", "clamp")
                and not row.max_activation > 0
            ):
                self.add_error(
                    "features",
                    f"{name} never fired, so it has no maximum to measure in: add it in residual "
                    "norms.",
                )


def checked(data: Mapping[str, Any]) -> SteerForm:
    """The form of `data`, valid. Raises `InvalidParams`, also for names that the form does not
    know.
    """
    form = SteerForm(data)
    unknown = {name: ["There is no such setting."] for name in data if name not in form.fields}
    if unknown or not form.is_valid():
        raise InvalidParams(
            unknown | {field: [str(e) for e in errors] for field, errors in form.errors.items()}
        )
    return form


def _knob(entry: Mapping[str, Any]) -> dict[str, Any]:
    name = f"{entry.get('sae', '?')}/{entry.get('index', '?')}"
    if unknown := set(entry) - KNOBS:
        raise forms.ValidationError(
            f"{name}: there is no setting {', '.join(sorted(map(str, unknown)))}."
        )
    method, unit = entry.get("method") or "add", entry.get("unit") or "maximum"
    if method not in METHODS:
        raise forms.ValidationError(
            f"{name}: there is no method “{method}”. Known: {', '.join(METHODS)}."
        )
    if unit not in UNITS or (unit == "norm" and method != "add"):
        raise forms.ValidationError(
            f"{name}: what is added is measured in “maximum” or “norm”, all else in “maximum”."
        )
    index = _whole(entry.get("index"))
    if index is None or not isinstance(entry.get("sae"), str) or "\0" in entry["sae"]:
        raise forms.ValidationError(f"{name}: name a feature by the slug of its SAE and its index.")
    return {
        "sae": entry["sae"],
        "index": index,
        "method": method,
        "strength": _strength(entry, name),
        "unit": unit,
    }


def _strength(entry: Mapping[str, Any], name: str) -> float:
    if (entry.get("method") or "add") not in STRONG:
        return 0.0
    given = entry.get("strength")
    try:
        value = 1.0 if given in (None, "") else float(str(given))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > MOST_STRENGTH:
        most = f"{MOST_STRENGTH:g}"
        raise forms.ValidationError(
            f"{name}: a strength is a number from -{most} to {most}, not {given}."
        )
    return value


def _whole(given: Any) -> int | None:
    text = str(given)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
