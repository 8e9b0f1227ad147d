"""Steering through the API: the request as its form checks it, and a run as its page shows it."""

from collections.abc import Iterable
from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import TextField, about
from explorer.plots.dose_response import MEASURES
from features.inference.text_activations import MAX_CHARACTERS
from features.models import SweepJudgement
from features.records import MAX_INTERVENTIONS, MAX_STRENGTH
from features.steering.forms import MAX_LENGTH, MODES, PLACES
from features.steering.interventions import METHODS, UNITS
from features.steering.run_views import RunView
from features.steering.transcript import Text
from features.token_spans import text_of

STRENGTH = (
    f"A multiple of `unit` for add and clamp, a factor for scale; -{MAX_STRENGTH:g} to "
    f"{MAX_STRENGTH:g}."
)


class InterventionRequestSerializer(serializers.Serializer[Any]):
    """A feature and what is done to it."""

    sae = serializers.CharField(max_length=63, help_text="Slug of an SAE of the model.")
    index = serializers.IntegerField(min_value=0, max_value=2**31 - 1)
    method = serializers.ChoiceField(
        choices=list(METHODS), default="add", help_text="docs/steering.md has the formulas."
    )
    strength = serializers.FloatField(default=1.0, help_text=STRENGTH)
    unit = serializers.ChoiceField(
        choices=list(UNITS),
        default="maximum",
        help_text="The feature's maximum, or to add the norm of the activation.",
    )


class SteerRequestSerializer(serializers.Serializer[Any]):
    """A prompt and the features to steer with; what is left out has the page's defaults."""

    model = serializers.CharField(max_length=63)
    prompt = serializers.CharField(trim_whitespace=False, max_length=MAX_CHARACTERS)
    mode = serializers.ChoiceField(
        choices=list(MODES), default="text", help_text="chat: through the chat template."
    )
    features = InterventionRequestSerializer(
        many=True, help_text=f"1 to {MAX_INTERVENTIONS}, of any SAEs of the model."
    )
    where = serializers.ChoiceField(choices=list(PLACES), default="all")
    tokens = serializers.ListField(
        child=serializers.IntegerField(min_value=0),
        default=list,
        help_text="Where chosen: positions in the prompt.",
    )
    special = serializers.BooleanField(
        default=False, help_text="Whether special tokens are steered too."
    )
    temperature = serializers.FloatField(default=0.5, help_text="0 takes the most probable token.")
    top_p = serializers.FloatField(default=0.95)
    frequency_penalty = serializers.FloatField(
        default=0.0, help_text="Subtracted from a token's logit for each time it occurred."
    )
    seed = serializers.IntegerField(default=16, help_text="The same seed gives the same texts.")
    length = serializers.IntegerField(default=48, help_text=f"New tokens, 1 to {MAX_LENGTH}.")
    strengths = serializers.ListField(
        child=serializers.FloatField(),
        default=list,
        help_text="Up to 8: a sweep of the one feature, which is added.",
    )
    stream = serializers.BooleanField(
        default=False, help_text="Server-sent events: run, delta …, over."
    )


class SteeredTextSerializer(serializers.Serializer[Any]):
    """A generated text; lists have an entry for each token."""

    text = TextField()
    token_ids = serializers.ListField(child=serializers.IntegerField())
    logprobs = serializers.ListField(
        child=serializers.FloatField(), help_text=about("steer_logprob")
    )
    kl = serializers.ListField(child=serializers.FloatField(), help_text=about("steer_kl"))
    surprise = serializers.ListField(
        child=serializers.FloatField(), help_text=about("steer_surprise")
    )


class SteeredFeatureSerializer(serializers.Serializer[Any]):
    """A feature of a run, with its activation on every token while the unsteered model reads."""

    sae = serializers.CharField()
    index = serializers.IntegerField()
    method = serializers.ChoiceField(choices=list(METHODS))
    strength = serializers.FloatField()
    unit = serializers.ChoiceField(choices=list(UNITS))
    maximum = serializers.FloatField(help_text=about("max_activation"))
    prompt = serializers.ListField(child=serializers.FloatField())
    default = serializers.ListField(child=serializers.FloatField())
    steered = serializers.ListField(child=serializers.FloatField())


class MeasuresSerializer(serializers.Serializer[Any]):
    """What came of one strength."""

    strength = serializers.FloatField()
    concept = serializers.FloatField(help_text=about("dose_concept"))
    mass = serializers.FloatField(help_text=about("dose_mass"))
    surprise = serializers.FloatField(help_text=about("dose_surprise"))
    distinct = serializers.FloatField(help_text=about("dose_distinct"))
    damage = serializers.FloatField(help_text=about("dose_damage"))


