"""Instants as text of fixed width, so that text order is time order. UTC, microseconds."""

from __future__ import annotations

from datetime import UTC, datetime

FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def text_of(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime(FORMAT)


def instant_of(text: str) -> datetime:
    return datetime.fromisoformat(text)  # thirty times as fast as strptime; every load is read through here
