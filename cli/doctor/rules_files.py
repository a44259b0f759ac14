"""Files that a sidecar does not take as they are meant."""

import difflib
from collections.abc import Iterator
from pathlib import Path

from cli.doctor.findings import Place, Severity, Violation
from cli.doctor.resources import GROUP, KINDS, Resource, is_understood
from cli.doctor.sidecar_config import SidecarConfig
from cli.doctor.yaml_files import SUFFIXES, Document, read

DOCUMENT_BYTES_MAX = 64 * 1024
"""Of Go's bufio.Scanner."""
DEPTH_MAX = 3
"""How deep below a folder of resources others are looked for."""


def not_yaml(config: SidecarConfig) -> Iterator[Violation]:
    """A file that cannot be parsed: daprd logs a warning and starts without what is in it."""
    for each in config.documents:
        if each.problem is not None:
            what = f"no YAML ({each.problem}): a sidecar logs a warning and starts without what is in it"
            yield Violation(Place.of(each.file, each.line), what, "make it YAML again, or give it another suffix")


def too_long(config: SidecarConfig) -> Iterator[Violation]:
    """What daprd's scanner cannot hold: `decodeYaml` collects its error for ever (tried: 1.2 GB after 4 s)."""
    for each in config.documents:
        if each.problem is None and each.bytes >= DOCUMENT_BYTES_MAX and _is_daprs(each):
            what = f"{each.bytes} bytes, of {DOCUMENT_BYTES_MAX}: the sidecar never gets past it, and takes all memory"
            yield Violation(Place.of(each.file, each.line), what, "take it apart, at lines of `---`")


def not_loaded(config: SidecarConfig) -> Iterator[Violation]:
    """A document of Dapr's whose kind or version daprd does not know: it is passed over without a word."""
    for each in config.documents:
        if each.problem is not None or not _is_daprs(each):
            continue
        kind, version = each.root.text("kind"), each.root.text("apiVersion").removeprefix(GROUP)
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, 1, 0.5) or ["Component"]
            what = f"daprd knows no kind `{kind}`: the document is passed over without a word"
            yield Violation(Place.of(each.file, each.root.line_of("kind")), what, f"kind: {near[0]}")
        elif version not in KINDS[kind]:
            what = f"daprd knows no {kind} of version `{version}`: the document is passed over without a word"
            yield Violation(
                Place.of(each.file, each.root.line_of("apiVersion")), what, f"apiVersion: {GROUP}{KINDS[kind][-1]}"
            )


def resiliency_not_first(config: SidecarConfig) -> Iterator[Violation]:
    """Of a file, daprd reads the first document only when it looks for resiliency."""
    for each in config.documents:
        if each.problem is None and each.root.text("kind") == "Resiliency" and each.number > 0:
            what = "it is not the first document of its file, so daprd does not see it: nothing is retried"
            yield Violation(Place.of(each.file, each.line), what, "put it into a file of its own")


def nested_folder(config: SidecarConfig) -> Iterator[Violation]:
    """A folder is read one level deep; folders beside one that is read are taken for its alternatives."""
    read = {folder.resolve() for folder in config.folders}
    for folder in sorted(read):
        for inner in _below(folder, DEPTH_MAX):
            if {inner, *_beside(inner)} & read or not _holds_resources(inner):
                continue
            what = f"{Place.of(folder, 0)} is read one level deep: what is in this folder is not loaded"
            yield Violation(Place.of(inner, 0), what, f"give this folder, too: --resources-path {Place.of(inner, 0)}")


def _below(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()) if depth else []:
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield path
            yield from _below(path, depth - 1)


def _beside(folder: Path) -> set[Path]:
    return {path for path in folder.parent.iterdir() if path.is_dir()}


def _holds_resources(folder: Path) -> bool:
    files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    return any(_is_daprs(document) for path in files for document in read(path))


