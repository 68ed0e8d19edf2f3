"""The documentation as a site: nox -s docs"""

import crossent
import crossent.sklearn  # before PyTorch is mocked below: SciPy asks a PyTorch that is there for its types

project = "crossent"
author = copyright = "The crossent developers"
version = release = crossent.__version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.programoutput",
]
exclude_patterns = ["_*", "requirements.txt"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
highlight_options = {name: {"stripnl": True} for name in ("python", "pycon")}  # a doctest ends in an empty line
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

default_role = "autolink"  # what has a page in the reference is a link, and an argument is not
add_module_names = False
autodoc_typehints = "none"  # the section Parameters has them
maximum_signature_line_length = 88
numpydoc_show_class_members = False  # the template of classes shows them
# Libraries that are too large to install for their names, and the modules that call them when they are imported.
autodoc_mock_imports = [
    "jax",
    "torch",
    *(f"crossent.jax.{name}" for name in ("_derivatives", "_backends")),
    *(f"crossent.torch.{name}" for name in ("_eager", "_losses", "_operators")),
]

nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(dask|jax|scipy|sklearn|torch)\..*"),  # their pages are on other hosts
    ("py:obj", "start|stop"),  # attributes that a docstring lists as one
]

html_theme = "furo"
pygments_dark_style = "a11y-dark"
html_title = f"crossent {release}"
html_static_path = ["_static"]
html_css_files = ["crossent.css"]
html_js_files = [("versions.js", {"defer": "defer"})]
html_copy_source = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "versions.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}


def hide_mocked_signature(app, what, name, obj, options, signature, return_annotation):
    """Of classes whose base is mocked: what is shown would be the signature of the mock."""
    return ("", None) if signature == "(*args, **kwargs)" else None


def setup(app):
    app.connect("autodoc-process-signature", hide_mocked_signature)
