"""What went wrong with a hub, in one line that says what to do: status codes, the network, the proxy, the disk.

Knows exceptions by the names of their classes, for the hub's library has changed its HTTP client twice. Nothing of an
exception's own text is shown: it may hold a token, or a proxy's password.
"""

from __future__ import annotations

import email.utils
import errno
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from edit_eval.core.errors import ModelError

__all__ = ["Asked", "HubError", "disk_error", "from_exception", "from_status", "told", "wait_of"]

_LONGEST_WAIT_S = 3600.0
_STAYS = "what was fetched stays"

_T = TypeVar("_T")


class HubError(ModelError):
    """A hub that cannot be asked, or refuses.

    Attributes:
        again: whether another attempt may succeed.
        wait_s: seconds that the hub asks to wait; None: it says nothing.
        missing: whether there is no such repository.
        unreachable: whether no connection was made at all.
    """

    def __init__(
        self,
        message: str,
        *,
        again: bool = False,
        wait_s: float | None = None,
        missing: bool = False,
        unreachable: bool = False,
    ) -> None:
        super().__init__(message)
        self.again = again
        self.wait_s = wait_s
        self.missing = missing
        self.unreachable = unreachable


@dataclass(frozen=True)
class Asked:
    """What a hub was asked, for messages.

    Attributes:
        where: config key.
        repository: `owner/name`.
        endpoint: address of the hub.
        variable: the environment variable that sets it.
        token: the variable that holds the token.
        has_token: whether one was sent.
        page: address of the repository for people; empty: not known.
        revision: that was asked for; empty: none.
        file: likewise.
    """

    where: str
    repository: str
    endpoint: str
    variable: str = "HF_ENDPOINT"
    token: str = "HF_TOKEN"  # noqa: S105 - the name of a variable
    has_token: bool = False
    page: str = ""
    revision: str = ""
    file: str = ""

    @property
    def shown(self) -> str:
        """The address without user name and password."""
        parts = urlsplit(self.endpoint)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}" if host else self.endpoint


def from_status(asked: Asked, status: int, headers: Mapping[str, str]) -> HubError:
    """Return what an answer other than 2xx means; Hugging Face names the reason in `X-Error-Code`."""
    where, endpoint, repository, token = asked.where, asked.shown, asked.repository, asked.token
    code = headers.get("X-Error-Code") or headers.get("x-error-code") or ""
    if code == "RepoNotFound" or (status == 404 and not code and not asked.file):
        private = "" if asked.has_token else f"; or it is private: then set {token}"
        return HubError(f"{where}: there is no {repository} at {endpoint}{private}", missing=True)
    if status == 429:
        wait_s = wait_of(headers)
        when = "later" if wait_s is None else f"in {wait_s:.0f} s"
        hint = "" if asked.has_token else f"; with {token} set it allows more"
        text = f"{where}: too many requests to {endpoint} (429); try again {when}{hint}"
        return HubError(text, again=True, wait_s=wait_s)
    what = f"{where}: {endpoint} answers {status} for {repository}{f', {asked.file}' if asked.file else ''}"
    if status >= 500 or status == 408:
        return HubError(f"{what}; try again later: {_STAYS}", again=True, wait_s=wait_of(headers))
    account = "with the account of your token" if asked.has_token else f"then set {token} to a token of yours"
    gated = f"{repository} is gated; accept its licence at {asked.page or endpoint}, {account}"
    by_code = {
        "GatedRepo": gated,
        "RevisionNotFound": f"{repository} has no branch, tag or commit {asked.revision!r}",
        "EntryNotFound": f"{repository} has no {asked.file or 'such file'} at this commit",
    }
    unknown = f"{endpoint} does not know the token in {token} (or in the token file); make a new one"
    by_status = {
        401: unknown if asked.has_token else f"{endpoint} wants a token for {repository}; set {token}",
        403: f"{endpoint} refuses {repository} (403); does your token give access to it?",
        407: "the proxy wants a user name and a password (407); set them in HTTPS_PROXY",
    }
    known = by_code.get(code) or by_status.get(status)
    return HubError(f"{where}: {known}" if known else f"{what}; is {asked.variable} the address of a hub?")


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait: `Retry-After` in seconds or as a date, or the hub's `RateLimit`."""
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    if text := lower.get("retry-after"):
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return min(float(text), _LONGEST_WAIT_S)
        try:
            date = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        return min(max(0.0, date.timestamp() - time.time()), _LONGEST_WAIT_S)
    if match := re.search(r";\s*t\s*=\s*(\d+)", lower.get("ratelimit", "")):
        return min(float(match[1]), _LONGEST_WAIT_S)
    return None


@dataclass(frozen=True)
class _Fault:
    """One kind of failure: classes that stand for it, or words that its text has; what is said of it."""

    kinds: frozenset[str]
    words: str
    text: str
    again: bool = False
    unreachable: bool = False

    def is_meant(self, kinds: set[str], text: str) -> bool:
        """Whether an exception of these classes and this text is of this kind."""
        named = not self.kinds or bool(self.kinds & kinds)
        return named and (not self.words or re.search(self.words, text, re.IGNORECASE) is not None)


