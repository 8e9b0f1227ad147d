"""Examples that the schema and the docs page show."""

from drf_spectacular.utils import OpenApiExample

LABEL = {
    "id": 17,
    "url": "/labels/17/",
    "model": "demo-python",
    "sae": "2-res",
    "index": 3,
    "text": "`self` inside a call",
    "method": "concept",
    "author": None,
    "version": 1,
    "chosen": True,
    "for_it": 1,
    "down": 0,
    "score": 0.81,
    "score_kind": "concept",
    "support": 1.62,
    "scores": [
        {
            "kind": "concept",
            "scorer": "",
            "negatives": "",
            "value": 0.81,
            "low": 0.77,
            "high": 0.84,
            "n": 400,
            "f1": 0.81,
            "balanced_accuracy": 0.94,
            "auroc": 0.95,
            "details": {"precision": 0.78, "recall": 0.84},
            "made": "2026-01-31T12:00:00Z",
        }
    ],
    "job": 9,
    "upload": None,
    "created": "2026-01-31T12:00:00Z",
    "updated": "2026-01-31T12:00:00Z",
}
ROLE = {
    "kl": 0.51,
    "ce": 0.2,
    "control_kl": 0.09,
    "control_ce": 0.01,
    "control_logit": 0.02,
    "n": 16,
}
FEATURE = {
    "model": "demo-python",
    "sae": "2-res",
    "index": 3,
    "url": "/demo-python/2-res/3/",
    "alive": True,
    "fires": 4021,
    "density": 0.0100525,
    "max_activation": 7.82,
    "mean_activation": 2.31,
    "decoder_norm": 1.0,
    "encoder_decoder_cosine": 0.71,
    "histogram": {"counts": [1204, 1630, 900, 287], "low": 0.0, "high": 8.0},
    "logit_histogram": {"counts": [12, 3900, 184], "low": -0.54, "high": 1.04},
    "top_logits": [{"token_id": 412, "text": " self", "logit": 1.04}],
    "bottom_logits": [{"token_id": 77, "text": "L", "logit": -0.54}],
    "nearest": [{"index": 118, "cosine": 0.62, "both": 1310}],
    "cofiring": [{"index": 118, "jaccard": 0.24, "both": 1310}],
    "elsewhere": [{"sae": "3-res", "index": 901, "cosine": 0.83}],
    "previous": 2,
    "next": 4,
    "label": LABEL,
    "labels": [LABEL],
    "disputed": False,
    "reads": ["self"],
    "writes": ["self"],
    "effect": {
        "reads": ROLE
        | {"logit": -1.21, "difference": 0.42, "low": 0.31, "high": 0.53, "effect": 3.2},
        "writes": ROLE
        | {"logit": 4.26, "difference": 4.02, "low": 3.7, "high": 4.35, "effect": 6.6},
        "promoted": ["self", "other"],
        "job_id": 9,
    },
    "causal_effect": 6.6,
    "best_dose": 0.5,
    "bands": [
        {
            "number": 0,
            "low": 0.0,
            "high": 7.82,
            "share": 1.0,
            "examples": [
                {
                    "value": 7.82,
                    "peak": 2,
                    "document": "argparse.py",
                    "context": 1203,
                    "token_ids": [0, 301, 412],
                    "positions": [2],
                    "values": [7.82],
                    "tokens": [
                        {
                            "text": "<|endoftext|>",
                            "position": 0,
                            "token_ids": [0],
                            "value": None,
                            "peak": False,
                            "special": True,
                            "left_out": False,
                        },
                        {
                            "text": "(",
                            "position": 1,
                            "token_ids": [301],
                            "value": None,
                            "peak": False,
                            "special": False,
                            "left_out": False,
                        },
                        {
                            "text": "self",
                            "position": 2,
                            "token_ids": [412],
                            "value": 7.82,
                            "peak": True,
                            "special": False,
                            "left_out": False,
                        },
                    ],
                }
            ],
        }
    ],
    "provenance": {
        "model_revision": "2f1c0ffee2f1c0ff",
        "sae_sha256": "9ab39ab39ab3",
        "corpus": "python-stdlib",
        "corpus_revision": "3.11.9",
        "context_size": 128,
        "tokens": 400000,
        "counted_tokens": {
            "norm_ratio": 10.0,
            "median_norm": 170.2,
            "first_positions": 0,
            "left_out": {"special": 3150, "first": 0, "outliers": 3162},
        },
        "alive": 1934,
        "density_histogram": [0, 0, 3, 40, 130, 402, 611, 480, 190, 60, 15, 3, 0, 0],
        "job": 4,
        "code_version": "0.1.0",
        "readout": {
            "norm": "LlamaRMSNorm",
            "centred": False,
            "gain_low": 0.61,
            "gain_high": 1.94,
            "through": "",
            "rows": 4096,
            "special": 3,
            "unused": 0,
            "fallback": 0,
        },
        "map": {
            "features": 1934,
            "clusters": 61,
            "neighbours": 15,
            "seed": 0,
            "made_with": "umap-learn 0.5.12, scikit-learn 1.9.1",
        },
        "made": "2026-01-31T12:00:00Z",
    },
    "updated": "2026-01-31T12:00:00Z",
}

JOB = [
    OpenApiExample(
        "Train an SAE",
        request_only=True,
        value={
            "kind": "train_sae",
            "params": {
                "model": "demo-python",
                "slug": "3-res",
                "corpus": "python-stdlib",
                "hook": "blocks.3.hook_resid_post",
                "width": 2048,
                "tokens": 1_000_000,
            },
        },
    ),
    OpenApiExample(
        "Make dashboards",
        request_only=True,
        value={
            "kind": "compute_dashboards",
            "params": {"sae": "demo-python/3-res", "corpus": "python-stdlib"},
        },
    ),
]

STEER = [
    OpenApiExample(
        "Add a feature",
        request_only=True,
        value={
            "model": "demo-python",
            "prompt": "def load(path):\n",
            "features": [{"sae": "2-res", "index": 653, "strength": 2}],
        },
    ),
    OpenApiExample(
        "Ablate one while another is added, in the generated tokens only",
        request_only=True,
        value={
            "model": "demo-python",
            "prompt": "def load(path):\n",
            "features": [
                {"sae": "2-res", "index": 653, "method": "ablate"},
                {"sae": "2-res", "index": 1319, "strength": 0.4, "unit": "norm"},
            ],
            "where": "generated",
            "temperature": 0,
            "stream": True,
        },
    ),
]

EFFECT = [
    OpenApiExample(
        "A feature in a text",
        request_only=True,
        value={
            "model": "demo-python",
            "sae": "2-res",
            "index": 3,
            "text": "def main(self):\n    return self",
        },
    )
]
ACTIVATIONS = [
    OpenApiExample(
        "One feature on a text",
        request_only=True,
        value={
            "model": "demo-python",
            "sae": "2-res",
            "index": 3,
            "text": "def main(self):\n    return self",
        },
    ),
    OpenApiExample(
        "Every feature that fires",
        request_only=True,
        value={"model": "demo-python", "sae": ["2-res"], "text": "import os", "top": 5},
    ),
]
