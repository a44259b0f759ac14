"""Rules for files that a sidecar ignores or reads differently than intended."""

import difflib
from collections.abc import Iterator
from pathlib import Path

from sidecart.doctor.findings import Place, Severity, Violation
from sidecart.doctor.resources import GROUP, KINDS, Resource, is_understood
from sidecart.doctor.sidecar_config import SidecarConfig
from sidecart.doctor.yaml_files import SUFFIXES, Document, read

DOCUMENT_BYTES_MAX = 64 * 1024
"""The token limit of Go's bufio.Scanner."""
DEPTH_MAX = 3
"""How many levels below a resources folder the doctor searches for other resources."""


def not_yaml(config: SidecarConfig) -> Iterator[Violation]:
    """The file cannot be parsed: daprd logs a warning and starts without its contents."""
    for each in config.documents:
        if each.problem is not None:
            what = f"not valid YAML ({each.problem}): the sidecar logs a warning and starts without its contents"
            yield Violation(Place.of(each.file, each.line), what, "correct the YAML, or change the file's suffix")


def too_long(config: SidecarConfig) -> Iterator[Violation]:
    """The document exceeds the scanner's limit: `decodeYaml` collects the same error forever.

    In a trial, daprd used 1.2 GB after 4 s.
    """
    for each in config.documents:
        if each.problem is None and each.bytes >= DOCUMENT_BYTES_MAX and _is_daprs(each):
            what = f"{each.bytes} bytes, limit {DOCUMENT_BYTES_MAX}: the sidecar stops here and uses up all memory"
            yield Violation(Place.of(each.file, each.line), what, "split the document at lines of `---`")


def not_loaded(config: SidecarConfig) -> Iterator[Violation]:
    """daprd does not know the document's kind or version and ignores the document silently."""
    for each in config.documents:
        if each.problem is not None or not _is_daprs(each):
            continue
        kind, version = each.root.text("kind"), each.root.text("apiVersion").removeprefix(GROUP)
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, 1, 0.5) or ["Component"]
            what = f"daprd has no kind `{kind}`: it ignores the document silently"
            yield Violation(Place.of(each.file, each.root.line_of("kind")), what, f"kind: {near[0]}")
        elif version not in KINDS[kind]:
            what = f"daprd has no {kind} of version `{version}`: it ignores the document silently"
            yield Violation(
                Place.of(each.file, each.root.line_of("apiVersion")), what, f"apiVersion: {GROUP}{KINDS[kind][-1]}"
            )


def resiliency_not_first(config: SidecarConfig) -> Iterator[Violation]:
    """daprd looks for resiliency only in the first document of a file."""
    for each in config.documents:
        if each.problem is None and each.root.text("kind") == "Resiliency" and each.number > 0:
            what = "it is not the first document of its file, so daprd does not load it: nothing is retried"
            yield Violation(Place.of(each.file, each.line), what, "move it to a file of its own")


def nested_folder(config: SidecarConfig) -> Iterator[Violation]:
    """daprd reads one level of a folder; siblings of a folder in use count as its alternatives."""
    read = {folder.resolve() for folder in config.folders}
    for folder in sorted(read):
        for inner in _below(folder, DEPTH_MAX):
            if {inner, *_siblings(inner)} & read or not _holds_resources(inner):
                continue
            what = f"daprd reads one level of {Place.of(folder, 0)}: it does not load the resources in this folder"
            yield Violation(Place.of(inner, 0), what, f"add this folder: --resources-path {Place.of(inner, 0)}")


def _below(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()) if depth else []:
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield path
            yield from _below(path, depth - 1)


def _siblings(folder: Path) -> set[Path]:
    return {path for path in folder.parent.iterdir() if path.is_dir()}


def _holds_resources(folder: Path) -> bool:
    files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    return any(_is_daprs(document) for path in files for document in read(path))


