"""The models that are served: loaded engines, what is said of them, and their files for browsers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import MAX_PAGE_BYTES
from i2i_sdk.errors import BundleError, InputError
from i2i_sdk.files import Closing
from i2i_sdk.server.refusals import RefusedError, quote_value
from i2i_sdk.server.schema import Model, OnDevice, OnServer
from i2i_sdk.translator import Translator
from i2i_sdk.zoo import ZOO

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedModel:
    """One model. files: what browsers may fetch, by SHA-256; nothing else of a bundle can be asked for."""

    name: str
    translator: Translator
    description: Model
    files: Mapping[str, Path]


class Models(Closing):
    """The served models by name; the first one given is the default. A context manager: it closes engines."""

    def __init__(self, served: Sequence[ServedModel]) -> None:
        self._served = {model.name: model for model in served}
        self.default = served[0].name

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._served.values())

    def __len__(self) -> int:
        return len(self._served)

    def find(self, name: object) -> ServedModel:
        """The model of that name; None is the default. Raises RefusedError."""
        found = self._served.get(self.default if name is None else str(name))
        if found is None:
            message = f"model is {quote_value(name)}; served are: {', '.join(self._served)}"
            raise RefusedError("unknown_model", message)
        return found

    def close(self) -> None:
        """Free every engine. Calling it twice is allowed."""
        for model in self:
            model.translator.close()


def open_models(sources: Sequence[str], open_one: Callable[[str], Translator] = Translator) -> Models:
    """Load and warm up a Translator per source: zoo names, bundles, ONNX files.

    Raises InputError for none, two of one name, or what Translator refuses; BundleError, BackendError.
    """
    if not sources:
        raise InputError("no model was given: name one or more bundles, for example: i2i serve sketch")
    names = [Path(source).stem or Path(source).resolve().stem for source in sources]  # of "." too
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two models are called {twice[0]!r}: rename one of their folders")
    with ExitStack() as opened:
        served: list[ServedModel] = []
        for name, source in zip(names, sources, strict=True):
            translator = opened.enter_context(open_one(source))
            translator.warmup()
            served.append(make_served_model(name, translator))
        opened.pop_all()
    return Models(served)


def make_served_model(name: str, translator: Translator) -> ServedModel:
    """Describe a loaded Translator, and check the files that browsers may fetch: without damaged ones."""
    bundle, engine, variant = translator.bundle, translator.engine, translator.variant
    on_device, files = _list_on_device(name, bundle) if bundle else ([], {})
    server = OnServer(
        backend=variant.backend if variant else "onnx",
        precision=engine.precision,
        provider=engine.provider,
        height=translator.height,
        width=translator.width,
    )
    model = bundle.manifest.model if bundle else None
    description = Model(
        name=name,
        title=ZOO.get(name) or (model.name if model else name),
        license=_leave_out_unknown(model.license) if model else "",
        trained_on=_leave_out_unknown(model.trained_on) if model else "",
        fit=translator.fit,
        channels=bundle.manifest.input.in_channels if bundle else engine.input_shape[3] or 3,
        server=server,
        on_device=on_device,
    )
    return ServedModel(name, translator, description, files)


def _leave_out_unknown(text: str) -> str:
    return "" if text == "unknown" else text


def _list_on_device(name: str, bundle: Bundle) -> tuple[list[OnDevice], dict[str, Path]]:
    """The variants for browsers, or where there are none the references that are small; and their files."""
    manifest = bundle.manifest
    macs = {(v.height, v.width): v.macs for v in manifest.variants}
    small = [r for r in manifest.references if r.file.bytes <= MAX_PAGE_BYTES]
    found = [(v.precision, v, v.files[0]) for v in manifest.variants if v.backend == "web"]
    graphs = found or [("fp32", r, r.file) for r in small]
    files: dict[str, Path] = {}
    for _, _, file in graphs:
        try:
            files[file.sha256] = bundle.file(file)
        except BundleError as error:
            log.warning("browsers are not offered a damaged file: %s", error)
    described = [
        OnDevice(
            url=f"/v1/models/{quote(name, safe='')}/files/{file.sha256}.onnx",
            precision=precision,
            height=graph.height,
            width=graph.width,
            channels=manifest.input.in_channels,
            bytes=file.bytes,
            sha256=file.sha256,
            macs=macs.get((graph.height, graph.width)),
        )
        for precision, graph, file in graphs
        if file.sha256 in files
    ]
    return sorted(described, key=lambda o: (o.height * o.width, o.bytes)), files
