"""The one way to AWS: clients with our retries and time limits, a meter of every request, errors in our words.

It knows no bucket, table or queue. Every adapter, handler and command of this home is given one. Opening it does
nothing: the first client looks for credentials.

| code | means |
|---|---|
| HR801 | no credentials, or ones that AWS does not take |
| HR802 | an action that these credentials may not do |
| HR803 | a service cannot be reached, or fails by itself |
| HR804 | a service still throttles after all retries |
| HR805 | a service refuses a request for another reason, which the message gives |
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import botocore.loaders
import botocore.session
from botocore import exceptions as foreign
from botocore.config import Config
from botocore.httpsession import get_cert_path

from headrace.engine import log
from headrace.model.errors import InfrastructureError

ATTEMPTS = 6
"""Of one request, with 0–1, 0–2, 0–4, 0–8 and 0–16 s in between: outlasts a short outage, within a function's time."""

CONNECT, READ = 5.0, 60.0
"""Seconds to wait for a connection, and for the next byte."""

POOL = 32
"""Connections kept per client: as many as threads that share it."""

LONGEST = 400
"""Characters of a service's own words in a message."""

NO_CREDENTIALS = (
    foreign.NoCredentialsError,
    foreign.PartialCredentialsError,
    foreign.CredentialRetrievalError,
    foreign.ProfileNotFound,
    foreign.TokenRetrievalError,
    foreign.SSOError,
    foreign.NoAuthTokenError,
)
UNREACHABLE = (
    foreign.HTTPClientError,
    foreign.EndpointConnectionError,
    foreign.IncompleteReadError,
    foreign.ResponseStreamingError,
    foreign.MetadataRetrievalError,
)
NOT_TAKEN = {
    "AuthFailure": "AWS does not know them",
    "ExpiredToken": "they have expired",
    "ExpiredTokenException": "they have expired",
    "IncompleteSignature": "they are incomplete",
    "IncompleteSignatureException": "they are incomplete",
    "InvalidAccessKeyId": "AWS does not know the access key",
    "InvalidClientTokenId": "AWS does not know the access key",
    "InvalidSecurity": "AWS does not take them",
    "InvalidSignatureException": "the secret does not belong to the access key, or this machine's clock is wrong",
    "InvalidToken": "AWS does not know the session token",
    "MissingAuthenticationToken": "there are none in the request",
    "MissingAuthenticationTokenException": "there are none in the request",
    "NotSignedUp": "the account is not signed up for this service",
    "OptInRequired": "the account is not signed up for this service",
    "RequestExpired": "this machine's clock is wrong",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "SignatureDoesNotMatch": "the secret does not belong to the access key, or this machine's clock is wrong",
    "TokenRefreshRequired": "they have expired",
    "UnrecognizedClientException": "AWS does not know the access key",
}
"""What each error code says of the credentials. Never the service's own words: they may quote what was signed."""

DENIED = {
    "403",
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "AuthorizationError",
    "AuthorizationErrorException",
    "Forbidden",
    "KMS.AccessDeniedException",
    "KMSAccessDenied",
    "UnauthorizedOperation",
}
THROTTLED = {
    "429",
    "BandwidthLimitExceeded",
    "KMS.ThrottlingException",
    "KMSThrottling",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}
SECRETS = re.compile(
    r"(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|(?<=//)[^/@\s:]+:[^/@\s]+(?=@)"
    r"|(?i:(?:x-amz-(?:signature|security-token|credential)|signature|authorization|credential)\s*[=:])\s*[^\s&,'\"]+"
    r"|(?i:encoded authorization failure message):.*",
    re.DOTALL,
)
ACTION = re.compile(r"not authorized to perform: ?(\S+?)(?: on resource: ?(\S+?))?(?:[,.]?\s|[,.]?$)")


@cache
def _models(path: str | None) -> botocore.loaders.Loader:
    """Descriptions of the services. Parsing one takes 0.1 s: once in a process is enough."""
    return botocore.loaders.create_loader(path)


