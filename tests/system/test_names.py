"""Names: one vocabulary, and no identifier, option or module name outside of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from i2i_sdk.cli.common import OPTIONS

FOLDERS = ("sdk", "export", "training", "benchmarks", "examples", "docs", "tests")

# Whole identifiers: private words, and those with another meaning elsewhere.
WORDS = frozenset(
    """
    Deck Examination Laps Look Mailbox PictureMaker Trial Wanted Way badness deal foreign
    given stills taken told
    """.split()  # noqa: SIM905
)
# Parts of identifiers: British spellings.
BRITISH = frozenset(
    """
    behaviour centre centred colour colours dequantise dequantised equalise equalised favour
    favoured grey initialisation initialise initialised licence neighbour neighbours
    normalise normalised optimiser optimisers quantise quantised serialise serialised
    synchronise synchronised
    """.split()  # noqa: SIM905
)
# Parts of constants, where MAX_ and MIN_ stand.
EXTREMES = frozenset(("MOST", "LEAST", "LARGEST", "SMALLEST"))
# Functions are verbs.
PARTICIPLES = frozenset(
    """
    added answered asked blended bound captured centred checked chosen compared compressed
    counted cropped declared decoded deployed described drawn equalised exported failed
    filled finished flipped found framed given halved handled inverted joined judged kept
    launched located made masked measured merged mirrored named normalised noted numbered
    opened padded parsed prepared quantised received reported resized rounded said saved
    seen sent shown started steadied stored stretched styled swapped taken thinned told
    translated unpadded used written written_atomically
    """.split()  # noqa: SIM905
)


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that the code defines or uses, with its line; names taken from imports excepted."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and not (node.module or "").startswith(("i2i_", "benchmarks", "tests"))
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name):
                found = name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found = name
            case ast.Constant(value=str(text)) if re.fullmatch(r"--[a-z_-]+", text):
                found = text
            case _:
                continue
        if found not in imported:
            yield node.lineno, found


def explain_bad_name(name: str) -> str | None:
    """What is wrong with an identifier or option, or None."""
    parts = set(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name))
    if name in WORDS:
        return "a private word"
    if {part.lower() for part in parts} & BRITISH:
        return "British spelling"
    return "MAX_ or MIN_ is meant" if name.isupper() and parts & EXTREMES else None


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_are_those_of_the_field(root: Path, folder: str) -> None:
    bad: list[str] = []
    for path in sorted((root / folder).rglob("*.py")):
        where = path.relative_to(root)
        if reason := explain_bad_name(path.stem):
            bad.append(f"{where}: {reason}")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        reasons = ((line, name, explain_bad_name(name)) for line, name in identifiers(tree))
        bad += [f"{where}:{line} {name}: {why}" for line, name, why in reasons if why]
        bad += [
            f"{where}:{node.lineno} {node.name}: a participle; functions are verbs"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.lstrip("_") in PARTICIPLES
        ]
    assert not bad, "\n".join(bad)


def test_no_two_classes_share_a_name(root: Path) -> None:
    seen: dict[str, Path] = {}
    twice: list[str] = []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    if node.name in seen:
                        twice.append(f"{node.name}: {seen[node.name]} and {path}")
                    seen[node.name] = path
    assert not twice, "\n".join(twice)


def test_an_option_is_defined_once(root: Path) -> None:
    """`--precision` alone is two: of an engine, and of a launcher's target."""
    files = [
        *root.glob("sdk/i2i_sdk/cli/*.py"),
        *root.glob("training/*/cli/*.py"),
        *root.glob("export/*/cli.py"),
    ]
    found: list[str] = []
    for path in files:
        found += re.findall(r'(?:add|add_argument)\(\s*"(--[a-z-]+)"', path.read_text(encoding="utf-8"))
    assert len(found) > 40
    assert {option for option in found if found.count(option) > 1} == {"--precision"}
    assert not {option.strip("-").replace("-", "_") for option in found} & set(OPTIONS)


@pytest.mark.parametrize("name", ["colour_of", "taken", "MOST_FRAMES", "Laps", "--licence=x"])
def test_what_is_refused(name: str) -> None:
    assert explain_bad_name(name)


@pytest.mark.parametrize("name", ["color_of", "mistaken", "most_common", "MAX_FRAMES", "--license", "looks"])
def test_what_is_allowed(name: str) -> None:
    assert explain_bad_name(name) is None
