"""Talking with a model, and looking at what was said."""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.answers import dimmed, print_stream, show_answers
from interfaces.cli.command import Invocation, as_of_a_moment, by_the_page, study_command
from interfaces.cli.preprocessing import preprocessing_of, preprocessing_options
from interfaces.cli.terminal import echo_text, for_stdout, visible

if TYPE_CHECKING:
    from application.continue_conversation import TakenTurn
    from application.keep_conversation import Begun
    from domain.preprocessing import Preprocessing
    from interfaces.as_of import Moment
    from interfaces.study import Study

PROMPT = "› "
SHOWN = (
    "title",
    "status",
    "provider",
    "model",
    "temperature",
    "max_tokens",
    "seed",
    "token_budget",
    "system",
    "parent_id",
    "at_turn",
    "started_at",
    "closed_at",
    "closed_reason",
    "actor",
)
MOST_PIPED_CHARACTERS = 50_000_000
HELP = """/history        what was said so far
/fork [TURN]    go on in a conversation of its own, from a turn or from here
/close          take no more messages, and end
/help           this list
Ctrl-C cancels the answer that is under way; Ctrl-D ends."""


def add_to(study: click.Group) -> None:
    """Add the commands."""
    study_command(
        study,
        "chat",
        examples='study chat --system "Be brief."\n'
        'study chat "Name three primes" --provider local\n'
        'study chat "And three more" --conversation 0195512a-7c00-7000-8000-000000000001\n'
        "study chat --preprocess pii,whitespace\n"
        "study chat --token-budget 4000 < messages.txt",
    )(chat)

    @study.group("conversations")
    def conversations() -> None:
        """Look at conversations, fork them, close them."""

    some_id = "0195512a-7c00-7000-8000-000000000001"
    study_command(
        conversations,
        "list",
        examples="study conversations list --status open\nstudy conversations list --as-of 2026-03-01",
    )(list_conversations)
    study_command(conversations, "show", examples=f"study conversations show {some_id}")(show)
    study_command(conversations, "fork", examples=f"study conversations fork {some_id} --at 2")(fork)
    study_command(conversations, "close", examples=f"study conversations close {some_id}")(close)


@click.argument("message", required=False)
@click.option("--conversation", "conversation_id", metavar="ID", help="Go on with this one instead of beginning one.")
@click.option("--system", help="System prompt of the conversation that begins.")
@click.option("--provider", help="azure, openai, hyperbolic or local; without it, the first that is configured.")
@click.option("--model", help="Model, or deployment on Azure.")
@click.option("--temperature", type=float, help="0 to 2; not sent unless given.")
@click.option("--max-tokens", type=int, help="Bound on each answer; not sent unless given.")
@click.option("--seed", type=int, help="Seed, for providers that take one.")
@click.option("--token-budget", type=int, help="Most tokens to send; the oldest turns are left out, and it says which.")
@preprocessing_options
@click.option("--no-stream", "stream", flag_value=False, default=True, help="Print answers when they are complete.")
def chat(
    invocation: Invocation,
    message: str | None,
    conversation_id: str | None,
    system: str | None,
    stream: bool,
    **options: Any,
) -> None:
    """Talk with a model: one MESSAGE, or as many as you type, or one a line from a pipe.

    Every message is a recorded call. Options hold for the conversation that begins, or for these messages of one that
    is there; what --preprocess and --template do is done to each message of this command.
    """
    from domain.errors import Rejected

    if conversation_id is not None and system is not None:
        raise Rejected("A conversation keeps its system prompt: leave away --system, or begin one", fields=("system",))
    if invocation.as_json and message is None:
        raise Rejected("With --json, give one MESSAGE: a turn is one document", fields=("message",))
    preprocessing = preprocessing_of(options)
    lines = [] if message is None else [message]
    if message is None and not sys.stdin.isatty():
        lines = _piped_lines()

    async def work(study: "Study") -> "list[TakenTurn]":
        talk = await _Talk.opened(study, conversation_id, system, options, stream=stream, quietly=invocation.as_json)
        talk.preprocessing = preprocessing
        if not lines:
            await talk.go_on()
            return []
        return [await talk.say(line) for line in lines]

    turns = invocation.run(work)
    if invocation.as_json:
        from interfaces.turn_document import turn_document

        invocation.answer(_plain(turn_document(turns[0])))
    elif lines:
        _tell_how_to_go_on(str(turns[-1].conversation_id))


