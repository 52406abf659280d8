"""Golden chats: templates in the style of public model families, conversations, and what transformers renders.

    python template_golden.py ../crates/llm/tests/fixtures/template

Writes one JSON file per template: its source and, for each conversation, the rendered text, or the message that the
template raised, or that transformers failed in another way. The clock stands still.
"""

import argparse
import datetime
import json
from pathlib import Path

import jinja2
import transformers
from transformers.utils import chat_template_utils

NOW = datetime.datetime(2026, 3, 7, 9, 5, 30)


class FrozenDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place, \"now\" & <later>.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A place such as Zürich 🌦"},
                "days": {"type": "integer", "default": 1, "enum": [1, 2, 7]},
                "items": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["place"],
        },
    },
}
ADD = {"type": "function", "function": {"name": "add", "description": "Sum", "parameters": {
    "type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}}}


def call(name, arguments, id=None):
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return call | ({"id": id} if id else {})


USER = {"role": "user", "content": "What is the capital of Iceland?"}
CHATS = {
    "one": dict(messages=[USER]),
    "no-prompt": dict(messages=[USER, {"role": "assistant", "content": "Reykjavík."}], add_generation_prompt=False),
    "system": dict(messages=[{"role": "system", "content": "  Answer briefly.  \n"}, USER]),
    "turns": dict(messages=[
        {"role": "system", "content": "You are a harbour master."}, USER, {"role": "assistant", "content": " Reykjavík. "},
        {"role": "user", "content": "And of Norway?\n\n"}, {"role": "assistant", "content": "Oslo"}, {"role": "user", "content": "謝謝 👋🏽"},
    ]),
    "two-users": dict(messages=[USER, {"role": "user", "content": "Hello?"}]),
    "assistant-first": dict(messages=[{"role": "assistant", "content": "Hi"}, USER]),
    "empty": dict(messages=[]),
    "empty-content": dict(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": ""}, USER]),
    "parts": dict(messages=[
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "text", "text": "One, "}, {"type": "text", "text": "two."}]},
    ]),
    "markup": dict(messages=[
        {"role": "user", "content": "<b>&amp;</b> {{ messages }} {% raw %} 'quotes' \"double\" \\back\\ <s>no bos</s> [INST] <unk>"},
        {"role": "assistant", "content": "<think>\nhidden </s>\n</think>\n\nshown"}, {"role": "user", "content": "<tool_response>x</tool_response>"},
    ]),
    "thinking": dict(messages=[
        USER, {"role": "assistant", "content": "<think>\nfirst\n</think>\n\nReykjavík."}, {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes.", "reasoning_content": "\nsecond\n"}, {"role": "user", "content": "Really?"},
        {"role": "assistant", "content": "Indeed.", "reasoning": "third"}, 
    ]),
    "no-thinking": dict(messages=[USER], extra={"enable_thinking": False}),
    "tools": dict(messages=[{"role": "user", "content": "Weather?"}], tools=[WEATHER, ADD]),
    "no-tools": dict(messages=[USER], tools=[]),
    "tools-system": dict(messages=[{"role": "system", "content": "Be exact."}, {"role": "user", "content": "Weather?"}], tools=[ADD]),
    "tool-calls": dict(tools=[WEATHER, ADD], messages=[
        {"role": "user", "content": "Weather in Zürich and 1+2.5?"},
        {"role": "assistant", "content": "", "tool_calls": [call("weather", {"place": "Zürich", "days": 2}, "abcdefgh1"), call("add", {"a": 1, "b": 2.5}, "abcdefgh2")]},
        {"role": "tool", "name": "weather", "content": "{\"sky\": \"grey\"}", "tool_call_id": "abcdefgh1"},
        {"role": "tool", "name": "add", "content": "3.5", "tool_call_id": "abcdefgh2"},
        {"role": "assistant", "content": "Grey, and 3.5."}, {"role": "user", "content": "Thanks"},
    ]),
    "tool-call-null": dict(tools=[ADD], messages=[
        {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": None, "tool_calls": [call("add", {"a": 1, "b": 1, "note": "</s> \u00e9 \u2028 \x7f"}, "abcdefgh3")]},
        {"role": "tool", "content": "2", "tool_call_id": "abcdefgh3"},
    ]),
    "documents": dict(messages=[USER], documents=[{"title": "Iceland", "text": "An island."}, {"title": "Oslo", "text": "A city.\n"}]),
    "odd": dict(messages=[{"role": "critic", "content": "Meh."}, USER], extra={
        "numbers": [0.1, 1.0, 1e-7, 1e22, -3, 12345678901234567890, True, None], "nested": {"b": {"z": [], "y": {}}, "a": [[1], {"k": "v"}]}}),
}

CHATML = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""

LLAMA3 = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message is taken out, so that it can go to its place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {{- "You have these functions:\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
{%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {{- "Given the following functions, answer with a call.\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN25 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nSignatures are within <tools></tools>:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nReturn calls within <tool_call></tool_call>:\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

{#- The chat has to alternate, tool calls and results aside. #}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {%- if not message.tool_call_id is defined or message.tool_call_id|length != 9 %}
            {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
        {%- endif %}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""

GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""

ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

PHI3 = """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'user' %}{{'<|user|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
' + message['content'] + '<|end|>
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %}"""

DEEPSEEK = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<|User|>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<|Assistant|><|calls|>' + tool['type'] + '<|sep|>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments']|tojson + '\\n' + '```'}}{%- set ns.is_first = true -%}{%- else %}{{'\\n' + tool['function']['name']}}{%- endif %}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}{{'<|outputs end|>' + message['content'] + eos_token}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + eos_token}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<|outputs|><|output|>' + message['content']}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n<|output|>' + message['content']}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<|outputs end|>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<|Assistant|><think>\\n'}}{% endif %}"""

GRANITE = """{%- if messages and messages[0]['role'] == 'system' %}
  {%- set system_message = messages[0]['content'] %}
  {%- set loop_messages = messages[1:] %}
{%- else %}
  {%- set system_message = "Today's Date: " + strftime_now('%B %-d, %Y') + ".\\nYou are Granite." %}
  {%- if tools and documents %}
    {%- set system_message = system_message + " Tools and documents." %}
  {%- elif tools %}
    {%- set system_message = system_message + " Tools." %}
  {%- elif documents %}
    {%- set system_message = system_message + " Documents." %}
  {%- endif %}
  {%- set loop_messages = messages %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\\n' }}
{%- if tools %}
  {{- '<|start_of_role|>tools<|end_of_role|>' }}
  {{- tools | tojson(indent=2) }}
  {{- '<|end_of_text|>\\n' }}
{%- endif %}
{%- if documents %}
  {%- for document in documents %}
    {{- '<|start_of_role|>document ' + (loop.index0 | string) + '<|end_of_role|>\\n' + document['title'] + ': ' + document['text'] | trim + '\\n' }}
    {%- if not loop.last %}{{ '\\n' }}{% endif %}
  {%- endfor %}
{%- endif %}
{%- for message in loop_messages %}
  {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + (message['content'] if message['content'] is string else message['content'] | map(attribute='text') | join('')) + '<|end_of_text|>\\n' }}
  {%- if loop.last and add_generation_prompt %}
    {{- '<|start_of_role|>assistant' }}
    {%- if controls %}{{- ' ' + controls | tojson }}{%- endif %}
    {{- '<|end_of_role|>' }}
  {%- endif %}
{%- endfor %}"""

# Assistant texts in generation blocks, as templates for training mark them; macros and loop controls.
SMOL = """{%- macro header(role, name=none) -%}
<|{{ role }}{% if name %} {{ name }}{% endif %}|>
{%- endmacro -%}
{% set count = namespace(assistant=0) %}
{% for message in messages %}
    {% if message.role == 'critic' %}{% continue %}{% endif %}
    {% if message.role == 'assistant' %}
        {% set count.assistant = count.assistant + 1 %}
{{ header('assistant') }}
        {% generation %}
{{ message.content }}{{ eos_token }}
        {%- endgeneration %}

    {% else %}
{{ header(message.role, message.name) }}
{{ message.content | default('nothing', true) }}
    {% endif %}
    {% if count.assistant >= 2 %}{% break %}{% endif %}
{% else %}
No messages.
{% endfor %}
{{- "\\n" -}}
{% if add_generation_prompt -%}
{{ header('assistant') }}
{% endif %}"""

# Tools as text, piece by piece, with recursion over their schemas.
HERMES = """{%- macro json_type(spec) -%}
    {%- if spec.type == 'string' -%}str
    {%- elif spec.type == 'integer' -%}int
    {%- elif spec.type == 'array' -%}list[{{ json_type(spec['items']) }}]
    {%- elif spec.type is string -%}{{ spec.type | upper }}
    {%- else -%}Any{%- endif -%}
{%- endmacro -%}
{{- bos_token -}}
{%- for tool in tools or [] -%}
{{ loop.index }}. {{ tool.function.name }}(
    {%- for name, spec in tool.function.parameters.properties.items() -%}
        {{ name }}: {{ json_type(spec) }}{{ ' = ' ~ spec.default if spec.default is defined }}{{ ', ' if not loop.last }}
    {%- endfor -%}
) required: {{ tool.function.parameters.required | join(', ') }} keys: {{ tool.function.parameters.keys() | list }} sorted: {% for key, value in tool.function.parameters.properties | dictsort %}{{ key }}={{ value.get('enum', 'any') }};{% endfor %}

{% endfor -%}
{%- for group in messages | map(attribute='role') | unique -%}{{ group | capitalize }} {% endfor %}
{% for message in messages %}
{%- set content = message.content if message.content is string else (message.content or []) | map(attribute='text') | join %}
{{ '%-10s|' | format(message.role) }}{{ content.replace('\\n', ' ').title() }} {{ content.split() | length }} {{ content.upper()[:5] }} {{ content[-3:] }}
{%- for tool_call in message.tool_calls or [] %}
<call>{{ tool_call.function.name }}{% for key, value in tool_call.function.arguments | items %} {{ key }}={{ value }}{% endfor %}</call>
{%- endfor %}
{% endfor %}
{%- if add_generation_prompt %}{{ messages[-1].role if messages else 'nobody' }} -> assistant{% endif %}"""

VALUES = """{{ numbers | tojson }} {{ numbers }} {{ nested | tojson }} {{ nested }} {{ nested | tojson(indent=2) }} {{ nested | tojson(sort_keys=true, separators=(',', ':')) }} {{ messages | tojson(ensure_ascii=true) }}
{{ undefined_name }}|{{ none }}|{{ true }}|{{ messages is sequence }} {{ messages is mapping }} {{ messages is string }} {{ 'a' is sequence }} {{ nested is sequence }} {{ none is iterable }} {{ nested is iterable }} {{ 3 is number }}
{{ [1, 'two', none, 3.5, true, {'k': 'v'}, [], (1, 2)] }} {{ {'a': none}.a is none }} {{ 7 // 2 }} {{ 7 / 2 }} {{ 2 ** 5 }} {{ -7 % 3 }} {{ 'x' * 3 }} {{ 'a' < 'b' }} {{ 1 in [1, 2] }} {{ 'b' not in 'abc' }}
{{ ' pad '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ 'a-b'.partition('-') }}|{{ 'unhappy'.removeprefix('un') }}|{{ 'ab'.find('b') }}|{{ 'a b  c'.split() }}
{% set list = ['b', 'a', 'c'] %}{{ list | sort | join('-') }} {{ list | first }} {{ list | last }} {{ list | reverse | list }} {{ list[1:] }} {{ list[::-1] }} {{ list | length }} {{ range(3) | list }} {{ list | select('ne', 'a') | list }} {{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | length }} {{ [3, 1, 2] | max }} {{ 'text' | replace('t', 'T') }} {{ '1' | int + 1 }} {{ 3.7 | round }} {{ 'a\\nb' | indent(2) }}
{%- set x %} captured {{ 1 + 1 }} {% endset %}{{ x | trim }}{% set a, b = 1, 2 %}{{ a + b }}{% with c = 5 %}{{ c }}{% endwith %}{% filter upper %}shout{% endfilter %}
{{ dict(a=1, b=2) }} {{ namespace(a=1).a }} {{ 'yes' if messages else 'no' }} {{ not messages }} {{ (messages | length) > 1 and 'many' or 'few' }} {{ 'é\\u2028'|tojson }} {{ strftime_now('%Y-%m-%d %H:%M:%S %A %j') }}
{% raw %}{{ raw }}{% endraw %}{# comment #} {{- ' joined' -}} 
{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ ' first' if loop.first }}{{ ' last' if loop.last }} {{ loop.cycle('odd', 'even') }} {{ loop.previtem.role if loop.previtem is defined else '-' }} {{ loop.nextitem.role if loop.nextitem is defined else '-' }}; {% endfor %}"""

STRICT = """{% for message in messages %}{% if message.role not in ['user', 'assistant'] %}{{ raise_exception('Unknown role: ' ~ message.role ~ ' (' ~ message.content ~ ')') }}{% endif %}{{ message.missing.deeper if message.role == 'assistant' else '' }}{{ message.content.strip() }}{% endfor %}"""

TEMPLATES = {
    "chatml": CHATML, "llama2": LLAMA2, "llama3": LLAMA3, "qwen2.5": QWEN25, "qwen3": QWEN3, "mistral": MISTRAL, "gemma": GEMMA, "zephyr": ZEPHYR,
    "phi3": PHI3, "deepseek": DEEPSEEK, "granite": GRANITE, "smol": SMOL, "hermes": HERMES, "values": VALUES, "strict": STRICT,
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def render(source, chat):
    return chat_template_utils.render_jinja_template(
        conversations=[chat["messages"]], tools=chat.get("tools"), documents=chat.get("documents"), chat_template=source,
        add_generation_prompt=chat.get("add_generation_prompt", True), **(TOKENS | chat.get("extra", {})),
    )[0][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    chat_template_utils.datetime = FrozenDatetime
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "chats.json").write_text(json.dumps(CHATS, ensure_ascii=False, indent=1) + "\n")
    for name, source in TEMPLATES.items():
        cases = {}
        for chat_name, chat in CHATS.items():
            try:
                cases[chat_name] = {"text": render(source, chat)}
            except jinja2.exceptions.TemplateError as error:
                own = type(error) is jinja2.exceptions.TemplateError
                cases[chat_name] = {"raised": str(error)} if own else {"failed": repr(error)}
            except Exception as error:
                cases[chat_name] = {"failed": repr(error)}
        golden = {
            "versions": {"transformers": transformers.__version__, "jinja2": jinja2.__version__}, "now": NOW.isoformat(),
            "template": source, "cases": cases,
        }
        (args.out / f"{name}.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
        kinds = [next(iter(c)) for c in cases.values()]
        print(f"{name}: {kinds.count('text')} rendered, {kinds.count('raised')} raised, {kinds.count('failed')} failed",
              [(k, c["failed"]) for k, c in cases.items() if "failed" in c])


if __name__ == "__main__":
    main()
