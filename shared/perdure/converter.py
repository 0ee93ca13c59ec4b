"""``perdure.converter``: how values become payloads and back."""

from perdure.authoring.converter import DataConverter, DefaultPayloadConverter, default
from perdure.core.payloads import Payload, PayloadConverter

__all__ = [
    "DataConverter",
    "DefaultPayloadConverter",
    "Payload",
    "PayloadConverter",
    "default",
]
