"""Records that the pipeline yields and ingest writes: plain data that imports nothing of ours.

Positions count tokens from 0 inside a sequence; activations are in the units of the SAE after
folding (see docs/numbers.md).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple


class InvalidInput(ValueError):
    """A setting or a request that cannot work. `field` names it as the form or the API does (empty:
    no field in particular); `message` says what is allowed, or what to do instead.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message

    @property
    def errors(self) -> dict[str, list[str]]:
        """Messages by field, `__all__` where no field is named, as a Django form has them."""
        return {self.field or "__all__": [self.message]}

    @property
    def messages(self) -> list[str]:
        """The messages of all fields."""
        return [message for messages in self.errors.values() for message in messages]


class InvalidParams(InvalidInput):
    """Several fields that cannot work, or several messages about one: `errors` has all of them."""

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self._errors = {field: list(messages) for field, messages in errors.items()}
        text = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in self._errors.items())
        super().__init__(next(iter(self._errors), ""), text)

    @property
    def errors(self) -> dict[str, list[str]]:
        """Messages by field, `__all__` where no field is named."""
        return self._errors


class Progress(NamedTuple):
    """Progress of a job: `done` of `total` in `unit`s ("tokens", "features"); `note` says what it
    does now.
    """

    done: int
    total: int
    unit: str
    note: str


class WorkerState(NamedTuple):
    """What a worker process reports about itself: memory in bytes; `device_memory` is None on a
    CPU.
    """

    device: str
    version: str
    memory: int
    memory_free: int
    memory_own: int
    device_memory: int | None
    device_memory_free: int | None


class Metrics(NamedTuple):
    """One row of a live chart: `step` counts what the job trains on (tokens); `series` names one
    SAE of a sweep.
    """

    step: int
    values: dict[str, float]
    series: str = ""


class LogLine(NamedTuple):
    """One sentence for a job's log."""

    text: str


class Checkpoint(NamedTuple):
    """A resumable state was written to `path` (a folder) after `step` tokens."""

    step: int
    path: str


class TokenRecord(NamedTuple):
    """One row of a vocabulary. `text` is the exact bytes that the token stands for, which may not
    be valid UTF-8 alone.
    """

    token_id: int
    text: bytes
    special: bool


class ModelRecord(NamedTuple):
    """A language model as its configuration and tokenizer describe it.

    `hook_refusals` are the hooks that a check on a few tokens found missing or inexact, by name,
    each with the reason.
    `adds_bos` is whether the tokenizer begins a text with BOS by itself, as the model was trained.
    """

    architecture: str
    revision: str
    layers: int
    d_model: int
    vocabulary_size: int
    context_size: int
    parameters: int
    dtype: str
    bos_token_id: int | None
    hooks: list[str]
    hook_refusals: dict[str, str]
    tokens: list[TokenRecord]
    adds_bos: bool = False


class Piece(NamedTuple):
    """The source of the tokens from position `at` of a context: `document` from its token number
    `token`, up to the next piece or the end.
    """

    at: int
    document: str
    token: int


class SequenceRecord(NamedTuple):
    """Token ids of one context; `position` is its index in the packed corpus, `document` the one in
    which it starts.

    `pieces` are the documents of its tokens, without BOS and separators. They are not stored.
    """

    position: int
    document: str
    token_ids: list[int]
    pieces: Sequence[Piece] = ()


NORM_RATIO = 10.0
"""The default of `CountingRule.norm_ratio`."""
MAX_NORM_RATIO = 1e6
MAX_FIRST_POSITIONS = 64