class DoseSerializer(serializers.Serializer[Any]):
    """A sweep: the default, each strength, and each strength of each random direction."""

    default = MeasuresSerializer()
    strengths = MeasuresSerializer(many=True)
    controls = serializers.ListField(child=MeasuresSerializer(many=True))
    best = serializers.FloatField(allow_null=True, help_text=about("dose_best"))
    breaks = serializers.FloatField(allow_null=True, help_text=about("dose_breaks"))


class ScoredSerializer(serializers.Serializer[Any]):
    """A language model's judgement of the text of one strength; null if it was not readable."""

    strength = serializers.FloatField()
    concept = serializers.IntegerField(allow_null=True, help_text=about("judge_concept"))
    fluency = serializers.IntegerField(allow_null=True, help_text=about("judge_fluency"))
    both = serializers.FloatField(allow_null=True, help_text=about("judge_both"))


class JudgementSerializer(serializers.Serializer[Any]):
    """A language model's judgement of the texts of a sweep, and what it cost."""

    judge = serializers.CharField(help_text="The language model, as its endpoint names it.")
    label = serializers.CharField(  # type: ignore[assignment]  # DRF's own attribute
        help_text="What was looked for: the feature's label at the time."
    )
    job = serializers.IntegerField(allow_null=True)
    at = serializers.DateTimeField()
    default = ScoredSerializer()
    strengths = ScoredSerializer(many=True)
    unread = serializers.IntegerField(help_text="Answers that could not be read.")
    unasked = serializers.IntegerField(help_text="Questions because the budget was used up.")
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cost = serializers.FloatField(help_text="US dollars, by the prices of the endpoint.")


class SteeringSerializer(serializers.Serializer[Any]):
    """A run that is over."""

    id = serializers.IntegerField()
    url = serializers.CharField(help_text="The page that shows it.")
    state = serializers.ChoiceField(choices=["finished", "stopped"])
    prompt_ids = serializers.ListField(child=serializers.IntegerField())
    features = SteeredFeatureSerializer(many=True)
    default = SteeredTextSerializer(allow_null=True)
    steered = SteeredTextSerializer(allow_null=True)
    dose = DoseSerializer(allow_null=True, help_text="Of a sweep, which has no texts; else null.")
    judgements = JudgementSerializer(
        many=True, help_text="Of a sweep: judgements by language models, newest first."
    )


def steering(view: RunView, judgements: Iterable[SweepJudgement] = ()) -> dict[str, Any]:
    """A run in that shape, with its judgements."""
    swept = bool(view.run.params["strengths"])
    default, changed = view.result.texts
    names = ("sae", "index", "method", "strength", "unit", "maximum")
    features = [
        {name: getattr(intervention, name) for name in names}
        | {
            "prompt": view.result.prompt_activations[i] if view.result.prompt_activations else [],
            "default": default.activations[i],
            "steered": changed.activations[i],
        }
        for i, intervention in enumerate(view.run.interventions)
    ]
    return {
        "id": view.run.pk,
        "url": view.run.get_absolute_url(),
        "state": view.run.state,
        "prompt_ids": view.result.prompt,
        "features": features,
        "default": None if swept else _text(default, view),
        "steered": None if swept else _text(changed, view),
        "dose": _dose(view.sweep.dose) if view.sweep.dose else None,
        "judgements": [_judged(one, view.sweep.dose["strengths"]) for one in judgements]
        if view.sweep.dose
        else [],
    }


def _text(text: Text, view: RunView) -> dict[str, Any]:
    listed = {name: getattr(text, name) for name in ("token_ids", "logprobs", "kl", "surprise")}
    return {"text": text_of(text.token_ids, view.vocabulary), **listed}


def _judged(judgement: SweepJudgement, strengths: list[float]) -> dict[str, Any]:
    names = (
        "judge",
        "label",
        "at",
        "unread",
        "unasked",
        "prompt_tokens",
        "completion_tokens",
        "cost",
    )
    scored = [
        {"strength": strength, "concept": concept, "fluency": fluency, "both": both}
        for strength, concept, fluency, both in zip(
            [0.0, *strengths], judgement.concept, judgement.fluency, judgement.both, strict=True
        )
    ]
    fields = {name: getattr(judgement, name) for name in names}
    return {**fields, "job": judgement.job_id, "default": scored[0], "strengths": scored[1:]}


def _dose(dose: Any) -> dict[str, Any]:
    indices = range(len(dose["strengths"]))
    controls = range(len(dose["control"]["concept"]))

    def at(values: Any, i: int) -> dict[str, float]:
        return {
            "strength": dose["strengths"][i],
            **{name: values(name)[i] for name in MEASURES},
        }

    return {
        "default": {"strength": 0.0, **dose["default"]},
        "strengths": [at(lambda name: dose["feature"][name], i) for i in indices],
        "controls": [
            [at(lambda name, c=c: dose["control"][name][c], p) for p in indices] for c in controls
        ],
        **{
            kind: None if dose[kind] is None else dose["strengths"][dose[kind]]
            for kind in ("best", "breaks")
        },
    }
