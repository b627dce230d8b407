"""Instants as text of fixed width, so that text order is time order. UTC, microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headrace.model.words import UNITS, span_seconds


def text_of(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def instant_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def since_of(text: str) -> datetime | timedelta:
    """`2025-05-01`, `2025-05-01T12:00` (UTC without an offset), or a span back: `2 hours`. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        return timedelta(seconds=span_seconds(text.removesuffix("ago")))
    except ValueError:
        raise ValueError(f"{text!r} is no time: write 2025-05-01, or '2 hours' ({UNITS})") from None
