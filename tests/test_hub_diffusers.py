"""What diffusers saves, ours loads: the same numbers, the same schedule, the same pictures."""

from __future__ import annotations

import pytest
import torch
from conftest import randomized

import gendiff

diffusers = pytest.importorskip("diffusers")
BASE = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
}
OPTIONS = [
    {"attention_head_dim": None, "downsample_padding": 0, "flip_sin_to_cos": False},
    {"resnet_time_scale_shift": "scale_shift", "freq_shift": 1, "norm_eps": 1e-6},
    {"downsample_type": "resnet", "upsample_type": "resnet", "act_fn": "gelu"},
    {"num_class_embeds": 4, "mid_block_scale_factor": 2, "center_input_sample": True},
    {"mid_block_type": None, "in_channels": 1, "out_channels": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
@pytest.mark.parametrize("layout", ["nested", "flat", "bin", "old names"])
def test_a_saved_network_is_the_same_here(tmp_path, options, layout):
    theirs = randomized(diffusers.UNet2DModel(**BASE, **options)).eval()
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=60, variance_type="fixed_large")
    if layout == "nested":
        diffusers.DDPMPipeline(theirs, scheduler).save_pretrained(tmp_path)
    else:
        theirs.save_pretrained(tmp_path, safe_serialization=layout != "bin")
        scheduler.save_pretrained(tmp_path)
    if layout == "old names":
        old_names(tmp_path / "diffusion_pytorch_model.safetensors")
    model = gendiff.load(tmp_path, "cpu", "float32")
    channels = options.get("in_channels", 3)
    x, t = torch.randn(2, channels, 8, 8), torch.tensor([3, 50])
    labels = torch.tensor([0, 3]) if "num_class_embeds" in options else None
    for dtype, most in ((torch.float32, 1e-4), (torch.float64, 1e-9), (torch.bfloat16, 0.25)):
        net, reference = model.denoiser.net.to(dtype), theirs.to(dtype)
        with torch.no_grad():
            ours, other = net(x.to(dtype), t, labels), reference(x.to(dtype), t, labels).sample
        assert other.abs().max() > 0.1
        assert (ours - other).abs().max() <= most * other.abs().max()
    assert model.variance == "beta" and model.denoiser.clip_x0
    alpha_bars = scheduler.alphas_cumprod.double()
    assert torch.allclose(model.schedule.alpha_bars[1:], alpha_bars, atol=1e-6)


def old_names(path):
    """As the files of 2022 call the attention's weights."""
    from safetensors.torch import load_file, save_file

    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(path)
    for ours, old in new.items():
        tensors = {key.replace(f".{ours}.", f".{old}."): t for key, t in tensors.items()}
    save_file(tensors, path)


@pytest.mark.parametrize("target", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("clip", [True, False])
def test_ddim_makes_the_same_pictures(tmp_path, target, clip, monkeypatch):
    net = randomized(diffusers.UNet2DModel(**BASE)).eval()
    scheduler = diffusers.DDPMScheduler(60, prediction_type=target, clip_sample=clip)
    diffusers.DDPMPipeline(net, scheduler).save_pretrained(tmp_path)
    model = gendiff.load(tmp_path, "cpu", "float32")
    pipe = diffusers.DDIMPipeline.from_pretrained(tmp_path)
    pipe.set_progress_bar_config(disable=True)
    x_T = model.latents([3])
    name = "diffusers.pipelines.ddim.pipeline_ddim.randn_tensor"
    monkeypatch.setattr(name, lambda *_, **__: x_T.clone())
    theirs = torch.from_numpy(pipe(num_inference_steps=6, output_type="np").images)
    ours = model.sample([3], steps=6, spacing="leading")
    assert torch.allclose(ours[0].permute(1, 2, 0) / 2 + 0.5, theirs[0], atol=2e-3)
