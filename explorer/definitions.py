"""Every number that a page shows: its name, how it was computed, and how it is written. docs/numbers.md lists the same.

Templates say `{% fact "density" value %}` and get name, definition and format from here, so that no page explains twice.
"""

from typing import Literal, NamedTuple

Form = Literal["share", "count", "number"]


class Definition(NamedTuple):
    """One number: `about` is a sentence or two; `form` is how its value is written.

    `saebench` is the same quantity in SAEBench's core evaluation, and what differs; empty where it has none.
    """

    name: str
    about: str
    form: Form = "number"
    saebench: str = ""


GROUPS: dict[str, dict[str, Definition]] = {
    "Features": {
        "density": Definition(
            "Density",
            "Share of the dashboard's tokens on which the feature fires. Special tokens are not counted.",
            "share",
        ),
        "fires": Definition("Firings", "Tokens on which the feature's activation is above zero.", "count"),
        "max_activation": Definition(
            "Maximum",
            "Largest activation of the feature on the dashboard's tokens, after the decoder's norms are folded in.",
        ),
        "mean_activation": Definition(
            "Mean", "Mean activation over the tokens on which the feature fires; zeros are left out."
        ),
        "decoder_norm": Definition(
            "Decoder norm",
            "Length of the feature's decoder direction as the SAE was saved, before it is folded into the activations; 1 where"
            " training keeps or saves it so.",
        ),
        "encoder_decoder_cosine": Definition(
            "Encoder to decoder",
            "Cosine between the direction that the feature reads and the one that it writes; near 1 it does both alike.",
        ),
        "activation": Definition(
            "Activation", "The feature's activation on this token, after the decoder's norms are folded in."
        ),
        "activation_histogram": Definition(
            "Activations",
            "Firings in equal bins of activation, from 0 to the feature's maximum. Heights are log(1 + count).",
            "count",
        ),
        "text_maximum": Definition(
            "Maximum on this text",
            "The feature's largest activation on the text that was typed, marked in the histogram; special tokens have none.",
        ),
        "band": Definition(
            "Band",
            "Top examples are the contexts with the highest peaks, one per context and text. The range from 0 to the maximum is"
            " cut into five bands; each shows firings drawn evenly at random from all of its own.",
            "share",
        ),
        "logit": Definition(
            "Logit effect",
            "What one unit of the feature adds to the token's logit: the decoder direction through the final norm's gain and the"
            " unembedding. Ranks are exact; the norm's divisor is left out, so sizes compare within one SAE only.",
        ),
        "logit_histogram": Definition(
            "Logit effects",
            "Tokens of the vocabulary in equal bins of logit effect; special, unused and byte-fallback tokens are left out.",
            "count",
        ),
        "nearest_cosine": Definition(
            "Decoder cosine",
            "Cosine between the decoder directions of two features: 1 is the same direction, 0 is unrelated.",
        ),
        "cofiring_jaccard": Definition(
            "Shared tokens",
            "Tokens on which both features fire, as a share of those on which at least one does (Jaccard index). Of all"
            " features, those with the highest are shown; ties go by index.",
            "share",
        ),
        "cofiring_both": Definition(
            "Both fire",
            "The dashboard's tokens on which both features fire, counted exactly, for SAEs of up to 32,768 features.",
            "count",
        ),
    },
    "Search": {
        "search_sum": Definition(
            "Sum",
            "The feature's activations on the chosen tokens added up, on all tokens where none is chosen. Special tokens are left"
            " out. Of each token the 64 strongest features of an SAE are known; a weaker one counts as 0 there.",
        ),
        "search_max": Definition(
            "Maximum on them",
            "The feature's largest activation on the chosen tokens, on all tokens where none is chosen; special tokens are"
            " left out.",
        ),
        "search_difference": Definition(
            "Chosen less rest",
            "The feature's mean activation over the chosen tokens less its mean over the text's other tokens; special tokens are"
            " in neither.",
        ),
        "apart_difference": Definition(
            "First less second",
            "The feature's mean activation over the tokens of the first text less its mean over those of the second; special"
            " tokens are left out. Of each token the 64 strongest features of an SAE are known.",
        ),
        "apart_max": Definition(
            "First less second",
            "The feature's largest activation on the first text less its largest on the second; special tokens are left out.",
        ),
        "search_scale": Definition(
            "Measured as",
            "Activations as they are, or as shares of the feature's own maximum on the dashboard's tokens: SAEs of different"
            " layers have different scales, and only shares compare across them.",
        ),
        "label_cosine": Definition(
            "Meaning",
            "Cosine between the embeddings of a label and of what was searched for; 1 where both say the same. Labels below 0.3"
            " are not found by meaning.",
        ),
        "peak_examples": Definition(
            "Peaks here",
            "Of the feature's top examples, those whose peak is on one of the tokens that were searched.",
            "count",
        ),
    },
    "Labels": {
        "label_score": Definition(
            "Score",
            "How well the label's present words tell, on held-out examples, where the feature fires, with its 95% interval and"
            " the number of examples. Scores of different kinds measure different things and are never averaged.",
        ),
        "score_concept": Definition(
            "Concept",
            "F1 of the label's rule, token by token on documents held out: 2 × right / (tokens on which it holds + tokens on"
            " which the feature fires above the stated share of its maximum). The interval draws contexts again, n counts them.",
        ),
        "score_promotes": Definition(
            "Promotes",
            "AUROC on documents held out: how often the feature is higher on a token before one of those that it promotes than on"
            " another. Activations up to the stated share of its maximum count as 0. n counts contexts.",
        ),
        "label_votes": Definition(
            "Votes",
            "Weights of the people for the label's present words, its author among them, less those against: a member weighs 1,"
            " a curator or staff 3, somebody suspended 0.",
            "count",
        ),
        "label_support": Definition(
            "Support",
            "Weights for the label less those against it, and 2 × score - 1 where it was scored better than chance. The shown"
            " label with the most support above zero is the feature's label; of equals the one scored higher, then the older.",
        ),
        "label_disputed": Definition(
            "Disputed",
            "The feature's label has as much weight against it as for it, or people stand for another one that has at least half"
            " its support.",
            "count",
        ),
        "label_queue": Definition(
            "Needs a label",
            "Live features without a label that fire on 0.001% to 10% of tokens, then disputed ones; of each the densest first."
            " Those on which you have had a say are left out.",
            "count",
        ),
        "labelled_share": Definition(
            "Labelled", "Share of the SAE's live features that have a label, by whoever or whatever.", "share"
        ),
        "labelled_by_people": Definition("By people", "Live features whose label a person wrote.", "count"),
        "alive_features": Definition(
            "Live features", "Features that fired at least once on the dashboard's tokens.", "count"
        ),
        "alpha_people": Definition(
            "People",
            "Krippendorff's alpha, nominal: a unit is the present words of a shown label, a rating one person's for or against,"
            " its author's being for it. 1 is full agreement, 0 what chance gives; votes of the suspended are left out.",
        ),
        "alpha_methods": Definition(
            "Methods, same words",
            "Krippendorff's alpha, nominal: a unit is a feature, a rating the words of a method's best label of it, in small"
            " letters; people together are one method. Unlike words of one meaning count as disagreement.",
        ),
        "method_chosen": Definition("Chosen", "Of the method's labels, those that are their feature's label.", "count"),
        "method_median": Definition(
            "Median", "Median over the method's labels of the score of that kind: balanced accuracy, else AUROC."
        ),
        "method_scores": Definition(
            "Scores", "The method's labels in 20 equal bins of that score, from 0 to 1; chance is 0.5.", "count"
        ),
        "head_to_head": Definition(
            "Difference",
            "Mean difference of the two methods' scores over the features that both labelled and that were scored by the same"
            " kind of test, with its 95% interval (1.96 standard errors). Of each method its best label counts.",
        ),
        "label_cost_tokens": Definition(
            "Tokens",
            "Tokens of prompts and answers, as the endpoints counted them, of the jobs of this row; – where none was asked.",
            "count",
        ),
        "label_cost_dollars": Definition(
            "Dollars",
            "Those tokens at the prices of the endpoints when the jobs ran, in US dollars; – where none had a price.",
        ),
        "label_cost_time": Definition(
            "Time",
            "From start to end of the last attempt of each job, added up. A job that wrote for two methods counts for each.",
        ),
        "person_labels": Definition("Labels", "Labels of this person that are shown.", "count"),
        "person_chosen": Definition("Chosen", "Features whose label is one that this person wrote.", "count"),
        "person_votes": Definition("Votes", "Votes that this person has given on labels of others.", "count"),
        "person_comments": Definition("Comments", "Comments of this person that are shown.", "count"),
    },
    "Steering": {
        "steer_surprise": Definition(
            "Nats per token",
            "How surprised the unsteered model is by the text: -log of the probability that it gives each token after the same"
            " prefix, averaged over the generated tokens. Its exponential is the perplexity.",
        ),
        "steer_kl": Definition(
            "KL from default",
            "KL divergence, in nats, from the unsteered model's next-token distribution to the steered one after the same"
            " steered prefix (temperature 1, no penalty): sum of P (log P - log Q), P the steered one. Averaged over the"
            " generated tokens.",
        ),
        "steer_logprob": Definition(
            "Log-probability",
            "Of the token that was drawn, under the model that drew it: before temperature, top-p and penalty.",
        ),
        "dose_concept": Definition(
            "Concept expressed",
            "The feature's activation while the unsteered model reads the generated text, averaged over its tokens, as a share of"
            " the feature's maximum.",
        ),
        "dose_mass": Definition(
            "Its top tokens",
            "Probability that the steered model gives the ten tokens that the feature promotes most, averaged over the generated"
            " tokens.",
            "share",
        ),
        "dose_surprise": Definition(
            "Fluency lost",
            "Surprise of the unsteered model at the generated text, in nats per token: the logarithm of its perplexity.",
        ),
        "dose_distinct": Definition(
            "Distinct pairs",
            "Pairs of neighbouring tokens that are different ones, as a share of all pairs: repetition makes it small.",
            "share",
        ),
        "dose_damage": Definition(
            "Damage",
            "Cross-entropy of the next token of eight contexts of the corpus in which the feature does not fire, every position"
            " steered, less that of the unsteered model; nats per token.",
        ),
        "dose_best": Definition(
            "Best dose",
            "The sound strength that expresses most (concept and top tokens averaged), if that is more than by default and with"
            " any random direction. Sound: text and neutral text cost at most 1 nat per token more than by default, and half of"
            " the default's distinct pairs are left.",
        ),
        "causal_effect": Definition(
            "Causal effect",
            "Effect size of adding the feature where it does not fire: how much more its own top tokens' logits rise than with a"
            " random direction of equal norm, mean over texts in standard deviations. 0 until it is measured.",
        ),
        "cause_reads": Definition(
            "Input role",
            "Ablated where it fires, how far the next-token distribution moves: KL in nats, less that of a random direction of"
            " equal norm in the same places. Mean over texts with its 95% interval.",
        ),
        "cause_writes": Definition(
            "Output role",
            "Its maximum added where it does not fire: change of its own top tokens' logits less the vocabulary's mean change,"
            " less that of a random direction of equal norm. Mean over texts with its 95% interval.",
        ),
        "cause_ce": Definition(
            "Loss", "Cross-entropy of the token that follows, changed less unchanged, in nats; mean over texts."
        ),
        "here_kl": Definition(
            "Distribution",
            "KL of the changed from the unchanged next-token distribution, in nats: mean over the places of this text that were"
            " changed.",
        ),
        "here_ce": Definition(
            "Loss of what follows",
            "Cross-entropy of the token that follows in this text, changed less unchanged, in nats: mean over those places.",
        ),
        "here_logit": Definition(
            "Its top tokens",
            "Change of the logits of the ten tokens that its direction promotes most, less the mean change over the vocabulary:"
            " mean over those places.",
        ),
        "here_control": Definition(
            "Random directions",
            "The same with sixteen random directions of equal norm in the same places: their mean, and the highest of them.",
        ),
        "dose_breaks": Definition("Breaks at", "The smallest strength from which on none is sound."),
        "judge_concept": Definition(
            "Concept, judged",
            "How much of the feature's label is in the text, as a language model says that reads it without its strength: 0, 1 or"
            " 2. One text per strength, so a step may be chance.",
        ),
        "judge_fluency": Definition(
            "Fluency, judged",
            "How well the same text reads, asked apart from the label: 0 (unreadable, or the same again and again), 1 or 2"
            " (nearly as somebody would write it).",
        ),
        "judge_both": Definition(
            "Both, judged",
            "Harmonic mean of the two scores of a text: 0 where either is 0, at most 2. Nothing where one of the two answers"
            " is missing or could not be read.",
        ),
    },
    "SAEs": {
        "width": Definition("Width", "Number of features in the SAE.", "count"),
        "published_l0": Definition(
            "L0", "Features that fire per token, as whoever published the SAE gives it; nothing where they do not."
        ),
        "matched": Definition(
            "Matched",
            "Share of the SAE's features whose nearest feature of the other SAE has a cosine of 0.7 or more; the dead are counted"
            " too. Two features may have the same nearest, so the share differs the other way round.",
            "share",
        ),
        "match_cosine": Definition(
            "Nearest cosine",
            "The highest cosine of the feature's decoder direction with one of the other SAE; ties go to the lowest index.",
        ),
        "match_histogram": Definition(
            "Nearest cosines",
            "The SAE's features by the cosine with their nearest of the other SAE, in bins of 0.05; those below 0 are in the"
            " first.",
            "count",
        ),
        "decoder_norms": Definition(
            "Decoder norms",
            "Least, mean and largest length of a decoder direction in the file, before folding makes them 1.",
        ),
        "d_in": Definition("Reads", "Size of the activation vector at the hook point.", "count"),
        "alive": Definition(
            "Alive",
            "Share of the features that fired at least once on the dashboard's tokens; the others are dead on that text.",
            "share",
        ),
        "dashboard_tokens": Definition(
            "Tokens", "Tokens counted for the dashboards; special tokens are left out.", "count"
        ),
        "map": Definition(
            "Map",
            "Live features in the plane (UMAP on their exact nearest neighbours by decoder cosine, a fixed seed). What is near on"
            " it has a similar direction; distances between far groups mean little, and the axes have no unit.",
            "count",
        ),
        "cluster": Definition(
            "Cluster",
            "A dense group on the map (HDBSCAN on its two coordinates, from one in 200 live features on, 5 to 50), numbered from"
            " 0, the largest. A feature between the groups is in none.",
            "count",
        ),
        "density_histogram": Definition(
            "Density of features", "Live features in half decades of density, from 1e-7 to 1.", "count"
        ),
    },
    "SAEs, measured on held-out text": {
        "eval_density_histogram": Definition(
            "Density of features",
            "Features in quarter decades of density on the held-out tokens, from 1e-7 to 1; those that never fired are in none.",
            "count",
        ),
        "eval_l0": Definition(
            "Features per token",
            "L0: how many features fire on a token, averaged over held-out tokens.",
            saebench="l0: the same.",
        ),
        "eval_explained_variance": Definition(
            "Explained variance",
            "1 - E|x - y|² / (E|x|² - |E x|²) over all held-out tokens, x an activation and y its reconstruction.",
            saebench="explained_variance: the same in its newer versions; in the first ones it was the number per token, below.",
        ),
        "eval_ce_loss_score": Definition(
            "Loss recovered",
            "(loss without - loss with the SAE) / (loss without - loss). 1 is as good as the model; read it with its"
            " three losses.",
            "share",
            "ce_loss_score: the same of its three losses, which differ as said there.",
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
            saebench="ce_loss_without_sae: also counts predictions of special tokens; here neither token may be one.",
        ),
        "eval_ce_sae": Definition(
            "Loss with the SAE",
            "The same with the SAE's reconstruction in place of the activation.",
            saebench="ce_loss_with_sae: special tokens are replaced too unless it is told otherwise; here they keep their own.",
        ),
        "eval_ce_zero": Definition(
            "Loss without",
            "The same with zeros in place of the activation.",
            saebench="ce_loss_with_ablation: zeros at special tokens too, so the loss is higher; here they keep their own.",
        ),
        "eval_kl_sae": Definition(
            "KL with the SAE",
            "KL divergence, in nats, from the model's next-token distribution to the one with the reconstruction.",
            saebench="kl_div_with_sae: the same direction, KL(model || changed).",
        ),
        "eval_kl_zero": Definition(
            "KL without",
            "KL divergence, in nats, from the model's next-token distribution to the one with zeros.",
            saebench="kl_div_with_ablation: zeros at special tokens too.",
        ),
        "eval_mse": Definition(
            "Squared error",
            "E|x - y|², summed over the vector and averaged over held-out tokens, in the model's own units.",
            saebench="mse: the same divided by the number of tokens in a batch, so it depends on the batch size.",
        ),
        "eval_cosine": Definition(
            "Cosine", "Mean cosine between an activation and its reconstruction.", saebench="cossim: the same."
        ),
        "eval_l2_ratio": Definition(
            "Length kept",
            "Mean of |y| / |x|: below 1 the reconstruction is too short (shrinkage).",
            saebench="l2_ratio: the same.",
        ),
        "eval_reconstruction_bias": Definition(
            "Reconstruction bias",
            "E|y|² / E x·y over all held-out tokens: below 1, multiplying every reconstruction by one number above 1 would bring"
            " it nearer (shrinkage).",
            saebench="relative_reconstruction_bias: the same in each batch, then averaged over batches.",
        ),
        "eval_explained_variance_per_token": Definition(
            "Explained variance, per token",
            "E(1 - |x - y|² / |x - m|²), m the mean activation of the token's batch: tokens near the mean weigh as much as those"
            " far from it. Here to compare with published figures only.",
            saebench="explained_variance_legacy, which its first versions called explained_variance; its batches have 16"
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
            "For each feature the largest cosine of its decoder direction with another's, averaged over the features.",
            saebench="average_max_decoder_cosine_sim: the same.",
        ),
        "eval_duplicate_share": Definition(
            "Duplicates",
            "Share of the features whose decoder direction has a cosine above 0.9 with another's.",
            "share",
        ),
        "eval_duplicate_pairs": Definition(
            "Duplicate pairs", "Pairs of features whose decoder directions have a cosine above 0.9.", "count"
        ),
    },
    "Models": {
        "layers": Definition("Layers", "Number of transformer blocks.", "count"),
        "d_model": Definition("Residual width", "Size of the residual stream.", "count"),
        "parameters": Definition("Parameters", "Number of weights in the model, shared ones counted once.", "count"),
        "vocabulary_size": Definition(
            "Vocabulary", "Rows of the model's embedding: the tokens that it knows.", "count"
        ),
        "context_size": Definition("Context", "Most tokens that the model reads at once.", "count"),
    },
    "Training, while it runs": {
        "job_explained_variance": Definition(
            "Explained variance",
            "One minus the mean squared error over the variance of the activations, on the batch just trained on. 1 is a perfect"
            " reconstruction, 0 no better than the mean.",
        ),
        "job_mse": Definition(
            "Reconstruction loss",
            "Squared error of the reconstruction, summed over the vector and averaged over a batch, in the model's own units.",
        ),
        "job_l0": Definition(
            "Features firing per token",
            "How many features are not zero on a token (L0), averaged over the batch just trained on.",
        ),
        "job_dead_share": Definition(
            "Dead features",
            "Share of the features that have not fired for a while; the first line of the log says for how many tokens.",
            "share",
        ),
        "job_loss": Definition(
            "Training loss",
            "What the optimizer sees: reconstruction with its sparsity and auxiliary terms, on inputs scaled to a mean"
            " norm of the square root of their size.",
        ),
        "job_learning_rate": Definition("Learning rate", "Of Adam: it warms up at the start and falls at the end."),
        "job_tokens_per_second": Definition(
            "Speed", "Tokens trained on per second since this attempt began.", "number"
        ),
    },
}
DEFINITIONS: dict[str, Definition] = {term: known for group in GROUPS.values() for term, known in group.items()}
