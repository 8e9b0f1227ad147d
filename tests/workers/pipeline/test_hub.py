"""SAEs and models from a hub: a server on loopback plays the hub, and breaks as hubs do."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from features.records import InvalidInput, Progress
from tests.workers import planted_sae
from tests.workers.fake_hub import FakeHub
from workers.pipeline.data import download
from workers.pipeline.model.language import load_language
from workers.pipeline.sae import sources
from workers.pipeline.sae.folder import CONFIG, WEIGHTS
from workers.pipeline.sae.io import load_sae

SAE, GATED, PICKLED, MANY = "ada/an-sae", "ada/gated", "ada/pickled", "ada/many"


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def repositories(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hub")
    planted = planted_sae.sae("standard", features=4096, d_in=64)
    planted.cfg.metadata.hook_name, planted.cfg.metadata.model_name = planted_sae.HOOK, "tiny"
    for name in ("sae", "many/one", "many/two"):
        planted.save_model(root / name)
    (root / "pickled").mkdir()
    torch.save({"encoder.weight": torch.zeros(2, 2)}, root / "pickled" / "ae.pt")
    return {SAE: root / "sae", GATED: root / "sae", PICKLED: root / "pickled", MANY: root / "many"}


@pytest.fixture
def fake(repositories, tmp_path, monkeypatch):
    with FakeHub(dict(repositories)) as site:
        monkeypatch.setattr(constants, "ENDPOINT", site.url)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            site.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield site


def fetch(into: Path, name: str = SAE, subfolder: str = "", revision: str = "", should_stop=never):
    """The SAE, and the records that were yielded."""
    records, running = [], sources.download_from_hub(name, subfolder, revision, into, should_stop)
    while True:
        try:
            records.append(next(running))
        except StopIteration as end:
            return end.value, records


def fetch_error(into: Path, *args, **options) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        fetch(into, *args, **options)
    assert not into.exists() or not (into / WEIGHTS).exists()
    return refused.value


def test_an_sae_comes_whole_with_its_commit_and_progress_in_bytes(fake, repositories, tmp_path):
    fetched_sae, records = fetch(tmp_path / "sae")
    for name in (CONFIG, WEIGHTS):
        assert (tmp_path / "sae" / name).read_bytes() == (repositories[SAE] / name).read_bytes()
    assert fetched_sae.provenance == {
        "kind": "hub",
        "source": SAE,
        "subfolder": "",
        "revision": fake.commit("models", SAE),
    }
    size = sum((repositories[SAE] / name).stat().st_size for name in (CONFIG, WEIGHTS))
    assert (records[-1].done, records[-1].total, records[-1].unit) == (size, size, "bytes")
    assert load_sae(str(tmp_path / "sae")).cfg.d_sae == 4096


def test_what_is_in_the_cache_is_not_asked_for_again_and_serves_without_a_connection(
    fake, tmp_path, monkeypatch
):
    fetch(tmp_path / "first")
    fake.asked.clear()
    fetch(tmp_path / "second")
    assert not [path for _, path, _ in fake.asked if "resolve" in path or "cdn" in path]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    fetched_sae, _ = fetch(tmp_path / "third")
    assert (tmp_path / "third" / WEIGHTS).read_bytes() == (
        tmp_path / "first" / WEIGHTS
    ).read_bytes()
    assert fetched_sae.provenance["revision"] == fake.commit("models", SAE)


def test_a_connection_that_drops_in_the_middle_goes_on_from_there(
    fake, repositories, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    fake.breaks[WEIGHTS] = 1 << 18
    fetch(tmp_path / "sae")
    assert (tmp_path / "sae" / WEIGHTS).read_bytes() == (repositories[SAE] / WEIGHTS).read_bytes()
    ranges = [asked for _, path, asked in fake.asked if path.startswith("/cdn/") and asked]
    assert ranges
    assert int(ranges[0].removeprefix("bytes=").rstrip("-")) > 0


def test_a_download_that_is_to_stop_stops_and_can_begin_again(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    fake.pace = 0.05
    asked = iter([False, False, True])
    fetched_sae, records = fetch(tmp_path / "sae", should_stop=lambda: next(asked, True))
    assert fetched_sae is None
    assert not (tmp_path / "sae").exists()
    assert 0 < records[-1].done < records[-1].total
    fake.pace = 0
    assert fetch(tmp_path / "sae")[0] is not None


@pytest.fixture
def half(fake, tmp_path, monkeypatch):
    """The file of a download of weights that was cut off, in the cache."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    fake.pace = 0.05
    asked = iter([False, False, True])
    assert fetch(tmp_path / "first", should_stop=lambda: next(asked, True))[0] is None
    fake.pace = 0
    fake.asked.clear()
    (left,) = (tmp_path / "cache").rglob("*.incomplete")
    return left


