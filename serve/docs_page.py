"""The API's documentation as one page without scripts and without anything from elsewhere."""

import json
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
summary { cursor: pointer; padding: .4rem 0; overflow-wrap: anywhere; } summary b { font-family: monospace; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid #8886; border-radius: .4rem; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1.2rem; }
"""
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>{style}</style>
</head><body><h1>{title} {version}</h1><p>{description}</p>
<p>The whole document, for tools: <a href="openapi.json">openapi.json</a></p>{operations}</body></html>"""


def docs_page(document: dict[str, Any]) -> str:
    """An OpenAPI document as HTML."""
    operations = [
        _operation(method, path, operation, document)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    info = document["info"]
    return _PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        description=escape(info.get("description", "")),
        style=_STYLE,
        operations="".join(operations),
    )


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    """One route: what it wants and what it answers."""
    parts = [f"<p>{escape(operation.get('description', ''))}</p>"]
    if inputs := _inputs(operation, document):
        parts.append(f"<h4>Takes</h4><dl>{inputs}</dl>")
    answers = "".join(
        f"<dt>{escape(status)}</dt><dd>{escape(answer['description'])}{_example(answer, document)}</dd>"
        for status, answer in operation["responses"].items()
    )
    head = f"<b>{method.upper()} {escape(path)}</b> {escape(operation.get('summary', ''))}"
    return f"<details><summary>{head}</summary>{''.join(parts)}<h4>Answers</h4><dl>{answers}</dl></details>"


def _inputs(operation: dict[str, Any], document: dict[str, Any]) -> str:
    """Parameters and fields of the body."""
    rows = [
        (f"{parameter['name']} ({parameter['in']})", parameter.get("description", ""))
        for parameter in operation.get("parameters", [])
    ]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        fields = _resolved(content["schema"], document).get("properties", {})
        rows += [(f"{name} ({kind})", field.get("description", "")) for name, field in fields.items()]
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)


def _example(answer: dict[str, Any], document: dict[str, Any]) -> str:
    """What an answer looks like; not for errors, which all look alike."""
    shown = []
    for content in answer.get("content", {}).values():
        schema = content.get("schema", {})
        if schema.get("$ref", "").endswith("/Problem"):
            continue
        example = content.get("example") or example_of(schema, document)
        text = example if isinstance(example, str) else json.dumps(example, indent=1)
        shown.append(f"<pre>{escape(text)}</pre>")
    return "".join(shown)


def example_of(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """A value that fits the schema: its first example, else one made of its parts."""
    schema = _resolved(schema, document)
    if schema.get("examples"):
        return schema["examples"][0]
    if "default" in schema or "const" in schema:
        return schema.get("const", schema.get("default"))
    if "properties" in schema:
        return {name: example_of(part, document) for name, part in schema["properties"].items()}
    if "items" in schema:
        return [example_of(schema["items"], document)]
    return {"string": "...", "number": 0.5, "integer": 1, "boolean": False}.get(str(schema.get("type")), {})


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference means."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema
