"""The settings of who may use the API, from where, and what operators see apart from it."""

from __future__ import annotations

from stoker.settings.setting import Setting

ACCESS_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "api-key",
        "text",
        "API keys that are accepted, between commas; better given as the variable, which no process list shows",
        shown_default="everybody may use the server",
        metavar="KEYS",
        applies_to=("serve", "up"),
    ),
    Setting(
        "api-key-file",
        "path",
        "File of API keys: a key a line, or a name and a key. Read again when it changes",
        shown_default="none",
        metavar="FILE",
        applies_to=("serve", "up"),
    ),
    Setting(
        "tls-cert",
        "path",
        "Certificate chain (PEM): the API is served with TLS. Read again when it changes, as are the key and the CA",
        shown_default="none",
        metavar="FILE",
        applies_to=("serve", "up"),
    ),
    Setting(
        "tls-key",
        "path",
        "The certificate's key (PEM, not encrypted)",
        shown_default="in the certificate's file",
        metavar="FILE",
        applies_to=("serve", "up"),
    ),
    Setting(
        "tls-client-ca",
        "path",
        "CA certificates (PEM): clients must show a certificate that one of them signed",
        shown_default="none",
        metavar="FILE",
        applies_to=("serve", "up"),
    ),
    Setting(
        "cors-origins",
        "text",
        "Sites whose pages may use the API in a browser, between commas, or `*`",
        shown_default="none",
        metavar="ORIGINS",
        applies_to=("serve", "manifest", "up"),
    ),
    Setting(
        "allowed-hosts",
        "text",
        "Accepted `Host` names in requests besides addresses, local names and this machine's, separated by commas, "
        "`*.example.com` or `*`; with API keys every name is accepted unless this is set",
        shown_default="none",
        metavar="NAMES",
        applies_to=("serve", "manifest", "up"),
    ),
    Setting(
        "trusted-proxies",
        "text",
        "Addresses or networks of proxies whose `X-Forwarded-For` is believed, between commas",
        shown_default="none",
        metavar="NETWORKS",
        applies_to=("serve", "manifest", "up"),
    ),
    Setting(
        "management-port",
        "whole",
        "Separate port for health and metrics, without keys or TLS; metrics are then served only there",
        shown_default="none",
        metavar="PORT",
        applies_to=("serve", "up"),
        minimum=0,
        maximum=65535,
    ),
    Setting(
        "management-host",
        "text",
        "Address that the management port listens on",
        shown_default="the API's",
        metavar="ADDRESS",
        applies_to=("serve", "up"),
    ),
)
