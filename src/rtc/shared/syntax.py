"""Syntax trees of this package: what is defined where, and each definition without what changes no result."""

import ast
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+(:[A-Za-z_]\w*)?")


@dataclass(frozen=True)
class Key:
    """A top-level definition: dotted name of its module, or path of a file outside the package, and its own name."""

    module: str
    name: str


@dataclass
class Definition:
    """A definition in canonical form.

    Attributes:
        text: the syntax tree without what changes no result.
        uses: the definitions that the text names, in order.
        follows: definitions that are named elsewhere: in annotations and defaults, by which classes are found that
            the code only knows as attributes.
        counts: whether there is anything in it that can change a result.
    """

    text: str = ""
    uses: list[Key] = field(default_factory=list)
    follows: list[Key] = field(default_factory=list)
    counts: bool = True


class Module:
    """A parsed module.

    Attributes:
        name: its dotted name, or the path of a file outside the package.
        definitions: top-level statements by the name that they define.
        loose: names given to the other statements, which run whenever the module is imported.
        imports: what imported names stand for, wherever in the module they are imported.
    """

    def __init__(self, name: str, text: bytes, is_package: bool = False):
        self.name = name
        package = name if is_package else name.rpartition(".")[0]
        tree = ast.parse(text, name)
        self.imports = {local: target for node in ast.walk(tree) for local, target in _imported(node, package)}
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.loose: list[str] = []
        for number, statement in enumerate(tree.body):
            names = _defined(statement)
            if not names and not _is_silent(statement):
                names = [f"<statement {number}>"]
                self.loose += names
            for one in names:
                self.definitions.setdefault(one, []).append(statement)
        self.definitions.pop("__all__", None)


class Modules:
    """The modules of a package as they are now, parsed when they are needed."""

    def __init__(self, source: Path):
        """`source` is the package's folder."""
        self.source = source
        self._texts: dict[str, tuple[bytes, bool]] = {}
        for path in sorted(source.rglob("*.py")):
            parts = [source.name, *path.relative_to(source).with_suffix("").parts]
            is_package = parts[-1] == "__init__"
            self._texts[".".join(parts[:-1] if is_package else parts)] = path.read_bytes(), is_package
        self._modules: dict[str, Module] = {}
        self._canonical: dict[Key, Definition] = {}

    def get(self, name: str) -> Module:
        if name not in self._modules:
            self._modules[name] = Module(name, *self._texts[name])
        return self._modules[name]

    def definition(self, key: Key) -> Definition:
        if key not in self._canonical:
            self._canonical[key] = _Canonical(self, self.get(key.module)).of(key)
        return self._canonical[key]

    def require(self, root: str | Path) -> list[Key]:
        """The definition of that dotted name, or all those of a module or of a file.

        Raises:
            ValueError: there is none.
        """
        if isinstance(root, Path):
            if not root.is_file():
                raise ValueError(f"no such Python file: {root}")
            name = str(root.resolve())
            self._texts.setdefault(name, (root.read_bytes(), False))
            return self.members(name)
        target = self.resolve(root.split("."))
        if target is None or target[1]:
            raise ValueError(f"{root!r} is no module, function, class or constant of {self.source}")
        return self.members(target[0])

    def members(self, target: str | Key) -> list[Key]:
        """A definition, or all those of a module."""
        return [target] if isinstance(target, Key) else [Key(target, name) for name in self.get(target).definitions]

    def resolve(self, parts: list[str]) -> tuple[str | Key, list[str]] | None:
        """The module or definition that a dotted name stands for, and what of the name is left.

        None if it belongs to another package.
        """
        for size in range(len(parts), 0, -1):
            name = ".".join(parts[:size])
            if name in self._texts:
                return self._within(name, parts[size:])
        return None

    def _within(self, module: str, rest: list[str]) -> tuple[str | Key, list[str]] | None:
        if not rest:
            return module, []
        name, *attributes = rest
        if name in self.get(module).definitions:
            return Key(module, name), attributes
        target = self.get(module).imports.get(name)
        return None if target is None else self.resolve([*target.split("."), *attributes])