class _Talk:
    """One conversation as it is held at a terminal or through a pipe."""

    def __init__(
        self, study: "Study", conversation_id: str, options: dict[str, Any], *, stream: bool, quietly: bool
    ) -> None:
        self.study = study
        self.conversation_id = conversation_id
        self.options = options  # of each message
        self.preprocessing: Preprocessing | None = None  # of each message, as it is given
        self.stream = stream
        self.quietly = quietly
        self.closed = False
        self.position = 0  # of the last thing that happened, which a look back is to show
        self.saying: asyncio.Task[TakenTurn] | None = None

    @classmethod
    async def opened(
        cls,
        study: "Study",
        conversation_id: str | None,
        system: str | None,
        options: dict[str, Any],
        *,
        stream: bool,
        quietly: bool,
    ) -> "_Talk":
        """The one with this id, or one that begins with these settings."""
        if conversation_id is not None:
            await study.conversations.get(conversation_id)
            return cls(study, conversation_id, options, stream=stream, quietly=quietly)
        from application.keep_conversation import NewConversation
        from domain.conversations import ConversationSettings

        wanted = NewConversation(settings=ConversationSettings(system=system, **options))
        begun = await study.conversations.start(wanted, study.context())
        return cls(study, str(begun.conversation_id), {}, stream=stream, quietly=quietly)

    async def say(self, content: str) -> "TakenTurn":
        """Say something and print the answer, and on stderr what is to be known of it."""
        turn = await self._answered(content)
        self.position = turn.position or self.position
        if not self.quietly:
            from interfaces.turn_document import turn_document

            show_answers([_plain(turn_document(turn))], printed=self.stream)
            if turn.dropped_turns:
                _aside(
                    f"— to keep within {turn.budget_tokens} tokens ({turn.counted_by}), "
                    f"{_turns(turn.dropped_turns)} not sent; study conversations show {self.conversation_id} has all"
                )
        return turn

    async def _answered(self, content: str) -> "TakenTurn":
        from application.continue_conversation import Message

        message: Message = Message(content=content, preprocessing=self.preprocessing, **self.options)
        if self.stream:
            pieces = self.study.conversations.stream(self.conversation_id, message, self.study.context())
            return await print_stream(pieces, quietly=self.quietly)
        return await self.study.conversations.say(self.conversation_id, message, self.study.context())

    async def go_on(self) -> None:
        """Read messages from the terminal until it ends."""
        _aside(f"Conversation {self.conversation_id}. /help lists the commands; Ctrl-D ends.")
        with _at_an_interrupt(self._interrupted):
            while not self.closed and (line := await _read_line()) is not None:
                await self._take(line)
        if not self.closed:
            _tell_how_to_go_on(self.conversation_id)

    async def _take(self, line: str) -> None:
        """A line that was typed: a command or a message. What fails is told, and the conversation goes on."""
        from domain.errors import StudyError

        if not line.strip():
            return
        try:
            await (self._command(line.strip()) if line.startswith("/") else self._say_interruptibly(line))
        except StudyError as error:
            click.echo(f"Error: {visible(str(error))}", err=True)

    def _interrupted(self) -> None:
        """Ctrl-C cancels the answer that is under way."""
        if self.saying is None:
            _aside("— Ctrl-D ends")
        else:
            self.saying.cancel()

    async def _say_interruptibly(self, content: str) -> None:
        self.saying = saying = asyncio.create_task(self.say(content))
        try:
            await asyncio.wait([saying])
        except asyncio.CancelledError:
            saying.cancel()
            await asyncio.wait([saying])  # what came of it is recorded before the study closes
            raise
        finally:
            self.saying = None
        if saying.cancelled():
            _aside("— cancelled; no turn was taken")
        else:
            saying.result()

    async def _command(self, line: str) -> None:
        from interfaces.as_of import Moment

        command, _, argument = line.partition(" ")
        conversations = self.study.conversations
        match command:
            case "/history":
                _show_messages(await conversations.get(self.conversation_id, Moment(at_least=self.position)), echo_text)
            case "/fork":
                if argument and not argument.isdecimal():
                    click.echo("Error: /fork takes the number of a turn", err=True)
                    return
                at = int(argument) if argument else None
                begun = await conversations.fork(self.conversation_id, self.study.context(), at=at)
                self.conversation_id, self.position = str(begun.conversation_id), begun.position
                _aside(f"— forked after turn {begun.at_turn}; this is conversation {self.conversation_id} now")
            case "/close":
                await conversations.close(self.conversation_id, self.study.context())
                self.closed = True
                _aside(f"— closed; study conversations show {self.conversation_id}")
            case "/help":
                click.echo(HELP)
            case _:
                click.echo(f"Error: there is no command {visible(command)}; /help lists them", err=True)


