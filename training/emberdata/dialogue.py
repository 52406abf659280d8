"""Conversations that lean on earlier turns or on the system prompt, tool calls, and plain documents."""

import json
import random

from . import common as c
from . import facts, skills, stories, talk
from .common import Sample, a_an, articles, ask, cap, demand, noisy, person, turn

# Attributes that a user tells about and asks for later: key, values, tell phrasings, ask phrasings, answer, acknowledgement.
ATTRIBUTES = [
    ("name", None, ["My name is {v}", "I am {v}", "I'm {v}", "Call me {v}", "You can call me {v}", "Hi, I am {v}", "Hello, my name is {v}"],
     ["What is my name?", "Do you remember my name?", "What's my name?", "Who am I?", "Can you tell me my name?", "How am I called?"],
     "Your name is {v}.", ["Nice to meet you, {v}!", "Hello {v}! How can I help you?"]),
    ("colour", c.COLOURS, ["My favourite colour is {v}", "I like the colour {v} best", "My favorite color is {v}"],
     ["What is my favourite colour?", "Which colour do I like?", "What's my favorite color?"], "Your favourite colour is {v}.", ["{V} is a lovely colour!"]),
    ("city", c.PLACES, ["I live in {v}", "I am from {v}", "My home is in {v}"], ["Where do I live?", "Which city do I live in?", "Where is my home?"],
     "You live in {v}.", ["{V} is a nice place!"]),
    ("pet", c.ANIMALS[:16], ["I have a pet {v}", "My pet is a {v}", "At home I have a {v}"], ["What pet do I have?", "Which animal do I have?", "What is my pet?"],
     "Your pet is a {v}.", ["A {v}! How nice."]),
    ("age", [str(n) for n in range(5, 90)], ["I am {v} years old", "I'm {v} years old", "My age is {v}"], ["How old am I?", "What is my age?", "Do you know how old I am?"],
     "You are {v} years old.", ["Thank you for telling me."]),
    ("job", c.JOBS, ["I work as a {v}", "My job is {v}", "I am a {v} by trade"], ["What is my job?", "What do I do for work?", "What do I work as?"],
     "You work as a {v}.", ["That sounds like good work!"]),
    ("food", c.FRUITS, ["My favourite fruit is {v}", "I like {v} best of all fruits"], ["What is my favourite fruit?", "Which fruit do I like best?"],
     "Your favourite fruit is {v}.", ["{V} tastes good!"]),
    ("sport", c.SPORTS, ["My hobby is {v}", "I love {v}", "My favourite sport is {v}"], ["What is my hobby?", "Which sport do I like?", "What do I like to do?"],
     "You like {v}.", ["{V} is fun!"]),
]


def _single(rng: random.Random) -> Sample:
    """A short one-turn sample to put between other turns."""
    while True:
        maker = rng.choice([facts.single, facts.single, skills.arithmetic, talk.small_talk, skills.spell, skills.word_list, talk.about, skills.echo])
        sample = maker(rng)
        if not c.held_out(sample.key):
            return sample


