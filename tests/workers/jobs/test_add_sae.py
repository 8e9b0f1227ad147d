"""Importing an SAE: what passes, what is refused and at which field, and what is only doubted."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from features.models import Job, JobEvent, LanguageModel, Sae
from features.records import SequenceRecord
from features.services import jobs as job_services
from workers import model_cache
from workers.jobs import runner
from workers.lifecycle.work import RunningJob
from workers.pipeline.model.hooks import observe_hook, resolve_hook
from workers.pipeline.model.language import Language, load_language
from workers.pipeline.sae import diagnosis
from workers.pipeline.sae.claims import canonical_hook_name
from workers.pipeline.sae.diagnosis import explained_variance
from workers.pipeline.sae.folder import CONFIG, SCALER, SPARSITY, WEIGHTS
from workers.pipeline.sae.io import load_sae

HOOK = "blocks.1.hook_resid_post"
pytestmark = pytest.mark.django_db(transaction=True)
Added = tuple[Job, "Sae | None"]


@pytest.fixture
def ready(settings, tmp_path, model_folders, texts):
    """The model “tiny” and the corpus “texts”, in places of their own."""
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    model_cache.clear()
    place = tmp_path / "texts.jsonl"
    rows = [{"text": f"{text}\n# {round_} {name}"} for round_ in range(20) for name, text in texts]
    place.write_text("\n".join(map(json.dumps, rows)))
    done(job_services.start("add_model", {"slug": "tiny", "source": str(model_folders["llama"])}))
    done(job_services.start("add_corpus", {"slug": "texts", "source": str(place)}))


def done(job: Job) -> Job:
    runner.run(job.pk)
    return Job.objects.get(pk=job.pk)


def activations(language: Language, hook: str, tokens: int = 4000) -> torch.Tensor:
    """Of random ordinary tokens after BOS."""
    found: list[torch.Tensor] = []
    ids = torch.randint(1, 400, (tokens // 31, 32), generator=torch.Generator().manual_seed(3))
    ids[:, 0] = 0
    with (
        torch.no_grad(),
        observe_hook(
            resolve_hook(language.model, hook), lambda x: found.append(x[:, 1:].flatten(0, 1))
        ),
    ):
        language.model(ids)
    return found[0].float()


def write_sae(folder: Path, language: Language, hook: str = HOOK, **changes) -> Path:
    """An SAE in SAELens's format that rebuilds the activations at `hook` almost exactly: both signs
    of their principal axes.
    """
    x = activations(language, hook)
    mean = x.mean(0)
    _, _, axes = torch.linalg.svd(x - mean, full_matrices=False)
    kept = axes[:24]
    directions = torch.cat([kept, -kept])
    weights = {
        "W_enc": directions.T.contiguous(),
        "W_dec": directions.contiguous(),
        "b_enc": torch.zeros(48),
        "b_dec": mean,
    }
    metadata = {
        "model_name": "tiny",
        "hook_name": hook,
        "context_size": 32,
        "prepend_bos": True,
        "sae_lens_version": "6.54.12",
    }
    config = {
        "architecture": "standard",
        "d_in": 32,
        "d_sae": 48,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": metadata,
    }
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(json.dumps(config))
    save_file(weights, folder / WEIGHTS)
    edit(folder, **changes)
    return folder


def edit(folder: Path, config=None, metadata=None, weights=None) -> None:
    """Change the configuration (None removes), its metadata, or the weights of an SAE's folder."""
    told = json.loads((folder / CONFIG).read_text())
    for where, changes in ((told, config or {}), (told["metadata"], metadata or {})):
        for name, value in changes.items():
            where.pop(name, None) if value is None else where.update({name: value})
    (folder / CONFIG).write_text(json.dumps(told))
    if weights:
        save_file(
            {name: t.contiguous() for name, t in weights(load_file(folder / WEIGHTS)).items()},
            folder / WEIGHTS,
        )


@pytest.fixture
def folder(tmp_path, llama) -> Path:
    return write_sae(tmp_path / "given", llama)


def add(folder: Path, **params) -> Added:
    settings = {"model": "tiny", "slug": "theirs", "source": str(folder), "then": False}
    job = done(job_services.start("add_sae", {**settings, **params}))
    return job, Sae.objects.filter(slug="theirs").first()


