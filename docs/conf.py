"""The site of the documentation: `make docs` builds it and serves it."""

import os
import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent

project = "Sidecart"
copyright = "The Sidecart developers"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["grafana", "appendix/performance"]
nitpicky = True

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]

html_theme = "furo"
html_title = f"Sidecart {release}"
html_copy_source = False
pygments_style = "tango"
pygments_dark_style = "monokai"
html_theme_options: dict[str, object] = {"top_of_page_buttons": []}
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

REPOSITORY = os.environ.get("REPOSITORY_URL", "")
"""The address of the repository's files, such as https://host/owner/name/blob/main.

Links from a page to a file outside docs/ lead there. Without it they become plain text.
"""
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)(#[^)]*)?\)")


def lead_out(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the links of a page that lead to files which are not part of the site."""
    folder = (DOCS / page).parent

    def replaced(match: re.Match[str]) -> str:
        text, path, anchor = match[1], match[2], match[3] or ""
        target = Path(os.path.normpath(folder / path))
        if target.is_relative_to(DOCS) and target.suffix in (".md", ".svg", ".png"):
            return match[0]
        if not target.exists():
            raise ValueError(f"docs/{page}.md: the link {path} leads to no file")
        return f"[{text}]({REPOSITORY}/{target.relative_to(ROOT)}{anchor})" if REPOSITORY else text

    source[0] = LINK.sub(replaced, source[0])


def setup(app: Sphinx) -> None:
    """Register the change of links."""
    app.connect("source-read", lead_out)