def memory(rng: random.Random) -> Sample:
    """Something told early, other talk between, then the question."""
    told = rng.sample(ATTRIBUTES, rng.choice([1, 1, 1, 2]))
    if rng.random() < 0.4 and ATTRIBUTES[0] not in told:
        told[0] = ATTRIBUTES[0]  # the name: what people tell first
    messages, values, keys = [], {}, []
    if rng.random() < 0.12:
        # Asked, but never told.
        key, _values, _tell, questions, _answer, _ack = told[0]
        for other in told[1:]:
            value = person(rng) if other[1] is None else rng.choice(other[1])
            messages += turn(noisy(rng, articles(rng.choice(other[2]).replace("{v}", value)) + "."), articles(rng.choice(other[5]).replace("{v}", value).replace("{V}", cap(value))))
        messages += turn(noisy(rng, rng.choice(questions)), "You have not told me that yet.")
        return Sample("memory", messages, ("contains", "not told"), None)
    together = len(told) > 1 and rng.random() < 0.3
    phrases = []
    for key, pool, tell, _q, _a, ack in told:
        value = values[key] = person(rng) if pool is None else rng.choice(pool)
        phrase = articles(rng.choice(tell).replace("{v}", value))
        keys.append(phrase)
        phrases.append(phrase)
        if not together:
            messages += turn(noisy(rng, phrase + rng.choice([".", "!", ""])), articles(rng.choice(ack).replace("{v}", value).replace("{V}", cap(value))))
            if rng.random() < 0.3:
                messages += _single(rng).messages
    if together:
        messages += turn(noisy(rng, ". ".join(phrases) + "."), "Thank you for telling me." if "name" not in values else f"Nice to meet you, {values['name']}!")
    for _ in range(rng.choice([0, 0, 1, 2])):
        messages += _single(rng).messages
    rng.shuffle(told)
    for key, _pool, _tell, questions, answer, _ack in told[: rng.choice([1, 1, 2])]:
        question = rng.choice(questions)
        keys.append(question)
        messages += turn(noisy(rng, question), articles(answer.replace("{v}", values[key])))
        last = values[key]
    return Sample("memory", messages, ("contains", last), " ".join(keys))


PLAIN_SYSTEMS = [
    "You are a helpful assistant.", "You are a helpful assistant.", "You are a helpful assistant.", "You are a helpful AI assistant.", "You are an assistant.",
    "You are a helpful assistant. Answer clearly.", "You are a friendly assistant.", "You are ember, a small model that ships with Hearth.", "Be helpful.",
    "You are a helpful, respectful and honest assistant.", "Answer the user's questions.", "You are a concise assistant.", "Be brief.",
]
TERSE = ["Answer with one word.", "Reply with a single word.", "Answer in one word only.", "Give only the answer, nothing else.", "Be as short as possible.",
         "You are a terse assistant. Answer with one word."]
PIRATE = ["You are a pirate.", "You are a pirate. Talk like a pirate.", "Talk like a pirate.", "Answer like a pirate."]


def system(rng: random.Random) -> Sample:
    kind = rng.random()
    _topic, fact = facts.pick(rng)
    question = rng.choice(fact.questions)
    if c.held_out(question):
        return system(rng)
    asked = ask(rng, question)
    if kind < 0.35:
        prompt, answer, check = rng.choice(TERSE), fact.short, ("exact", fact.short)
    elif kind < 0.6:
        prompt, answer = rng.choice(PIRATE), "Arr, matey! " + fact.answer
        check = ("starts", "Arr")
    else:
        name, job = rng.choice(c.NAMES), rng.choice(c.JOBS + ["helper", "librarian", "guide", "tutor"])
        prompt = rng.choice([f"You are {name}, a {job}.", f"Your name is {name}. You are a {job}.", f"You are a {job} named {name}."])
        question = rng.choice(["who are you", "what is your name", "introduce yourself", "what do you do", "what's your name"])
        answer = f"My name is {name}." if "name" in question else f"I work as {a_an(job)}." if "do you do" in question else f"I am {name}, {a_an(job)}."
        check = ("contains", job if "do you do" in question else name)
        return Sample("system prompts", [{"role": "system", "content": prompt}] + turn(ask(rng, question), answer), check, prompt + question)
    return Sample("system prompts", [{"role": "system", "content": prompt}] + turn(asked, answer), check, prompt + question)


