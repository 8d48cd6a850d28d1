"""What the layers around a model share: they have its name, and whatever else it offers."""

from __future__ import annotations

from typing import Any

from aof_nb.ports import Model


class ModelLayer:
    """A layer around a model; it adds its own `stream`.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """The model's own name."""
        return self._model.name

    def __getattr__(self, name: str) -> Any:
        # What a model offers besides the port, such as how it is held to a schema.
        if name == "_model":
            raise AttributeError(name)
        return getattr(self._model, name)