def test_a_download_that_was_cut_off_goes_on_in_the_next_attempt(
    fake, half, repositories, tmp_path
):
    there = half.stat().st_size
    assert 0 < there < (repositories[SAE] / WEIGHTS).stat().st_size
    _, records = fetch(tmp_path / "sae")
    assert (tmp_path / "sae" / WEIGHTS).read_bytes() == (repositories[SAE] / WEIGHTS).read_bytes()
    assert [
        asked for method, path, asked in fake.asked if path.startswith("/cdn/") and method == "GET"
    ] == [f"bytes={there}-"]
    done = [record.done for record in records if isinstance(record, Progress)]
    assert done == sorted(done)
    assert not half.exists()


def test_what_came_of_another_content_is_thrown_away_and_not_gone_on_from(
    fake, half, repositories, tmp_path
):
    half.write_bytes(bytes(half.stat().st_size))
    assert "The downloaded file is damaged" in fetch_error(tmp_path / "sae").message
    fetch(tmp_path / "again")
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (repositories[SAE] / WEIGHTS).read_bytes()


def test_of_two_workers_that_bring_one_file_none_waits_or_writes_into_the_others(
    fake, half, repositories, tmp_path
):
    with half.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        there = half.stat().st_size
        fetch(tmp_path / "sae")
        assert half.stat().st_size == there
    assert (tmp_path / "sae" / WEIGHTS).read_bytes() == (repositories[SAE] / WEIGHTS).read_bytes()


@pytest.mark.parametrize(
    ("name", "options", "field", "said"),
    [
        ("nobody/nothing", {}, "source", "no model repository nobody/nothing"),
        (SAE, {"revision": "v9"}, "revision", "no revision 'v9'"),
        (SAE, {"subfolder": "deep/down"}, "subfolder", "nothing at ada/an-sae/deep/down"),
        (PICKLED, {}, "source", "only ae.pt. A pickle may run code, so it is refused"),
        (MANY, {}, "subfolder", "holds 2 SAEs; say which: one, two"),
    ],
)
def test_what_is_not_there_is_said_at_its_field(fake, tmp_path, name, options, field, said):
    error = fetch_error(tmp_path / "sae", name, **options)
    assert error.field == field
    assert said in error.message
    assert not [path for _, path, _ in fake.asked if path.startswith("/cdn/")], (
        "nothing was downloaded"
    )


def test_an_sae_in_a_folder_and_at_a_tag(fake, tmp_path):
    fetched_sae, _ = fetch(tmp_path / "sae", MANY, subfolder="two", revision="v1")
    assert (fetched_sae.provenance["subfolder"], len(fetched_sae.provenance["revision"])) == (
        "two",
        40,
    )


def test_a_gated_repository_says_how_to_get_in_and_opens_to_its_token(fake, tmp_path, monkeypatch):
    fake.gated[GATED] = "hf_right"
    for token in (None, "hf_wrong"):
        monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda token=token: token)
        error = fetch_error(tmp_path / "sae", GATED)
        assert error.field == "source"
        assert "set HF_TOKEN" in error.message
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: "hf_right")
    assert fetch(tmp_path / "sae", GATED)[0] is not None


def test_without_a_connection_the_error_names_the_mirror_and_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    offline = fetch_error(tmp_path / "sae")
    assert "HF_HUB_OFFLINE is set. Set HF_ENDPOINT to a mirror" in offline.message
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    gone = fetch_error(tmp_path / "sae")
    assert "Cannot reach the hub at the mirror that HF_ENDPOINT names" in gone.message
    assert "127.0.0.1" not in gone.message, "everybody may read it"
    assert "give a folder on this machine" in gone.message


