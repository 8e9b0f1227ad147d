"""Planted rows through the real writers, for every test: a few lines give a model, an SAE and
dashboards whose answers are known.

planted = builders.planted()            # model "tiny", corpus "stories", SAE "2-res" of 8 features,
feature 3 dead builders.firing(0, " day", texts)       # a feature that fires on exactly that token
ada, ben, cam = builders.cast()         # Ada is staff, Ben a member, Cam a visitor who has no
account
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from features.ingest import dashboards as dashboard_ingest
from features.models import (
    Corpus,
    Dashboard,
    Feature,
    LanguageModel,
    Sae,
    SteeringDelta,
    SteeringRun,
)
from features.records import (
    ExampleRecord,
    FeatureMap,
    FeatureRange,
    FeatureRecord,
    ModelRecord,
    ReadoutRecord,
    SequenceRecord,
    TokenRecord,
    TrainedSae,
)
from features.services import catalog as catalog_services
from features.steering import runs as steering_runs
from features.steering.forms import SteerForm

SPECIAL = "<|endoftext|>"
WORDS = [
    " One",
    " day",
    " a",
    " fox",
    " ran",
    ".",
    " self",
    "def",
    " return",
    "\n    ",
    " =",
    "<script>",
    "alert(1)",
    " name",
    "(",
    ")",
]
TEXTS = [
    " One day a fox ran.",
    "def name( self):\n     return self name",
    " One day, a café ran out of 日本 tea.",
    " x = name(<script>alert(1)</script>)",
    " day after day a fox =\n     return",
]
READOUT = ReadoutRecord("LayerNorm", True, 0.5, 1.75, "", 273, special=1, unused=2, fallback=0)
BINS, LOGIT_BINS, BANDS = 64, 50, 5


def vocabulary() -> list[TokenRecord]:
    """Token 0 is special, 1 to 256 are the single bytes (so é and 日 take several
    tokens), then come whole words.
    """
    single = [TokenRecord(byte + 1, bytes([byte]), False) for byte in range(256)]
    words = [TokenRecord(257 + i, word.encode(), False) for i, word in enumerate(WORDS)]
    return [TokenRecord(0, SPECIAL.encode(), True), *single, *words]


def encode(text: str, bos: bool = True) -> list[int]:
    """Token ids by longest match in `vocabulary`, after the special token."""
    longest = sorted(
        ((word.encode(), 257 + i) for i, word in enumerate(WORDS)), key=lambda pair: -len(pair[0])
    )
    raw, ids = text.encode(), [0] if bos else []
    while raw:
        word, token_id = next(
            ((w, i) for w, i in longest if raw.startswith(w)), (raw[:1], raw[0] + 1)
        )
        ids.append(token_id)
        raw = raw[len(word) :]
    return ids


def model(slug: str = "tiny", **changes: Any) -> LanguageModel:
    """A language model of four layers with that vocabulary."""
    tokens = vocabulary()
    record = ModelRecord(
        architecture="GPTNeoXForCausalLM",
        revision="2f1c0ffee2f1c0ffee",
        layers=4,
        d_model=64,
        vocabulary_size=len(tokens),
        context_size=256,
        parameters=3_456_789,
        dtype="float32",
        bos_token_id=0,
        hooks=[f"blocks.{layer}.hook_resid_post" for layer in range(4)],
        hook_refusals={},
        tokens=tokens,
    )
    return catalog_services.add_model(slug, "a/folder", record._replace(**changes))


def corpus(slug: str = "stories") -> Corpus:
    """A corpus of planted texts."""
    return catalog_services.add_corpus(slug, "stories.jsonl", "text", "CC0-1.0", "c0ffee", "")


def sae(
    of: LanguageModel, slug: str = "2-res", *, width: int = 8, trained_on: Corpus | None = None
) -> Sae:
    """A TopK SAE on the third layer; it has no features before `dashboards`."""
    record = TrainedSae(
        path="",
        sha256="9ab3" * 16,
        architecture="topk",
        d_in=of.d_model,
        width=width,
        hook="blocks.2.hook_resid_post",
        context_size=128,
        config={
            "architecture": "topk",
            "k": 24,
            "tokens": 1_000_000,
            "learning_rate": 0.001,
            "seed": 0,
        },
        metrics={"explained_variance": 0.83, "l0": 24.0, "dead_share": 0.06},
    )
    return catalog_services.add_sae(of, slug, record, f"saes/{of.slug}-{slug}", trained_on, None)


def sequences(texts: Iterable[str] = TEXTS) -> list[SequenceRecord]:
    """Each text as one context of the corpus."""
    return [
        SequenceRecord(place, f"story-{place}.txt", encode(text))
        for place, text in enumerate(texts)
    ]


def firing(
    index: int, word: str, contexts: Sequence[SequenceRecord], maximum: float = 2.0
) -> FeatureRecord:
    """A feature that fires on exactly the tokens `word`, most strongly in the first context that
    holds one.
    """
    wanted = encode(word, bos=False)[-1]
    places = [(s, [p for p, token in enumerate(s.token_ids) if token == wanted]) for s in contexts]
    places = [(s, found) for s, found in places if found]
    tokens = sum(len(s.token_ids) - 1 for s in contexts)
    examples, values = [], []
    for rank, (s, found) in enumerate(places):
        size = maximum * (1 - rank / (len(places) + 1))
        here = [size * (1 - 0.1 * i / len(found)) for i in range(len(found))]
        values += here
        examples.append(ExampleRecord(0, rank, s.position, found[0], found, here))
    examples += [e._replace(band=_band(e.values[0], maximum), rank=e.rank) for e in examples]
    return feature(index, values=values, tokens=tokens, examples=examples)


def dead(index: int) -> FeatureRecord:
    """A feature that never fires; it still has logits and neighbours."""
    return feature(index, values=[], tokens=100, examples=[])


def feature(
    index: int, *, values: Sequence[float], tokens: int, examples: list[ExampleRecord]
) -> FeatureRecord:
    """A feature's record from the values with which it fires on `tokens` tokens."""
    maximum = max(values, default=0.0)
    reach = 2.0 ** (int(maximum).bit_length()) if maximum else 1.0
    histogram = [0] * BINS
    for value in values:
        histogram[int(value / reach * BINS)] += 1
    return FeatureRecord(
        index=index,
        fires=len(values),
        density=len(values) / tokens,
        max_activation=maximum,
        mean_activation=sum(values) / len(values) if values else 0.0,
        histogram=histogram,
        histogram_width=reach / BINS,
        band_edges=[maximum * (BANDS - n) / BANDS for n in range(BANDS + 1)],
        top_logit_ids=list(range(257, 267)),
        top_logits=[1.04 - 0.05 * i for i in range(10)],
        bottom_logit_ids=list(range(50, 60)),
        bottom_logits=[-0.54 + 0.03 * i for i in range(10)],
        logit_histogram=[(LOGIT_BINS - abs(25 - i)) ** 2 // 40 for i in range(LOGIT_BINS)],
        logit_low=-0.54,
        logit_high=1.04,
        nearest=[n for n in range(6) if n != index][:5],
        nearest_cosines=[0.62, 0.55, 0.41, 0.2, -0.1],
        decoder_norm=1.0,
        encoder_decoder_cosine=0.71,
        nearest_both=[2, 0, 1, 0, 0] if values else [0] * 5,
        cofiring=[n for n in (1, 2, 4, 5) if n != index][:3] if values else [],
        cofiring_both=[2, 1, 1] if values else [],
        cofiring_jaccards=[0.5, 0.125, 0.0625] if values else [],
        examples=examples,
    )


def dashboards(
    of: Sae, on: Corpus, records: Sequence[FeatureRecord], contexts: Sequence[SequenceRecord]
) -> Dashboard:
    """Ingest features with their contexts, and declare the SAE's dashboards complete."""
    tokens = sum(len(s.token_ids) - 1 for s in contexts)
    batch = FeatureRange(
        records[0].index, records[-1].index + 1, tokens, list(records), list(contexts)
    )
    dashboard_ingest.write_range(of, on, of.context_size, batch)
    return dashboard_ingest.finish(of, on, tokens, None, "0.1", READOUT)


def mapped(of: Sae) -> None:
    """Put the live features of an SAE on a circle, the even ones in cluster 0, of the odd ones only
    1 in a cluster of its own.
    """
    alive = list(
        Feature.objects.filter(sae=of).alive().order_by("index").values_list("index", flat=True)
    )
    x, y = ([turn(index) for index in alive] for turn in (math.cos, math.sin))
    clusters = [0 if index % 2 == 0 else 1 if index == 1 else None for index in alive]
    dashboard_ingest.write_map(
        of.dashboard,
        FeatureMap(alive, x, y, clusters, 15, 0, "umap-learn 0.5, scikit-learn 1.9"),
        None,
    )


class Planted(NamedTuple):
    """What `planted` made."""

    model: LanguageModel
    corpus: Corpus
    sae: Sae
    dashboard: Dashboard

    def feature(self, index: int) -> Feature:
        """One feature's row."""
        return Feature.objects.get(sae=self.sae, index=index)


def planted(width: int = 8, slug: str = "tiny") -> Planted:
    """A model, a corpus, an SAE and its dashboards. Feature 3 is dead; the others fire on a word
    each (0 on “ day”).
    """
    of, on = model(slug), corpus(f"{slug}-stories")
    made, contexts = sae(of, width=width, trained_on=on), sequences()
    words = [" day", " self", "<script>", "", " name", " fox", " a", "é"]
    records = [
        dead(i) if i % 8 == 3 else firing(i, words[i % 8], contexts, 2.0 + i / 4)
        for i in range(width)
    ]
    shown = dashboards(made, on, records, contexts)
    mapped(made)
    return Planted(of, on, made, shown)


def swept(
    of: Planted, texts: Sequence[str] = TEXTS[:4], index: int = 0, **changes: Any
) -> SteeringRun:
    """A finished sweep of a feature: the default's text, then one for each of the strengths 1, 2 …,
    of which 2 is best.
    """
    strengths = [float(place) for place in range(1, len(texts))]
    intervention = {"sae": of.sae.slug, "index": index, "strength": 1}
    form = SteerForm.checked(
        {
            "model": of.model.slug,
            "prompt": "One day",
            "features": [intervention],
            "strengths": strengths,
        }
    )
    plan, now = steering_runs.plan_of(form), timezone.now()
    row = {
        "key": uuid4().hex,
        "state": SteeringRun.State.FINISHED,
        "requested_by": "ada",
        "ended": now,
    } | changes
    run = SteeringRun.objects.create(model=of.model, params=plan, watched_until=now, **row)
    names = ("concept", "mass", "surprise", "distinct", "damage")
    dose = {
        "strengths": strengths, "best": 1, "breaks": None, "default": dict.fromkeys(names, 0.05),
        "feature": {name: [0.1 * strength for strength in strengths] for name in names},
        "control": {name: [[0.0] * len(strengths)] for name in names},
        "texts": [encode(text, bos=False) for text in texts],
    }  # fmt: skip
    SteeringDelta.objects.create(run=run, number=1, data=[{"dose": dose}])
    return run


def cast() -> tuple[Any, Any, AnonymousUser]:
    """Ada is staff, Ben is a member, Cam has no account. Everyone's password is their name and
    “-password-1”.
    """
    users = get_user_model().objects
    ada = users.create_user("ada", password="ada-password-1", is_staff=True)
    ben = users.create_user("ben", password="ben-password-1")
    return ada, ben, AnonymousUser()


def _band(value: float, maximum: float) -> int:
    return min(max(BANDS - int(value / maximum * BANDS), 1), BANDS)
