"""The project's files agree with each other: environments, pins, imports, docstrings."""

import ast
import graphlib
import inspect
import operator
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from records import RESIZED, RUN

from mdckit import files

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "jupyter-client": "jupyter_client"}
ENVIRONMENTS = {"environment.yml": {}, "binder/environment.yml": {"torch": "pytorch-cpu"}}
OPTIONAL = {  # module -> what it imports from an extra
    "sharing.export": {"datasets"},
    "sharing.foreign": {"pyarrow"},
    "sweep.cluster": {"dask"},
}
SOURCES = {path.relative_to(ROOT / "mdckit"): path.read_text() for path in sorted((ROOT / "mdckit").rglob("*.py"))}
MODULES = {".".join(path.with_suffix("").parts): ast.parse(text) for path, text in SOURCES.items()}
FOLDERS = {str(path.parent) for path in SOURCES} - {"."}


def requirements(lines):
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


CORE = requirements(PROJECT["dependencies"])
ALL = CORE | {name: r for lines in EXTRAS.values() for name, r in requirements(lines).items()}


def lower_bound(specifier):
    (bound,) = [Version(s.version) for s in specifier if s.operator == ">="]
    return bound


def conda(file):
    """The conda packages of an environment file, and the lines for pip."""
    lines = yaml.safe_load((ROOT / file).read_text())["dependencies"]
    pip = [line for entry in lines if isinstance(entry, dict) for line in entry["pip"]]
    packages = dict(re.fullmatch(r"([a-z0-9_-]+)(.*)", line).groups() for line in lines if isinstance(line, str))
    return packages, pip


# -- environments and pins


@pytest.mark.parametrize("file", ENVIRONMENTS)
def test_every_core_dependency_is_in_the_conda_environment(file):
    packages, _ = conda(file)
    names = {name: (CONDA_NAMES | ENVIRONMENTS[file]).get(name, name) for name in CORE}
    assert set(packages) == {"python", "pip", *names.values()}
    for name, requirement in CORE.items():
        asked, found = lower_bound(requirement.specifier), lower_bound(SpecifierSet(packages[names[name]]))
        if file == "environment.yml":
            assert found == asked, name
        else:
            assert found >= asked, name


@pytest.mark.parametrize("file", ENVIRONMENTS)
def test_the_conda_environment_pins_python_and_takes_conda_forge_alone(file):
    packages, _ = conda(file)
    pinned = Version(packages["python"].removeprefix("="))
    assert pinned >= Version("3.11")
    assert pinned in SpecifierSet(PROJECT["requires-python"])
    assert yaml.safe_load((ROOT / file).read_text())["channels"] == ["conda-forge", "nodefaults"]


def test_the_conda_environment_installs_every_extra_and_binder_none():
    _, pip = conda("environment.yml")
    assert pip == [f"-e .[{','.join(EXTRAS)}]"]
    assert conda("binder/environment.yml")[1] == []


def constraints():
    return requirements(re.findall(r"^\w.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def test_constraints_pin_every_direct_dependency():
    pins = constraints()
    assert set(pins) == {*ALL, "distributed"}
    for name, pin in pins.items():
        (exact,) = pin.specifier
        assert exact.operator == "==", name
        assert not pin.extras, name
        assert name == "distributed" or Version(exact.version) in ALL[name].specifier, name
    assert {name: str(pins[name].specifier) for name in ("torch", "torchvision")} == {
        "torch": "==2.11.0",
        "torchvision": "==0.26.0",
    }
    assert pins["dask"].specifier == pins["distributed"].specifier


def test_the_lock_has_every_pin_with_hashes_and_names_no_host():
    lines = [
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.lstrip().startswith("#")
    ]
    text = "\n".join(lines).replace(" \\\n", "")
    entries = [re.fullmatch(r"(\S+==\S+)((?: +--hash=sha256:[0-9a-f]{64})+)", line) for line in text.splitlines()]
    assert all(entries), "an entry without hashes, an option or a place"
    locked = requirements(entry[1] for entry in entries)
    assert {name: locked[name].specifier for name in constraints()} == {
        n: r.specifier for n, r in constraints().items()
    }
    assert set(requirements(BUILD)) < set(locked)
    assert len(locked) == len(entries) > 150


# -- the licence


def test_the_licence_is_the_declared_one():
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "MIT"
    assert PROJECT["license-files"] == ["LICENSE"]
    assert text.startswith("MIT License\n\nCopyright (c) 2026 The mdckit authors\n")


# -- the package


def own_imports(name):
    """Modules of the package that a module imports, anywhere in it: "config", "pruning.scores"."""
    found = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = name.split(".")[: -node.level]
            path = [*folder, *filter(None, [node.module])]
            found |= {".".join([*path, alias.name]) for alias in node.names} & set(MODULES) or {".".join(path)}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not any(name.split(".")[0] == "mdckit" for name in names), "imports inside the package are relative"
    return found


def foreign_imports(tree):
    """First names of all modules outside the package that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


def at_import(tree):
    """Of these, the modules that are imported together with it."""
    return foreign_imports(
        ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    )


IMPORTS = {name: own_imports(name) for name in MODULES if name not in ("__init__", "__main__")}


def test_imports_run_downwards():
    assert set().union(*IMPORTS.values()) <= set(IMPORTS)
    graphlib.TopologicalSorter(IMPORTS).prepare()  # raises CycleError
    lowest = {name for name in ("presets", "methods", "checks", "rng", "atomic", "forms") if not IMPORTS[name]}
    assert lowest == {"presets", "methods", "checks", "rng", "atomic", "forms"}
    assert IMPORTS["config"] == {"checks", "methods", "presets"}


def test_folders_stand_on_the_core_and_only_what_is_interactive_on_another_folder():
    for name, imported in IMPORTS.items():
        here = name.rpartition(".")[0]
        others = {of for module in imported if (of := module.rpartition(".")[0])} - {here}
        assert others <= ({"pruning"} if here == "interactive" else set()), name


def test_nobody_imports_the_views():
    figures = {"plots", "figures", "galleries", "pruning.pruning_plots", "papers.paper_plots"}
    users = {name for name, imported in IMPORTS.items() if imported & figures and not name.startswith("interactive.")}
    assert users - figures == set()


def test_every_imported_package_is_a_declared_dependency():
    names = {name: foreign_imports(tree) - OPTIONAL.get(name, set()) for name, tree in MODULES.items()}
    names = set().union(*names.values()) - set(sys.stdlib_module_names)
    distributions = packages_distributions()
    missing = {n for n in names if not {canonicalize_name(d) for d in distributions.get(n, [n])} & set(CORE)}
    assert missing == set()


def test_packages_of_an_extra_are_imported_only_where_they_are_used():
    for name, packages in OPTIONAL.items():
        assert packages <= foreign_imports(MODULES[name]) & set(ALL) - set(CORE)
        assert not packages & at_import(MODULES[name])


def test_packages_that_take_a_second_are_imported_only_where_they_are_used():
    assert {"seaborn", "sklearn"} <= set().union(*map(foreign_imports, MODULES.values()))
    assert not {"seaborn", "sklearn", "scipy"} & set().union(*map(at_import, MODULES.values()))


def test_only_one_module_knows_the_names_of_devices():
    assert [str(path) for path, text in SOURCES.items() if "cuda" in text.lower()] == ["machine.py"]


def public(body, prefix):
    """Public functions and classes of a module, and the public methods of those classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{prefix}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}.{node.name}")


def test_everything_public_has_a_docstring():
    nodes = [pair for name, tree in MODULES.items() for pair in public(tree.body, name)]
    assert len(nodes) > 50
    assert [name for name, node in nodes if not ast.get_docstring(node) and not name.endswith(".forward")] == []
    assert [name for name, tree in MODULES.items() if not ast.get_docstring(tree)] == []


def test_every_public_name_has_an_example_that_runs():
    import mdckit

    things = {name: getattr(mdckit, name) for name in mdckit.__all__}
    for name in [name for name, thing in things.items() if inspect.ismodule(thing)]:
        module = things.pop(name)
        functions = inspect.getmembers(module, inspect.isfunction)
        own = {key: f for key, f in functions if f.__module__ == module.__name__ and key[0] != "_"}
        things |= {f"{name}.{key}": function for key, function in own.items()}
    assert [name for name, thing in things.items() if ">>> " not in inspect.getdoc(thing)] == []


@pytest.mark.parametrize(("record", "said"), [(RUN, "mean ± std of"), (RESIZED, "images per class made smaller")])
def test_the_package_prints_the_table_of_any_result(tmp_path, record, said):
    path = files.save_json(tmp_path / "result.json", record)
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "mdckit", str(path)]
    assert said in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_every_folder_is_installed():
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(text["tool"]["setuptools"]["packages"]) == {"mdckit", *(f"mdckit.{folder}" for folder in FOLDERS)}


def test_the_public_names_are_listed_and_there():
    import mdckit

    imported = {
        alias.name for node in ast.walk(MODULES["__init__"]) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert set(mdckit.__all__) == imported
    assert all(hasattr(mdckit, name) for name in mdckit.__all__)


# -- the documentation

PAGES = [ROOT / "README.md", ROOT / "notebooks/README.md", ROOT / "notebooks/assignments/README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text()
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert path.startswith("http") or (page.parent / path).exists(), target
        assert path or anchor in anchors, target


def test_the_readme_calls_what_there_is():
    import mdckit

    blocks = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), re.DOTALL)
    nodes = [node for block in blocks for node in ast.walk(ast.parse(block))]
    names = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    called = {name for name in names if re.fullmatch(r"mdckit(\.\w+)+", name)}
    assert len(called) > 20
    for name in called:
        operator.attrgetter(name.removeprefix("mdckit."))(mdckit)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("mdckit"):
            exec(compile(ast.Module([node], []), "README.md", "exec"), {})