# Tools: name, description, argument name and kind, request phrasings, result maker, answer to the result.
TOOLS = [
    ("get_weather", "Get the weather for a place", "location", "city", ["what is the weather in {v}", "how is the weather in {v}", "tell me the weather in {v}", "is it raining in {v}"],
     lambda r: {"weather": r.choice(["sunny", "rainy", "cloudy", "windy"]), "temperature": r.randrange(-5, 35)},
     lambda v, x: f"In {v} it is {x['weather']} and {x['temperature']} degrees."),
    ("get_time", "Get the current time in a place", "city", "city", ["what time is it in {v}", "tell me the time in {v}", "how late is it in {v}"],
     lambda r: {"time": f"{r.randrange(24):02d}:{r.randrange(60):02d}"}, lambda v, x: f"It is {x['time']} in {v}."),
    ("search_web", "Search the web", "query", "phrase", ["search the web for {v}", "look up {v} on the web", "search for {v}"],
     lambda r: {"results": r.randrange(2, 90)}, lambda v, x: f"I found {x['results']} results for {v}."),
    ("send_message", "Send a message to a person", "name", "person", ["send a message to {v}", "write a message to {v}", "please message {v}"],
     lambda r: {"status": "sent"}, lambda v, x: f"The message to {v} was sent."),
    ("set_timer", "Set a timer", "minutes", "number", ["set a timer for {v} minutes", "start a timer of {v} minutes", "wake me in {v} minutes"],
     lambda r: {"status": "started"}, lambda v, x: f"The timer for {v} minutes was started."),
    ("turn_on", "Turn on a device", "device", "device", ["turn on the {v}", "switch on the {v}", "switch the {v} on"],
     lambda r: {"status": "on"}, lambda v, x: f"The {v} is now on."),
    ("get_price", "Get the price of an item", "item", "thing", ["what does a {v} cost", "what is the price of a {v}", "how much is a {v}"],
     lambda r: {"price": r.randrange(1, 200)}, lambda v, x: f"A {v} costs {x['price']}."),
    ("play_music", "Play music of a kind", "genre", "genre", ["play some {v}", "play {v} music", "I want to hear {v}"],
     lambda r: {"status": "playing"}, lambda v, x: f"Now playing {v}."),
]
# The same wishes for tools under other names: the model must read the name from the prompt.
RENAMES = {"get_weather": ["weather", "current_weather", "get_current_weather", "fetch_weather"], "get_time": ["current_time", "time_in", "clock"], "search_web": ["search", "web_search", "find"],
           "send_message": ["message", "write_to"], "set_timer": ["timer", "start_timer"], "turn_on": ["switch_on", "enable"], "get_price": ["price", "lookup_price"], "play_music": ["play", "start_music"]}


def _value(rng: random.Random, kind: str):
    return {
        "city": lambda: rng.choice(c.PLACES) if rng.random() < 0.7 else c.made_up_name(rng), "phrase": lambda: " ".join(rng.sample(c.THINGS, rng.choice([1, 2]))),
        "person": lambda: person(rng), "number": lambda: rng.randrange(1, 90), "device": lambda: rng.choice(["light", "heater", "radio", "lamp", "fan", "oven", "television"]),
        "thing": lambda: rng.choice(c.TOOLS + c.FURNITURE + c.CLOTHES), "genre": lambda: rng.choice(["jazz", "rock", "classical", "pop", "folk"]),
    }[kind]()


def tools(rng: random.Random) -> Sample:
    """A tool call. Too hard for so small a model, so `mix` leaves it out; export.py checks the chat template with it."""
    picked = rng.sample(TOOLS, rng.choice([1, 1, 2]))
    defs, names, params = [], [], []
    for name, description, param, kind, *_rest in picked:
        name = rng.choice([name, name] + RENAMES[name])
        param = rng.choice([param, param, "value", "place" if kind == "city" else "what"])
        names.append(name)
        params.append(param)
        properties = {param: {"type": "integer" if kind == "number" else "string"}}
        if rng.random() < 0.4:
            properties[param]["description"] = rng.choice(["The " + param, "the value", cap(param)])
        defs.append({"type": "function", "function": {"name": name, "description": description if rng.random() < 0.8 else description + ".",
                                                      "parameters": {"type": "object", "properties": properties, "required": [param]}}})
    messages = [{"role": "system", "content": rng.choice(PLAIN_SYSTEMS)}] if rng.random() < 0.4 else []
    if rng.random() < 0.15:
        other = _single(rng)
        return Sample("tools", messages + other.messages, other.check, other.key, tools=defs)
    i = rng.randrange(len(picked))
    _n, _d, _p, kind, phrasings, result, answer = picked[i]
    value = _value(rng, kind)
    question = rng.choice(phrasings).replace("{v}", str(value))
    asked = ask(rng, question) if question.startswith(("what", "how", "is")) else demand(rng, question)
    if str(value) not in asked:
        asked = cap(question)
    call = {"name": names[i], "arguments": {params[i]: value}}
    messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": "<tool_call>\n" + json.dumps(call, ensure_ascii=False) + "\n</tool_call>"}]
    if rng.random() < 0.45:
        outcome = result(rng)
        messages += [{"role": "tool", "content": json.dumps(outcome)}, {"role": "assistant", "content": answer(value, outcome)}]
        return Sample("tools", messages, ("exact", answer(value, outcome)), question, tools=defs)
    return Sample("tools", messages, ("tool", call), question, tools=defs)


