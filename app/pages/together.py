"""`/together`: a list for several visitors, of whom some bring their watch lists as files; nothing is stored."""

from typing import Annotated, Final

from fastapi import APIRouter, File, Request, Response, UploadFile
from fastapi.responses import RedirectResponse

from app.pages.for_you import show_list
from app.pages.queries import read_query, read_text
from app.pages.site import SiteDep, VisitorRoute
from app.pages.uploads import MAX_PACKED, get_texts, pack_entries, read_file
from app.schemas.groups import MAX_GROUP
from app.service import ModelDep, ServiceDep

PATH: Final = "/together"

router = APIRouter(include_in_schema=False, route_class=VisitorRoute)


@router.post(PATH)
async def post_together(
    request: Request,
    service: ServiceDep,
    model: ModelDep,
    site: SiteDep,
    files: Annotated[list[UploadFile] | None, File()] = None,
) -> Response:
    """Read the files and show the list; without any, go on to the address that holds everything."""
    form = await request.form()
    site.check_form(request, form.get("token"))
    texts = get_texts(form)
    query = read_query(texts).change(mode="together")
    lists = [read_text(packed, MAX_PACKED) for packed in texts.getlist("held")][: MAX_GROUP + 1]
    for file in [sent for sent in files or [] if sent.filename][: MAX_GROUP + 1]:
        content = await file.read()
        _, matched = await service.workers.run(lambda content=content: read_file(model, content))  # type: ignore[misc]
        lists.append(pack_entries(matched.entries))
    if not lists:
        return RedirectResponse(query.to_url(), 303)
    return await show_list(request, service, model, query, lists=lists)
