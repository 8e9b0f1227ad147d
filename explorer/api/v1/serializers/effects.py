"""What changing a feature does: in a text of a request, and over many, as a job
measured it.
"""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import BIGGEST_INDEX, TextField, about
from features.inference.text_activations import MAX_CHARACTERS

CONTROL = "The same with random directions of equal norm in the same places."


class EffectRequestSerializer(serializers.Serializer[Any]):
    """A feature, and the text in which to change it."""

    model = serializers.CharField(max_length=63)
    sae = serializers.CharField(max_length=63)
    index = serializers.IntegerField(min_value=0, max_value=BIGGEST_INDEX)
    text = serializers.CharField(
        trim_whitespace=False, max_length=MAX_CHARACTERS, help_text="At most 256 tokens."
    )


class BesideSerializer(serializers.Serializer[Any]):
    """A number of the feature, and those of random directions to compare."""

    value = serializers.FloatField(help_text="Of the feature.")
    control = serializers.FloatField(help_text=about("here_control") + " This is their mean.")
    most = serializers.FloatField(source="control_max", help_text="The highest of theirs.")


class RoleSerializer(serializers.Serializer[Any]):
    """What one way of changing a feature does in the text."""

    places = serializers.ListField(
        child=serializers.IntegerField(), help_text="Places of `token_ids` that are changed."
    )
    kl_at = serializers.ListField(
        child=serializers.FloatField(), help_text="KL in nats at each of them."
    )
    kl = BesideSerializer(help_text=about("here_kl"))
    ce = BesideSerializer(help_text=about("here_ce"))
    logit = BesideSerializer(help_text=about("here_logit"))
    promoted = serializers.ListField(
        child=TextField(), help_text="Tokens whose logits rise most, blanks left out."
    )


class EffectSerializer(serializers.Serializer[Any]):
    """Both roles of the feature in the text."""

    token_ids = serializers.ListField(
        child=serializers.IntegerField(), help_text="What the SAE reads, BOS too."
    )
    reads = RoleSerializer(
        allow_null=True, help_text="Ablated where it fires; null where it fires nowhere."
    )
    writes = RoleSerializer(
        allow_null=True,
        help_text="Its maximum added where it does not; null where it fires all over.",
    )


class RoleScoreSerializer(serializers.Serializer[Any]):
    """One role over many texts; docs/steering.md has the formulas."""

    kl = serializers.FloatField(
        help_text="KL of the changed from the unchanged next-token distribution, in nats."
    )
    ce = serializers.FloatField(help_text=about("cause_ce"))
    logit = serializers.FloatField(
        help_text="Change of its top tokens' logits less the vocabulary's mean change."
    )
    control_kl = serializers.FloatField(help_text=CONTROL)
    control_ce = serializers.FloatField(help_text=CONTROL)
    control_logit = serializers.FloatField(help_text=CONTROL)
    difference = serializers.FloatField(
        help_text="Feature less control: of `kl` for the input role, of `logit` for the output "
        "role."
    )
    low = serializers.FloatField(help_text="Lower end of its 95% interval.")
    high = serializers.FloatField(help_text="Upper end of its 95% interval.")
    effect = serializers.FloatField(help_text="The difference in standard deviations.")
    n = serializers.IntegerField(help_text="Texts.")


class StoredEffectSerializer(serializers.Serializer[Any]):
    """Both roles of a feature as a job `score_causes` measured them."""

    reads = RoleScoreSerializer(help_text=about("cause_reads"))
    writes = RoleScoreSerializer(help_text=about("cause_writes"))
    promoted = serializers.ListField(
        child=TextField(), help_text="Tokens whose logits rise most where it is added."
    )
    job_id = serializers.IntegerField(allow_null=True, help_text="The job that measured it.")
