"""For mkdocs: links of the documents to other files of the repository lead to its pages, since the site has only docs/.

STOKER_REPOSITORY is where the repository is browsed; the workflow sets it.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any

REPOSITORY = os.environ.get("STOKER_REPOSITORY", "https://github.com/OWNER/stoker").rstrip("/")
_LINK = re.compile(r"\]\((\.\./[^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A link that stays within docs/ is mkdocs' own affair."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def to_repository(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, found[1]))
        return found[0] if target.startswith("docs/") else f"]({REPOSITORY}/blob/main/{target})"

    return _LINK.sub(to_repository, markdown)
