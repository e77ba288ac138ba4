"""How a request is refused: problem JSON (RFC 9457), with a remedy."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

REMEDIES = {
    404: "GET /docs lists what there is",
    405: "GET /docs lists what may be asked of each route",
    500: "ask again; whoever runs the server finds the request's id in the log",
}


class Problem(Exception):
    """What is wrong with a request."""

    def __init__(
        self, status: int, detail: str, remedy: str, retry_after: int | None = None, **more: Any
    ):
        """`more` are further members of the JSON."""
        super().__init__(detail)
        self.status, self.detail, self.remedy = status, detail, remedy
        self.retry_after, self.more = retry_after, more

    def response(self) -> JSONResponse:
        """To be sent."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        content = {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "remedy": self.remedy,
        }
        return JSONResponse(
            content | self.more, self.status, headers, media_type="application/problem+json"
        )


BROKEN = Problem(500, "the server could not answer", REMEDIES[500])


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    remedy = REMEDIES.get(error.status_code, "see /docs")
    response = Problem(error.status_code, str(error.detail), remedy).response()
    response.headers.update(error.headers or {})
    return response


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = [
        {"where": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in error.errors()
    ]
    detail = "; ".join(f"{one['where']}: {one['what']}" for one in wrong[:3])
    return Problem(422, detail, "GET /docs says what is taken", errors=wrong[:20]).response()


async def _broken(request: Request, error: Exception) -> JSONResponse:
    return BROKEN.response()


def handle_problems(app: FastAPI) -> None:
    """All of an application's errors in this form."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _broken)
