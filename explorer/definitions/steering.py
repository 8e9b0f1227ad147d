"""Numbers of steering, and of effects of features."""

from explorer.definitions.definition import Definition

STEERING: dict[str, Definition] = {
    "steer_surprise": Definition(
        "Nats per token",
        "How surprised the unsteered model is by the text: -log of the probability that it gives "
        "each token after the same"
        " prefix, averaged over the generated tokens. Its exponential is the perplexity.",
    ),
    "steer_kl": Definition(
        "KL from default",
        "KL divergence, in nats, from the unsteered model's next-token distribution to the "
        "steered one after the same"
        " steered prefix (temperature 1, no penalty): sum of P (log P - log Q), P the steered "
        "one. Averaged over the"
        " generated tokens.",
    ),
    "steer_logprob": Definition(
        "Log-probability",
        "Of the token that was drawn, under the model that drew it: before temperature, top-p "
        "and penalty.",
    ),
    "dose_concept": Definition(
        "Concept expressed",
        "The feature's activation while the unsteered model reads the generated text, averaged "
        "over its tokens, as a share of"
        " the feature's maximum.",
    ),
    "dose_mass": Definition(
        "Its top tokens",
        "Probability that the steered model gives the ten tokens that the feature promotes most, "
        "averaged over the generated"
        " tokens.",
        "share",
    ),
    "dose_surprise": Definition(
        "Fluency lost",
        "Surprise of the unsteered model at the generated text, in nats per token: the logarithm "
        "of its perplexity.",
    ),
    "dose_distinct": Definition(
        "Distinct pairs",
        "Pairs of neighbouring tokens that are different ones, as a share of all pairs: "
        "repetition makes it small.",
        "share",
    ),
    "dose_damage": Definition(
        "Damage",
        "Cross-entropy of the next token of eight contexts of the corpus in which the feature "
        "does not fire, every position"
        " steered, less that of the unsteered model; nats per token.",
    ),
    "dose_best": Definition(
        "Best dose",
        "The usable strength that expresses the feature most (concept and top tokens averaged), "
        "if that is "
        "more than by default and with"
        " any random direction. Usable: text and neutral text cost at most 1 nat per token more "
        "than by default, and half of"
        " the default's distinct pairs are left.",
    ),
    "causal_effect": Definition(
        "Causal effect",
        "Effect size of adding the feature where it does not fire: how much more its own top "
        "tokens' logits rise than with a"
        " random direction of equal norm, mean over texts in standard deviations. 0 until it is "
        "measured.",
    ),
    "cause_reads": Definition(
        "Input role",
        "Ablated where it fires, how far the next-token distribution moves: KL in nats, less "
        "that of a random direction of"
        " equal norm at the same positions. Mean over texts with its 95% interval.",
    ),
    "cause_writes": Definition(
        "Output role",
        "Its maximum added where it does not fire: change of its own top tokens' logits less the "
        "vocabulary's mean change,"
        " less that of a random direction of equal norm. Mean over texts with its 95% interval.",
    ),
    "cause_ce": Definition(
        "Loss",
        "Cross-entropy of the token that follows, changed less unchanged, in nats; mean over "
        "texts.",
    ),
    "here_kl": Definition(
        "Distribution",
        "KL of the changed from the unchanged next-token distribution, in nats: mean over the "
        "changed positions of this text.",
    ),
    "here_ce": Definition(
        "Loss of what follows",
        "Cross-entropy of the token that follows in this text, changed less unchanged, in nats: "
        "mean over those positions.",
    ),
    "here_logit": Definition(
        "Its top tokens",
        "Change of the logits of the ten tokens that its direction promotes most, less the mean "
        "change over the vocabulary:"
        " mean over those positions.",
    ),
    "here_control": Definition(
        "Random directions",
        "The same with sixteen random directions of equal norm at the same positions: their mean, "
        "and the highest of them.",
    ),
    "dose_breaks": Definition("Breaks at", "The smallest strength from which on none is usable."),
    "judge_concept": Definition(
        "Concept, judged",
        "How much of the feature's label is in the text, as a language model says that reads it "
        "without its strength: 0, 1 or"
        " 2. One text per strength, so a single step may be random.",
    ),
    "judge_fluency": Definition(
        "Fluency, judged",
        "How well the same text reads, asked apart from the label: 0 (unreadable, or the same "
        "again and again), 1 or 2"
        " (nearly as a person would write it).",
    ),
    "judge_both": Definition(
        "Both, judged",
        "Harmonic mean of the two scores of a text: 0 where either is 0, at most 2. Nothing "
        "where one of the two answers"
        " is missing or could not be read.",
    ),
}
