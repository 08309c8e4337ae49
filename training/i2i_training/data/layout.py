"""Which files of a data set belong to which domain and split.

    side-by-side     train/1.jpg (A left, B right), and val/ or test/; or such images without a split
    separate         trainA/ trainB/, and testA/ testB/ or valA/ valB/
    paired folders   A/train/ B/train/ A/val/ B/val/, or A/ B/; equal names make pairs

Pairs side by side are about twice as wide as high; others have to be named so (`--layout side-by-side`).
What has no held-out images gives up every eighth of its training images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from i2i_sdk.errors import TrainingError, redact_credentials
from i2i_sdk.media.images import list_files
from i2i_training.data.image_tensors import SUFFIXES

T = TypeVar("T")

HELD_OUT_EVERY = 8  # every eighth image is held out where the data set has none
SIDE_BY_SIDE = "side-by-side"
MIN_PAIR_ASPECT, MAX_PAIR_ASPECT = 1.9, 2.1  # width / height of two squares side by side
HELD_OUT_NAMES = ("val", "test")
LAYOUTS = (
    "side-by-side images (A left, B right) in train/ and val/ or test/; width/height 1.9 to 2.1, else say\n"
    "      --layout side-by-side",
    "side-by-side images without a split, right in the folder",
    "trainA/ and trainB/, with testA/ and testB/ or valA/ and valB/",
    "A/train/ and B/train/, with val/ or test/ beside train/; equal names make pairs",
    "A/ and B/; equal names make pairs",
)
SINGLE_LAYOUTS = (
    "train{0}/, with test{0}/ or val{0}/",
    "{0}/train/, with val/ or test/ beside it; or {0}/",
    "train/, with val/ or test/",
    "images right in the folder",
)


@dataclass(frozen=True)
class ImageFile:
    """Where one image is: a file, or a half of it. `domain` is the data set's name for it, "A" or "B"."""

    path: Path
    domain: str
    is_half: bool = False  # A is the left half, B the right one


@dataclass(frozen=True)
class Split:
    """Images to translate from and to, after the direction. Where `is_paired`, one belongs to the other."""

    inputs: list[ImageFile]
    targets: list[ImageFile]
    is_paired: bool = False
    problems: tuple[str, ...] = ()  # "file: why", of files that have no partner


@dataclass(frozen=True)
class Layout:
    name: str  # a few words for people
    train: Split
    held_out: Split
    is_divided: bool = False  # the held-out images come from the training images


def find_layout(root: Path, kind: str, direction: str, wanted: str = "auto") -> Layout:
    """Recognize the layout of a data set.

    Args:
        root: its folder.
        kind: of the recipe, "paired", "unpaired" or "single". A single recipe has targets only: domain B, or
            A when the direction is BtoA. An unpaired recipe may have pairs: training does not use them,
            held-out images are scored with them.
        direction: "AtoB" or "BtoA".
        wanted: "auto", or SIDE_BY_SIDE, which it has to be.

    Returns:
        The files to train on and those held out.

    Raises:
        TrainingError: with what was found and which layouts there are.
    """
    if not root.is_dir():
        raise TrainingError(f"there is no data set folder {redact_credentials(str(root))}")
    domains = ("A", "B") if direction == "AtoB" else ("B", "A")
    if kind == "single":
        if wanted == SIDE_BY_SIDE:
            raise TrainingError(f"layout is {SIDE_BY_SIDE!r}, but this recipe takes one domain; leave it out")
        return _find_single(root, domains[1])
    if wanted == SIDE_BY_SIDE:
        return _find_side_by_side(root, domains)
    if (root / "trainA").is_dir() and (root / "trainB").is_dir():
        return _find_separate(root, domains, kind == "paired")
    if (root / "A").is_dir() and (root / "B").is_dir():
        return _find_paired_folders(root, domains, kind == "paired")
    if (root / "train").is_dir() or _list_paths(root):
        return _find_side_by_side(root, domains)
    raise _make_layout_error(root, LAYOUTS)


