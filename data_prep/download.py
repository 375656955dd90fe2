"""Download of one file: https only, size-capped, resumable, checked, renamed when complete.

Unfinished data lie beside the target as NAME.part with the server's version tag in NAME.part.tag,
so that a file that has changed on the server is never glued together from two versions. Room on the
disk is checked before anything is written. Plain http is allowed to this machine itself (loopback),
for tests.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dnamdlm.errors import DataError

_PIECE_BYTES = 1 << 20
# left free on the disk, for whatever else is written there.
_SPARE_BYTES = 1 << 26
_AGENT = "dnamdlm-data-prep"
_TEMPORARY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Limits:
    """How much and how long a download may take.

    Attributes:
        max_bytes: refuse anything larger.
        attempts: tries before giving up; each resumes where the last stopped.
        pause: seconds before the second try, doubled each time.
        timeout: seconds without a byte after which a try has failed.
    """

    max_bytes: int
    attempts: int = 5
    pause: float = 1.0
    timeout: float = 60.0


class _Incomplete(Exception):
    """The connection ended early, or the server asks to try again."""


class _WrongHash(DataError):
    """The whole file arrived, and it is another one than was expected."""


def download(
    url: str,
    path: Path,
    limits: Limits,
    *,
    digest: tuple[str, str] | None = None,
    report: Callable[[int, int | None], object] | None = None,
) -> None:
    """Fetch `url` to `path`; nothing stands at `path` unless the whole file arrived and agrees.

    Args:
        url: https address (or http on loopback).
        path: target; its folder is made.
        limits: size, tries and times.
        digest: name of a hash ("sha256", "md5") and its expected hexadecimal value.
        report: called with the bytes that have arrived and the total, if known.

    Raises:
        DataError: if the address is refused, the server says no, the file is too large or its
            hash is wrong, or all tries failed.
    """
    check_url(url)
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for unsafe in (path, part, _tag_path(part)):
            if unsafe.is_symlink():
                raise DataError(f"{unsafe}: this is a link, and nothing is written through links")
        is_continued = part.exists()
        for attempt in range(limits.attempts):
            try:
                _fetch(url, part, limits, report)
                _check_digest(url, part, digest)
                break
            except _WrongHash:
                # bytes of an earlier run may be to blame; without them there is nobody else.
                if not is_continued or attempt + 1 == limits.attempts:
                    raise
                is_continued = False
            except _Incomplete as error:
                if attempt + 1 == limits.attempts:
                    raise DataError(
                        f"{url}: incomplete after {limits.attempts} tries ({error}); "
                        "run the same command later, it resumes"
                    ) from error
                is_continued = part.exists()
                time.sleep(limits.pause * 2**attempt)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        _tag_path(part).unlink(missing_ok=True)
    except OSError as error:
        # every error of the connection was dealt with where it occurs.
        raise DataError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "give a folder with enough space that you may write to"
        ) from error


def check_url(url: str) -> None:
    """Raise DataError unless `url` is https, or http on loopback."""
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname or not (
        parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))
    ):
        raise DataError(f"{url}: only https addresses are fetched; give one that begins https://")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to an https address that is not a bare or local one."""

    def redirect_request(  # noqa: PLR0917
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        target = urllib.parse.urlsplit(newurl)
        stays = target.netloc == urllib.parse.urlsplit(req.full_url).netloc
        is_named = bool(target.hostname) and not _is_local(target.hostname or "")
        check_url(newurl)
        if not stays and not is_named:
            raise DataError(
                f"{req.full_url}: the server redirects to the local address {newurl}, which is "
                "refused; use another source"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_local(host: str) -> bool:
    if _is_loopback(host):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _fetch(
    url: str,
    part: Path,
    limits: Limits,
    report: Callable[[int, int | None], object] | None,
) -> None:
    """One try: continue `part` if the server's file is the same, else start again."""
    handlers: list[urllib.request.BaseHandler] = [_CheckedRedirects()]
    if _is_loopback(urllib.parse.urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    request, have = _request(url, part)
    try:
        with opener.open(request, timeout=limits.timeout) as response:
            _receive(response, url, part, have, limits, report)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)
        elif error.code not in _TEMPORARY_STATUS:
            raise DataError(
                f"{url}: the server answers {error.code} {error.reason}; check the address"
            ) from error
        raise _Incomplete(f"status {error.code}") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Incomplete(type(error).__name__) from error
    except urllib.error.URLError as error:
        raise _Incomplete(str(error.reason)) from error


def _request(url: str, part: Path) -> tuple[urllib.request.Request, int]:
    """The request for what is missing, and the bytes that are there."""
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=headers)
    tag_path = _tag_path(part)
    tag = tag_path.read_text(encoding="ascii") if tag_path.exists() else ""
    if not (tag and part.exists()):
        return request, 0
    have = part.stat().st_size
    request.add_header("Range", f"bytes={have}-")
    request.add_header("If-Range", tag)
    return request, have


def _receive(  # noqa: PLR0917
    response: http.client.HTTPResponse,
    url: str,
    part: Path,
    have: int,
    limits: Limits,
    report: Callable[[int, int | None], object] | None,
) -> None:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DataError(
            f"{url}: the server packs the file for the journey, which changes its bytes; "
            "use another source"
        )
    continues = response.status == http.HTTPStatus.PARTIAL_CONTENT
    if continues and not _is_rest(response, have):
        part.unlink(missing_ok=True)
        raise _Incomplete("the server sent another part than was asked for")
    if not continues:
        have = 0
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        # a weak tag does not promise equal bytes.
        is_usable = tag.isascii() and not tag.startswith("W/")
        _tag_path(part).write_text(tag if is_usable else "", encoding="ascii")
    announced = response.headers.get("Content-Length") or ""
    total = have + int(announced) if announced.isdigit() else None
    if total is not None and total > limits.max_bytes:
        raise _too_large(url, part, total, limits)
    check_room(part, (total or have) - have)
    with part.open("ab" if continues else "wb") as out:
        while piece := response.read(_PIECE_BYTES):
            have += len(piece)
            if have > limits.max_bytes:
                raise _too_large(url, part, have, limits)
            out.write(piece)
            if report is not None:
                report(have, total)
    if total is not None and have < total:
        raise _Incomplete(f"{have} of {total} bytes")


def _is_rest(response: http.client.HTTPResponse, have: int) -> bool:
    """Whether a partial answer is all that is missing after the first `have` bytes."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
    if found is None:
        return False
    start, last, total = map(int, found.groups())
    return start == have and last + 1 == total


def check_room(path: Path, num_bytes: int) -> None:
    """Raise DataError unless `num_bytes` more fit on the disk of `path`."""
    free = shutil.disk_usage(path.parent).free
    if free < num_bytes + _SPARE_BYTES:
        raise DataError(
            f"{path.parent}: {num_bytes / 1e9:.2f} GB are to be written and {free / 1e9:.2f} GB "
            "are free; free some space or give another folder"
        )


def _tag_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _too_large(url: str, part: Path, size: int, limits: Limits) -> DataError:
    part.unlink(missing_ok=True)
    return DataError(
        f"{url}: the file has {size} bytes or more, at most {limits.max_bytes} are expected; "
        "this is not the right file: check the address"
    )


def _check_digest(url: str, part: Path, digest: tuple[str, str] | None) -> None:
    if digest is None:
        return
    algorithm, expected = digest
    with part.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected.lower():
        part.unlink()
        raise _WrongHash(
            f"{url}: its {algorithm} is {found}, {expected} is expected; "
            "the file was damaged on its way or has changed at the source: fetch it again"
        )
