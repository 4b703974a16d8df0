"""What a model says about a noisy image: the pair (x0, eps).

A network may predict the noise eps, the picture x_0 or the velocity v. With x_t known each of the
three gives the other two, because

    x_t = a x_0 + b eps,   v = a eps - b x_0,   a = sqrt(alpha_bar_t),  b = sqrt(1 - alpha_bar_t).

That conversion happens here and nowhere else, and so does the shift from our t = 1..T to the
0..T-1 that networks are conditioned on.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from gendiff.errors import GendiffError
from gendiff.schedule import Schedule

Target = Literal["eps", "x0", "v"]
TARGETS: tuple[Target, ...] = ("eps", "x0", "v")


class Prediction(NamedTuple):
    """The model's view of x_t; x_t == sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps, always
    (but see `Denoiser`'s keep_eps)."""

    x0: Tensor
    eps: Tensor


class Denoiser(nn.Module):
    """A network, the schedule that it was trained on, and what its output means.

    Args:
        net: called as net(x_t, t - 1 as an int64 tensor (B,)[, labels]); gives x_t's shape, or
            twice its channels if it also learned the variance. It may hold its weights in another
            precision than x_t's.
        schedule: the noise levels.
        target: what the output is: "eps" (Ho et al. 2020), "x0", or "v" (Salimans & Ho 2022).
        clip_x0: keep x0 in [-1, 1]; eps is then the one that belongs to the clipped x0.
        keep_eps: leave eps as the network says it, also where x0 is clipped, as diffusers does;
            x_t is then no longer their sum there.
    """

    calls = 1  # network calls for one prediction

    def __init__(
        self,
        net: nn.Module,
        schedule: Schedule,
        target: Target = "eps",
        clip_x0: bool = True,
        keep_eps: bool = False,
    ) -> None:
        super().__init__()
        if target not in TARGETS:
            raise GendiffError(f"A network predicts one of {', '.join(TARGETS)}; got {target!r}.")
        self.net, self.schedule, self.target = net, schedule, target
        self.clip_x0, self.keep_eps = clip_x0, keep_eps

    def forward(self, x_t: Tensor, t: int | Tensor, labels: Tensor | None = None) -> Prediction:
        """x_t (B, ...) and t (an int, or (B,)) -> Prediction in x_t's shape and dtype."""
        return self.predict(x_t, t, self.output(x_t, t, labels))

    def output(self, x_t: Tensor, t: int | Tensor, labels: Tensor | None = None) -> Tensor:
        """The network's own output, in x_t's dtype."""
        if isinstance(t, Tensor):
            counted = t.to(x_t.device, torch.int64).expand(len(x_t)) - 1
        else:  # made where it is needed: copying it to a GPU would wait for the GPU
            counted = torch.full((len(x_t),), t - 1, dtype=torch.int64, device=x_t.device)
        own = self.net.parameters() if isinstance(self.net, nn.Module) else ()
        x = x_t.to(next(iter(own), x_t).dtype)
        out = self.net(x, counted) if labels is None else self.net(x, counted, labels)
        return out.to(x_t.dtype)

    def predict(self, x_t: Tensor, t: int | Tensor, output: Tensor) -> Prediction:
        """The pair that a network output means."""
        output = output[:, : x_t.shape[1]]
        a, b = self.levels(t, x_t)
        if self.target == "eps":
            x0, eps = (x_t - b * output) / a, output
        elif self.target == "x0":
            x0, eps = output, (x_t - a * output) / b
        else:
            x0, eps = a * x_t - b * output, b * x_t + a * output
        if self.clip_x0:
            x0 = x0.clamp(-1, 1)
            eps = eps if self.keep_eps else (x_t - a * x0) / b
        return Prediction(x0, eps)

    def with_variance(
        self, x_t: Tensor, t: int | Tensor, labels: Tensor | None = None
    ) -> tuple[Prediction, Tensor]:
        """The pair and, from the other half of the channels, the share of the larger log-variance.

        0 is the posterior's beta~_t, 1 is beta_t, and the logarithm of the variance is linear
        between them; Nichol & Dhariwal (2021), arXiv:2102.09672, Eq. 15.

        Raises:
            GendiffError: the network has learned no variance.
        """
        return self.predict_with_variance(x_t, t, self.output(x_t, t, labels))

    def predict_with_variance(
        self, x_t: Tensor, t: int | Tensor, output: Tensor
    ) -> tuple[Prediction, Tensor]:
        """What `with_variance` gives, from a network output."""
        channels = x_t.shape[1]
        if output.shape[1] != 2 * channels:
            raise GendiffError('This model has learned no variance; choose "beta" or "posterior".')
        return self.predict(x_t, t, output), (output[:, channels:] + 1) / 2

    def levels(self, t: int | Tensor, like: Tensor) -> tuple[float | Tensor, float | Tensor]:
        """sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t): floats, or shaped to scale `like`.

        Raises:
            GendiffError: t is not in 1..T; at t = 0 there is no noise, so no eps.
        """
        self.schedule.beta(t)
        alpha_bar = self.schedule.alpha_bar(t)
        a, b = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        if isinstance(t, int):
            return float(a), float(b)
        shape = (-1, *[1] * (like.dim() - 1))
        return a.to(like.dtype).reshape(shape), b.to(like.dtype).reshape(shape)

    def loss(
        self,
        x0: Tensor,
        t: Tensor,
        eps: Tensor,
        labels: Tensor | None = None,
        snr_cap: float = 5.0,
        snr_floor: float = 0.0,
    ) -> Tensor:
        """Mean squared error of the target; as an error of x0 it weighs SNR_t within the bounds.

        The cap: Hang et al. (2023), arXiv:2303.09556, Eq. 7 and its appendix for v; the floor:
        Salimans & Ho (2022), arXiv:2202.00512, section 4. Target "eps" without bounds has the
        simple loss of Ho et al., Eq. 14.

        Returns:
            The loss of each image, (B,).
        """
        x_t = self.schedule.add_noise(x0, t, eps)
        snr = torch.exp(self.schedule.log_snr(t))
        bounded = snr.clamp(snr_floor, snr_cap)
        if self.target == "eps":
            truth, weight = eps, bounded / snr
        elif self.target == "x0":
            truth, weight = x0, bounded
        else:
            truth, weight = self.schedule.velocity(x0, eps, t), bounded / (snr + 1)
        error = (self.output(x_t, t, labels) - truth) ** 2
        return weight.to(error.dtype) * error.flatten(1).mean(1)


class Guided(nn.Module):
    """Classifier-free guidance around a Denoiser: output = without + scale (with - without).

    Ho & Salimans (2022), arXiv:2207.12598, Eq. 6, there with w = scale - 1: scale 1 is the plain
    conditional model, 0 the unconditional one. Both halves share one call of the network on a
    doubled batch, which counts as two.

    Args:
        denoiser: a class-conditional Denoiser.
        scale: how far to go towards the class.
        no_label: the row of the class table that was trained as "no label".
    """

    calls = 2

    def __init__(self, denoiser: Denoiser, scale: float, no_label: int) -> None:
        super().__init__()
        self.denoiser, self.scale, self.no_label = denoiser, scale, no_label
        self.schedule = denoiser.schedule

    def forward(self, x_t: Tensor, t: int | Tensor, labels: Tensor | None = None) -> Prediction:
        """As Denoiser's, labels required: mixed before x0 is clipped."""
        return self.denoiser.predict(x_t, t, self.output(x_t, t, labels))

    def with_variance(
        self, x_t: Tensor, t: int | Tensor, labels: Tensor | None = None
    ) -> tuple[Prediction, Tensor]:
        """As Denoiser's; the variance is the one that belongs to the class."""
        return self.denoiser.predict_with_variance(x_t, t, self.output(x_t, t, labels))

    def output(self, x_t: Tensor, t: int | Tensor, labels: Tensor | None) -> Tensor:
        """The mixed output; a learned variance is not mixed, because it is a share from 0 to 1."""
        if labels is None:
            raise GendiffError("Guidance needs a class for every picture.")
        both = torch.cat([labels, torch.full_like(labels, self.no_label)])
        twice = torch.cat([t, t]) if isinstance(t, Tensor) and t.dim() else t
        with_label, without = self.denoiser.output(torch.cat([x_t, x_t]), twice, both).chunk(2)
        channels = x_t.shape[1]
        mixed = without + self.scale * (with_label - without)
        if mixed.shape[1] == channels:
            return mixed
        return torch.cat([mixed[:, :channels], with_label[:, channels:]], dim=1)


class Unguided(nn.Module):
    """The inverse of Guided, around a network: what it says of a class, less its own guidance.

    output = without + (with - without) / scale, where `without` is a constant to gradients. When
    this is trained to be the plain conditional model, the network itself becomes the guided one
    at half the cost of Guided; Tang et al. (2025), arXiv:2502.12154, Eq. 7-9, solved for the
    network. Pictures without a label stay as they are.

    Args:
        net: called as net(x, t, labels). scale, no_label: as Guided's.
    """

    def __init__(self, net: nn.Module, scale: float, no_label: int) -> None:
        super().__init__()
        self.net, self.scale, self.no_label = net, scale, no_label

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """As the network's own."""
        output = self.net(x, t, labels)
        with torch.no_grad():
            without = self.net(x, t, torch.full_like(labels, self.no_label))
        shares = torch.where(labels == self.no_label, 1.0, 1 / self.scale).to(output.dtype)
        return torch.lerp(without, output, shares.reshape(-1, *[1] * (x.dim() - 1)))


class GaussianDenoiser(nn.Module):
    """The exact denoiser of data ~ N(mean, std^2 I), in closed form. An oracle for tests.

    E[x_0 | x_t] = mean + a std^2 / (a^2 std^2 + b^2) (x_t - a mean).
    """

    calls = 1

    def __init__(
        self, schedule: Schedule, mean: float | Tensor = 0.0, std: float | Tensor = 1.0
    ) -> None:
        super().__init__()
        self.schedule, self.mean, self.std = schedule, mean, std

    def forward(self, x_t: Tensor, t: int | Tensor, labels: Tensor | None = None) -> Prediction:
        """The exact pair; labels are ignored."""
        a, b = Denoiser.levels(self, t, x_t)
        gain = a * self.std**2 / (a**2 * self.std**2 + b**2)
        x0 = self.mean + gain * (x_t - a * self.mean)
        return Prediction(x0, (x_t - a * x0) / b)


class FiniteDenoiser(nn.Module):
    """The exact denoiser of a finite data set (N, ...): E[x_0 | x_t] is a softmax over it.

    What a network that has learned its training set by heart would say. Also the clearest picture
    of why x0 guesses are blurred early: they are averages over all that is still possible.
    """

    calls = 1

    def __init__(self, schedule: Schedule, data: Tensor) -> None:
        super().__init__()
        self.schedule, self.data = schedule, data

    def forward(self, x_t: Tensor, t: int | Tensor, labels: Tensor | None = None) -> Prediction:
        """The exact pair; labels are ignored."""
        every = x_t[:, None]  # (B, 1, ...) against the data's (N, ...)
        a, b = Denoiser.levels(self, t, every)
        square = ((every - a * self.data) / b).flatten(2).square().sum(2)
        x0 = torch.einsum("bn,n...->b...", torch.softmax(-square / 2, dim=1), self.data)
        a, b = Denoiser.levels(self, t, x_t)
        return Prediction(x0, (x_t - a * x0) / b)
