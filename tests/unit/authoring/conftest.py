"""Fixtures of the authoring tests."""

import pytest
from support.recording_host import RecordingHost

from perdure.converter import DataConverter


@pytest.fixture
def host() -> RecordingHost:
    return RecordingHost(DataConverter.default().payload_converter)
