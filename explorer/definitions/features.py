"""Numbers of features, and of searches."""

from explorer.definitions.definition import Definition

FEATURES: dict[str, Definition] = {
    "density": Definition(
        "Density",
        "Share of the dashboard's tokens on which the feature fires. Special tokens are not "
        "counted.",
        "share",
    ),
    "fires": Definition(
        "Firings", "Tokens on which the feature's activation is not zero.", "count"
    ),
    "max_activation": Definition(
        "Maximum",
        "Largest activation of the feature on the dashboard's tokens, after the decoder's norms "
        "are folded in; largest absolute value where features fire in both directions.",
    ),
    "mean_activation": Definition(
        "Mean",
        "Mean activation over the tokens on which the feature fires; zeros are left out, and "
        "absolute values are averaged where features fire in both directions.",
    ),
    "decoder_norm": Definition(
        "Decoder norm",
        "Length of the feature's decoder direction as the SAE was saved, before it is folded "
        "into the activations; 1 where"
        " training keeps or saves it so.",
    ),
    "encoder_decoder_cosine": Definition(
        "Encoder to decoder",
        "Cosine between the direction that the feature reads and the one that it writes; near 1 "
        "it does both alike.",
    ),
    "activation": Definition(
        "Activation",
        "The feature's activation on this token, after the decoder's norms are folded in.",
    ),
    "activation_histogram": Definition(
        "Activations",
        "Firings in equal bins of activation, in absolute value, from 0 to the feature's maximum. "
        "Heights are log(1 + count).",
        "count",
    ),
    "text_maximum": Definition(
        "Maximum on this text",
        "The feature's largest activation, in absolute value, on the text that was typed, marked "
        "in the histogram; "
        "special tokens have none.",
    ),
    "band": Definition(
        "Band",
        "Top examples are the contexts with the highest peaks, one per context and text. The "
        "range from 0 to the maximum is"
        " cut into five bands; each shows firings drawn evenly at random from all of its own.",
        "share",
    ),
    "logit": Definition(
        "Logit effect",
        "What one unit of the feature adds to the token's logit: the decoder direction through "
        "everything between the residual stream and the logits, such as the final norm's gain, "
        "the unembedding and its factor. The norm's divisor and soft caps are left out, so "
        "sizes compare within one SAE only. A head that is more than a norm goes by its mean "
        "derivative at 14 fixed tokens.",
    ),
    "logit_histogram": Definition(
        "Logit effects",
        "Tokens of the vocabulary in equal bins of logit effect; special, unused and "
        "byte-fallback tokens are left out.",
        "count",
    ),
    "nearest_cosine": Definition(
        "Decoder cosine",
        "Cosine between the decoder directions of two features: 1 is the same direction, 0 is "
        "unrelated.",
    ),
    "cofiring_jaccard": Definition(
        "Shared tokens",
        "Tokens on which both features fire, as a share of those on which at least one does "
        "(Jaccard index). Of all"
        " features, those with the highest are shown; ties go by index.",
        "share",
    ),
    "cofiring_both": Definition(
        "Both fire",
        "The dashboard's tokens on which both features fire, counted exactly, for SAEs of up to "
        "32,768 features.",
        "count",
    ),
}

SEARCH: dict[str, Definition] = {
    "search_sum": Definition(
        "Sum",
        "The feature's activations on the chosen tokens added up, on all tokens where none is "
        "chosen. Special tokens are left"
        " out. Of each token the 64 strongest features of an SAE are known; a weaker one counts "
        "as 0 there.",
    ),
    "search_max": Definition(
        "Maximum on them",
        "The feature's largest activation on the chosen tokens, on all tokens where none is "
        "chosen; special tokens are"
        " left out.",
    ),
    "search_difference": Definition(
        "Chosen less rest",
        "The feature's mean activation over the chosen tokens less its mean over the text's "
        "other tokens; special tokens are"
        " in neither.",
    ),
    "apart_difference": Definition(
        "First less second",
        "The feature's mean activation over the tokens of the first text less its mean over "
        "those of the second; special"
        " tokens are left out. Of each token the 64 strongest features of an SAE are known.",
    ),
    "apart_max": Definition(
        "First less second",
        "The feature's largest activation on the first text less its largest on the second; "
        "special tokens are left out.",
    ),
    "search_scale": Definition(
        "Measured as",
        "Activations as they are, or as shares of the feature's own maximum on the dashboard's "
        "tokens: SAEs of different"
        " layers have different scales, and only shares compare across them.",
    ),
    "label_cosine": Definition(
        "Meaning",
        "Cosine between the embeddings of a label and of what was searched for; 1 where both say "
        "the same. Labels below 0.3"
        " are not found by meaning.",
    ),
    "peak_examples": Definition(
        "Peaks here",
        "Of the feature's top examples, those whose peak is on one of the tokens that were "
        "searched.",
        "count",
    ),
}
