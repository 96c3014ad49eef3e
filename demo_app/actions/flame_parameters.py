"""The parameters of one head in the FLAME tab, checked against its model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from models.flame.assets import FlameAssets

Array = np.ndarray

MAX_COEFFICIENT, MAX_TURN_RAD, MAX_SHIFT_M = 50.0, 4 * np.pi, 100.0


class FlameTabError(ValueError):
    """What was asked for cannot be done; the message says why in one sentence."""


@dataclass(frozen=True)
class HeadParameters:
    """What `FlameLayer` takes, for one head, in full length."""

    shape: Float[Array, "s"]
    expression: Float[Array, "e"]
    pose_rad: Float[Array, "p"]
    translation_m: Float[Array, "3"]

    @classmethod
    def neutral(cls, assets: FlameAssets) -> HeadParameters:
        """The mean head."""
        return cls(
            np.zeros(len(assets.shape_directions_m)),
            np.zeros(len(assets.expression_directions_m)),
            np.zeros(3 * len(assets.joint_names)),
            np.zeros(3),
        )

    @classmethod
    def of_model(cls, assets: FlameAssets, **values: Array) -> HeadParameters:
        """With zeros for what is missing at the end. Raises: FlameTabError."""
        neutral = cls.neutral(assets)
        full = {}
        for name, zeros in vars(neutral).items():
            given = np.asarray(values.get(name, zeros), np.float64).ravel()
            if given[len(zeros) :].any():
                raise FlameTabError(
                    f"There are {len(given)} numbers for {name}; {assets.name} has {len(zeros)}."
                )
            full[name] = np.pad(given[: len(zeros)], (0, max(0, len(zeros) - len(given))))
        return cls(**full).checked(assets)

    @classmethod
    def from_message(cls, assets: FlameAssets, message: Mapping[str, Any]) -> HeadParameters:
        """What the page sent. Raises: FlameTabError."""
        try:
            values = {name: np.array(message[name], np.float64) for name in cls.__annotations__}
        except (KeyError, TypeError, ValueError) as error:
            raise FlameTabError("The page sent no parameters of a head.") from error
        return cls(**values).checked(assets)

    def checked(self, assets: FlameAssets) -> HeadParameters:
        """Itself, if it fits the model. Raises: FlameTabError."""
        limits = (MAX_COEFFICIENT, MAX_COEFFICIENT, MAX_TURN_RAD, MAX_SHIFT_M)
        for (name, zeros), limit in zip(vars(self.neutral(assets)).items(), limits, strict=True):
            values = getattr(self, name)
            if values.shape != zeros.shape:
                raise FlameTabError(
                    f"{name} has shape {values.shape}; {assets.name} needs {zeros.shape}."
                )
            if not (np.abs(values) <= limit).all():
                raise FlameTabError(f"{name} has a number beyond {limit:.4g}.")
        return self

    def message(self) -> dict[str, list[float]]:
        """For the page."""
        return {name: np.round(values, 6).tolist() for name, values in vars(self).items()}


def sent_parameters(assets: FlameAssets, text: str, name: str) -> HeadParameters:
    """Those of that name in a JSON object of the page. Raises: FlameTabError."""
    try:
        message = json.loads(text)[name]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FlameTabError("Open a head first.") from error
    if not isinstance(message, dict):
        raise FlameTabError("Open a head first.")
    return HeadParameters.from_message(assets, message)
