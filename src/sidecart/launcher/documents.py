"""Reads the project's JSON and YAML files; an error names the file and the place in it."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import jiter
import msgspec
import yaml

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root

T = TypeVar("T")


def shown(file: Path) -> Path:
    """Return the path for messages: relative to the project if the file is in it."""
    return file.relative_to(root()) if file.is_relative_to(root()) else file


def read_json(file: Path) -> Any:
    """Return the value of a JSON file; raise LaunchError, also if a key occurs twice."""
    try:
        return jiter.from_json(file.read_bytes(), allow_inf_nan=False, catch_duplicate_keys=True)
    except OSError as error:
        raise LaunchError(f"{shown(file)} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise LaunchError(f"{shown(file)} is not JSON: {error}") from error


def read_yaml(file: Path) -> Any:
    """Return the value of a YAML file; raise LaunchError, also if a key occurs twice."""
    try:
        return yaml.load(file.read_text(encoding="utf-8"), _UniqueKeys)
    except OSError as error:
        raise LaunchError(f"{shown(file)} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise LaunchError(f"{shown(file)} is not YAML: {' '.join(str(error).split())}") from error


def convert(value: object, kind: type[T], where: str) -> T:
    """Return a value of a document as `kind`, a msgspec type; raise LaunchError with the place."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text = str(error).replace("Object missing required", "lacks the").replace("Object contains", "has the")
        raise LaunchError(f"{where}: {text}") from error


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys, and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name} occurs twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)
