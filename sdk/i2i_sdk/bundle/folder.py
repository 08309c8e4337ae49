"""A bundle: the folder `name.i2i/` with a manifest and the files of its variants.

The only contract between export and sdk. Bundles come from strangers: paths stay inside the folder,
links are refused, sizes are bounded, and a file is used only after its SHA-256 matched. A missing or damaged
file costs the variants that need it, no others.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from i2i_sdk.bundle.manifest import FileEntry, Manifest, ModelInfo, Variant, read_manifest
from i2i_sdk.errors import BundleError, InputError, redact_credentials
from i2i_sdk.files import create_temporary_folder, hash_file, write_atomically

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 2**20  # bytes
MAX_FILE_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, its manifest checked. Files are checked when they are opened."""

    path: Path
    manifest: Manifest

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Bundle:
        """Read and check `path/manifest.json`.

        Raises BundleError: no such folder, not valid, newer than this version, paths that leave the folder,
        or no variant has all of its files.
        """
        folder = Path(path)
        file = folder / MANIFEST
        if file.is_symlink():
            raise BundleError(f"{file}: is a link; bundles hold plain files only")
        if not file.is_file():
            problem = f"not a bundle: it has no {MANIFEST}" if folder.exists() else "no such folder"
            raise BundleError(
                f"{redact_credentials(str(folder))}: {problem}. Make a bundle with: i2i export CHECKPOINT"
            )
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{file}: larger than {MAX_MANIFEST_BYTES // 2**20} MB")
        try:
            manifest = read_manifest(json.loads(file.read_text(encoding="utf-8")))
        except RecursionError:
            raise BundleError(f"{folder}: {MANIFEST} is nested too deep") from None
        except (BundleError, OSError, ValueError) as error:
            raise BundleError(f"{folder}: {error}") from error
        bundle = cls(folder, manifest)
        files = {path: bundle.locate(entry) for path, entry in manifest.collect_files().items()}
        missing = {path: file for path, (file, is_there) in files.items() if not is_there}
        if all(any(entry.path in missing for entry in v.files) for v in manifest.variants):
            raise BundleError("; ".join(map(_describe_missing, missing.values())))
        return bundle

    def file(self, entry: FileEntry) -> Path:
        """The path of a file after its size and SHA-256 matched the manifest's. Raises BundleError."""
        path, is_there = self.locate(entry)
        if not is_there:
            raise BundleError(_describe_missing(path))
        try:
            size = path.stat().st_size
            sha256 = hash_file(path) if size == entry.bytes else ""  # not gigabytes of something else
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}; copy the bundle again") from error
        if size != entry.bytes:
            raise BundleError(f"{path}: has {size} bytes instead of {entry.bytes}; copy the bundle again")
        if sha256 != entry.sha256:
            raise BundleError(f"{path}: its content is not what the manifest's SHA-256 says; do not use it")
        return path

    def files_of(self, variant: Variant) -> tuple[Path, ...]:
        """All files of a variant, each checked as by `file`."""
        return tuple(self.file(entry) for entry in variant.files)

    def explain_damage(self, variant: Variant) -> str | None:
        """What is wrong with a variant's files, each of which is read; None if nothing is."""
        try:
            self.files_of(variant)
        except BundleError as error:
            return str(error)
        return None

    def reference_for(self, variant: Variant) -> Path:
        """The FP32 graph that a variant is compared with, checked as by `file`."""
        for reference in self.manifest.references:
            if (reference.height, reference.width) == (variant.height, variant.width):
                return self.file(reference.file)
        raise BundleError(f"{self.path}: no reference for {variant.height}x{variant.width}")

    def locate(self, entry: FileEntry) -> tuple[Path, bool]:
        """Where a file has to be, and is it there? Raises BundleError for what no bundle may claim."""
        parts = PurePosixPath(entry.path)
        leaves = parts.is_absolute() or ".." in parts.parts or not parts.name
        if leaves or not {"\\", ":"}.isdisjoint(entry.path):
            problem = f"{entry.path!r} leaves the bundle; paths must be relative and inside"
            raise BundleError(f"{self.path}: {problem}")
        if not 0 <= entry.bytes <= MAX_FILE_BYTES:
            problem = f"claims {entry.bytes} bytes; at most {MAX_FILE_BYTES}"
            raise BundleError(f"{self.path}: {entry.path} {problem}")
        path = self.path
        try:
            for part in parts.parts:
                path = path / part
                if path.is_symlink():
                    raise BundleError(f"{path}: is a link; bundles hold plain files only")
            return path, path.is_file()
        except OSError as error:  # a name longer than the file system allows
            raise BundleError(f"{self.path}: a path in the manifest cannot be opened: {error}") from error


def _describe_missing(file: Path) -> str:
    return f"{file}: is listed in the manifest but not there; copy the bundle again"


def make_file_entry(folder: Path, path: Path) -> FileEntry:
    """The manifest's entry for `path`, a file inside `folder`."""
    return FileEntry(path.relative_to(folder).as_posix(), hash_file(path), path.stat().st_size)