class CountingRule(NamedTuple):
    """Which tokens count at the hook of an SAE, in training and in every number.

    All count but special tokens, the first `first_positions` others of each context, and outliers
    (attention sinks): tokens whose activation has a norm above `norm_ratio` times `median_norm`.
    With a `norm_ratio` of 0, or where the median was not measured (0), no token is an outlier.
    `workers.pipeline.model.counted_tokens` applies the rule and measures the median.
    """

    norm_ratio: float = 0.0
    median_norm: float = 0.0
    first_positions: int = 0

    @property
    def norm_limit(self) -> float:
        """The largest norm of a token that counts; infinite if there is no limit."""
        return self.norm_ratio * self.median_norm or float("inf")


COUNT_ORDINARY = CountingRule()
"""The rule that leaves out special tokens only."""


class LeftOut(NamedTuple):
    """How many tokens a `CountingRule` left out, by reason; a token has the first that applies."""

    special: int = 0
    first: int = 0
    outliers: int = 0

    def plus(self, other: "LeftOut") -> "LeftOut":
        """The sums."""
        return LeftOut(*(one + another for one, another in zip(self, other, strict=True)))


class ExampleRecord(NamedTuple):
    """A context in which a feature fires.

    `band` 0 holds the top examples; 1 (highest) to 5 (lowest) hold an even sample of the firings in
    that fifth of the activation range. `peak` is the position that put the example here;
    `positions` and `values` list every firing, `left_out` the positions of tokens that are not
    special and do not count (see `CountingRule`).
    """

    band: int
    rank: int
    sequence: int
    peak: int
    positions: list[int]
    values: list[float]
    left_out: Sequence[int] = ()


class FeatureRecord(NamedTuple):
    """Everything the feature page shows about one feature, over the tokens that count.

    `histogram[i]` counts firings with i * width <= activation < (i + 1) * width; `width` is a power
    of two. `logit_histogram` has equal bins from `logit_low` to `logit_high` over the unmasked
    vocabulary. `nearest_both` and `cofiring_both` count the tokens on which this and the other
    feature both fire. `cofiring` are the others that share the most, by falling Jaccard index
    (tokens of both / tokens of either), then by index; each shares at least one token. Where the
    SAE is too wide to count pairs, `nearest_both` and the three of `cofiring` are empty.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which is not used
    fires: int
    density: float
    max_activation: float
    mean_activation: float
    histogram: list[int]
    histogram_width: float
    band_edges: list[float]
    top_logit_ids: list[int]
    top_logits: list[float]
    bottom_logit_ids: list[int]
    bottom_logits: list[float]
    logit_histogram: list[int]
    logit_low: float
    logit_high: float
    nearest: list[int]
    nearest_cosines: list[float]
    decoder_norm: float
    encoder_decoder_cosine: float
    nearest_both: list[int]
    cofiring: list[int]
    cofiring_both: list[int]
    cofiring_jaccards: list[float]
    examples: list[ExampleRecord]


class FeatureRange(NamedTuple):
    """Features that are written in one transaction: [start, stop), with every sequence that their
    examples need.

    `tokens` is the number of tokens that were counted: fewer than requested where the corpus ended.
    """

    start: int
    stop: int
    tokens: int
    features: list[FeatureRecord]
    sequences: list[SequenceRecord]


class ReadoutRecord(NamedTuple):
    """How logit effects were computed for a model: through which norm, and which rows of the
    unembedding were left out and why.

    `norm` is the class of the final norm, empty where there is none; `centred` whether it subtracts
    the mean; `gain_low` and `gain_high` are the ends of its gain. `through` names what stands
    between the SAE's output and the residual stream.
    """

    norm: str
    centred: bool
    gain_low: float
    gain_high: float
    through: str
    rows: int
    special: int
    unused: int
    fallback: int


class SaeArchitecture(NamedTuple):
    """An architecture that can be trained: its title in forms, and the setting it does not use."""

    title: str
    unused_setting: str = ""


SAE_ARCHITECTURES = {
    "topk": SaeArchitecture("TopK: the k largest fire", "sparsity"),
    "batchtopk": SaeArchitecture("BatchTopK: k on average over a batch", "sparsity"),
    "matryoshka": SaeArchitecture("Matryoshka: nested BatchTopK", "sparsity"),
    "jumprelu": SaeArchitecture("JumpReLU: a learned threshold each"),
    "gated": SaeArchitecture("Gated: separate gate and size", "k"),
    "standard": SaeArchitecture("Standard: ReLU with an L1 penalty", "k"),
}
"""The trainable architectures, for the form and for the pipeline."""


class TrainedSae(NamedTuple):
    """A finished SAE: a folder in SAELens's format with every scale folded, the metrics of its
    training, which tokens count at its hook (`rule`) and how many of its training did not.

    `name` is its name in a sweep, empty where it was trained alone.
    """

    path: str
    sha256: str
    architecture: str
    d_in: int
    width: int
    hook: str
    context_size: int
    config: dict[str, object]
    metrics: dict[str, float]
    name: str = ""
    rule: CountingRule = COUNT_ORDINARY
    left_out: LeftOut | None = None


class ImportedSae(NamedTuple):
    """An imported SAE that passed the checks: `origin` is its source with the results of the test.

    `origin` holds kind (folder, hub, registry), source, revision, dtype, decoder_norms before
    folding [least, mean, largest], notes, warnings, and test {tokens, corpus, values}; see
    docs/numbers.md for the values.
    """

    sae: TrainedSae
    origin: dict[str, object]


InterventionMethod = Literal["add", "clamp", "scale", "ablate", "project"]
StrengthUnit = Literal["maximum", "norm"]
MAX_INTERVENTIONS = 32
"""Features that one steering run may change."""
MAX_STRENGTH = 100.0


def in_maxima(method: InterventionMethod, unit: StrengthUnit) -> bool:
    """Whether a strength is a multiple of the feature's maximum activation."""
    return method == "clamp" or (method == "add" and unit == "maximum")


