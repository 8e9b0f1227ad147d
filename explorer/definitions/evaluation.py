"""Numbers of an SAE, measured on held-out text."""

from explorer.definitions.definition import Definition

EVALUATION: dict[str, Definition] = {
    "eval_density_histogram": Definition(
        "Density of features",
        "Features in quarter decades of density on the held-out tokens, from 1e-7 to 1; those "
        "that never fired are in none.",
        "count",
    ),
    "eval_l0": Definition(
        "Features per token",
        "L0: how many features fire on a token, averaged over held-out tokens.",
        saebench="l0: the same.",
    ),
    "eval_explained_variance": Definition(
        "Explained variance",
        "1 - E|x - y|² / (E|x|² - |E x|²) over the held-out tokens that count, x an activation and "
        "y its reconstruction. Special tokens and outliers (attention sinks) do not count: their "
        "huge norms would make this a number about them alone.",
        saebench="explained_variance: the same in its newer versions; in the first ones it was "
        "the number per token, below.",
    ),
    "eval_explained_variance_with_outliers": Definition(
        "Explained variance with outliers",
        "The same with the outliers (attention sinks) that the other numbers leave out; only where "
        "there are any. It is mostly about them.",
        saebench="explained_variance, where it counts such tokens.",
    ),
    "eval_ce_loss_score": Definition(
        "Loss recovered",
        "(loss without - loss with the SAE) / (loss without - loss). 1 is as good as the model; "
        "read it with its three losses. Activations are replaced at the tokens that count; special "
        "tokens and outliers (attention sinks) keep their own. Predictions count where both the "
        "token and the next one count.",
        "share",
        "ce_loss_score: the same of its three losses, which differ as described there.",
    ),
    "eval_kl_score": Definition(
        "KL recovered",
        "(KL without - KL with the SAE) / KL without. 1 is as good as the model.",
        "share",
        "kl_div_score: the same of its two divergences.",
    ),
    "eval_dead_share": Definition(
        "Dead",
        "Share of the features that never fired on the held-out tokens.",
        "share",
        "1 - frac_alive, on its own tokens: fewer tokens find more features dead.",
    ),
    "eval_dense_share": Definition(
        "Dense",
        "Share of the features that fired on more than 10% of the held-out tokens.",
        "share",
        "freq_over_10_percent: the same share.",
    ),
    "eval_ce_original": Definition(
        "Loss",
        "Cross-entropy of the next token in nats per token, the model as it is.",
        saebench="ce_loss_without_sae: also counts predictions of special tokens; here neither "
        "token may be one.",
    ),
    "eval_ce_sae": Definition(
        "Loss with the SAE",
        "The same with the SAE's reconstruction in place of the activation.",
        saebench="ce_loss_with_sae: special tokens are replaced too unless configured otherwise; "
        "here they keep their own.",
    ),
    "eval_ce_zero": Definition(
        "Loss without",
        "The same with zeros in place of the activation.",
        saebench="ce_loss_with_ablation: zeros at special tokens too, so the loss is higher; "
        "here they keep their own.",
    ),
    "eval_kl_sae": Definition(
        "KL with the SAE",
        "KL divergence, in nats, from the model's next-token distribution to the one with the "
        "reconstruction.",
        saebench="kl_div_with_sae: the same direction, KL(model || changed).",
    ),
    "eval_kl_zero": Definition(
        "KL without",
        "KL divergence, in nats, from the model's next-token distribution to the one with zeros.",
        saebench="kl_div_with_ablation: zeros at special tokens too.",
    ),
    "eval_mse": Definition(
        "Squared error",
        "E|x - y|², summed over the vector and averaged over held-out tokens, in the model's own "
        "units.",
        saebench="mse: the same divided by the number of tokens in a batch, so it depends on the "
        "batch size.",
    ),
    "eval_cosine": Definition(
        "Cosine",
        "Mean cosine between an activation and its reconstruction.",
        saebench="cossim: the same.",
    ),
    "eval_l2_ratio": Definition(
        "Length kept",
        "Mean of |y| / |x|: below 1 the reconstruction is too short (shrinkage).",
        saebench="l2_ratio: the same.",
    ),
    "eval_reconstruction_bias": Definition(
        "Reconstruction bias",
        "E|y|² / E x·y over all held-out tokens: below 1, multiplying every reconstruction by "
        "one number above 1 would bring"
        " it nearer (shrinkage).",
        saebench="relative_reconstruction_bias: the same in each batch, then averaged over "
        "batches.",
    ),
    "eval_explained_variance_per_token": Definition(
        "Explained variance, per token",
        "E(1 - |x - y|² / |x - m|²), m the mean activation of the token's batch: tokens near the "
        "mean weigh as much as those"
        " far from it. Here to compare with published figures only.",
        saebench="explained_variance_legacy, which its first versions called explained_variance; "
        "its batches have 16"
        " contexts, these up to 32.",
    ),
    "eval_encoder_decoder_cosine": Definition(
        "Encoder to decoder",
        "Cosine between what a feature reads and what it writes, averaged over the features.",
        saebench="encoder_decoder_cosine_sim: the same for each feature.",
    ),
    "eval_encoder_decoder_cosine_q05": Definition(
        "Encoder to decoder, lowest 5%", "The cosine that 5% of the features are below."
    ),
    "eval_encoder_decoder_cosine_median": Definition(
        "Encoder to decoder, median", "The cosine that half of the features are below."
    ),
    "eval_encoder_decoder_cosine_q95": Definition(
        "Encoder to decoder, highest 5%", "The cosine that 95% of the features are below."
    ),
    "eval_max_decoder_cosine": Definition(
        "Nearest decoder",
        "For each feature the largest cosine of its decoder direction with another's, averaged "
        "over the features.",
        saebench="average_max_decoder_cosine_sim: the same.",
    ),
    "eval_duplicate_share": Definition(
        "Duplicates",
        "Share of the features whose decoder direction has a cosine above 0.9 with another's.",
        "share",
    ),
    "eval_duplicate_pairs": Definition(
        "Duplicate pairs",
        "Pairs of features whose decoder directions have a cosine above 0.9.",
        "count",
    ),
}
