"""The executed notebook as a page of the site."""

import importlib
from pathlib import Path


def pages(path: Path) -> dict[str, str | bytes]:
    """The page and its pictures by their path in the site; none where there is no notebook.

    Raises:
        ValueError: a cell with code was not executed, or nbconvert is not installed.
    """
    if not path.is_file():
        return {}
    try:
        nbformat, exporters = importlib.import_module("nbformat"), importlib.import_module("nbconvert.exporters")
    except ModuleNotFoundError as error:
        raise ValueError("the notebook's page needs nbconvert: install the extra `docs`") from error
    content = nbformat.read(path, as_version=4)
    missed = [n for n, cell in enumerate(content.cells) if cell.cell_type == "code" and cell.execution_count is None]
    if missed:
        raise ValueError(f"{path}: cell {missed[0]} was not executed; run jupyter nbconvert --execute --inplace {path}")
    folder = f"{path.stem}_files"
    text, found = exporters.MarkdownExporter().from_notebook_node(content, {"output_files_dir": folder})
    return {f"{path.stem}.md": text, **found["outputs"]}
