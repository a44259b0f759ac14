"""The layout is a promise, too: who may name what, who may import whom, what is pure, what the documents call for."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
NEUTRAL = ("gateway", "services", "chassis", "contracts", "dapr")
SERVERS = re.compile(r"redis|rabbit|valkey|amqp|postgres|kafka", re.IGNORECASE)
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/app.py"))
SHOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "user users customer order orders item items sku cart price quantity billing account accounts balance "
        "payment payments pay deposit deposits invoice mail mails email mailbox smtp letterbox notification "
        "notifications shop welcome contact",
    )
)
IMPURE_MODULES = {"asyncio", "random", "secrets", "os", "logging", "time", "socket", "subprocess", "pathlib", "io"}
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "open", "print", "input"}
CODE = sorted(
    path for folder in ("gateway", "services", "chassis", "cli", "monitor") for path in (ROOT / folder).rglob("*.py")
)
PURE = sorted(
    path
    for path in ROOT.glob("services/*/*.py")
    if path.name
    not in (
        "app.py",
        "mail_retry_queue.py",
        "flows.py",
        "settled_mails.py",
        "mail.py",
        "mail_server.py",
        "mail_session.py",
        "mime.py",
        "settings.py",
        "__init__.py",
    )
)
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/observability.md",
    "docs/performance.md",
    "examples/user-node/README.md",
)


def name(path: Path) -> str:
    """A file as the project knows it."""
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text())


def imports(module: ast.Module) -> Iterator[str]:
    """Every module that is imported, anywhere in the file, with what is taken from it."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def words(text: str) -> set[str]:
    """The words of an identifier: snake_case and CamelCase taken apart."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)}


def docstrings(module: ast.Module) -> set[int]:
    """The nodes that are docstrings."""
    owners = [node for node in ast.walk(module) if isinstance(node, ast.Module | ast.ClassDef | FUNCTIONS)]
    return {id(node.body[0].value) for node in owners if node.body and isinstance(node.body[0], ast.Expr)}


FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def spoken(module: ast.Module) -> Iterator[str]:
    """Every identifier and every string that is no docstring."""
    prose = docstrings(module)
    for node in ast.walk(module):
        match node:
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.keyword(arg=str(text)):
                yield text
            case ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text) | ast.ClassDef(name=text):
                yield text
            case ast.alias(name=text) | ast.MatchAs(name=str(text)):
                yield text
            case ast.Constant(value=str(text)) if id(node) not in prose:
                yield text
            case _:
                pass


def commanded(command: str) -> set[tuple[str, str]]:
    """What the documents' code blocks and code spans call with this command."""
    found = set()
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
        found |= {(document, each) for part in code for each in re.findall(rf"(?<!\S|`){command} ([a-z][a-z-]*)", part)}
        found |= {(document, each) for part in code for each in re.findall(rf"`{command} ([a-z][a-z-]*)", part)}
    return found


def subcommands(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """What the launcher's own help lists."""
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.search(r"^commands:\n(.*)", capsys.readouterr().out, re.MULTILINE | re.DOTALL)
    assert listed is not None
    return set(re.findall(r"^    ([a-z][a-z-]*)\b", listed[1], re.MULTILINE))


def test_the_project_is_where_we_look_for_it() -> None:
    """A search of nothing finds nothing wrong."""
    assert ["billing", "notification", "order", "user"] == SERVICES
    assert {f"services/{service}/domain.py" for service in SERVICES} <= {name(path) for path in PURE}
    assert 30 < len(CODE)
    assert all((ROOT / folder).is_dir() for folder in NEUTRAL)


@pytest.mark.parametrize("folder", NEUTRAL)
def test_no_broker_and_no_store_is_named(folder: str) -> None:
    """They are swapped by YAML, in components/, so nothing else may know them; not even a file's name."""
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    named = [name(path) for path in files if SERVERS.search(name(path) + path.read_text())]

    assert files
    assert [] == named


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other_service(service: str) -> None:
    """It can be replaced, in any language: what it shares is data, contracts/, and the chassis."""
    taken = {each for path in (ROOT / "services" / service).rglob("*.py") for each in imports(tree(path))}
    ours = {each for each in taken if each.partition(".")[0] in ("gateway", "services", "chassis", "cli", "tests")}

    assert ours
    assert [] == sorted(each for each in ours if not each.startswith(("chassis.", f"services.{service}.")))


@pytest.mark.parametrize("folder", ["chassis", "gateway"])
def test_nobody_imports_a_service(folder: str) -> None:
    """The chassis imports nothing of ours, the gateway the chassis only."""
    allowed = {"chassis": ("chassis",), "gateway": ("chassis", "gateway")}[folder]
    taken = {each for path in (ROOT / folder).rglob("*.py") for each in imports(tree(path))}
    ours = {each for each in taken if each.partition(".")[0] in ("gateway", "services", "chassis", "cli", "tests")}

    assert ours
    assert [] == sorted(each for each in ours if each.partition(".")[0] not in allowed)


@pytest.mark.parametrize("folder", ["gateway", "services", "chassis", "cli"])
def test_nobody_needs_the_live_page(folder: str) -> None:
    """It is beside the shop; the launcher starts it as a process, and knows it by cli/monitor.py alone."""
    taken = {each for path in (ROOT / folder).rglob("*.py") for each in imports(tree(path))}

    assert taken
    assert [] == sorted(each for each in taken if each.startswith("monitor"))


@pytest.mark.parametrize("path", sorted((ROOT / "monitor").rglob("*.py")), ids=name)
def test_the_live_page_names_no_server(path: Path) -> None:
    """What it needs of the broker it asks of cli/servers/."""
    found = {text for text in spoken(tree(path)) if SERVERS.search(text)}

    assert set() == found


@pytest.mark.parametrize("path", sorted((ROOT / "chassis").rglob("*.py")), ids=name)
def test_the_chassis_knows_no_word_of_the_shop(path: Path) -> None:
    """No identifier and no string; a docstring may say for whom something is there."""
    output = {word for text in spoken(tree(path)) if text not in ("items", "popitem") for word in words(text)}

    assert set() == output & SHOP_WORDS


@pytest.mark.parametrize("path", PURE, ids=name)
def test_a_domain_is_pure(path: Path) -> None:
    """No I/O, clock, randomness, environment or logger, nor in what the domain is made of beside it."""
    module = tree(path)
    called = [node.func for node in ast.walk(module) if isinstance(node, ast.Call)]
    names = {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in called}
    waits = [node for node in ast.walk(module) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]

    assert set() == {each.partition(".")[0] for each in imports(module)} & IMPURE_MODULES
    assert set() == names & IMPURE_CALLS
    assert [] == waits


@pytest.mark.parametrize("path", PURE, ids=name)
def test_a_domain_takes_from_the_chassis_only_what_is_pure(path: Path) -> None:
    """What a step is, what an event is, and the types of fields."""
    pure = ("chassis.processor.Step", "chassis.events.Received", "chassis.events.timestamp", "chassis.fields.")

    assert [] == [each for each in imports(tree(path)) if each.startswith("chassis") and not each.startswith(pure)]


@pytest.mark.parametrize("path", CODE, ids=name)
def test_every_module_class_and_public_function_says_what_it_is(path: Path) -> None:
    """One sentence at least; what begins with an underscore may speak for itself."""
    module = tree(path)
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    owners: list[ast.Module | ast.ClassDef] = [module, *classes]
    functions = [node for owner in owners for node in owner.body if isinstance(node, FUNCTIONS)]
    public = [node for node in (*classes, *functions) if not node.name.startswith("_")]
    private = {member for each in classes if each.name.startswith("_") for member in each.body}

    assert ast.get_docstring(module)
    assert [] == [node.name for node in public if node not in private and not ast.get_docstring(node)]


def test_each_make_target_that_the_documents_name_is_there() -> None:
    """A newcomer types what the README says."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = commanded("make")

    assert {("README.md", "run"), ("README.md", "demo"), ("CONTRIBUTING.md", "system-deps")} <= named
    assert set() == {each for each in named if each[1] not in targets}


def test_each_command_that_the_documents_name_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Also those that the README lists without the program's name."""
    listed = re.search(
        r"`\./sidecart --help` lists the rest: ((?:`[a-z-]+`(?:,\s)?)+)", (ROOT / "README.md").read_text()
    )
    assert listed is not None
    named = set(re.findall(r"[a-z-]+", listed[1])) | {command for _, command in commanded(r"\./sidecart")}

    assert {"status", "reset"} <= named
    assert set() == named - subcommands(capsys)


LEFT_BEHIND = (
    ".dapr/logs/gateway_daprd_20261128.log",  # `dapr run -f .`, in each appDirPath
    "examples/user-node/.dapr/logs/user_app.log",
    "dapr/names.sqlite",
    "dapr/names.sqlite-wal",
    "deploy.env",
    "data/wal/00000000",  # `prometheus`, where it is started
    "tye-or-compose/secrets/tokens.env",
    ".sidecart/run/shop.json",
    "examples/user-node/node_modules/x",
)


def test_git_does_not_see_what_documented_commands_leave_behind(tmp_path: Path) -> None:
    """Tokens among it."""
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    output = subprocess.run(
        ["git", "check-ignore", *LEFT_BEHIND], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert list(LEFT_BEHIND) == output.stdout.splitlines()
