"""Groups: create and describe them, put calls in, link them, walk along the links."""

from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Response, Router, delete, get, patch, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter
from msgspec import Meta, Struct

from domain.groups import LARGEST_PLACE, LARGEST_ROLE, MEMBERS_PER_COMMAND, LinkType, Member
from interfaces.http.parameters import At, Json, OpenStudy, Page, RequestContext
from interfaces.http.problems import already_there, problem_responses
from interfaces.study.words import id_of
from projections.group_queries import DEFAULT_DEPTH, LARGEST_DEPTH, Direction

CALL_ID = "0195512a-7c00-7000-8000-000000000001"
GROUP = {"group_type": "experiment", "name": "march", "metadata": {"algorithm": "k-means"}}
MEMBERS = {"members": [{"call_id": CALL_ID, "role": "output", "position": 0}]}
LEAVING = {"members": [{"call_id": CALL_ID}]}
LINK = {"child_group_id": CALL_ID, "link_type": "contains", "position": 1}

Place = Annotated[int, Meta(ge=0, le=LARGEST_PLACE)]
ByType = Annotated[LinkType | None, QueryParameter(description="Only by links of this type.")]


class GroupBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group. Type and name together are unique; the type is dataset, run, step, or any word without a slash."""

    group_type: Annotated[str, Meta(min_length=1, max_length=300)]
    name: Annotated[str, Meta(min_length=1, max_length=300)]
    description: Annotated[str, Meta(max_length=10_000)] = ""
    metadata: dict[str, Any] = {}


class DescriptionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change; a key of the metadata with null is taken out, those that are not named stay."""

    description: Annotated[str, Meta(max_length=10_000)] | None = None
    metadata: dict[str, Any] = {}


class MemberBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call's place in a group."""

    call_id: UUID
    role: Annotated[str, Meta(min_length=1, max_length=LARGEST_ROLE)] | None = None
    position: Place | None = None


class MembersBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls; to take them out, the ids are enough."""

    members: Annotated[list[MemberBody], Meta(min_length=1, max_length=MEMBERS_PER_COMMAND)]


class LinkBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link from the group of the address to another one."""

    child_group_id: UUID
    link_type: LinkType
    position: Place | None = None
    metadata: dict[str, Any] = {}


class UnlinkBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which link to take back."""

    child_group_id: UUID
    link_type: LinkType


@post(
    "/groups",
    summary="Create a group",
    responses=problem_responses(400, 409, 413, 503),
    response_description="The group. If there is one of this type and name, the 409 has its group_id.",
)
async def create_group(
    data: Annotated[GroupBody, Body(title="The group", examples=[Example(value=GROUP)])],
    study: OpenStudy,
    context: RequestContext,
) -> Response[Json]:
    """Create a group of calls."""
    made = await study.groups.create(
        data.group_type, data.name, context, description=data.description, metadata=data.metadata
    )
    return Response(made, headers={"Location": f"/api/groups/{made['group_id']}"})


@get("/groups", summary="List groups", responses=problem_responses(400, 503))
async def list_groups(
    study: OpenStudy,
    moment: At,
    page: Page,
    group_type: Annotated[str | None, QueryParameter(description="Only groups of this type.")] = None,
    name: Annotated[str | None, QueryParameter(description="Only groups of this name.")] = None,
) -> Json:
    """The groups, newest first."""
    return await study.groups.list(moment, page, group_type=group_type, name=name)


@get("/groups/{group_id:str}", summary="Look at a group", responses=problem_responses(400, 404, 503))
async def get_group(study: OpenStudy, moment: At, group_id: FromPath[str]) -> Json:
    """One group, with the number of its members."""
    return await study.groups.get(id_of(group_id), moment)


@patch("/groups/{group_id:str}", summary="Describe a group", responses=problem_responses(400, 404, 413, 503))
async def describe_group(
    study: OpenStudy,
    context: RequestContext,
    group_id: FromPath[str],
    data: Annotated[DescriptionBody, Body(examples=[Example(value={"description": "The first try"})])],
) -> Json:
    """Change a group's description or some of its metadata. As of a moment before, it is as it was."""
    return await study.groups.describe(id_of(group_id), context, description=data.description, metadata=data.metadata)


@post(
    "/groups/{group_id:str}/members",
    summary="Add calls to a group",
    status_code=200,
    responses=problem_responses(400, 404, 413, 503),
)
async def add_members(
    study: OpenStudy,
    context: RequestContext,
    group_id: FromPath[str],
    data: Annotated[MembersBody, Body(title="The calls", examples=[Example(value=MEMBERS)])],
) -> Json:
    """Add calls, all or none. Who is a member already stays as it is."""
    members = [Member(call_id=member.call_id, role=member.role, position=member.position) for member in data.members]
    return await study.groups.add(id_of(group_id), members, context)


