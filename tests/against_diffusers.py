"""The speed of google/ddpm-cifar10-32's architecture, here and in diffusers' DDIMPipeline.

    python tests/against_diffusers.py [STEPS]

Random weights, saved once by diffusers, loaded by both; default settings of each, one picture, the
same x_T and levels. Both run in turn, in this one process, and processor time is counted, which
other programs disturb least; the fastest run of each counts. PSNR is that of the last pictures.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from unittest.mock import patch

import diffusers
import torch

import gendiff
from gendiff import bench

CIFAR = {
    "sample_size": 32,
    "attention_head_dim": None,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
ROUNDS = 3


def measure(steps: int) -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        scheduler = diffusers.DDPMScheduler(variance_type="fixed_large")
        diffusers.DDPMPipeline(diffusers.UNet2DModel(**CIFAR), scheduler).save_pretrained(folder)
        loading, reading = bench.loading(folder, "cpu")
        model = gendiff.load(folder, "cpu")
        theirs = diffusers.DDIMPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    x_T = model.latents([0])

    def ours() -> torch.Tensor:
        return model.sample([0], steps=steps, spacing="leading")

    def pipeline() -> torch.Tensor:
        name = "diffusers.pipelines.ddim.pipeline_ddim.randn_tensor"
        with patch(name, lambda *_, **__: x_T.clone()):
            images = theirs(num_inference_steps=steps, output_type="np").images
        return torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1

    seconds: dict[str, list[float]] = {"gendiff": [], "diffusers": []}
    pictures = {"gendiff": ours(), "diffusers": pipeline()}  # and the warm-up
    for _ in range(ROUNDS):
        for name, run in (("gendiff", ours), ("diffusers", pipeline)):
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    for name, times in seconds.items():
        best, middle = min(times), statistics.median(times)
        print(
            f"{name:10} {steps / best:.3f} steps/s of processor time (median {steps / middle:.3f})"
        )
    print(f"ratio {min(seconds['diffusers']) / min(seconds['gendiff']):.2f}")
    print(f"PSNR {float(bench.psnr(*pictures.values())):.1f} dB")
    print(f"read the file {1e3 * reading:.0f} ms, load the model {1e3 * loading:.0f} ms")
    print(f"{torch.get_num_threads()} threads, float32, torch {torch.__version__}")


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
