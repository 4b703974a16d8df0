"""Whatever goes wrong between here and the Hub, each in one sentence that says what to do."""

from __future__ import annotations

import errno

from gendiff.errors import GendiffError
from gendiff.hub.names import Name
from gendiff.hub.settings import Settings


class Silent(Exception):
    """No answer in time."""


class Broken(Exception):
    """A file breaks off again and again."""


class Withheld(Exception):
    """The Hub is there, but nothing comes from where its files are."""


class Stopped(Exception):
    """A person pressed Cancel."""


class Unreachable(GendiffError):
    """No network, or no Hub there."""


def in_a_sentence(
    error: BaseException, name: Name, settings: Settings, file: str | None = None
) -> GendiffError:
    """The GendiffError that tells a person about `error`; one that is told already stays."""
    if isinstance(error, GendiffError):
        return error
    kind = Unreachable if nobody_there(error) else GendiffError
    return kind(_sentence(error, name, settings, file or "its list of files"))


def nobody_there(error: BaseException) -> bool:
    """Whether no server answered."""
    from huggingface_hub import errors

    return isinstance(error, Silent | errors.OfflineModeIsEnabled) or not _kinds(error).isdisjoint(
        ("TimeoutException", "ConnectError")
    )


def _kinds(error: BaseException) -> set[str]:
    """The names of its classes: huggingface_hub 1 speaks through httpx, 2 through httpx2."""
    return {kind.__name__ for kind in type(error).__mro__}


def _sentence(error: BaseException, name: Name, settings: Settings, what: str) -> str:
    from huggingface_hub import errors

    # The order matters: a gated repository is also a missing one.
    if isinstance(error, Stopped):
        return f"The download of {name.id} was cancelled; nothing of it is used."
    if isinstance(error, Withheld):
        return (
            f"Nothing comes of {what} of {name.id}, though {settings.endpoint} answers: the "
            "server with its files is silent, or another program is fetching it; try again "
            "later, or use a bundled model."
        )
    if isinstance(error, errors.GatedRepoError):
        return f"{name.id} is gated: {_by_whom_it_may_be_read(name, settings)}."
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"The Hub has no model {name.repo}, or it is private; check how the id is written."
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"{name.repo} has no revision {name.revision!r}; leave it out, or copy a commit's "
            "hash from the Hub."
        )
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"{name.repo} has no file {what} at this revision; choose another model."
    if isinstance(error, errors.DisabledRepoError):
        return f"The Hub has disabled {name.repo}; choose another model."
    return _of_the_network(error, name, settings, what)


def _of_the_network(error: BaseException, name: Name, settings: Settings, what: str) -> str:
    from huggingface_hub import errors

    kinds = _kinds(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return (
            f"{name.id} is not in the cache, and HF_HUB_OFFLINE is set; unset it, or fetch the "
            "model where there is a network."
        )
    if isinstance(error, Silent) or "TimeoutException" in kinds:
        return (
            f"{settings.endpoint} does not answer; check the network and try again, or use a "
            "bundled model."
        )
    if "ConnectError" in kinds:
        return (
            f"{settings.endpoint} cannot be reached ({_reason(error)}); check the network, or "
            "use a bundled model."
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _of_a_status(error.response.status_code, name, settings)
    if isinstance(error, Broken) or "TransportError" in kinds or "Consistency check" in str(error):
        return f"The connection broke off in the middle of {what} of {name.id}; try again."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {what} of {name.id} found no room in {settings.cache}."
    if isinstance(error, errors.FileMetadataError | ValueError | KeyError | TypeError):
        return f"What {settings.endpoint} answers about {name.id} is not what a Hub says."
    if isinstance(error, OSError):
        return f"{what} of {name.id} cannot be kept in {settings.cache}: {_reason(error)}."
    return f"{what} of {name.id} cannot be fetched: {_reason(error)}."


def _of_a_status(status: int, name: Name, settings: Settings) -> str:
    if status in (401, 403):
        return (
            f"The Hub refuses {name.id} (status {status}): "
            f"{_by_whom_it_may_be_read(name, settings)}."
        )
    if status == 429:
        return "The Hub asks for fewer requests (status 429); wait some minutes and try again."
    if status >= 500:
        return f"{settings.endpoint} is out of order (status {status}); try again later."
    return f"The Hub refuses the request for {name.id} (status {status}); check the id."


def _by_whom_it_may_be_read(name: Name, settings: Settings) -> str:
    if settings.token is False:  # a visitor of the app: the machine's token is not theirs
        return (
            "this page fetches public models only; whoever runs it can fetch it with HF_TOKEN and "
            f"python -m gendiff pull {name}"
        )
    return (
        f"accept its terms at {settings.endpoint}/{name.repo} and set HF_TOKEN, or choose another "
        "model"
    )


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:120]


def not_published(error: Exception, repo: str, settings: Settings) -> GendiffError:
    """Why nothing could be sent; whatever is no matter of the network is raised as it is."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError | errors.LocalTokenNotFoundError):
        status = getattr(getattr(error, "response", None), "status_code", 401)
        reason = "log in with `hf auth login`" if status == 401 else f"status {status}"
        return GendiffError(
            f"{settings.endpoint} does not let you write to {repo} ({reason}); nothing was "
            "published."
        )
    if isinstance(error, errors.OfflineModeIsEnabled) or "TransportError" in _kinds(error):
        return Unreachable(
            f"{settings.endpoint} cannot be reached ({_reason(error)}); nothing was published."
        )
    raise error
