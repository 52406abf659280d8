"""The chat format (ChatML) once as a Jinja template for clients and once as code for training; a test holds them together."""

import json
import random

END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIALS = [END_OF_TEXT, IM_START, IM_END]

CHAT_TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- 'You can call these tools:\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' }}{{- tool | tojson }}
    {%- endfor %}
    {{- '\\n</tools>\\nTo call one, answer with\\n<tool_call>\\n{"name": ..., "arguments": ...}\\n</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if message.content %}{{- message.content }}{%- endif %}
        {%- for call in message.tool_calls or [] %}
            {%- if call.function %}{%- set call = call.function %}{%- endif %}
            {%- if message.content or not loop.first %}{{- '\\n' }}{%- endif %}
            {{- '<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
            {%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- elif message.role != 'system' or not loop.first %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""


def system_with_tools(system: str | None, tools: list, compact: bool = False) -> str:
    """The system text that announces tools, as the template writes it (`compact`: JSON without spaces, as some engines write it)."""
    marks = (",", ":") if compact else (", ", ": ")
    lines = "".join("\n" + json.dumps(t, ensure_ascii=False, separators=marks) for t in tools)
    head = f"{system}\n\n" if system else ""
    return head + f'You can call these tools:\n<tools>{lines}\n</tools>\nTo call one, answer with\n<tool_call>\n{{"name": ..., "arguments": ...}}\n</tool_call>'


def turns(messages: list, tools: list | None, compact: bool = False) -> list:
    """(role, text) for every turn as rendered."""
    out = []
    rest = list(messages)
    system = rest.pop(0)["content"] if rest[0]["role"] == "system" else None
    if tools:
        out.append(("system", system_with_tools(system, tools, compact)))
    elif system is not None:
        out.append(("system", system))
    for m in rest:
        if m["role"] == "tool":
            out.append(("user", f"<tool_response>\n{m['content']}\n</tool_response>"))
        else:
            out.append((m["role"], m["content"]))
    return out


def pieces(sample, rng: random.Random | None = None) -> list:
    """(text, trained) pieces of a sample: special tokens and text in order, with whether the loss counts them."""
    if sample.text is not None:
        return [(sample.text, True), (END_OF_TEXT, True)]
    out = []
    compact = bool(sample.tools) and rng is not None and rng.random() < 0.5
    for role, text in turns(sample.messages, sample.tools, compact):
        mine = role == "assistant"
        out += [(IM_START, False), (role + "\n", False), (text, mine), (IM_END, mine), ("\n", False)]
    return out[:-1]