def other_file(config: SidecarConfig) -> Iterator[Violation]:
    """Files that are not YAML make each sidecar warn twice at each start.

    Source: dapr, pkg/resiliency and pkg/internal/loader/disk.
    """
    for folder in sorted({each.file.parent for each in config.documents} & set(config.folders)):
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix.lower() not in SUFFIXES:
                what = "it is not YAML: each sidecar that reads this folder logs a warning at each start"
                yield Violation(Place.of(path, 0), what, "move it out of the folder")


def path_missing(config: SidecarConfig) -> Iterator[Violation]:
    """A start names a folder or a configuration that does not exist: daprd exits."""
    for start in config.starts:
        for path, line in (*start.resources, *start.configs):
            if not path.exists():
                what = f"{Place.of(path, 0)} does not exist: the sidecar exits at startup"
                yield Violation(Place.of(start.file, line), what, "name a path that exists")


def folder_empty(config: SidecarConfig) -> Iterator[Violation]:
    """The folder contains no YAML file."""
    files = {each.file.resolve().parent for each in config.documents}
    for folder in config.folders:
        if folder.is_dir() and folder.resolve() not in files:
            yield Violation(
                Place.of(folder, 0), "this folder contains no YAML", "name the folder that contains the components"
            )


def doctor_comment(config: SidecarConfig) -> Iterator[Violation]:
    """An unknown `# doctor:` comment has no effect, though it looks effective."""
    for each in (*config.documents, *config.sources):
        for comment in each.comments:
            if not is_understood(comment.text):
                what = f"`# doctor: {comment.text}` is not one of publish-only, read-only, ignore RULE: the reason"
                yield Violation(Place.of(each.file, comment.line), what, "# doctor: ignore mdns: one machine")


def incomplete(config: SidecarConfig) -> Iterator[Violation]:
    """The component lacks a name or a type, or a list is not a list.

    Without a name daprd ignores the component; without a type the sidecar exits. If `metadata` or
    `scopes` is not a list, the sidecar starts without the component.
    """
    for each in config.components:
        if not each.name:
            yield Violation(each.place("metadata"), "it has no name: daprd ignores it silently", "  name: pubsub")
        if not each.type:
            what = "it has no type: the sidecar exits at startup"
            yield Violation(each.place("spec"), what, "spec: {type: pubsub.redis, version: v1}")
        for path, fix in ((("spec", "metadata"), "- {name: ..., value: ...}"), (("scopes",), "- gateway")):
            tree = each.document.root.at(*path)
            if tree is not None and not isinstance(tree.value, list):
                what = f"`{path[-1]}` is not a list: the sidecar logs a warning and starts without the component"
                yield Violation(each.place(*path), what, fix)


def twice(config: SidecarConfig) -> Iterator[Violation]:
    """Two components for one app have the same name: daprd exits (pkg/internal/loader/disk)."""
    inspected: list[Resource] = []
    for each in config.components:
        other = next((one for one in inspected if each.name and one.name == each.name and _share_app(one, each)), None)
        if other is not None:
            what = f"{each.name} is also defined in {other.place()}: the sidecar exits at startup"
            yield Violation(each.place("metadata", "name"), what, "change its name or its scopes")
        inspected.append(each)


def _share_app(one: Resource, other: Resource) -> bool:
    return not one.scopes or not other.scopes or bool(set(one.scopes) & set(other.scopes))


def _is_daprs(document: Document) -> bool:
    return document.root.text("apiVersion").startswith(GROUP)


def unknown_scope(config: SidecarConfig) -> Iterator[Violation]:
    """The scope names an app that the file does not start."""
    apps = config.app_ids
    for each in [*config.components, *config.resiliencies, *config.subscriptions] if apps else []:
        for scope in each.document.root.items("scopes"):
            if isinstance(scope.value, str) and scope.value not in apps:
                near = difflib.get_close_matches(scope.value, sorted(apps), 1, 0.5) or sorted(apps)
                what = f"the file starts no app `{scope.value}`, so no app loads {each.name} for this scope"
                yield Violation(each.on(scope.line), what, f"  - {near[0]}", Severity.WARNING)
