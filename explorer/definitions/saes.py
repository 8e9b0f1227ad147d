"""Numbers of SAEs, of their training, and of models."""

from explorer.definitions.definition import Definition

SAES: dict[str, Definition] = {
    "width": Definition("Width", "Number of features in the SAE.", "count"),
    "published_l0": Definition(
        "L0",
        "Features that fire per token, as published with the SAE; empty if it was not.",
    ),
    "matched": Definition(
        "Matched",
        "Share of the SAE's features whose nearest feature of the other SAE has a cosine of 0.7 "
        "or more; the dead are counted"
        " too. Two features may have the same nearest, so the share differs the other way round.",
        "share",
    ),
    "match_cosine": Definition(
        "Nearest cosine",
        "The highest cosine of the feature's decoder direction with one of the other SAE; ties "
        "go to the lowest index.",
    ),
    "match_histogram": Definition(
        "Nearest cosines",
        "The SAE's features by the cosine with their nearest of the other SAE, in bins of 0.05; "
        "those below 0 are in the"
        " first.",
        "count",
    ),
    "decoder_norms": Definition(
        "Decoder norms",
        "Least, mean and largest length of a decoder direction in the file, before folding makes "
        "them 1.",
    ),
    "d_in": Definition("Reads", "Size of the activation vector at the hook point.", "count"),
    "alive": Definition(
        "Alive",
        "Share of the features that fired at least once on the dashboard's tokens; the others "
        "are dead on that text.",
        "share",
    ),
    "dashboard_tokens": Definition(
        "Tokens", "Tokens counted for the dashboards: no special tokens and no outliers.", "count"
    ),
    "map": Definition(
        "Map",
        "Live features in the plane (UMAP on their exact nearest neighbours by decoder cosine, a "
        "fixed seed). Features close together have similar directions; distances between far "
        "groups mean little, and the axes "
        "have no unit.",
        "count",
    ),
    "cluster": Definition(
        "Cluster",
        "A dense group on the map (HDBSCAN on its two coordinates, from one in 200 live features "
        "on, 5 to 50), numbered from"
        " 0, the largest. A feature between the groups is in none.",
        "count",
    ),
    "density_histogram": Definition(
        "Density of features", "Live features in half decades of density, from 1e-7 to 1.", "count"
    ),
}

MODELS: dict[str, Definition] = {
    "layers": Definition("Layers", "Number of transformer blocks.", "count"),
    "d_model": Definition("Residual width", "Size of the residual stream.", "count"),
    "parameters": Definition(
        "Parameters", "Number of weights in the model, shared ones counted once.", "count"
    ),
    "vocabulary_size": Definition(
        "Vocabulary", "Rows of the model's embedding: the tokens that it knows.", "count"
    ),
    "context_size": Definition("Context", "Most tokens that the model reads at once.", "count"),
}

TRAINING: dict[str, Definition] = {
    "job_explained_variance": Definition(
        "Explained variance",
        "One minus the mean squared error over the variance of the activations, on the batch "
        "just trained on. 1 is a perfect"
        " reconstruction, 0 no better than the mean.",
    ),
    "job_mse": Definition(
        "Reconstruction loss",
        "Squared error of the reconstruction, summed over the vector and averaged over a batch, "
        "in the model's own units.",
    ),
    "job_l0": Definition(
        "Features firing per token",
        "How many features are not zero on a token (L0), averaged over the batch just trained on.",
    ),
    "job_dead_share": Definition(
        "Dead features",
        "Share of the features that have not fired for a while; the first line of the log says "
        "for how many tokens.",
        "share",
    ),
    "job_loss": Definition(
        "Training loss",
        "What the optimizer sees: reconstruction with its sparsity and auxiliary terms, on "
        "inputs scaled to a mean"
        " norm of the square root of their size.",
    ),
    "job_learning_rate": Definition(
        "Learning rate", "Of Adam: it warms up at the start and falls at the end."
    ),
    "job_tokens_per_second": Definition(
        "Speed", "Tokens trained on per second since this attempt began.", "number"
    ),
}
