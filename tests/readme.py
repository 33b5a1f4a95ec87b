"README.md is nbs/index.ipynb as Markdown, seen from the project's root: `make readme` writes it, a test compares."
import re

import nbformat
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import RegexRemovePreprocessor
from project import ROOT

def readme() -> str:
    "The text of README.md: links lead from the root, cells marked `#| hide` are left out."
    exporter = MarkdownExporter()
    exporter.register_preprocessor(RegexRemovePreprocessor(patterns=[r"#\| hide"]), enabled=True)
    notebook = nbformat.read(ROOT/"nbs"/"index.ipynb", 4)
    notebook.metadata.language_info = {"name": "python"} # nbdev_clean removes it; it colours the code
    text, _ = exporter.from_notebook_node(notebook)
    text = re.sub(r"\]\((?!https?:|#|\.\./)", "](nbs/", text).replace("](../", "](")
    return text.strip() + "\n"

if __name__ == "__main__":
    (ROOT/"README.md").write_text(readme(), encoding="utf-8")
