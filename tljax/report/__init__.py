"""Pages to look at: figures and self-contained HTML, from plain arrays, dicts and strings.

Import the module that is needed (`from tljax.report import run_page`): this one loads nothing.
"""