class _Canonical:
    """Writes a definition in canonical form and notes the definitions that it names."""

    def __init__(self, modules: Modules, module: Module):
        self.modules, self.module = modules, module
        self.out = Definition()
        self.locals: list[set[str]] = []
        self.silent = 0

    def of(self, key: Key) -> Definition:
        forms = [self.form(node) for node in self.module.definitions[key.name]]
        name = None if key.name.startswith("<") else key.name
        self.out.text = json.dumps([name, [form for form in forms if form is not None]])
        self.out.counts = any(form is not None for form in forms)
        return self.out

    def form(self, node: Any) -> Any:
        """A syntax tree as lists, names and numbers; None where nothing counts."""
        if isinstance(node, list):
            # Where something is missing matters: a keyword without a default, an unpacked dictionary.
            forms = ["missing" if one is None else self.form(one) for one in node]
            return [form for form in forms if form is not None]
        if not isinstance(node, ast.AST):
            return None if node is None else f"{type(node).__name__} {node!r}"
        if isinstance(node, ast.expr_context) or _is_silent(node) or _is_choice(node):
            return None
        if isinstance(node, ast.ClassDef):
            return self._class(node)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._name(node)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            return ["Raise", self.form(node.exc.func)]
        if isinstance(node, ast.Constant):
            self._follow_text(node.value)
            return ["Constant", f"{type(node.value).__name__} {node.value!r}"]
        if isinstance(node, _SCOPES):
            self.locals.append(_local_names(node))
            form = self._fields(node)
            self.locals.pop()
            return form
        return self._fields(node)

    def _fields(self, node: ast.AST, skip: Collection[str] = ()) -> list:
        form: list[Any] = [type(node).__name__]
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns"):
                self._only_follow(value)
            elif name not in ("type_comment", "type_params", "kind", *skip):
                inner = self.form(value)
                form += [] if inner is None or inner == [] else [[name, inner]]
        return form

    def _class(self, node: ast.ClassDef) -> list | None:
        if not _is_dataclass(node):
            return self._fields(node)
        defaulted = [statement for statement in node.body if _is_defaulted_field(statement)]
        for statement in defaulted:
            self._only_follow(statement)
        body = self.form([one for one in node.body if one not in defaulted and not _is_check(one)])
        # A dataclass of settings alone computes nothing.
        return [*self._fields(node, skip=("body",)), ["body", body]] if body else None

    def _name(self, node: ast.Name | ast.Attribute) -> list:
        """A reference: to a definition by its own name, to another package's by its full one."""
        attributes: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            attributes.insert(0, base.attr)
            base = base.value
        if not isinstance(base, ast.Name):
            return ["Attribute", self.form(base), *attributes]
        if isinstance(base.ctx, ast.Store) or any(base.id in names for names in self.locals):
            return ["Name", base.id, *attributes]
        if base.id in self.module.definitions:
            return self._use(Key(self.module.name, base.id), attributes)
        if base.id not in self.module.imports:
            return ["Name", base.id, *attributes]
        parts = [*self.module.imports[base.id].split("."), *attributes]
        target = self.modules.resolve(parts)
        return ["External", ".".join(parts)] if target is None else self._use(*target)

    def _use(self, target: str | Key, attributes: list[str]) -> list:
        (self.out.follows if self.silent else self.out.uses).extend(self.modules.members(target))
        name = target.name if isinstance(target, Key) else target.rpartition(".")[2]
        return ["Name", name, *attributes]

    def _only_follow(self, node: ast.AST | None) -> None:
        """Follows what a tree names; the tree itself does not count."""
        if node is None:
            return
        self.silent += 1
        self.form(node)
        if isinstance(node, ast.AnnAssign):
            self._only_follow(node.annotation)
        elif isinstance(node, ast.expr):
            quoted = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
            for text in quoted:
                self._quoted(text)
        self.silent -= 1

    def _quoted(self, text: Any) -> None:
        """Follows an annotation in quotes; a shape such as "b h" is none."""
        try:
            self.form(ast.parse(text.strip(), mode="eval").body)
        except (AttributeError, SyntaxError, ValueError):
            return

    def _follow_text(self, value: Any) -> None:
        """Follows the name of a module, or of a definition, that is loaded by it."""
        if isinstance(value, str) and _DOTTED.fullmatch(value):
            target = self.modules.resolve(value.replace(":", ".").split("."))
            if target is not None:
                self.out.follows.extend(self.modules.members(target[0]))


def _imported(node: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """What an import binds: local name and dotted name."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
    elif isinstance(node, ast.ImportFrom):
        parents = package.split(".")
        base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
        prefix = ".".join(part for part in (base, node.module) if part)
        for alias in node.names:
            yield alias.asname or alias.name, f"{prefix}.{alias.name}"


def _defined(statement: ast.stmt) -> list[str]:
    """The names that a top-level statement defines."""
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    else:
        return []
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def _local_names(scope: ast.AST) -> set[str]:
    """The names that a function, lambda or comprehension binds; imports within it are looked up like all others."""
    names: set[str] = set()
    shared: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            names.add(node.rest)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            shared.update(node.names)
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            names.add(node.name)
        elif not isinstance(node, _SCOPES):
            for child in ast.iter_child_nodes(node):
                visit(child)

    for child in ast.iter_child_nodes(scope):
        visit(child)
    return names - shared


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = (decorator.func if isinstance(decorator, ast.Call) else decorator for decorator in node.decorator_list)
    return any(ast.unparse(name).endswith("dataclass") for name in names)


def _is_defaulted_field(statement: ast.stmt) -> bool:
    """Whether it is a field with a default; a `ClassVar` is no field."""
    if not isinstance(statement, ast.AnnAssign) or statement.value is None:
        return False
    if "ClassVar" in ast.unparse(statement.annotation):
        return False
    value = statement.value
    if isinstance(value, ast.Call) and ast.unparse(value.func) in ("field", "dataclasses.field"):
        return any(keyword.arg in ("default", "default_factory") for keyword in value.keywords)
    return True


def _is_check(statement: ast.stmt) -> bool:
    """Whether it is a `__post_init__` that sets nothing."""
    named = isinstance(statement, _FUNCTIONS) and statement.name == "__post_init__"
    return named and "__setattr__" not in ast.unparse(statement)


def _is_choice(node: ast.AST) -> bool:
    """Whether it is a type alias that lists the values of a setting."""
    value = node.value if isinstance(node, ast.Assign) else None
    return isinstance(value, ast.Subscript) and ast.unparse(value.value) in ("Literal", "typing.Literal")


def _is_silent(node: ast.AST) -> bool:
    """Whether a statement computes nothing: imports, docstrings, messages, what runs only in a script."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING", "typing.TYPE_CHECKING")
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return ast.unparse(node.value.func) in ("print", "warnings.warn")
    return isinstance(node, ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )
