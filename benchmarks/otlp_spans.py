"""Sends calls as OpenTelemetry spans: one JSON object a line on stdin, 500 spans a request.

    PEER/bin/python benchmarks/otlp_spans.py http://127.0.0.1:6006/v1/traces '{"header": "value"}' < calls.jsonl

Run by the interpreter of a peer's environment, which has OpenTelemetry's messages; it imports nothing of ours.
"""

import json
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.error import HTTPError

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

SPANS = 500
SECONDS = 600
PAUSE_SECONDS = 1.0  # before a server is asked again that has no room for more for now


def message(calls: Sequence[Mapping[str, Any]]) -> bytes:
    """Calls as an export request, each a trace of one span."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for call in calls:
        trace_id = bytes.fromhex(call["id"])
        span = spans.add(
            name="chat",
            trace_id=trace_id,
            span_id=trace_id[8:],
            start_time_unix_nano=call["begin_ns"],
            end_time_unix_nano=call["end_ns"],
        )
        span.status.code = Status.STATUS_CODE_OK if call["ok"] else Status.STATUS_CODE_ERROR
        for name, value in call["attributes"].items():
            kind = "int_value" if isinstance(value, int) else "string_value"
            setattr(span.attributes.add(key=name).value, kind, value)
    return request.SerializeToString()


def taken(asked: urllib.request.Request) -> bool:
    """Whether the server has taken them; raises HTTPError for what waiting doesn't mend."""
    try:
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            answer.read()
    except HTTPError as error:
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return False
    return True


def main(address: str, headers: Mapping[str, str]) -> None:
    """Send them in their order."""
    lines = map(json.loads, sys.stdin)
    while calls := list(islice(lines, SPANS)):
        content = {"Content-Type": "application/x-protobuf", **headers}
        asked = urllib.request.Request(address, message(calls), content)
        while not taken(asked):
            time.sleep(PAUSE_SECONDS)
        sys.stderr.write(".")
        sys.stderr.flush()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