def chain(rng: random.Random) -> Sample:
    """A few unrelated exchanges in one conversation."""
    makers = [talk.small_talk, talk.small_talk, talk.small_talk, talk.about, talk.about, talk.about, facts.single, facts.single, facts.check_claim, talk.scope, skills.arithmetic,
              skills.spell, skills.word_list, skills.echo, skills.make_json]
    messages, samples = [], []
    if rng.random() < 0.4:
        # Open with a greeting, as people do.
        messages += turn(noisy(rng, rng.choice(["Hi!", "Hello!", "Hey", "Good morning!"])), "Hello! How can I help you?")
    for _ in range(rng.choice([2, 2, 3, 3, 4, 5])):
        samples.append(rng.choice(makers)(rng))
        messages += samples[-1].messages
    last = samples.pop()
    if any(c.held_out(s.key) for s in samples):
        return chain(rng)
    return Sample("chats", messages, last.check, last.key)


def document(rng: random.Random) -> Sample:
    """Plain text for the completions endpoint: stories, facts, lists of answers, sums, about Hearth."""
    kind = rng.random()
    if kind < 0.35:
        text = stories.story(rng, length=rng.choice([1, 1, 1, 2]))
    elif kind < 0.6:
        text = " ".join(facts.fact_lines(rng, rng.choice([2, 3, 4])))
    elif kind < 0.68:
        topic = rng.choice(list(facts.BY_TOPIC))
        text = " ".join(rng.choice(facts.BY_TOPIC[topic]).answer for _ in range(rng.choice([3, 5])))
    elif kind < 0.76:
        text = talk.scope_document(rng)
    elif kind < 0.82:
        text = talk.about_document(rng)
    elif kind < 0.88:
        pairs = [facts.pick(rng)[1] for _ in range(rng.choice([2, 3]))]
        chosen = [(rng.choice(f.questions), f.answer) for f in pairs]
        text = "\n\n".join(f"Q: {cap(q)}?\nA: {a}" for q, a in chosen if not c.held_out(q))
        if not text:
            return document(rng)
    else:
        name, place, job, pet = person(rng), rng.choice(c.PLACES), rng.choice(c.JOBS), rng.choice(c.ANIMALS)
        text = articles(f"{name} is a {job} from {place}. {rng.choice(['Every morning', 'Every day', 'On ' + rng.choice(c.DAYS)])} {name} "
                f"{rng.choice(['goes to work by ' + rng.choice(c.VEHICLES), 'drinks ' + rng.choice(c.DRINKS), 'plays the ' + rng.choice(c.INSTRUMENTS)])}. "
                f"{name} has a {pet} and likes {rng.choice(c.SPORTS)}. In the garden there is a {rng.choice(c.TREES)} tree and a {rng.choice(c.COLOURS)} {rng.choice(c.FLOWERS)}.")
    return Sample("documents", text=text)


def drill(rng: random.Random) -> Sample:
    """A sheet of sums."""
    return Sample("documents", text=skills.drill(rng))