def other_file(config: SidecarConfig) -> Iterator[Violation]:
    """What is no YAML makes each sidecar warn at each start, twice (pkg/resiliency, pkg/internal/loader/disk)."""
    for folder in sorted({each.file.parent for each in config.documents} & set(config.folders)):
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix.lower() not in SUFFIXES:
                what = "it is no YAML: each sidecar that reads this folder warns of it at each start"
                yield Violation(Place.of(path, 0), what, "move it out of the folder")


def path_missing(config: SidecarConfig) -> Iterator[Violation]:
    """A folder or a configuration that a start names and that is not there: daprd ends."""
    for start in config.starts:
        for path, line in (*start.resources, *start.configs):
            if not path.exists():
                what = f"{Place.of(path, 0)} is not there: the sidecar ends at its start"
                yield Violation(Place.of(start.file, line), what, "name a path that is there")


def folder_empty(config: SidecarConfig) -> Iterator[Violation]:
    """A folder without a single YAML file in it."""
    files = {each.file.resolve().parent for each in config.documents}
    for folder in config.folders:
        if folder.is_dir() and folder.resolve() not in files:
            yield Violation(
                Place.of(folder, 0), "there is no YAML in this folder", "name the folder that holds the components"
            )


def doctor_comment(config: SidecarConfig) -> Iterator[Violation]:
    """A comment that the doctor does not understand would else be believed to do something."""
    for each in (*config.documents, *config.sources):
        for comment in each.comments:
            if not is_understood(comment.text):
                what = f"`# doctor: {comment.text}` is none of publish-only, read-only, ignore RULE: the reason"
                yield Violation(Place.of(each.file, comment.line), what, "# doctor: ignore mdns: one machine, one shop")


def incomplete(config: SidecarConfig) -> Iterator[Violation]:
    """Without a name it is passed over, without a type the sidecar ends; a list that is none hides the component."""
    for each in config.components:
        if not each.name:
            yield Violation(
                each.place("metadata"), "it has no name: daprd passes it over without a word", "  name: pubsub"
            )
        if not each.type:
            what = "it has no type: the sidecar ends at its start"
            yield Violation(each.place("spec"), what, "spec: {type: pubsub.redis, version: v1}")
        for path, fix in ((("spec", "metadata"), "- {name: ..., value: ...}"), (("scopes",), "- order")):
            tree = each.document.root.at(*path)
            if tree is not None and not isinstance(tree.value, list):
                what = f"`{path[-1]}` is no list: the sidecar logs a warning and starts without the component"
                yield Violation(each.place(*path), what, fix)


def twice(config: SidecarConfig) -> Iterator[Violation]:
    """Two components of one name for one app: daprd does not start (pkg/internal/loader/disk)."""
    inspected: list[Resource] = []
    for each in config.components:
        other = next((one for one in inspected if each.name and one.name == each.name and _meet(one, each)), None)
        if other is not None:
            what = f"{each.name} is also defined in {other.place()}: the sidecar ends at its start"
            yield Violation(each.place("metadata", "name"), what, "give it another name, or other scopes")
        inspected.append(each)


def _meet(one: Resource, other: Resource) -> bool:
    return not one.scopes or not other.scopes or bool(set(one.scopes) & set(other.scopes))


def _is_daprs(document: Document) -> bool:
    return document.root.text("apiVersion").startswith(GROUP)


def unknown_scope(config: SidecarConfig) -> Iterator[Violation]:
    """A scope that names none of the apps that are started."""
    apps = {start.app_id for start in config.starts}
    for each in [*config.components, *config.resiliencies, *config.subscriptions] if apps else []:
        for scope in each.document.root.items("scopes"):
            if isinstance(scope.value, str) and scope.value not in apps:
                near = difflib.get_close_matches(scope.value, sorted(apps), 1, 0.5) or sorted(apps)
                what = f"no app `{scope.value}` is started there: {each.name} is loaded by nobody in its place"
                yield Violation(each.on(scope.line), what, f"  - {near[0]}", Severity.WARNING)
