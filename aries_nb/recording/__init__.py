"""Recordings of feeds: events written as they happen, and read again in their order."""

from aries_nb.recording.folder import JSON, RecordingHeader
from aries_nb.recording.reader import RecordingReader, RecordingSummary
from aries_nb.recording.sealing import seal
from aries_nb.recording.writer import RecordingStatistics, RecordingWriter

__all__ = [
    "JSON",
    "RecordingHeader",
    "RecordingReader",
    "RecordingStatistics",
    "RecordingSummary",
    "RecordingWriter",
    "seal",
]