def _fault(kinds: str, words: str, text: str, *, again: bool = False, unreachable: bool = False) -> _Fault:
    return _Fault(frozenset(kinds.split()), words, text, again, unreachable)


_REACH = "cannot reach {endpoint} ({why}); is this a node with internet? A mirror is set with {variable}, a proxy with "
_BROKE = "the connection to {endpoint} broke; try again: " + _STAYS
_CONNECT = "ConnectError ConnectionError NewConnectionError"
_FAULTS: Sequence[_Fault] = (
    _fault("OfflineModeIsEnabled", "", "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set; unset it to fetch"),
    _fault("JSONDecodeError", "", "{endpoint} does not answer as a hub does; correct {variable}"),
    _fault("HFValidationError InvalidParameter", "", "{repository!r} is no hub id; write it as owner/name"),
    _fault(
        "ImportError InvalidSchema",
        "socks",
        "a SOCKS proxy (ALL_PROXY) needs a package: pip install socksio pysocks; or name an http proxy",
    ),
    _fault(
        "ValueError InvalidURL InvalidProxyURL",
        "prox",
        "the address of the proxy (HTTPS_PROXY, ALL_PROXY) is none; write it as http://host:port",
    ),
    _fault(
        "ProxyError",
        "",
        "the proxy (HTTPS_PROXY) does not let us to {endpoint}; correct it, or name the host in NO_PROXY",
        again=True,
        unreachable=True,
    ),
    _fault(
        "",
        "certificate",
        "the certificate of {endpoint} cannot be checked; set SSL_CERT_FILE (and REQUESTS_CA_BUNDLE) to the "
        "certificates of your site",
    ),
    _fault(
        "TimeoutException Timeout TimeoutError RequestTimeoutError",
        "",
        "{endpoint} does not answer in time; try again: " + _STAYS,
        again=True,
    ),
    _fault(_CONNECT, "reset by peer|broken pipe|IncompleteRead|aborted|disconnected", _BROKE, again=True),
    _fault(_CONNECT, "", _REACH + "HTTPS_PROXY", again=True, unreachable=True),
    _fault(
        "TooManyRedirects UnsupportedProtocol InvalidURL MissingSchema InvalidSchema",
        "",
        "{endpoint} leads nowhere; is {variable} the address of a hub?",
    ),
    _fault(
        "FileIntegrityError FileSizeMismatchError",
        "",
        "{file} of {repository} came with another size or hash than the hub says; try again",
    ),
    _fault(
        "FileDownloadError TransportError RequestException NetworkError DecodingError StreamError ProtocolError",
        "",
        _BROKE,
        again=True,
    ),
)
"""The first that is meant is said. Exceptions of huggingface_hub, httpx, requests and modelscope_hub, by name."""


def from_exception(asked: Asked, error: Exception) -> HubError | None:
    """Return what an exception of a hub's library or of its HTTP client means; None for what is none of these."""
    response = getattr(error, "response", None)
    if isinstance(status := getattr(response, "status_code", None), int) and response is not None:
        return from_status(asked, status, response.headers)
    if isinstance(status := getattr(error, "status_code", None), int):  # ModelScope's library
        wait_s = getattr(error, "retry_after", None)
        return from_status(asked, status, {} if wait_s is None else {"Retry-After": str(wait_s)})
    kinds, text = {kind.__name__ for kind in type(error).__mro__}, _deepest_text(error)
    for fault in _FAULTS:
        if fault.is_meant(kinds, text):
            said = fault.text.format(
                endpoint=asked.shown,
                variable=asked.variable,
                repository=asked.repository,
                file=asked.file,
                why=_connect_reason(text),
            )
            return HubError(f"{asked.where}: {said}", again=fault.again, unreachable=fault.unreachable)
    return None


def told(asked: Asked, ask: Callable[[], _T]) -> _T:
    """Return what `ask` returns; what goes wrong with the hub becomes a `HubError`."""
    try:
        return ask()
    except ModelError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        known = from_exception(asked, error)
        text = f"{asked.where}: {asked.shown} does not answer as a hub does; correct {asked.variable}"
        raise known or HubError(text) from error
    except Exception as error:
        known = from_exception(asked, error)
        if known is None:
            raise
        raise known from error


def _deepest_text(error: BaseException) -> str:
    """Return the texts of an error and of what caused it; looked at, never shown."""
    texts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(texts) < 10:
        texts.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    return " | ".join(texts)


def _connect_reason(text: str) -> str:
    if re.search(r"name or service|name resolution|nodename|getaddrinfo|resolve", text, re.IGNORECASE):
        return "its name is not known here"
    if re.search(r"refused", text, re.IGNORECASE):
        return "connection refused"
    if re.search(r"unreachable|no route", text, re.IGNORECASE):
        return "network unreachable"
    return "no connection"


def disk_error(where: str, folder: Path, error: OSError) -> ModelError:
    """Return what a file that cannot be written means."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelError(
            f"{where}: no space left for {folder}; what was fetched stays: make room, or set hub_cache to a folder on "
            "another disk"
        )
    return ModelError(
        f"{where}: cannot write {error.filename or folder}: {error.strerror or type(error).__name__}; set hub_cache to a "
        "folder of yours"
    )
