"""The documentation site: `make docs` builds it, with warnings as errors, into build/site.

DOCS_NOTEBOOKS chooses which notebooks run: all (those that changed since they last ran), quick (one
of seconds), or off.
"""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import dnamdlm  # noqa: E402

project, author = "dnamdlm", "The dnamdlm authors"
copyright = author
version = release = dnamdlm.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
root_doc = "index"
exclude_patterns = ["README.md"]
# single backticks in docstrings are code.
default_role = "literal"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
notebooks = os.environ.get("DOCS_NOTEBOOKS", "all")
nb_execution_mode = {"all": "cache", "quick": "cache", "off": "off"}[notebooks]
quick = "embed"
nb_execution_excludepatterns = [
    f"tutorials/{path.name}"
    for path in (Path(__file__).parent / "tutorials").glob("*.md")
    if notebooks == "quick" and path.stem != quick
]
nb_execution_cache_path = str(ROOT / "build" / "notebooks")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": False}
viewcode_line_numbers = True
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = "dnamdlm"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def without_files(app, document, source):  # noqa: ANN001, ANN201
    """Name files of the checkout that are not pages of the site in place of a link to them."""
    text = source[0].replace("(../CLUSTER.md)", f"({'../' * document.count('/')}cluster.md)")
    source[0] = re.sub(r"\[([^]]+)\]\(\.\./((?:[\w-]+/)*[\w.-]+)\)", named, text)


def named(link: re.Match[str]) -> str:
    """The words of a link, and the file that it leads to unless that is a page."""
    words, place = link.groups()
    if (Path(__file__).parent / place).exists():
        return link[0]
    return f"`{place}`" if words in place else f"{words} (`{place}`)"


def setup(app):  # noqa: ANN001, ANN201
    """Called by Sphinx."""
    app.connect("source-read", without_files)