def said(job: Job) -> str:
    return " ".join(
        JobEvent.objects.filter(job=job, kind="log")
        .order_by("id")
        .values_list("data__text", flat=True)
    )


def test_an_sae_comes_in_with_its_files_its_origin_and_a_test_that_it_passes(
    ready, folder, settings
):
    save_file({"sparsity": torch.zeros(48)}, folder / SPARSITY)
    job, sae = add(folder)
    assert (job.state, job.error) == ("finished", "")
    assert (sae.hook, sae.width, sae.d_in, sae.context_size, sae.architecture) == (
        HOOK,
        48,
        32,
        32,
        "standard",
    )
    assert sae.made_by == job
    ours = Path(settings.ARTIFACTS_URL) / sae.artifact
    for name in (CONFIG, WEIGHTS, SPARSITY):
        assert (ours / name).read_bytes() == (folder / name).read_bytes()
    assert sae.config == {**json.loads((folder / CONFIG).read_text()), "prepend_bos": True}
    assert sae.origin["kind"] == "folder"
    assert sae.shown_origin["source"] == "given", "the path of the machine is nobody's business"
    test = sae.origin["test"]
    assert (test["corpus"], test["tokens"] >= 4096) == ("texts", True)
    assert test["values"]["explained_variance"] > 0.9
    assert job.result["explained_variance"] == test["values"]["explained_variance"]
    assert sae.origin["decoder_norms"] == pytest.approx([1, 1, 1])


def test_the_test_measures_what_its_definition_says(ready, folder):
    _, sae = add(folder)
    language = model_cache.load_model(LanguageModel.objects.get())
    loaded = model_cache.load_sae(sae)
    x = activations(language, HOOK)
    expected = explained_variance(x, loaded.decode(loaded.encode(x)))
    assert sae.origin["test"]["values"]["explained_variance"] == pytest.approx(expected, abs=0.1)
    y = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    by_hand = 1 - ((x - y) ** 2).mean() / x.var(0, correction=0).mean()
    assert explained_variance(x, y) == pytest.approx(by_hand.item(), abs=1e-4)


def test_dashboards_and_evaluation_follow(ready, folder):
    _, sae = add(folder, then=True)
    for kind in ("compute_dashboards", "evaluate_sae"):
        assert done(Job.objects.get(kind=kind)).state == "finished"
    sae.refresh_from_db()
    assert sae.evaluation["values"]["explained_variance"] > 0.8
    assert sae.dashboard.alive > 20


def test_at_the_wrong_hook_it_is_kept_with_a_warning_that_names_the_right_one(ready, folder):
    job, sae = add(folder, hook="blocks.0.hook_resid_pre")
    assert (job.state, sae.hook) == ("finished", "blocks.0.hook_resid_pre")
    (warning,) = [w for w in sae.origin["warnings"] if "Usual causes" in w]
    assert warning.startswith("It explains ") or "worse than their mean" in warning
    assert "Usual causes: another hook or layer" in warning
    assert f"At {HOOK}" in warning or "At blocks.2.hook_resid_pre" in warning
    assert job.result["warnings"] == sae.origin["warnings"]
    assert f"Warning: {warning}" in said(job)


def test_a_scale_that_was_forgotten_is_found_out(ready, tmp_path, llama):
    """An SAE that was trained on inputs of mean norm √d, and says nothing of it, where the model's
    are a fifth of that.
    """
    embedded = "blocks.0.hook_resid_pre"
    x = activations(llama, embedded)
    scale = 32**0.5 / x.norm(dim=-1).mean()
    _, _, axes = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    directions = torch.cat([axes, -axes])
    weights = {
        "W_enc": directions.T,
        "W_dec": directions,
        "b_enc": torch.full((64,), -0.5),
        "b_dec": x.mean(0) * scale,
    }
    given = write_sae(
        tmp_path / "given", llama, embedded, config={"d_sae": 64}, weights=lambda _: weights
    )
    _, sae = add(given)
    (warning,) = [w for w in sae.origin["warnings"] if "Usual causes" in w]
    assert embedded in warning
    contexts = [SequenceRecord(n, "", [0, *range(20 * n + 1, 20 * n + 21)]) for n in range(16)]
    scaled = diagnosis.try_alternatives(llama, load_sae(str(given)), embedded, contexts)[
        diagnosis.SCALED
    ]
    assert scaled > 0.6
    told = diagnosis.explain_low_variance(
        0.03, 4096, embedded, {diagnosis.SCALED: scaled, HOOK: 0.2}
    )
    assert (
        f"scaled to a mean norm of √d it explains {scaled:.0%}: their scale was not folded" in told
    )
    edit(given, config={"normalize_activations": "expected_average_only_in"})
    refused = done(
        job_services.start(
            "add_sae", {"model": "tiny", "slug": "other", "source": str(given), "then": False}
        )
    )
    assert (refused.state, refused.error_field) == ("failed", "source")
    assert "its input scale is unknown" in refused.error
    (given / SCALER).write_text(json.dumps({"scaling_factor": scale.item()}))
    done(
        job_services.start(
            "add_sae", {"model": "tiny", "slug": "folded", "source": str(given), "then": False}
        )
    )
    folded = Sae.objects.get(slug="folded")
    assert folded.origin["test"]["values"]["explained_variance"] > 0.6
    assert not [w for w in folded.origin["warnings"] if "Usual causes" in w]
    assert folded.sha256 != sae.sha256