@delete(
    "/groups/{group_id:str}/members",
    summary="Take calls out of a group",
    status_code=200,
    responses=problem_responses(400, 404, 413, 503),
)
async def remove_members(
    study: OpenStudy,
    context: RequestContext,
    group_id: FromPath[str],
    data: Annotated[
        MembersBody, Body(title="The calls", examples=[Example(value={"members": [{"call_id": CALL_ID}]})])
    ],
) -> Json:
    """Take calls out, all or none. As of a moment before, they are still in it."""
    return await study.groups.remove(id_of(group_id), [member.call_id for member in data.members], context)


@get("/groups/{group_id:str}/members", summary="List a group's calls", responses=problem_responses(400, 404, 503))
async def list_members(
    study: OpenStudy,
    moment: At,
    page: Page,
    group_id: FromPath[str],
    role: Annotated[str | None, QueryParameter(description="Only members in this role.")] = None,
) -> Json:
    """The calls of a group: by their position, those without one last, then as they were added."""
    return await study.groups.members(id_of(group_id), moment, page, role=role)


@post(
    "/groups/{group_id:str}/links",
    summary="Link a group to another",
    responses=already_there("The link stood already; `linked` is false.") | problem_responses(400, 404, 413, 503),
    response_description="The link.",
)
async def link_groups(
    study: OpenStudy,
    context: RequestContext,
    group_id: FromPath[str],
    data: Annotated[LinkBody, Body(title="The link", examples=[Example(value=LINK)])],
) -> Response[Json]:
    """Link the group to another one, unless that would close a cycle."""
    found = await study.groups.link(
        id_of(group_id),
        data.child_group_id,
        data.link_type,
        context,
        position=data.position,
        metadata=data.metadata,
    )
    return Response(found, status_code=201 if found["linked"] else 200)


@delete(
    "/groups/{group_id:str}/links",
    summary="Take a link back",
    status_code=200,
    responses=problem_responses(400, 404, 413, 503),
)
async def unlink_groups(
    study: OpenStudy,
    context: RequestContext,
    group_id: FromPath[str],
    data: Annotated[
        UnlinkBody, Body(title="Which link", examples=[Example(value={"child_group_id": CALL_ID, "link_type": "step"})])
    ],
) -> Json:
    """Take a link back; `unlinked` is false when it does not stand. As of a moment before, it still does."""
    return await study.groups.unlink(id_of(group_id), data.child_group_id, data.link_type, context)


@get("/groups/{group_id:str}/children", summary="List a group's children", responses=problem_responses(400, 404, 503))
async def list_children(
    study: OpenStudy,
    moment: At,
    page: Page,
    group_id: FromPath[str],
    link_type: ByType = None,
) -> Json:
    """The groups that this one links to, each with its link, by the links' positions."""
    return await study.groups.children(id_of(group_id), moment, page, link_type=link_type)


@get("/groups/{group_id:str}/parents", summary="List a group's parents", responses=problem_responses(400, 404, 503))
async def list_parents(
    study: OpenStudy,
    moment: At,
    page: Page,
    group_id: FromPath[str],
    link_type: ByType = None,
) -> Json:
    """The groups that link to this one, each with its link."""
    return await study.groups.parents(id_of(group_id), moment, page, link_type=link_type)


@get("/groups/{group_id:str}/steps", summary="List a run's steps", responses=problem_responses(400, 404, 503))
async def list_steps(
    study: OpenStudy,
    moment: At,
    page: Page,
    group_id: FromPath[str],
) -> Json:
    """The children by links of type step, in their order."""
    return await study.groups.children(id_of(group_id), moment, page, link_type="step")


@get(
    "/groups/{group_id:str}/dependencies",
    summary="List what a group depends on",
    responses=problem_responses(400, 404, 503),
    response_description="The groups, the nearest first; `truncated` says that there are more beyond `depth`.",
)
async def list_dependencies(
    study: OpenStudy,
    moment: At,
    page: Page,
    group_id: FromPath[str],
    direction: Annotated[
        Direction, QueryParameter(description="up: what it depends on; down: what depends on it.")
    ] = "up",
    depth: Annotated[
        int, QueryParameter(ge=1, le=LARGEST_DEPTH, description="How many links away at most.")
    ] = DEFAULT_DEPTH,
    link_type: Annotated[
        LinkType | Literal["any"], QueryParameter(description="The links to walk, from parent to child for up.")
    ] = "depends_on",
) -> Json:
    """Everything that a group depends on, or that depends on it, over any number of links."""
    return await study.groups.dependencies(
        id_of(group_id),
        moment,
        page,
        direction=direction,
        depth=depth,
        link_type=None if link_type == "any" else link_type,
    )


ROUTES = Router(
    "/",
    route_handlers=[
        create_group,
        list_groups,
        get_group,
        describe_group,
        add_members,
        remove_members,
        list_members,
        link_groups,
        unlink_groups,
        list_children,
        list_parents,
        list_steps,
        list_dependencies,
    ],
    tags=["groups"],
)
