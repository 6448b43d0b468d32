"""Sphinx configuration. Build with `tox -e docs`; warnings are errors there."""

from __future__ import annotations

import sys
from pathlib import Path

import offload_core

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
for example in ("offload-ssh", "offload-example"):  # the options of one are listed, and the other one runs
    sys.path.insert(0, str(Path(__file__).parent / "examples" / example))

project = "Offload"
author = "the Offload developers"
copyright = "the Offload developers, Apache-2.0"
version = release = offload_core.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "offload_reference",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "changelog.d", "examples"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
_NOT_OURS = r"(_?asyncio(\.subprocess)?|collections(\.abc)?|pathlib|re|tarfile)\.\w+|Attribute"
nitpick_ignore_regex = [("py:.*", _NOT_OURS)]
doctest_test_doctest_blocks = "default"

html_theme = "furo"
html_title = f"Offload {version}"
html_static_path: list[str] = []