class Session:
    """Who speaks to AWS, and from which region. Thread-safe, as are its clients.

    `meter` counts the calls of each (service, operation), `retries` the further attempts that they needed.
    """

    def __init__(self, region: str, profile: str | None = None, *, attempts: int = ATTEMPTS) -> None:
        self.region = region
        self.profile = profile
        self.meter: Counter[tuple[str, str]] = Counter()
        self.retries: Counter[tuple[str, str]] = Counter()
        self._attempts = attempts
        self._reported: tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]] = (Counter(), Counter())
        self._lock = threading.RLock()
        self._inner: Any = None
        self._clients: dict[tuple[str, str, float], Any] = {}

    def client(self, service: str, *, region: str | None = None, read_timeout: float = READ) -> Any:
        """botocore's client of a service, made once. Another `region` for what lives in one alone, such as budgets."""
        wanted = (service, region or self.region, read_timeout)
        with self._lock:
            if wanted not in self._clients:
                self._clients[wanted] = self._make(*wanted)
            return self._clients[wanted]

    def _make(self, service: str, region: str, read_timeout: float) -> Any:
        config = Config(
            retries={"mode": "standard", "total_max_attempts": self._attempts},
            connect_timeout=CONNECT,
            read_timeout=read_timeout,
            max_pool_connections=POOL,
            user_agent_extra="headrace",
        )
        with self.wrapped(service, "look at the target's region and profile"):
            client = self._botocore().create_client(service, region_name=region, config=config)
        client.meta.events.register("request-created", partial(self._sent, service))
        return client

    def _botocore(self) -> Any:
        if self._inner is None:
            inner = botocore.session.Session(profile=self.profile)
            inner.register_component("data_loader", _models(inner.get_config_variable("data_path")))
            self._inner = inner
        return self._inner

    def credentials(self) -> Any:
        """botocore's credentials, which renew themselves, for what signs its own requests. Raises HR801."""
        with self._lock, self.wrapped(self.profile or "AWS", ""):
            found = self._botocore().get_credentials()
            if found is None:
                raise foreign.NoCredentialsError()
            return found

    def pause(self, attempt: int) -> None:
        """Wait before the `attempt`-th further try of what a service took in part: long enough, and not all at once."""
        time.sleep(random.uniform(0, min(0.1 * 2**attempt, 5)))

    def certificates(self) -> str:
        """The file with those that botocore's clients trust: the environment's, the profile's, or its own."""
        with self.wrapped(self.profile or "AWS", ""):
            named = self._botocore().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE", True)
            return str(get_cert_path(named))

    def account(self) -> str:
        """The number of the account that the credentials belong to: also the cheapest way to try them."""
        with self.wrapped(self.profile or "AWS", "look at the credentials"):
            return str(self.client("sts").get_caller_identity()["Account"])

    @property
    def partition(self) -> str:
        """What ARNs of the region begin with: aws, aws-cn, aws-us-gov."""
        with self.wrapped(self.region, "look at the target's region"):
            return str(self._botocore().get_partition_for_region(self.region))

    # the meter

    def count(self, service: str, operation: str, *, calls: int = 1, retries: int = 0) -> None:
        """Count requests that did not go through a client."""
        with self._lock:
            if calls:
                self.meter[service, operation] += calls
            if retries:
                self.retries[service, operation] += retries

    def report(self) -> dict[str, int]:
        """Log what was asked of AWS since the last report as one line; returns it by `service:operation`."""
        with self._lock:
            calls, retries = self.meter - self._reported[0], self.retries - self._reported[1]
            self._reported = (Counter(self.meter), Counter(self.retries))
        found = {f"{service}:{operation}": n for (service, operation), n in sorted(calls.items())}
        again = {f"{service}:{operation}": n for (service, operation), n in sorted(retries.items())}
        log.event("requests", requests=found, retries=again)
        return found

    def _sent(self, service: str, operation_name: str, request: Any, **_: object) -> None:
        """botocore makes a request for each attempt, and numbers them."""
        first = request.context.get("retries", {}).get("attempt", 1) == 1
        self.count(service, operation_name, calls=int(first), retries=int(not first))

    # errors

    @contextmanager
    def wrapped(self, which: str, next: str, kind: type[InfrastructureError] = InfrastructureError) -> Iterator[None]:
        """Raise what AWS or the way to it says as `kind`, with `which` it is about and what to do `next`.

        What an adapter expects (a condition that failed, an object that is gone) it catches inside.
        """
        try:
            yield
        except (foreign.BotoCoreError, foreign.ClientError) as exc:
            raise self.error(exc, which, next, kind) from exc

    def error(
        self, exc: Exception, which: str, next: str, kind: type[InfrastructureError] = InfrastructureError
    ) -> InfrastructureError:
        """What `wrapped` raises, for who wants to look at it first. Takes the cause's own words away where they hold
        a secret: a trace would show them.
        """
        code, found, instead = self._judge(exc, which)
        ours = kind(code, which, self.scrub(found), instead or next)
        if code == "HR801" or self.scrub(str(exc), None) != str(exc):
            exc.args = ("(its words may hold a secret)",)
            if isinstance(exc, foreign.ClientError):
                exc.response = {"Error": {"Code": code_of(exc)}}
        return ours

    def _judge(self, exc: Exception, which: str) -> tuple[str, str, str]:
        """Code, what was found, and what to do where that is not the adapter's to say."""
        if isinstance(exc, NO_CREDENTIALS):
            return "HR801", _no_credentials(exc), "log in, or name a `profile` in the target, then `headrace doctor`"
        if isinstance(exc, UNREACHABLE):
            return "HR803", f"it cannot be reached: {exc}", "look at the network and the region, then try again"
        if not isinstance(exc, foreign.ClientError):
            return "HR805", f"{type(exc).__name__}: {exc}", ""
        code, said, status = code_of(exc), said_by(exc), status_of(exc)
        asked = exc.operation_name
        if code in NOT_TAKEN:
            found = f"the credentials were not taken by {asked} ({code}): {NOT_TAKEN[code]}"
            return "HR801", found, "log in again, or name another `profile` in the target"
        if code in DENIED or (status == 403 and not code):
            action, resource = _denied(exc, which)
            found = f"{action} on {resource} is denied to these credentials"
            return "HR802", found, "allow it in the role's or user's policy, or use another `profile`"
        if code in THROTTLED or status == 429:
            found = f"{asked} is still throttled after {self._attempts} attempts ({code})"
            return "HR804", found, "try again later, or lower `concurrency`"
        if status >= 500:
            return "HR803", f"{asked} fails there ({status} {code}): {said}", "try again later"
        return "HR805", f"{asked} was refused ({code}): {said}", ""

    def scrub(self, text: str, longest: int | None = LONGEST) -> str:
        """A text without what lets anybody in, and no longer than a person reads."""
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return SECRETS.sub("***", text)[:longest]

    def _secrets(self) -> Iterator[str]:
        """What is known so far: asking the credentials themselves could set off a search, or a renewal that fails."""
        held = getattr(self._inner, "_credentials", None)
        known = vars(held) if held is not None else {}
        for value in (
            *(os.environ.get(name) for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")),
            *(known.get(name) for name in ("secret_key", "_secret_key", "token", "_token")),
        ):
            if value and len(value) > 7:  # nothing shorter is a secret of AWS, and `test` is a word of its own
                yield value


def code_of(exc: Exception) -> str:
    """A service's error code, such as NoSuchKey or 404 (of a HEAD); "" for what is no answer of a service."""
    found = exc.response.get("Error", {}) if isinstance(exc, foreign.ClientError) else {}
    return str(found.get("Code", "")).rsplit("#", 1)[-1]


def said_by(exc: Exception) -> str:
    """A service's own words about an error, on one line."""
    found = exc.response.get("Error", {}) if isinstance(exc, foreign.ClientError) else {}
    return " ".join(str(found.get("Message", "")).split()) or "it gives no reason"


def status_of(exc: Exception) -> int:
    """The HTTP status of a service's error; 0 for what is none."""
    found = exc.response.get("ResponseMetadata", {}) if isinstance(exc, foreign.ClientError) else {}
    return int(found.get("HTTPStatusCode", 0))


def _no_credentials(exc: Exception) -> str:
    """What is known of the lack, in our words: a helper's own may hold what it was asked for."""
    match exc:
        case foreign.ProfileNotFound():
            return f"there is no profile {exc.kwargs.get('profile')!r} on this machine"
        case foreign.PartialCredentialsError():
            return f"credentials from {exc.kwargs.get('provider')} lack {exc.kwargs.get('cred_var')}"
        case foreign.CredentialRetrievalError():
            return f"credentials could not be had from {exc.kwargs.get('provider')}"
        case foreign.SSOError() | foreign.TokenRetrievalError() | foreign.NoAuthTokenError():
            return "the login has expired or was never made"
        case _:
            return "there are no credentials"


def _denied(exc: foreign.ClientError, which: str) -> tuple[str, str]:
    """The action and the resource, as the service says them, else as they were asked for."""
    said = ACTION.search(said_by(exc))
    if said is None:
        return exc.operation_name, which
    return said[1], said[2] or which
