"""Load and save SAEs in SAELens's folder format, in float32 and with every scale folded into the
weights.

After `load_sae` an activation is in units of the model's own activations along a unit decoder
direction, whatever way the SAE was trained, so that numbers of different features and SAEs compare:

- an input scale (`expected_average_only_in`) or whitening is multiplied into the weights; a
  training checkpoint keeps it
  in a file of its own, and without that file the SAE is refused, since it would silently run on the
  wrong scale;
- decoder norms are folded into the encoder (and thresholds), except for a TopK that chose its
  features without them;
  `own_norms` keeps them;
- BatchTopK checkpoints become the JumpReLU that they are at inference.

`layer_norm` and `constant_norm_rescale` act per token and stay in the SAE, whose activations are
then in units of the normalised token. `hook_z` comes flattened, so it is not reshaped. A transcoder
reads one hook and writes another (`written_hook`).
"""

import hashlib
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from sae_lens import SAE, TrainingSAE
from sae_lens.registry import SAE_CLASS_REGISTRY
from sae_lens.saes.transcoder import Transcoder
from sae_lens.training.activation_scaler import ActivationScaler
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from features.records import InvalidInput
from workers.pipeline.model.hooks import HookPoint, decoder_blocks
from workers.pipeline.sae.folder import (
    CONFIG,
    SCALER,
    SPARSITY,
    WEIGHTS,
    explain_load_error,
    load_config,
)


def load_sae(folder: str, device: str = "cpu") -> SAE[Any]:
    """The SAE in `folder`, ready for inference. `InvalidInput("source")` for anything that is
    missing, renamed or not finite.
    """
    path = Path(folder)
    config = load_config(path)
    try:
        sae = _inference(path, config, device)
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput("source", explain_load_error(path, config, error)) from error
    for name, tensor in sae.state_dict().items():
        # the ends are NaN where anything is; isfinite would make a copy of weights that may be half
        # of the memory
        if not torch.isfinite(torch.stack(tensor.aminmax())).all():
            raise InvalidInput(
                "source", f"Tensor {name} in {WEIGHTS} holds NaN or infinite values."
            )
    if tuple(sae.W_enc.shape) != (sae.cfg.d_in, sae.cfg.d_sae):
        raise InvalidInput(
            "source",
            f"W_enc is {tuple(sae.W_enc.shape)}, {CONFIG} says {(sae.cfg.d_in, sae.cfg.d_sae)}.",
        )
    _fold_decoder_norm(sae)
    sae.turn_off_forward_pass_hook_z_reshaping()
    return sae.eval().requires_grad_(False)


