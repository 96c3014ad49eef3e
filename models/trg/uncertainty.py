"""What a network says about its own answer: is this a face, and how far off is the pose?

Rotation errors are rotation vectors in the CAMERA frame, radians:
error = log(R_true R_predicted^T), so that R_true = exp(error) R_predicted. Such an error does not
change when the head frame is turned (both matrices are multiplied from the right by one rotation).
Translation errors are relative: (t_true - t_predicted) / predicted t_z, for x, y and z alike.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

Array = np.ndarray

PRESENCE_HIDDEN, UNCERTAINTY_HIDDEN = 128, 256
ROTATION_FLOOR_RAD, T_FLOOR = 1e-3, 1e-3
"""The network never claims to be surer than this: 0.06 deg, 1 mm at a metre."""
LOG_SIGMA_LIMIT = math.log(3.0)
REFERENCE_SIGMA = 0.04
"""Calibration by a power leaves errors of this size alone: 2.3 deg, 4 % of the depth."""
MIN_T_Z_M = 0.05
"""Relative errors of t are taken of at least this depth."""
_LOWER = ((1, 0), (2, 0), (2, 1))

MEAN_CHI_3 = 2.0 * math.sqrt(2.0 / math.pi)
"""Mean length of a standard normal vector in three dimensions."""


def pooled(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
    """Mean and maximum of every channel."""
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)


class PresenceHead(nn.Module):
    """Face or not, from the two deepest maps and from what the last round made of the mesh's
    surroundings. Gradients flow into the backbone, none into the rounds.

    logit_scale, logit_shift: calibration (Platt), 1 and 0 at birth.
    """

    logit_scale: Tensor
    logit_shift: Tensor

    def __init__(self, channels: tuple[int, int], n_hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2 * sum(channels) + n_hidden, PRESENCE_HIDDEN)
        self.activation = nn.PReLU(PRESENCE_HIDDEN)
        self.fc2 = nn.Linear(PRESENCE_HIDDEN, 1)
        self.register_buffer("logit_scale", torch.ones(1))
        self.register_buffer("logit_shift", torch.zeros(1))

    def forward(
        self,
        deep: Float[Tensor, "b c h w"],
        deepest: Float[Tensor, "b d i j"],
        hidden: Float[Tensor, "b m"],
    ) -> Float[Tensor, "b"]:
        """The logit of "this is a face". hidden: of the last regressor."""
        inputs = torch.cat([pooled(deep), pooled(deepest), hidden.detach()], 1)
        logit = self.fc2(self.activation(self.fc1(inputs)))[:, 0]
        return logit * self.logit_scale + self.logit_shift


class UncertaintyHead(nn.Module):
    """Covariance of the rotation error and sigmas of t, from DETACHED inputs: what it learns does
    not reach the pose.

    Calibration, 1 at birth: rotation_scale, t_scale multiply the sigmas of each axis;
    rotation_power, t_power raise a crop's size of error (the geometric mean of its three sigmas)
    in units of REFERENCE_SIGMA. A head that is too sure of its easy crops and too modest about its
    hard ones gets a power below 1.
    """

    rotation_scale: Tensor
    t_scale: Tensor
    rotation_power: Tensor
    t_power: Tensor

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(n_inputs, UNCERTAINTY_HIDDEN)
        self.activation = nn.PReLU(UNCERTAINTY_HIDDEN)
        self.fc2 = nn.Linear(UNCERTAINTY_HIDDEN, 9)
        nn.init.xavier_uniform_(self.fc2.weight, gain=0.1)
        with torch.no_grad():  # 6 deg and 5 % of the depth before anything is learnt
            self.fc2.bias.copy_(torch.tensor([math.log(0.1)] * 3 + [0.0] * 3 + [-3.0] * 3))
        self.register_buffer("rotation_scale", torch.ones(3))
        self.register_buffer("t_scale", torch.ones(3))
        self.register_buffer("rotation_power", torch.ones(1))
        self.register_buffer("t_power", torch.ones(1))

    def forward(
        self, inputs: Float[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b 3 3"], Float[Tensor, "b 3"]]:
        """Lower Cholesky factor of the rotation error's covariance (rad), and sigmas of t in units
        of t_z; both calibrated.

        Row i of the factor is scaled by its own diagonal entry: L = diag(sigma) (unit lower).
        """
        raw = self.fc2(self.activation(self.fc1(inputs.detach())))
        diagonal = ROTATION_FLOOR_RAD + raw[:, :3].clamp(max=LOG_SIGMA_LIMIT).exp()
        factor = torch.diag_embed(torch.ones_like(diagonal))
        rows, columns = zip(*_LOWER, strict=True)
        factor[:, rows, columns] = raw[:, 3:6]
        t_sigma = T_FLOOR + raw[:, 6:].clamp(max=LOG_SIGMA_LIMIT).exp()
        diagonal = diagonal * self.rotation_scale * power_factor(diagonal, self.rotation_power)
        t_sigma = t_sigma * self.t_scale * power_factor(t_sigma, self.t_power)
        return factor * diagonal[..., None], t_sigma


def power_factor(sigma: Float[Tensor, "b 3"], power: Float[Tensor, "1"]) -> Float[Tensor, "b 1"]:
    """What all three sigmas are multiplied by so that their geometric mean g becomes
    REFERENCE_SIGMA (g / REFERENCE_SIGMA) ** power."""
    log_size = sigma.log().mean(-1, keepdim=True) - math.log(REFERENCE_SIGMA)
    return ((power - 1.0) * log_size).exp()


def rotation_error_rad(
    R_true: Float[Tensor, "b 3 3"], R_predicted: Float[Tensor, "b 3 3"]
) -> Float[Tensor, "b 3"]:
    """log(R_true R_predicted^T) in the camera frame.

    For training; at 180 degrees, where the axis is not defined, the vector is short of its length.
    """
    D = R_true @ R_predicted.transpose(-1, -2)
    sine = 0.5 * torch.stack(
        [D[:, 2, 1] - D[:, 1, 2], D[:, 0, 2] - D[:, 2, 0], D[:, 1, 0] - D[:, 0, 1]], -1
    )
    length = sine.norm(dim=-1, keepdim=True)
    cosine = 0.5 * (D.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) - 1.0)
    angle = torch.atan2(length, cosine)
    return sine * torch.where(length > 1e-6, angle / length.clamp(min=1e-6), 1.0)


def relative_t_error(
    t_true_m: Float[Tensor, "b 3"], t_predicted_m: Float[Tensor, "b 3"]
) -> Float[Tensor, "b 3"]:
    """(t_true - t_predicted) / predicted t_z, the depth held above MIN_T_Z_M."""
    return (t_true_m - t_predicted_m) / t_predicted_m[:, 2:].clamp(min=MIN_T_Z_M)


def whitened(cholesky: Float[Tensor, "b 3 3"], error: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
    """L^-1 error; its squared length is the squared Mahalanobis distance."""
    return torch.linalg.solve_triangular(cholesky, error[..., None], upper=False)[..., 0]


def covariance_from_cholesky(cholesky: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 3 3"]:
    """L L^T."""
    return cholesky @ cholesky.transpose(-1, -2)


def expected_geodesic_deg(covariance_rad2: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch"]:
    """The geodesic error to expect: E|x| in degrees, x normal with this covariance.

    x = L z with z standard normal; length and direction of z are independent, so
    E|x| = E|z| * (mean over unit vectors n of sqrt(n^T C n)), E|z| = 2 sqrt(2 / pi).
    The mean is taken by Gauss-Legendre (16 heights) times trapezoid (32 longitudes): exact for
    round covariances, better than 1 % for flat and needle-shaped ones.
    """
    heights, weights = np.polynomial.legendre.leggauss(16)
    longitude = (np.arange(32) + 0.5) * (np.pi / 16)
    radius = np.sqrt(1.0 - heights**2)[:, None]
    n = np.stack(
        [
            radius * np.cos(longitude),
            radius * np.sin(longitude),
            np.broadcast_to(heights[:, None], (16, 32)),
        ],
        -1,
    ).reshape(-1, 3)
    weight = np.repeat(weights / 64.0, 32)
    C = np.asarray(covariance_rad2, np.float64)
    spread = np.einsum("ni,...ij,nj->...n", n, C, n, optimize=True)
    return np.asarray(np.degrees(MEAN_CHI_3 * (np.sqrt(np.maximum(spread, 0.0)) @ weight)))
