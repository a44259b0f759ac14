"""Draws the diagrams of docs/: each FILE.mmd becomes FILE.svg beside it.

    npm install mermaid
    .venv/bin/python docs/diagrams.py node_modules/mermaid/dist/mermaid.min.js

It needs a Chromium, which the environment variable CHROMIUM may name. A test compares the hash in
each SVG with its source, so a changed diagram is drawn again.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent
DRAW = """async (source) => {
  mermaid.initialize({
    startOnLoad: false,
    theme: "neutral",
    htmlLabels: false,  // an image shows no HTML
    flowchart: { htmlLabels: false },
    fontFamily: "system-ui, sans-serif",
    sequence: { actorMargin: 8, width: 110, height: 40, mirrorActors: false, messageMargin: 28 },
  });
  return (await mermaid.render("diagram", source)).svg;
}"""


def stamp(source: str) -> str:
    """Return the comment that ties a drawing to its source."""
    return f"<!-- {hashlib.sha256(source.encode()).hexdigest()} -->"


def main(library: str) -> None:
    """Draw all diagrams with this copy of mermaid.min.js."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.add_script_tag(path=library)
        for file in sorted(DOCS.rglob("*.mmd")):
            source = file.read_text(encoding="utf-8")
            drawn = page.evaluate(DRAW, source).replace('style="', 'style="background: white; ', 1)
            file.with_suffix(".svg").write_text(f"{stamp(source)}\n{drawn}\n", encoding="utf-8")
            print(file.with_suffix(".svg"))
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
