"""The domain: what is stored about models, corpora, SAEs, features and jobs. No HTTP, no torch."""