@pytest.mark.parametrize(
    ("changes", "params", "field", "said"),
    [
        (
            {"config": {"d_in": 16}},
            {},
            "source",
            "b_dec is [32] in sae_weights.safetensors, but cfg.json makes it [16]",
        ),
        ({"config": {"d_sae": 64}}, {}, "source", "cfg.json makes it [64, 32]"),
        (
            {"weights": lambda w: {n: t for n, t in w.items() if n != "b_dec"}},
            {},
            "source",
            "lacks b_dec",
        ),
        (
            {"weights": lambda w: {n.replace("W_enc", "enc"): t for n, t in w.items()}},
            {},
            "source",
            "lacks W_enc and has enc",
        ),
        ({"weights": lambda w: {**w, "W_dec": w["W_dec"] * torch.nan}}, {}, "source", "W_dec in"),
        (
            {"metadata": {"model_name": "gpt2-small"}},
            {},
            "anyway",
            "made for 'gpt2-small', but this model is llama or tiny",
        ),
        (
            {"metadata": {"hook_name": "blocks.7.hook_mlp_out"}},
            {},
            "hook",
            "'blocks.7.hook_mlp_out', which this model of 3",
        ),
        ({"metadata": {"hook_name": None}}, {}, "hook", "does not say: choose where the SAE reads"),
        ({"config": {"architecture": "magic"}}, {}, "source", "names the architecture 'magic'"),
    ],
)
def test_what_disagrees_is_named_and_leaves_no_row(
    ready, folder, settings, changes, params, field, said
):
    edit(folder, **changes)
    job, sae = add(folder, **params)
    assert (job.state, job.error_field, sae) == ("failed", field, None)
    assert said in job.error
    assert not (Path(settings.ARTIFACTS_URL) / "saes").exists(), "nothing half-written stays"
    assert not list((settings.VAR / "work").glob("*"))


def test_an_sae_of_another_width_is_refused_with_both_widths(ready, tmp_path, llama):
    narrow = write_sae(tmp_path / "narrow", llama)
    edit(
        narrow,
        config={"d_in": 16},
        weights=lambda w: {
            "W_enc": w["W_enc"][:16],
            "W_dec": w["W_dec"][:, :16],
            "b_enc": w["b_enc"],
            "b_dec": w["b_dec"][:16],
        },
    )
    job, sae = add(narrow)
    assert (job.state, job.error_field, sae) == ("failed", "hook", None)
    assert job.error == f"The SAE reads 16 dimensions, but {HOOK} has 32."