def test_a_disk_that_has_no_room_is_seen_before_anything_is_downloaded(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(
        download.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000)
    )
    error = fetch_error(tmp_path / "sae")
    assert (error.field, "HF_HOME" in error.message) == ("source", True)
    assert not [path for _, path, _ in fake.asked if path.startswith("/cdn/")]


def test_a_disk_that_fills_up_on_the_way_is_the_systems_own_error(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(
        download._Transfer,
        "run",
        lambda self: setattr(self, "error", OSError(errno.ENOSPC, "full")),
    )
    with pytest.raises(OSError, match="full"):
        fetch(tmp_path / "sae")


def test_hf_endpoint_is_honoured(fake, tmp_path):
    """In a process of its own, as the variable is read when huggingface_hub is imported."""
    script = (
        "import sys; from pathlib import Path; from workers.pipeline.sae import sources\n"
        "target, never = Path(sys.argv[2]), lambda: False\n"
        "running = sources.download_from_hub(sys.argv[1], '', '', target, never)\n"
        "print([type(record).__name__ for record in running][-1])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": fake.url, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", script, SAE, str(tmp_path / "sae")],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Progress"
    assert (tmp_path / "sae" / WEIGHTS).is_file()


def test_a_model_comes_from_the_hub_at_its_commit(fake, model_folders):
    fake.repositories["models"]["ada/tiny"] = model_folders["llama"]
    language = load_language("ada/tiny")
    assert language.revision == fake.commit("models", "ada/tiny")
    here = load_language(str(model_folders["llama"]))
    ids = torch.arange(10)[None]
    torch.testing.assert_close(language.model(ids).logits, here.model(ids).logits)
    with pytest.raises(InvalidInput, match="no revision 'v9'"):
        load_language("ada/tiny", "v9")


@pytest.fixture
def entry(fake, tmp_path, monkeypatch):
    """Download an entry of SAELens's registry from the fake hub, which serves `folder`."""

    def download_entry(release: str, sae_id: str, folder: Path):
        published = sources.get_pretrained_saes_directory()[release]
        fake.repositories["models"][published.repo_id] = folder
        into, records = tmp_path / "sae", []
        running = sources.download_from_registry(f"{release}:{sae_id}", "", into, never)
        while True:
            try:
                records.append(next(running))
            except StopIteration as end:
                return end.value, into

    return download_entry


def test_an_entry_of_the_registry_takes_what_the_registry_says_of_it(entry, tmp_path):
    """gpt2-small-res-jb: an old configuration, and weights that were centred."""
    folder = tmp_path / "repo" / "blocks.2.hook_resid_pre"
    planted = planted_sae.sae("standard", features=48, d_in=16)
    planted.save_model(folder)
    old = {
        "d_in": 16,
        "d_sae": 48,
        "dtype": "torch.float32",
        "hook_point": "blocks.2.hook_resid_pre",
        "context_size": 128,
    }
    (folder / CONFIG).write_text(json.dumps({**old, "model_name": "gpt2-small", "device": "cpu"}))
    fetched_sae, into = entry("gpt2-small-res-jb", "blocks.2.hook_resid_pre", tmp_path / "repo")
    sae = load_sae(str(into))
    assert sae.cfg.metadata.model_from_pretrained_kwargs == {"center_writing_weights": True}
    assert (sae.cfg.metadata.hook_name, sae.cfg.metadata.context_size) == (
        "blocks.2.hook_resid_pre",
        128,
    )
    assert (fetched_sae.provenance["release"], fetched_sae.provenance["id"]) == (
        "gpt2-small-res-jb",
        "blocks.2.hook_resid_pre",
    )
    x = torch.randn(20, 16)
    torch.testing.assert_close(sae.decode(sae.encode(x)), planted.decode(planted.encode(x)))


def test_gemma_scopes_arrays_are_read_as_saelens_reads_them(entry, tmp_path):
    import numpy as np

    folder = tmp_path / "repo" / "layer_0" / "width_16k" / "average_l0_105"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    size = {
        "w_enc": (2304, 16384),
        "w_dec": (16384, 2304),
        "b_enc": (16384,),
        "b_dec": (2304,),
        "threshold": (16384,),
    }
    arrays = {name: rng.random(shape, dtype=np.float32) * 0.01 for name, shape in size.items()}
    np.savez(folder / "params.npz", **arrays)
    _, into = entry("gemma-scope-2b-pt-res", "layer_0/width_16k/average_l0_105", tmp_path / "repo")
    sae = load_sae(str(into))
    norms = torch.from_numpy(arrays["w_dec"]).norm(dim=-1)
    torch.testing.assert_close(sae.W_enc, torch.from_numpy(arrays["w_enc"]) * norms)
    torch.testing.assert_close(sae.threshold, torch.from_numpy(arrays["threshold"]) * norms)
    assert (sae.cfg.architecture(), sae.cfg.metadata.hook_name) == (
        "jumprelu",
        "blocks.0.hook_resid_post",
    )


def test_llama_scopes_input_scale_is_folded(entry, tmp_path):
    folder = tmp_path / "repo" / "Llama3_1-8B-Base-L3R-8x"
    (folder / "checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    weights = {
        "encoder.weight": torch.randn(48, 16), "decoder.weight": torch.randn(16, 48),
        "encoder.bias": torch.randn(48), "decoder.bias": torch.randn(16),
    }  # fmt: skip
    save_file(weights, folder / "checkpoints" / "final.safetensors")
    config = {
        "d_model": 16,
        "d_sae": 48,
        "jump_relu_threshold": 0.5,
        "hook_point_in": "blocks.3.hook_resid_post",
    }
    (folder / "hyperparams.json").write_text(
        json.dumps({**config, "dataset_average_activation_norm": {"in": 8.0}})
    )
    _, into = entry("llama_scope_lxr_8x", "l3r_8x", tmp_path / "repo")
    scale = sources.get_norm_scaling_factor("llama_scope_lxr_8x", "l3r_8x")
    sae, x = load_sae(str(into)), torch.randn(50, 16)
    before = x * scale @ weights["encoder.weight"].T + weights["encoder.bias"]
    codes = before * (before > 0.5 * 16**0.5 / 8.0)
    expected = (codes @ weights["decoder.weight"].T + weights["decoder.bias"]) / scale
    torch.testing.assert_close(sae.decode(sae.encode(x)), expected, atol=1e-4, rtol=1e-4)


def test_gemma_scope_2s_affine_transcoders_keep_both_hooks_and_the_skip(entry, tmp_path):
    folder = tmp_path / "repo" / "transcoder_all" / "layer_1_width_16k_l0_big_affine"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    weights = {
        "w_enc": torch.randn(16, 48),
        "w_dec": torch.randn(48, 16),
        "b_enc": torch.randn(48),
        "b_dec": torch.randn(16),
        "threshold": torch.rand(48),
        "affine_skip_connection": torch.randn(16, 16),
    }
    save_file(weights, folder / "params.safetensors")
    config = {
        "architecture": "jump_relu",
        "model_name": "gemma-v3-270m-pt",
        "affine_connection": True,
    }
    where = {"hf_hook_point_in": "model.layers.1.pre_feedforward_layernorm.output"}
    (folder / "config.json").write_text(json.dumps({**config, **where}))
    _, into = entry(
        "gemma-scope-2-270m-pt-transcoders-all",
        "layer_1_width_16k_l0_big_affine",
        tmp_path / "repo",
    )
    sae, x = load_sae(str(into)), torch.randn(50, 16)
    assert sae.cfg.metadata.hook_name_out == "blocks.1.hook_mlp_out"
    before = x @ weights["w_enc"] + weights["b_enc"]
    codes = before.relu() * (before > weights["threshold"])
    expected = codes @ weights["w_dec"] + weights["b_dec"] + x @ weights["affine_skip_connection"]
    torch.testing.assert_close(sae.forward_with_activations(x)[0], expected, atol=1e-4, rtol=1e-4)


def test_an_entry_whose_repository_holds_a_pickle_is_refused(fake, tmp_path):
    with pytest.raises(InvalidInput, match="A pickle may run code"):
        list(
            sources.download_from_registry(
                "goodfire-llama-3.1-8b-instruct:layer_19", "", tmp_path / "sae", never
            )
        )
    assert not fake.asked
