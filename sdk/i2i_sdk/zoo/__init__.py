"""Small bundles trained by this project and shipped with it: `Translator("sketch")`."""

from __future__ import annotations

from pathlib import Path

ZOO: dict[str, str] = {"sketch": "photo -> pencil drawing"}


def find_zoo_bundle(name: str) -> Path | None:
    """The folder of a zoo bundle, or None for a name that is not in the zoo."""
    return Path(__file__).parent / f"{name}.i2i" if name in ZOO else None


def describe_checkpoints() -> str:
    """The generators in models/ of the current folder, as a checkout has it, and their use; else ""."""
    names = [path.parent.name for path in sorted(Path("models").glob("*/latest_net_G.safetensors"))]
    if not names:
        return ""
    command = "i2i export models/NAME/latest_net_G.safetensors -o NAME.i2i"
    return f"models/ has checkpoints of {', '.join(names)}; make a bundle of one: {command}"