@click.option("--status", type=click.Choice(["open", "closed"]), help="Only these.")
@as_of_a_moment
@by_the_page
def list_conversations(invocation: Invocation, **filters: Any) -> None:
    """List conversations, newest first."""
    from interfaces.cli.tables import short

    async def work(study: "Study") -> dict[str, Any]:
        return await study.conversations.list(**filters)

    invocation.answer_page(
        invocation.run(work),
        ["conversation", "begun (UTC)", "turns", "status", "forked at", "title"],
        lambda each: [
            each["conversation_id"],
            each["started_at"][:19].replace("T", " "),
            each["turns"],
            each["status"],
            f"turn {each['at_turn']} of {each['parent_id']}" if each["parent_id"] else None,
            short(each["title"], 50),
        ],
        nothing="No conversations.",
    )


@click.argument("conversation_id", metavar="ID")
@as_of_a_moment
def show(invocation: Invocation, conversation_id: str, moment: "Moment") -> None:
    """Show what was said, a fork's history included."""
    from interfaces.cli.tables import table

    async def work(study: "Study") -> dict[str, Any]:
        return await study.conversations.get(conversation_id, moment)

    found = invocation.run(work)
    rows = [[name, str(found[name])] for name in SHOWN if found[name] not in (None, "")]

    def shown(console: Any) -> None:
        console.print(table(["conversation", found["conversation_id"]], rows))
        _show_messages(found, lambda text: console.print(for_stdout(text), markup=False, highlight=False))

    invocation.answer(found, shown)


@click.argument("conversation_id", metavar="ID")
@click.option("--at", type=int, metavar="TURN", help="Go on after this turn; 0 is the beginning. Without it, the last.")
def fork(invocation: Invocation, conversation_id: str, at: int | None) -> None:
    """Begin another conversation with the history of this one."""

    async def work(study: "Study") -> "Begun":
        return await study.conversations.fork(conversation_id, study.context(), at=at)

    begun = _plain(invocation.run(work))
    said = f"Conversation {begun['conversation_id']} goes on after turn {begun['at_turn']} of {begun['parent_id']}."
    invocation.answer(begun, lambda console: console.print(said, highlight=False))


@click.argument("conversation_id", metavar="ID")
@click.option("--reason", default="", help="Why, for the record.")
def close(invocation: Invocation, conversation_id: str, reason: str) -> None:
    """Take no more messages. Nothing is erased, and closing again changes nothing."""

    async def work(study: "Study") -> int:
        return await study.conversations.close(conversation_id, study.context(), reason=reason)

    document = {"conversation_id": conversation_id, "status": "closed", "position": invocation.run(work)}
    said = f"Conversation {conversation_id} is closed; it can still be shown and forked."
    invocation.answer(document, lambda console: console.print(said, highlight=False))


def _piped_lines() -> list[str]:
    """The messages of a pipe, one a line. Raises Rejected for none, and for more than can be meant."""
    from domain.errors import Rejected

    piped = sys.stdin.read(MOST_PIPED_CHARACTERS + 1)
    if len(piped) > MOST_PIPED_CHARACTERS:
        raise Rejected(f"stdin holds more than {MOST_PIPED_CHARACTERS:,} characters", fields=("message",))
    lines = [line for line in piped.splitlines() if line.strip()]
    if not lines:
        raise Rejected("There is no message: stdin is empty", fields=("message",))
    return lines


async def _read_line() -> str | None:
    """A line that was typed; None at the end. The loop goes on meanwhile, and does what there is to do."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str | None] = loop.create_future()

    def read() -> None:
        line: str | None = None
        with suppress(ImportError):
            import readline  # noqa: F401 - it lets a line be edited
        with suppress(EOFError):
            line = input(PROMPT)
        loop.call_soon_threadsafe(lambda: None if typed.done() else typed.set_result(line))

    # A thread of nobody's, since one of the loop's would have to be waited for when a signal ends the process.
    threading.Thread(target=read, name="typed lines", daemon=True).start()
    line = await typed
    if line is None:
        click.echo(err=True)
    return line


@contextmanager
def _at_an_interrupt(act: Callable[[], object]) -> Iterator[None]:
    """Do something at Ctrl-C, instead of ending the command."""
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGINT, lambda _number, _frame: loop.call_soon_threadsafe(act))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _show_messages(found: dict[str, Any], write: Callable[[str], Any]) -> None:
    for message in found["messages"]:
        who = "you" if message["role"] == "user" else "model"
        write(f"[{message['turn']}] {who}: {message['content']}")


def _turns(count: int) -> str:
    return "turn 1 was" if count == 1 else f"turns 1 to {count} were"


def _tell_how_to_go_on(conversation_id: str) -> None:
    _aside(f"— go on: study chat --conversation {conversation_id}")


def _aside(text: str) -> None:
    click.echo(dimmed(text), err=True)


def _plain(document: Any) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(document)
    return plain