def check_side_by_side(root: Path, shapes: Mapping[Path, tuple[int, int]]) -> None:
    """Raise TrainingError unless images look like two squares side by side.

    Args:
        root: the data set's folder.
        shapes: height and width of the files.
    """
    others = sorted(p for p, (h, w) in shapes.items() if not MIN_PAIR_ASPECT <= w / h <= MAX_PAIR_ASPECT)
    if not others:
        return
    first, (height, width) = others[0], shapes[others[0]]
    raise TrainingError(
        f"{root}: {len(others)} of {len(shapes)} images read so far are not about twice as wide as high "
        f"({first.name} is {width}x{height}), so they are not taken for pairs side by side (A left, B "
        f"right): if they are, say --layout {SIDE_BY_SIDE}; else two domains go into trainA/ and trainB/, or "
        f"pairs into A/ and B/ under equal names"
    )


def select_evenly(items: list[T], max_items: int | None) -> list[T]:
    """At most `max_items` of the items, evenly spaced."""
    if max_items is None or len(items) <= max_items:
        return items
    return [items[i * len(items) // max_items] for i in range(max_items)]


def _find_single(root: Path, domain: str) -> Layout:
    choices = (  # folder of training images, those of held-out images
        (root / f"train{domain}", [root / f"{name}{domain}" for name in HELD_OUT_NAMES]),
        (root / domain / "train", [root / domain / name for name in HELD_OUT_NAMES]),
        (root / "train", [root / name for name in HELD_OUT_NAMES]),
        (root / domain, []),
        (root, []),
    )
    for folder, held_out in choices:
        if not folder.is_dir() or (not held_out and not _list_paths(folder)):
            continue
        held = next((_list_images(f, domain) for f in held_out if f.is_dir()), [])
        return Layout(f"images of {folder}", Split([], _list_images(folder, domain)), Split([], held))
    raise _make_layout_error(root, tuple(layout.format(domain) for layout in SINGLE_LAYOUTS))


def _find_separate(root: Path, domains: tuple[str, str], is_paired: bool) -> Layout:
    a, b = (_list_images(root / f"train{d}", d) for d in domains)
    held = [_find_held_out_folder(root, f"{{}}{d}") for d in domains]
    held_a, held_b = (_list_images(f, d) if f else [] for f, d in zip(held, domains, strict=True))
    name = f"folders trainA and trainB of {root}"
    if is_paired:
        has_held_out = held_a and held_b
        held_out = _match_pairs(held_a, held_b, needs_pairs=True) if has_held_out else None
        return _complete(name, _match_pairs(a, b, needs_pairs=True), held_out)
    if held_a:
        return Layout(name, Split(a, b), Split(held_a, held_b))
    rest, held_a = _split_every_nth(root, a)
    return Layout(name, Split(rest, b), Split(held_a, held_b), is_divided=True)


def _find_paired_folders(root: Path, domains: tuple[str, str], needs_pairs: bool) -> Layout:
    def read_split(sub: str) -> Split:
        a, b = (_list_images(root / d / sub, d) for d in domains)
        return _match_pairs(a, b, needs_pairs)

    name = f"folders A and B of {root}"
    subs = [s for s in ("train", *HELD_OUT_NAMES) if all((root / d / s).is_dir() for d in domains)]
    if "train" not in subs:
        return _complete(name, read_split("."), None)
    return _complete(name, read_split("train"), read_split(subs[1]) if subs[1:] else None)


def _find_side_by_side(root: Path, domains: tuple[str, str]) -> Layout:
    def read_split(folder: Path) -> Split:
        paths = [source.path for source in _list_images(folder, "")]
        a, b = ([ImageFile(path, d, is_half=True) for path in paths] for d in domains)
        return Split(a, b, is_paired=True)

    folder = root / "train" if (root / "train").is_dir() else root
    held_out = _find_held_out_folder(root, "{}") if folder != root else None
    name = f"side-by-side images of {folder}"
    return _complete(name, read_split(folder), read_split(held_out) if held_out else None)


def _find_held_out_folder(root: Path, pattern: str) -> Path | None:
    folders = [root / pattern.format(name) for name in HELD_OUT_NAMES]
    return next((folder for folder in folders if folder.is_dir()), None)


def _complete(name: str, train: Split, held_out: Split | None) -> Layout:
    """Hold out every eighth image of both domains where no others are: pairs stay pairs."""
    if held_out is not None:
        return Layout(name, train, held_out)
    root = train.inputs[0].path.parent
    a, held_a = _split_every_nth(root, train.inputs)
    b, held_b = _split_every_nth(root, train.targets)
    rest = Split(a, b, train.is_paired, train.problems)
    return Layout(name, rest, Split(held_a, held_b, train.is_paired), is_divided=True)


def _split_every_nth(root: Path, sources: list[ImageFile]) -> tuple[list[ImageFile], list[ImageFile]]:
    if len(sources) < 2:
        raise TrainingError(
            f"the folder {root} holds one image; at least 2 are needed, one of them to show progress"
        )
    return [s for i, s in enumerate(sources) if i % HELD_OUT_EVERY], sources[::HELD_OUT_EVERY]


def _match_pairs(a: list[ImageFile], b: list[ImageFile], needs_pairs: bool) -> Split:
    """Pairs of equal names. Where pairs are not `needed`, all images are used, as pairs if all have one."""
    ours, theirs = ({_get_pair_key(s): s for s in sources} for sources in (a, b))
    keys = sorted(ours.keys() & theirs.keys())
    pairs = Split([ours[k] for k in keys], [theirs[k] for k in keys], is_paired=True)
    used = {*pairs.inputs, *pairs.targets}
    alone = [s for s in (*a, *b) if s not in used]
    if not alone:
        return pairs
    if not needs_pairs:
        return Split(a, b)
    if not keys:
        raise TrainingError(
            f"this recipe needs pairs, but no image of {a[0].path.parent} is named like one of "
            f"{b[0].path.parent} (first: {a[0].path.name}, {b[0].path.name}). Give both images of a pair the "
            f"same name, or train a recipe that needs no pairs, such as cyclegan"
        )
    reasons = {True: "another file has the same name", False: "no partner has the same name"}
    problems = tuple(f"{s.path}: {reasons[_get_pair_key(s) in keys]}" for s in alone)
    return Split(pairs.inputs, pairs.targets, True, problems)


def _get_pair_key(source: ImageFile) -> str:
    """What both images of a pair share: the name without suffix, and without upstream's _A and _B."""
    return source.path.stem.removesuffix(f"_{source.domain}")


def _list_images(folder: Path, domain: str) -> list[ImageFile]:
    paths = _list_paths(folder)
    if not paths:
        found = f"it holds {_format_listing(folder)}" if any(folder.iterdir()) else "it is empty"
        raise TrainingError(f"{folder}: no images ({', '.join(SUFFIXES)}); {found}")
    return [ImageFile(path, domain) for path in paths]


def _list_paths(folder: Path) -> list[Path]:
    """Images of a folder in the order of their names, without what systems leave behind."""
    return list_files(folder, SUFFIXES)


def _make_layout_error(root: Path, layouts: tuple[str, ...]) -> TrainingError:
    known = "\n  ".join(layouts)
    names = ("trainA", "trainB", "A", "B", "train")
    below = [str(child) for child in sorted(root.iterdir()) if any((child / name).is_dir() for name in names)]
    hint = f" Did you mean {' or '.join(below)}?" if below else ""
    return TrainingError(
        f"{root}: no known layout; it holds {_format_listing(root)}.{hint} Known layouts:\n  {known}"
    )


def _format_listing(folder: Path, max_names: int = 12) -> str:
    paths = sorted(folder.iterdir())
    names = [f"{p.name}/ ({len(_list_paths(p))} images)" if p.is_dir() else p.name for p in paths[:max_names]]
    more = f" and {len(paths) - max_names} more" if len(paths) > max_names else ""
    return (", ".join(names) or "nothing") + more
