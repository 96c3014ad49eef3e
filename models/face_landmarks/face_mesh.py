"""MediaPipe's FaceMesh (Kartynnik et al. 2019) in torch: crops of a face in, 468 points out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.trg.backbones import DepthwiseBlock, FaceMeshFeatures

Array = np.ndarray

FACEMESH_PATH = Path(__file__).resolve().parents[2] / "assets" / "facemesh.safetensors"
FACEMESH_FORMAT = "trg-studio facemesh 1"
CROP_PX = 192
"""Side of the network's input."""
N_LANDMARKS = 468


class FaceLandmarksError(ValueError):
    """The weights are missing or not what they should be; the message says what to do."""


def _output_head(first: DepthwiseBlock, channels_out: int) -> nn.Sequential:
    """A block, 32 channels, a block, and a convolution over all that is left (3x3 cells)."""
    return nn.Sequential(
        first,
        nn.Conv2d(128, 32, 1),
        nn.PReLU(32),
        DepthwiseBlock(32, 32),
        nn.Conv2d(32, channels_out, 3),
    )


class FaceMesh(nn.Module):
    """The network: RGB crops in 0..1 to landmarks in pixels of the crop, and presence logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = FaceMeshFeatures(extra_blocks=0)
        self.landmarks = _output_head(DepthwiseBlock(128, 128), 3 * N_LANDMARKS)
        self.presence = _output_head(DepthwiseBlock(128, 128, 2), 1)

    def forward(
        self, image: Float[Tensor, "b 3 192 192"]
    ) -> tuple[Float[Tensor, "b 468 3"], Float[Tensor, "b"]]:
        _, _, _, cells_6, cells_3 = self.features(image)
        points_px = self.landmarks(cells_3).flatten(1).unflatten(1, (N_LANDMARKS, 3))
        return points_px, self.presence(cells_6).flatten()


class FaceLandmarks468:
    """FaceMesh on one device, numpy in and out."""

    def __init__(self, network: FaceMesh, device: str | torch.device = "cpu") -> None:
        self._device = torch.device(device)
        self._network = network.to(self._device).eval()

    def predict(
        self, crops_rgb: UInt8[Array, "n 192 192 3"]
    ) -> tuple[Float[Array, "n 468 3"], Float[Array, "n"]]:
        """Points in pixels of the crop, and the probability that there is a face.

        x to the right, y down, continuous (the crop spans 0 to 192). z grows away from the camera,
        in the same unit, relative to about the middle of the head.
        """
        if len(crops_rgb) == 0:
            return np.zeros((0, N_LANDMARKS, 3)), np.zeros(0)
        image = torch.from_numpy(np.ascontiguousarray(crops_rgb)).to(self._device)
        with torch.inference_mode():
            points_px, logits = self._network(image.permute(0, 3, 1, 2).float() / 255.0)
        presence = torch.sigmoid(logits)
        return points_px.double().cpu().numpy(), presence.double().cpu().numpy()


def write_face_landmarks(path: Path | str, network: FaceMesh, metadata: dict[str, str]) -> None:
    """The weights in half precision.

    metadata: short texts for the file's header, such as origin and licence.
    """
    tensors = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, str(path), metadata={**metadata, "format": FACEMESH_FORMAT})


def load_face_mesh(path: Path | str = FACEMESH_PATH) -> FaceMesh:
    """The network with the project's copy of its weights. Raises: FaceLandmarksError."""
    path, network = Path(path), FaceMesh()
    advice = "get the project's assets/ folder again"
    if not path.is_file():
        raise FaceLandmarksError(f"{path} is missing; {advice}.")
    try:
        with safe_open(str(path), framework="pt") as file:
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        network.load_state_dict(weights)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise FaceLandmarksError(f"{path} does not hold FaceMesh ({error}); {advice}.") from error
    return network


def load_face_landmarks(
    path: Path | str = FACEMESH_PATH, device: str | torch.device = "cpu"
) -> FaceLandmarks468:
    """FaceMesh, ready to predict. Raises: FaceLandmarksError."""
    return FaceLandmarks468(load_face_mesh(path), device)
