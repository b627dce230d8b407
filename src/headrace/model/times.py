"""Instants as text of fixed width, so that text order is time order. UTC, microseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def text_of(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def instant_of(text: str) -> datetime:
    return datetime.fromisoformat(text)