class Intervention(NamedTuple):
    """A change of one feature of an SAE while the model runs; the formulas of the methods are at
    the top of workers/pipeline/steering/interventions.py.

    `sae` is the SAE's slug. `strength` is a multiple of `unit` for add and clamp, a factor for
    scale, and 0 for the others. A planned run also stores what determines its text: the SAE's
    `sha256`, the feature's `maximum` activation and the `tokens` that it promotes.
    """

    sae: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which is not used
    method: InterventionMethod = "add"
    strength: float = 1.0
    unit: StrengthUnit = "maximum"
    maximum: float = 0.0
    sha256: str = ""
    tokens: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The feature's name inside its model, SAE/INDEX."""
        return f"{self.sae}/{self.index}"

    @property
    def in_maxima(self) -> bool:
        """Whether the strength is a multiple of the feature's maximum."""
        return in_maxima(self.method, self.unit)

    def to_json(self) -> dict[str, Any]:
        """The intervention as the params of a run store it."""
        return {**self._asdict(), "tokens": list(self.tokens)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Intervention":
        """The intervention that `to_json` stored."""
        return cls(**{**stored, "tokens": tuple(stored.get("tokens", ()))})


class RoleRecord(NamedTuple):
    """The effect of changing a feature, and of random directions of equal norm at the same
    positions, averaged over `n` texts.

    `difference` is what the role is measured by (kl of an input role, logit of an output role),
    feature less control, with its 95% interval [low, high]; `effect` is the same in standard
    deviations. Defined at the top of workers/pipeline/steering/causal_effects.py.
    """

    kl: float
    ce: float
    logit: float
    control_kl: float
    control_ce: float
    control_logit: float
    difference: float
    low: float
    high: float
    effect: float
    n: int


class EffectRecord(NamedTuple):
    """The input role and the output role of one feature, and the tokens whose logits rise most
    where it is added.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which is not used
    reads: RoleRecord
    writes: RoleRecord
    promoted: list[int]


class ControlledValue(NamedTuple):
    """A number of a feature, with the mean and the maximum of random directions of equal norm at
    the same positions.
    """

    value: float
    control: float
    control_max: float


class TextEffectRecord(NamedTuple):
    """The effect of changing a feature in one text: KL in nats at each of the `positions`, and the
    three numbers of a role.

    `promoted` are the tokens whose logits rise most. Defined at the top of
    workers/pipeline/steering/causal_effects.py.
    """

    positions: list[int]
    kl_at: list[float]
    kl: ControlledValue
    ce: ControlledValue
    logit: ControlledValue
    promoted: list[int]

    def to_json(self) -> dict[str, Any]:
        """The record as the result of an inference request, in which positions are `places`."""
        fields = self._asdict()
        return {"places": fields.pop("positions"), **fields}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "TextEffectRecord":
        """The record that `to_json` stored."""
        kl, ce, logit = (ControlledValue(*stored[name]) for name in ("kl", "ce", "logit"))
        return cls(stored["places"], stored["kl_at"], kl, ce, logit, stored["promoted"])


class FeatureMap(NamedTuple):
    """Coordinates of the live features of an SAE on its map: columns of equal length, by rising
    `indices`; empty where no feature is alive.

    Coordinates have no unit. `clusters` are numbered from 0, the largest; None for a feature
    outside all clusters. `neighbours` (which include the feature itself) and `seed` are the
    settings of the computation, `made_with` names the libraries.
    """

    indices: list[int]
    x: list[float]
    y: list[float]
    clusters: list[int | None]
    neighbours: int
    seed: int
    made_with: str


class FeatureMatches(NamedTuple):
    """For each feature of an SAE, by its index: the feature of another SAE with the nearest decoder
    direction, and the cosine.
    """

    indices: list[int]
    cosines: list[float]


class SaeMatches(NamedTuple):
    """Two SAEs matched: the features of the first with their nearest in the other, and the other
    way round.
    """

    there: FeatureMatches
    back: FeatureMatches


class Evaluation(NamedTuple):
    """Measured quality of an SAE on held-out tokens; keys are defined in docs/numbers.md.

    `tokens` counts those that the values are over, by `rule`; `left_out` counts the others.
    """

    tokens: int
    values: dict[str, float]
    density_histogram: list[int]
    rule: CountingRule = COUNT_ORDINARY
    left_out: LeftOut = LeftOut()


class ScoreRecord(NamedTuple):
    """How well a label predicts, on held-out examples, where its feature fires; `kind` is one of
    LabelScore.Kind.

    `value` is the kind's own number with its 95% interval [low, high] from `n` examples. A random
    guess scores 0.5 for `balanced_accuracy` and `auroc`; these and `f1` are None where the kind
    has no such number.
    """

    kind: str
    value: float
    low: float | None
    high: float | None
    n: int
    balanced_accuracy: float | None = None
    auroc: float | None = None
    details: dict[str, object] = {}
    scorer: str = ""
    negatives: str = ""
    f1: float | None = None


class LabelRecord(NamedTuple):
    """The label that a method gives to the feature at `index`; `provenance` has its settings."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which is not used
    text: str
    provenance: dict[str, object]
    scores: list[ScoreRecord]


MODEL_ALIASES = {
    "gpt2-small": "gpt2",
    "mistral-7b": "mistral-7b-v0.1",
    "llama-3-8b": "meta-llama-3-8b",
    "llama-3.1-8b": "meta-llama-3.1-8b",
}
"""Names of models in TransformerLens, with the names of their repositories."""


def model_key(name: str) -> str:
    """The key that all names of one model share: the last part in lower case, without aliases."""
    last = name.rstrip("/").rpartition("/")[2].lower().removesuffix("-hf")
    return MODEL_ALIASES.get(last, last)


def same_model(claimed: str, known_as: Collection[str]) -> bool:
    """Whether a name of a model means one of the names `known_as`."""
    return model_key(claimed) in {model_key(name) for name in known_as}
