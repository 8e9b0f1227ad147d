"""What a start page proposes before anybody typed: rows that exist, the middle of the model, a slug
that is free.
"""

import re
from collections.abc import Mapping
from typing import Any

from features import hook_names
from features.formfields import split
from features.jobs.forms import KINDS
from features.models import Corpus, Job, LanguageModel, Sae

FEATURES_PER_DIMENSION = 8
CONTEXT = 128
SUGGESTED = re.compile(
    r"(\d+-(res-pre|res|mlp-in|mlp|att|z)(-[a-z]+)?|sweep|topk|batchtopk|matryoshka|jumprelu|gated|standard)(-\d+)?"
)
"""A slug of this form follows the hook and the architecture; one that a person wrote stays."""


def defaults(kind: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Values for every field of a kind's form: what was given where it can stand, else
    a proposal.
    """
    found: dict[str, Any] = {name: field.initial for name, field in KINDS[kind].base_fields.items()}
    found |= {name: value for name, value in given.items() if value}
    if "corpus" in found and not found["corpus"]:
        found["corpus"] = Corpus.objects.order_by("id").values_list("slug", flat=True).first()
    if "sae" in found and not found["sae"]:
        found["sae"] = str(Sae.objects.select_related("model").order_by("-id").first() or "")
    if kind == "train_sae":
        _for_model(found, given)
    if kind == "add_sae" and not found["model"]:
        found["model"] = LanguageModel.objects.order_by("id").values_list("slug", flat=True).first()
    return found


def _for_model(found: dict[str, Any], given: Mapping[str, str]) -> None:
    model = LanguageModel.objects.filter(slug=found["model"]).first() if found["model"] else None
    model = model or LanguageModel.objects.order_by("id").first()
    if model is None:
        return
    found["model"] = found["model"] or model.slug
    read = [hook for hook in split(found["hook"] or "") if hook in model.hooks] or [
        hook_names.middle(model.hooks)
    ]
    found["hook"] = ",".join(read)
    if not given.get("width"):
        found["width"] = FEATURES_PER_DIMENSION * model.d_model
    if not given.get("context_size"):
        found["context_size"] = min(CONTEXT, model.context_size)
    if not found["slug"] or SUGGESTED.fullmatch(found["slug"]):
        common = [hook_names.read(read[0]).short] if len(read) == 1 else []
        common += split(found["architecture"]) if len(split(found["architecture"])) == 1 else []
        found["slug"] = _free(model, "-".join(common or ["sweep"])[:58])


def _free(model: LanguageModel, slug: str) -> str:
    """`slug`, or with the first number behind it that neither an SAE nor a job that is making one
    has.
    """
    live = [Job.State.WAITING, Job.State.QUEUED, Job.State.RUNNING]
    making = Job.objects.filter(kind="train_sae", state__in=live, params__model=model.slug)
    taken = {
        *model.saes.values_list("slug", flat=True),
        *making.values_list("params__slug", flat=True),
    }
    if slug not in taken:
        return slug
    return next(name for n in range(2, len(taken) + 3) if (name := f"{slug}-{n}") not in taken)