@pytest.mark.parametrize("name", ["ae.pt", "sae.bin", "model.pkl"])
def test_a_folder_of_pickles_is_refused_with_the_remedy(ready, tmp_path, name):
    (tmp_path / "pickles").mkdir()
    (tmp_path / "pickles" / CONFIG).write_text("{}")
    (tmp_path / "pickles" / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    job, sae = add(tmp_path / "pickles")
    assert (job.state, job.error_field, sae) == ("failed", "source", None)
    assert f"{name} is a pickle, which may run code: convert it to safetensors" in job.error


def test_another_model_is_overlooked_where_that_is_said(ready, folder):
    edit(folder, metadata={"model_name": "gpt2-small"})
    job, sae = add(folder, anyway=True)
    assert job.state == "finished"
    assert sae.origin["notes"] == [
        "The SAE was made for 'gpt2-small', but this model is llama or tiny. It is used anyway."
    ]


def test_contexts_without_bos_are_kept_and_used(ready, folder):
    edit(folder, metadata={"prepend_bos": False, "context_size": 16})
    job, sae = add(folder, then=True)
    assert (job.state, sae.prepend_bos, sae.context_size) == ("finished", False, 16)
    done(Job.objects.get(kind="compute_dashboards"))
    from features.models import Sequence

    rows = list(Sequence.objects.values_list("token_ids", "bos"))
    assert rows
    assert not any(bos for _, bos in rows)
    assert not all(ids[0] == 0 for ids, _ in rows)


def test_a_corpus_shorter_than_one_context_is_refused_with_both_lengths(ready, folder, tmp_path):
    (tmp_path / "short.txt").write_text("def cat")
    done(job_services.start("add_corpus", {"slug": "short", "source": str(tmp_path / "short.txt")}))
    job, sae = add(folder, corpus="short")
    assert (job.state, job.error_field, sae) == ("failed", "corpus", None)
    assert "one context needs 32" in job.error or "is empty" in job.error


def test_a_tokenizer_that_is_not_the_models_is_doubted_by_its_loss(ready, folder):
    """A random model predicts worse than chance, as a good one does of another tokenizer's ids."""
    _, sae = add(folder)
    (warning,) = [w for w in sae.origin["warnings"] if "tokenizer" in w]
    assert "worse than by chance" in warning
    assert "vocabulary at random gives 6.0" in warning


def test_a_tokenizer_with_more_ids_than_the_model_has_rows_is_refused(tmp_path, model_folders):
    import shutil

    from features.records import InvalidInput

    place = tmp_path / "mixed"
    shutil.copytree(model_folders["llama"], place)
    told = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(told | {"vocab_size": 300}))
    weights = load_file(place / "model.safetensors")
    save_file(
        {n: (t[:300].contiguous() if t.shape[0] == 400 else t) for n, t in weights.items()},
        place / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(InvalidInput, match="ids up to 351, the model only 300 embeddings"):
        load_language(str(place))


def test_a_cancelled_import_leaves_nothing(ready, folder, settings, monkeypatch):
    monkeypatch.setattr(RunningJob, "should_stop", lambda self: True)
    job, sae = add(folder)
    assert (job.state, sae) == ("queued", None)
    assert not (Path(settings.ARTIFACTS_URL) / "saes").exists()


def test_a_transcoder_comes_in_with_both_hooks(ready, tmp_path, llama):
    from tests.workers.pipeline.test_any_sae import MLP_IN, MLP_OUT, made

    transcoder = made("transcoder", MLP_IN, d_out=32, apply_b_dec_to_input=False)
    transcoder.cfg.metadata.hook_name_out, transcoder.cfg.metadata.model_name = MLP_OUT, "tiny"
    transcoder.save_model(tmp_path / "transcoder")
    job, sae = add(tmp_path / "transcoder")
    assert (job.state, sae.hook, sae.architecture) == ("finished", MLP_IN, "transcoder")
    assert "explained_variance" in sae.origin["test"]["values"]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("blocks.1.hook_z", "blocks.1.attn.hook_z"),
        ("model.layers.1", "blocks.1.hook_resid_post"),
        ("layers.1", "blocks.1.hook_resid_post"),
        ("layers.1.mlp", "blocks.1.hook_mlp_out"),
        ("blocks.1.ln2.hook_normalized", "blocks.1.mlp.hook_in"),
        ("model.layers.1.output", "blocks.1.hook_resid_post"),
        ("model.layers.1.mlp.output", "blocks.1.hook_mlp_out"),
        ("model.layers.1.self_attn.o_proj.input", "blocks.1.attn.hook_z"),
        ("model.layers.1.pre_feedforward_layernorm.output", "blocks.1.mlp.hook_in"),
        ("model.layers.9", None),
        ("blocks.1.hook_resid_mid", None),
        ("", None),
    ],
)
def test_hooks_of_other_schemes_are_understood(llama, name, ours):
    assert canonical_hook_name(llama.model, name) == ours
