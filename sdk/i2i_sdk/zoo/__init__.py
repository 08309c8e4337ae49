"""Small bundles trained by this project and shipped with it: `Translator("sketch")`."""

from __future__ import annotations

from pathlib import Path

ZOO: dict[str, str] = {"sketch": "photo -> pencil drawing"}


def find_zoo_bundle(name: str) -> Path | None:
    """The folder of a zoo bundle, or None for a name that is not in the zoo."""
    return Path(__file__).parent / f"{name}.i2i" if name in ZOO else None