def write_bundle(out: Path, manifest: Manifest, source_folder: Path, *, force: bool = False) -> Bundle:
    """Make a bundle of a manifest and its files; all or nothing.

    An existing bundle made from the same checkpoint keeps its other variants; those that share a file
    whose content changed are dropped, with a warning, because their parity was measured on the old one.

    Args:
        out: the bundle's folder.
        manifest: what to write; its files' paths are relative to `source_folder`.
        source_folder: where the files are, which are copied.
        force: replace a bundle of another checkpoint, or a broken one; any other folder never.

    Returns:
        The bundle, read back.

    Raises:
        BundleError: `out` exists and may not be replaced.
    """
    files = {path: source_folder / path for path in manifest.collect_files()}
    old = find_existing_bundle(out, manifest.model, force)
    if old is not None:
        manifest, kept = _merge_manifests(old, manifest)
        entries = manifest.collect_files()
        # Kept files are checked: a tampered one must not get a fresh manifest.
        files |= {path: old.file(entries[path]) for path in kept if path not in files}
    with create_temporary_folder(out) as folder:
        fresh = folder / "new"
        for path, source in files.items():
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, fresh / path)
        (fresh / MANIFEST).write_text(_serialize(manifest), encoding="utf-8")
        Bundle.read(fresh)
        aside = folder / "old"
        try:
            if out.exists():
                out.rename(aside)
            fresh.rename(out)
        except BaseException:  # an interrupt between the two would lose the old bundle with `folder`
            if aside.exists() and not out.exists():
                aside.rename(out)
            raise
    return Bundle.read(out)


def trim_bundle(bundle: Bundle, names: Collection[str]) -> int:
    """Remove variants from a bundle. Files that others need stay, and so do references of the sizes left.

    The new manifest replaces the old one in one step, then files go: an interrupt leaves a whole bundle.

    Args:
        bundle: that was read.
        names: of its variants; damaged ones may be removed, too.

    Returns:
        The bytes that were freed.

    Raises:
        InputError: a variant is not there, or none would be left whose files are whole.
        BundleError: the bundle claims what none may claim.
    """
    old, all_names = bundle.manifest, [v.name for v in bundle.manifest.variants]
    if unknown := [name for name in names if name not in all_names]:
        raise InputError(f"{bundle.path}: no variant {unknown[0]!r}; it has: {', '.join(all_names)}")
    left = tuple(v for v in old.variants if v.name not in names)
    if all(map(bundle.explain_damage, left)):
        others = f"only damaged ones: {', '.join(v.name for v in left)}" if left else "none"
        raise InputError(f"{bundle.path}: of its variants {others} would be left. Delete the folder instead")
    sizes = {(v.height, v.width) for v in left}
    references = tuple(r for r in old.references if (r.height, r.width) in sizes) or old.references
    manifest = replace(old, variants=left, references=references)
    with write_atomically(bundle.path / MANIFEST) as temporary:
        temporary.write_text(_serialize(manifest), encoding="utf-8")
    # By identity: two paths of a manifest may be one file, "a" and "./a", or "a" and "A" on some disks.
    needed = [file for file, is_there in map(bundle.locate, manifest.collect_files().values()) if is_there]
    kept = set(map(_identify_file, (bundle.path / MANIFEST, *needed)))
    freed = 0
    for entry in old.collect_files().values():
        file, is_there = bundle.locate(entry)
        if is_there and _identify_file(file) not in kept:
            freed += file.stat().st_size
            file.unlink()
            for folder in file.relative_to(bundle.path).parents[:-1]:  # the last is the bundle's own
                with suppress(OSError):  # it holds other files
                    (bundle.path / folder).rmdir()
    return freed


def _identify_file(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_dev, status.st_ino


def find_existing_bundle(out: Path, model: ModelInfo, force: bool) -> Bundle | None:
    """The bundle that new variants of a model may be added to.

    Args:
        out: the bundle's folder, which need not exist.
        model: whose variants are to be added.
        force: may a bundle of another model, or a broken one, be replaced?

    Returns:
        The bundle at `out`; None where a new one is written.

    Raises:
        BundleError: `out` may not be replaced.
    """
    if not out.exists():
        return None
    try:
        old = Bundle.read(out)
    except BundleError as error:
        if out.suffix != ".i2i" or not (out / MANIFEST).is_file():  # web sites have a manifest.json, too
            problem = "exists and is not a bundle; choose another name with -o"
            raise BundleError(f"{out}: {problem}") from error
        if force:
            return None
        raise BundleError(f"{error}. --force replaces it") from error
    if _serialize_identity(old.manifest.model) == _serialize_identity(model):
        try:
            for entry in old.manifest.collect_files().values():
                old.file(entry)
        except BundleError as error:
            if not force:
                damaged = " ".join(v.name for v in old.manifest.variants if old.explain_damage(v))
                trim = f"i2i bundle trim {shlex.quote(str(out))} {damaged} removes what is damaged; "
                advice = f"{trim * bool(damaged)}--force replaces the whole bundle"
                raise BundleError(f"{error}. {advice}") from error
        else:
            return old
    if force:
        return None
    raise BundleError(
        f"{out}: was made from another checkpoint or with other options ({old.manifest.model.name}); "
        f"choose another name with -o, or --force to replace it"
    )


def _serialize(manifest: Manifest) -> str:
    return json.dumps(manifest.to_json(), indent=1) + "\n"


def _serialize_identity(model: ModelInfo) -> str:
    """What variants of one bundle have in common, as they look in JSON."""
    return json.dumps([model.source_sha256, model.norm_mode, model.options], sort_keys=True)


def _merge_manifests(old: Bundle, new: Manifest) -> tuple[Manifest, set[str]]:
    """The union of two manifests, and its files; the first variant, whose size is the default, stays so."""
    fresh, exported = new.collect_files(), {v.name: v for v in new.variants}
    variants: list[Variant] = []
    for variant in old.manifest.variants:
        if variant.name in exported:
            variants.append(exported.pop(variant.name))
        elif any(f.path in fresh and fresh[f.path].sha256 != f.sha256 for f in variant.files):
            dropped = old.path, variant.name
            log.warning("%s: dropped %s: a file it shares has changed; export it again", *dropped)
        else:
            variants.append(variant)
    references = {(r.height, r.width): r for r in (*old.manifest.references, *new.references)}
    merged = replace(new, variants=(*variants, *exported.values()), references=tuple(references.values()))
    return merged, set(merged.collect_files())
