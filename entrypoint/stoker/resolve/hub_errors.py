"""What a failure of the hub, or of the way to it, means for the user."""

from __future__ import annotations

from huggingface_hub.errors import (
    BadRequestError,
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from stoker.errors import HubUnreachableError, ModelGatedError, ModelNotFoundError, StokerError
from stoker.resolve.known_names import probably_meant
from stoker.resolve.reference import HubRepository

# The root of the HTTP library's errors (httpx under huggingface_hub 1, httpx2 under 2): no connection, a cut stream...
HTTPError: type[Exception] = HfHubHTTPError.__mro__[1]


def translate(error: Exception, repository: HubRepository, endpoint: str) -> StokerError:
    """The error to show for what huggingface_hub or its HTTP library raised."""
    page = f"{endpoint}/{repository.id}"
    if isinstance(error, GatedRepoError):
        return _gated(repository, endpoint)
    if isinstance(error, RevisionNotFoundError | BadRequestError):
        return ModelNotFoundError(
            f"{repository.id} has no revision {repository.revision!r}",
            remedy=f"see its branches and tags at {page}/tree/main",
        )
    if isinstance(error, RepositoryNotFoundError | DisabledRepoError):
        near = probably_meant(repository.id)
        spelling = f"did you mean {near}?" if near else "check the spelling;"
        return ModelNotFoundError(
            f"there is no repository {repository.id} at {endpoint}, or it is private",
            remedy=f"{spelling} for a private repository set HF_TOKEN to a token that may read it",
        )
    if isinstance(error, HfHubHTTPError):
        return _by_status(error, repository, endpoint)
    return unreachable(endpoint, str(error) or type(error).__name__)


def _gated(repository: HubRepository, endpoint: str) -> ModelGatedError:
    return ModelGatedError(
        f"{repository.id} is gated",
        why="its owner asks readers to accept a licence, and this token or the lack of one gives no access",
        remedy=f"accept the licence at {endpoint}/{repository.id} and set HF_TOKEN to a token of that account "
        f"(from {endpoint}/settings/tokens)",
    )


def _by_status(error: HfHubHTTPError, repository: HubRepository, endpoint: str) -> StokerError:
    status = error.response.status_code
    if status in (401, 403):
        return ModelGatedError(
            f"{endpoint} refuses access to {repository.id}",
            why=error.server_message or f"status {status}",
            remedy="check HF_TOKEN: it may be expired, mistyped or not allowed to read this repository",
        )
    if status == 404:
        return ModelNotFoundError(f"{endpoint} does not find {repository.id}@{repository.revision}")
    return unreachable(
        endpoint, "it limits the rate of requests" if status == 429 else f"it answered with status {status}"
    )


def unreachable(endpoint: str, why: str) -> HubUnreachableError:
    return HubUnreachableError(
        f"the model hub {endpoint} cannot be reached",
        why=why,
        remedy="check the network and its proxies (HTTPS_PROXY), or set HF_ENDPOINT to a mirror, and try again",
    )
