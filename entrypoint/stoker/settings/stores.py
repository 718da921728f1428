"""The settings of the engine store and its remotes: docs/store.md."""

from __future__ import annotations

from stoker.settings.setting import Setting

ENGINES = ("serve", "build", "engines", "export", "bench", "generate")

STORE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "remotes",
        "places",
        "Where engines are looked for before one is built, in order, separated by commas: `oci://registry/repository`, "
        "`s3://bucket/prefix`, `https://server/path`, `file:///path`, `hf://org/name`",
        shown_default="none",
        metavar="URL,...",
        applies_to=(*ENGINES, "manifest", "up"),
    ),
    Setting(
        "push",
        "switch",
        "Give the remotes what was built here",
        default=False,
        applies_to=("serve", "build", "manifest", "up"),
    ),
    Setting(
        "check",
        "text",
        "How a cached engine's files are verified at each start: only their sizes, their digests too while serving, or "
        "their digests before serving",
        default="background",
        choices=("sizes", "background", "full"),
        applies_to=("serve", "build", "manifest", "up"),
    ),
    Setting(
        "signatures",
        "text",
        "What to do with fetched engines without a signature of `public-key`: take them, warn, or refuse them",
        default="off",
        choices=("off", "warn", "enforce"),
        applies_to=(*ENGINES, "manifest", "up"),
    ),
    Setting(
        "public-key",
        "path",
        "Public key (cosign's, PEM) that engines from elsewhere are checked with",
        shown_default="none",
        metavar="FILE",
        applies_to=(*ENGINES, "up"),
    ),
    Setting(
        "private-key",
        "path",
        "Private key (cosign's, or PEM) that signs what goes to remotes and exports; its passphrase is in "
        "`COSIGN_PASSWORD`",
        shown_default="none",
        metavar="FILE",
        applies_to=("serve", "build", "engines", "export", "up"),
    ),
    Setting(
        "cache-limit",
        "bytes",
        "Maximum size of cached engines, like `500g`; the least recently used are removed, never those in use",
        shown_default="no limit",
        metavar="BYTES",
        applies_to=(*ENGINES, "manifest", "up"),
    ),
)
