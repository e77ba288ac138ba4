"""The page that lists the routes."""

from html import escape
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

STYLE = "body{font:16px sans-serif;max-width:50em;margin:2em auto}code{color:#036}"


def add_docs(app: FastAPI) -> None:
    """`/docs`, of all that the application answers."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> Response:
        return Response(STYLE, media_type="text/css")


def page(openapi: dict[str, Any]) -> str:
    """The routes as a page that needs no script and no other host."""
    parts = []
    for path, methods in openapi["paths"].items():
        for method, of in methods.items():
            takes = [
                f"<li><code>{escape(one['name'])}</code> {escape(one.get('description', ''))}</li>"
                for one in of.get("parameters", [])
            ]
            body = of.get("requestBody", {}).get("content", {}).get("application/json", {})
            if name := body.get("schema", {}).get("$ref", "").rpartition("/")[2]:
                fields = ", ".join(openapi["components"]["schemas"][name]["properties"])
                takes.append(f"<li>JSON of <code>{escape(fields)}</code></li>")
            what = escape(of.get("description", ""))
            parts.append(
                f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{what}</p>"
                f"<ul>{''.join(takes)}</ul>"
            )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>jaxrec</title>'
        '<link rel="stylesheet" href="docs.css"><h1>jaxrec</h1>'
        f'<p>All of it: <a href="openapi.json">openapi.json</a></p>{"".join(parts)}</html>'
    )
