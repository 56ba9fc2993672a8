"""What the OpenAPI document says of the gateway, which the framework's router never sees."""

from typing import Any

from interfaces.http.gateway_wishes import METADATA_HEADERS, TAG_HEADERS

Json = dict[str, Any]

TEXT = {"type": "string"}
ANY_OBJECT: Json = {"type": "object", "additionalProperties": True}
WISHES = {
    "x-sq-group": "A group that the call joins, as TYPE/NAME; it is made if it isn't there.",
    "x-sq-tags": "Tags, divided by commas; they are `tags` of the call's metadata.",
    "x-sq-metadata": "A JSON object: the call's metadata, beside the body's own `metadata`, which it goes before.",
    "x-sq-cache": "Take an answer that the same request got within this time: seconds, or 10m, 1h, 7d.",
    "x-sq-share": "`true`: wait for the same request that is under way, instead of calling once more.",
}
TOLD = {
    "x-sq-call-id": "The call, as /api/calls/{call_id} shows it.",
    "x-sq-position": "Where the answer is stored, for `at_least`; of a stream, where its request is.",
    "x-sq-overhead-ms": "What this server added to the provider's own time; of a stream, up to its beginning.",
    "x-sq-cache": "`hit`, `miss`, or `off` where no earlier answer was wished for.",
    "x-sq-request-id": "This request's id here; `x-request-id` is the provider's where it sent one.",
}
ERROR = {
    "type": "object",
    "title": "OpenAIError",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": TEXT,
                "type": TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
REFUSED = {
    "error": {"message": "you must provide a model parameter", "type": "invalid_request_error", "param": "model"}
    | {"code": None}
}
REFUSALS = {
    "401": "No token, or one that is unknown; or the provider's own.",
    "403": "The token's scope is another one; or the provider's own.",
    "429": "The token has asked too much; or the provider's own.",
}
ASKED = {
    "/v1/chat/completions": {
        "model": "openai/gpt-4o-mini",
        "messages": [{"role": "user", "content": "Name three primes"}],
    },
    "/v1/embeddings": {"model": "openai/text-embedding-3-small", "input": ["a cat", "a dog"]},
}


# In OpenAI's shape; each provider may add fields of its own.
ANSWERED: Json = {
    "/v1/chat/completions": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1792000000,
        "model": "gpt-4o-mini",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "2, 3 and 5"}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17},
    },
    "/v1/embeddings": {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.6, 0.8]},
            {"object": "embedding", "index": 1, "embedding": [0.8, -0.6]},
        ],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    },
}
STREAMED = 'data: {"choices":[{"index":0,"delta":{"content":"2, 3"}}]}\n\ndata: [DONE]\n\n'
MODEL: Json = {"id": "openai/gpt-4o-mini", "object": "model", "created": 0, "owned_by": "openai"}


def with_gateway(document: Json) -> Json:
    """The document with the gateway's operations and the shape of its errors."""
    components = document.get("components", {})
    schemas = {**components.get("schemas", {}), "OpenAIError": ERROR}
    return {
        **document,
        "paths": {**document["paths"], **PATHS},
        "components": {**components, "schemas": schemas},
    }


def _relayed(path: str, operation: str, summary: str, streamed: str) -> Json:
    content: Json = {"application/json": {"schema": ANY_OBJECT, "example": ANSWERED[path]}}
    if streamed:
        content["text/event-stream"] = {"schema": {**TEXT, "description": streamed}, "example": STREAMED}
    headers = {name: {"description": said, "schema": TEXT} for name, said in TOLD.items()}
    aliases = ", ".join((*(name for name in (*METADATA_HEADERS, *TAG_HEADERS) if not name.startswith("x-sq-")),))
    return {
        "post": {
            "operationId": operation,
            "tags": ["gateway"],
            "summary": summary,
            "description": (
                "OpenAI's own, relayed byte for byte, fields that nobody here knows too, to the provider that the "
                "model's name begins with (`PROVIDER/MODEL`), else to the default one. The call is recorded before the "
                "provider is asked, its answer before you have it. Status and bytes are the provider's, of errors too. "
                f"{aliases}, Helicone-Property-* and Helicone-Session-Id are taken as well."
            ),
            "parameters": [
                {"name": name, "in": "header", "required": False, "description": said, "schema": TEXT}
                for name, said in WISHES.items()
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["model"],
                            "properties": {"model": {**TEXT, "minLength": 1, "maxLength": 500}},
                            "additionalProperties": True,
                        },
                        "example": ASKED[path],
                    }
                },
            },
            "responses": {
                "200": {"description": "The provider's answer.", "headers": headers, "content": content},
                **_errors(),
            },
        }
    }


def _errors() -> Json:
    shown = {"schema": {"$ref": "#/components/schemas/OpenAIError"}, "example": REFUSED}
    theirs: Json = {"*/*": {"schema": {}}}  # a provider's error is whatever it sends
    refused = {
        status: {"description": said, "content": {"application/json": shown, **theirs}}
        for status, said in REFUSALS.items()
    }
    return {
        **refused,
        "4XX": {
            "description": "The provider's own error, or ours in OpenAI's shape.",
            "content": {"application/json": shown, **theirs},
        },
        "5XX": {
            "description": "The provider's own, or ours: 502 it gave no reply, 504 not in time, 503 the store is away.",
            "content": {"application/json": shown, **theirs},
        },
    }


def _models(summary: str, operation: str, shown: Json, **more: Any) -> Json:
    answer = {"application/json": {"schema": ANY_OBJECT, "example": shown}}
    return {
        "get": {
            "operationId": operation,
            "tags": ["gateway"],
            "summary": summary,
            "description": "By the name that a request gives: PROVIDER/MODEL. Nothing of it is recorded.",
            "responses": {"200": {"description": "In OpenAI's shape.", "content": answer}, **_errors()},
            **more,
        }
    }


PATHS: Json = {
    "/v1/chat/completions": _relayed(
        "/v1/chat/completions",
        "relay_chat",
        "Ask as OpenAI's clients do",
        "The provider's own events; the last, `[DONE]`, once the answer is durable.",
    ),
    "/v1/embeddings": _relayed("/v1/embeddings", "relay_embeddings", "Embed as OpenAI's clients do", ""),
    "/v1/models": _models(
        "List the models that can be asked", "list_gateway_models", {"object": "list", "data": [MODEL]}
    ),
    "/v1/models/{model}": _models(
        "Look at one model",
        "get_gateway_model",
        MODEL,
        parameters=[
            {"name": "model", "in": "path", "required": True, "schema": TEXT, "example": "local/local-extract"}
        ],
    ),
}
