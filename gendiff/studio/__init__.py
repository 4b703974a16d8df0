"""The application without a user interface: plain values in, records and iterators of frames out.

`Studio` owns the models; one module per activity works on them: adversarial (GAN), walk
(interpolation; decoding: its pictures), denoising, noising (forward). None of them knows gradio.
"""

from gendiff.studio.models import Real, Studio

__all__ = ["Real", "Studio"]
