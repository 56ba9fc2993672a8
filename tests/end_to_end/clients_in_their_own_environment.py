"""What LangChain, LiteLLM's SDK and the `llm` command come to at a base URL, as JSON; run by gateway_clients.

It runs in an environment that has those clients and none of our code. How the server is to behave stands in what it is
asked: "behave:rate_limited".
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KEY = "sk-the-servers-own-key-0123456789"
TEXT = "Three primes?"
ERRORS = "rate_limited server_error bad_request unauthorized not_found unprocessable malformed_json".split()


def langchain(url: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """ChatOpenAI and OpenAIEmbeddings."""
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    chat = ChatOpenAI(model="tiny", base_url=url, api_key=KEY, max_retries=0)
    yield "ask", lambda: chat.invoke(TEXT).content
    yield "usage", lambda: chat.invoke(TEXT).usage_metadata
    yield "stream", lambda: [chunk.content for chunk in chat.stream(TEXT)]
    yield "batch", lambda: [each.content for each in chat.batch([TEXT, "Another?"])]
    yield "tools", lambda: [*chat.bind_tools([add]).stream("behave:tool_calls")][-1].id is not None
    texts = OpenAIEmbeddings(model="text-embedding-3-small", base_url=url, api_key=KEY, max_retries=0)
    yield "embed tokens", lambda: texts.embed_documents(["a train", "a bus"])
    plain = OpenAIEmbeddings(
        model="text-embedding-3-small", base_url=url, api_key=KEY, max_retries=0, check_embedding_ctx_length=False
    )
    yield "embed texts", lambda: plain.embed_documents(["a train", "a bus"])
    for behaviour in ERRORS:
        yield behaviour, lambda behaviour=behaviour: chat.invoke(f"behave:{behaviour}").content  # type: ignore[misc]
    yield "cut stream", lambda: [chunk.content for chunk in chat.stream("behave:cut_stream")]


def litellm_sdk(url: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """litellm.completion and litellm.embedding."""
    import litellm

    litellm.telemetry = False

    def ask(content: str, **more: Any) -> Any:
        messages = [{"role": "user", "content": content}]
        return litellm.completion(
            "openai/tiny", messages=messages, api_base=url, api_key=KEY, num_retries=0, max_retries=0, **more
        )

    yield "ask", lambda: ask(TEXT).choices[0].message.content
    yield "usage", lambda: ask(TEXT).usage.total_tokens
    yield "stream", lambda: [chunk.choices[0].delta.content for chunk in ask(TEXT, stream=True)]
    yield (
        "embed",
        lambda: litellm.embedding("openai/text-embedding-3-small", input=["a train"], api_base=url, api_key=KEY).data[
            0
        ]["embedding"],
    )
    for behaviour in ERRORS:
        yield behaviour, lambda behaviour=behaviour: ask(f"behave:{behaviour}").choices[0].message.content  # type: ignore[misc]


def llm_command(url: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """`llm` with a model of its extra-openai-models.yaml."""
    home = Path(tempfile.mkdtemp())
    (home / "extra-openai-models.yaml").write_text(
        f"- model_id: through\n  model_name: tiny\n  api_base: {url}\n  api_key_name: openai\n"
    )
    environment = {**os.environ, "LLM_USER_PATH": str(home), "OPENAI_API_KEY": KEY}

    def ask(content: str, *options: str) -> Any:
        command = [str(Path(sys.executable).parent / "llm"), "-m", "through", *options, content]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    yield "ask", lambda: ask(TEXT, "--no-stream")
    yield "stream", lambda: ask(TEXT)
    yield "error", lambda: ask("behave:bad_request")


def outcome(work: Callable[[], Any]) -> Any:
    """What a client gives, or what it raises and says."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is compared
        return type(error).__name__, getattr(error, "status_code", None), str(error)


if __name__ == "__main__":
    clients = {"langchain": langchain, "litellm": litellm_sdk, "llm": llm_command}
    found = {f"{name}: {what}": outcome(work) for name, client in clients.items() for what, work in client(sys.argv[1])}
    print(json.dumps(found))
