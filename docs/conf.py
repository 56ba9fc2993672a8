"""The static site: `make docs` builds it into site/, offline and with warnings as errors."""

project = "Study Query LLM"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["conf.py"]
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_block"]
html_theme = "furo"
html_title = "Study Query LLM"
html_favicon = "pictures/favicon.svg"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"light_css_variables": {"color-brand-primary": "#1f6f5c", "color-brand-content": "#1f6f5c"}}
nitpicky = True