def save_sae(sae: SAE[Any], folder: str, log_density: Tensor | None = None) -> str:
    """Write `sae` to `folder` all at once, replacing what was there; returns its `content_hash`.

    `log_density` [d_sae] is log10 of the share of tokens each feature fires on, SAELens's sparsity
    file.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    if isinstance(sae, TrainingSAE):
        sae.save_inference_model(partial)
    else:
        sae.save_model(partial)
    if log_density is not None:
        save_file({"sparsity": log_density.float().cpu().contiguous()}, partial / SPARSITY)
    replace_folder(partial, target)
    return content_hash(folder)


def content_hash(folder: str) -> str:
    """Hex SHA-256 over the configuration, the weights and any input scale of an SAE folder: the
    same bytes, the same SAE.
    """
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS, SCALER):
        if name != SCALER or (Path(folder) / name).is_file():
            with (Path(folder) / name).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def require_fit(sae: SAE[Any], point: HookPoint) -> None:
    """`InvalidInput("hook")` where the SAE reads another width than the hook gives."""
    if sae.cfg.d_in != point.d_in:
        raise InvalidInput(
            "hook", f"The SAE reads {sae.cfg.d_in} dimensions, but {point.name} has {point.d_in}."
        )


def written_hook(sae: SAE[Any], hook: str) -> str:
    """The hook whose activation `sae` reconstructs from the one at `hook`: the same, or what a
    transcoder's metadata names.

    `InvalidInput("sae")` for a transcoder that does not say.
    """
    if not isinstance(sae, Transcoder):
        return hook
    name = sae.cfg.metadata.hook_name_out
    if not name:
        raise InvalidInput(
            "sae",
            f"This transcoder reads {hook}, but its {CONFIG} does not say where it writes: add "
            "hook_name_out.",
        )
    return str(name)


def uses_centred_activations(sae: SAE[Any], model: PreTrainedModel, hook: str) -> bool:
    """Whether `sae` was trained on activations without their mean over dimensions, as its metadata
    says.

    TransformerLens takes that mean out of what writes to the residual stream
    (`center_writing_weights`), which models with LayerNorm do not notice; for others it leaves the
    weights alone.
    """
    options = sae.cfg.metadata.model_from_pretrained_kwargs or {}
    writes = hook.rpartition(".")[2] in (
        "hook_resid_pre",
        "hook_resid_post",
        "hook_attn_out",
        "hook_mlp_out",
    )
    if not options.get("center_writing_weights") or not writes:
        return False
    return any(isinstance(module, nn.LayerNorm) for module in decoder_blocks(model)[0].modules())


def reconstruct(
    sae: SAE[Any], x: Float[Tensor, "tokens d_in"], without_mean: bool = False
) -> tuple[Float[Tensor, "tokens d_sae"], Float[Tensor, "tokens d_out"]]:
    """Activations of the features and what they stand for; encoded and decoded in one go, as norms
    keep state in between.
    """
    if isinstance(sae, Transcoder):  # with its skip connection, where it has one
        rebuilt, codes = sae.forward_with_activations(x)
        return codes, rebuilt
    mean = x.mean(-1, keepdim=True) * without_mean
    codes = sae.encode(x - mean)
    return codes, sae.decode(codes) + mean


def replace_folder(partial: Path, target: Path) -> None:
    """Put the finished folder `partial` in the place of `target`; whoever looks sees the old one,
    none, or the new one whole.
    """
    partial.chmod(0o755)  # mkdtemp makes folders that only their owner reads
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent)) / "old"
        target.rename(old)
        partial.rename(target)
        shutil.rmtree(old.parent)
    else:
        partial.rename(target)


def _inference(path: Path, config: dict[str, Any], device: str) -> SAE[Any]:
    """Load without decoder folding; a training checkpoint is folded and turned into its inference
    form.
    """
    if "decoder_init_norm" not in config and config["architecture"] in SAE_CLASS_REGISTRY:
        sae: SAE[Any] = SAE.load_from_disk(path, device=device, dtype="float32")
        _fold_scale(sae, path)
        return sae
    trained: TrainingSAE[Any] = TrainingSAE.load_from_disk(path, device=device, dtype="float32")
    _fold_scale(trained, path)
    return inference_form(trained)


def inference_form(trained: TrainingSAE[Any]) -> SAE[Any]:
    """The inference SAE that a training SAE is saved as (a BatchTopK becomes a JumpReLU), sharing
    no memory with it.
    """
    weights = {name: tensor.detach().clone() for name, tensor in trained.state_dict().items()}
    trained.process_state_dict_for_saving_inference(weights)
    sae: SAE[Any] = SAE.from_dict(trained.cfg.get_inference_sae_cfg_dict())
    sae.load_state_dict(weights)
    return sae


def _fold_scale(sae: SAE[Any], path: Path) -> None:
    mode = sae.cfg.normalize_activations
    if mode not in ("expected_average_only_in", "covariance_whitening"):
        return
    scaler = ActivationScaler()
    if (path / SCALER).is_file():
        try:
            scaler.load(path / SCALER)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput("source", f"{SCALER} is not what SAELens writes: {error}") from error
    scale = scaler.scaling_factor
    if mode == "expected_average_only_in" and scale is not None:
        if not isinstance(scale, int | float) or not math.isfinite(scale) or scale <= 0:
            raise InvalidInput(
                "source", f"The input scale in {SCALER} is {scale!r}; it must be a positive number."
            )
        sae.fold_activation_norm_scaling_factor(scale)
    elif mode == "covariance_whitening" and scaler.whitening is not None:
        white = scaler.whitening
        sae.fold_activation_whitening(white.mean, white.matrix, white.inverse_matrix)
    else:
        raise InvalidInput(
            "source",
            f"This is an unfolded training checkpoint ({mode}) without its {SCALER}: its input "
            "scale is unknown. "
            "Add that file, or give the final SAE.",
        )


def saved_decoder_norms(sae: SAE[Any]) -> Float[Tensor, " d_sae"]:
    """Length of each decoder row as the SAE was saved, in the model's units; `load_sae` folds it,
    so the rows have length 1.
    """
    return sae.own_norms if hasattr(sae, "own_norms") else sae.W_dec.detach().float().norm(dim=1)


def _fold_decoder_norm(sae: SAE[Any]) -> None:
    sae.register_buffer("own_norms", saved_decoder_norms(sae), persistent=False)
    try:
        sae.fold_W_dec_norm()
    except (
        NotImplementedError
    ):  # a TopK trained without decoder norms: folding would change which features it picks
        return
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        sae.cfg.rescale_acts_by_decoder_norm = False
