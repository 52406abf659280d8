"""Small tasks with one right answer: sums, counting, spelling, lists, echo, JSON, code, sorting by sense."""

import json
import random

from . import common as c
from .common import Sample, ask, cap, demand, join_and, noisy, person, turn

SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()


def in_words(n: int) -> str:
    if n < 0:
        return "minus " + in_words(-n)
    if n < 20:
        return SMALL[n]
    if n < 100:
        return TENS[n // 10] + ("-" + SMALL[n % 10] if n % 10 else "")
    if n < 1000:
        return SMALL[n // 100] + " hundred" + (" and " + in_words(n % 100) if n % 100 else "")
    return str(n)


NAMES_OF = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}


def small_sum(rng: random.Random, top: int = 100) -> tuple:
    """(a, operator, b, result): sums and differences within `top`, products to ten times ten."""
    op = rng.choices("+-*/", [5, 4, 3, 1])[0]
    top = rng.choice([10, 20, top, top])
    if op == "+":
        result = rng.randrange(top + 1)
        a = rng.randrange(result + 1)
        return a, op, result - a, result
    if op == "-":
        a = rng.randrange(top + 1)
        b = rng.randrange(a + 1)
        return a, op, b, a - b
    a, b = rng.randrange(11), rng.randrange(1, 11)
    return (a, op, b, a * b) if op == "*" else (a * b, op, b, a)


TOO_LARGE = "I am sorry, that is too hard for me. I can only do sums with small whole numbers."


def arithmetic(rng: random.Random) -> Sample:
    if rng.random() < 0.08:
        a, b, c_ = rng.randrange(150, 100_000), rng.randrange(2, 10_000), rng.randrange(2, 100)
        question = rng.choice(["what is {a} {o} {b}", "{a} {s} {b}", "calculate {a} {s} {b}", "what is the square root of {a}", "what is {c} percent of {a}", "{c}.{d} {s} {a}",
                               "how much is {a} {o} {b}", "what is {c} to the power of {d}", "what is {a}.{c} {o} {b}", "{a}{s}{b}", "compute the logarithm of {a}"])
        op = rng.choice("+-*/")
        question = question.format(a=a, b=b, c=c_, d=rng.randrange(10), o=NAMES_OF[op], s=op)
        return Sample("arithmetic", turn(ask(rng, question), TOO_LARGE), ("contains", "sorry"), question)
    if rng.random() < 0.12:
        a, op, b, result = small_sum(rng, 20)
        question = rng.choice(["what is {x} {o} {y}", "{x} {o} {y}", "how much is {x} {o} {y}"]).format(x=in_words(a), y=in_words(b), o=NAMES_OF[op])
        return Sample("arithmetic", turn(ask(rng, question), f"{cap(in_words(a))} {NAMES_OF[op]} {in_words(b)} is {in_words(result)}."),
                      ("ends", f"is {in_words(result)}."), question)
    a, op, b, result = small_sum(rng)
    sign = rng.choice([op, op, "x" if op == "*" else op])
    question = rng.choice(["what is {a} {o} {b}", "what is {a} {o} {b}", "what is {a} {s} {b}", "{a} {s} {b}", "{a}{s}{b}", "how much is {a} {o} {b}", "calculate {a} {s} {b}",
                           "what's {a} {s} {b}", "compute {a} {o} {b}", "{a} {s} {b} =", "{a}{s}{b}=", "can you work out {a} {o} {b}", "{a} {o} {b}", "how much is {a} {s} {b}"])
    if rng.random() < 0.1:
        question = {"+": rng.choice(["what is the sum of {a} and {b}", "add {a} and {b}"]), "-": rng.choice(["what is the difference of {a} and {b}", "subtract {b} from {a}", "take {b} from {a}"]),
                    "*": rng.choice(["what is the product of {a} and {b}", "multiply {a} by {b}", "multiply {a} and {b}"]), "/": "divide {a} by {b}"}[op]
    question = question.format(a=a, b=b, o=NAMES_OF[op], s=sign)
    # The answer states the sum first: the digits are copied, then the result is made beside them.
    answer = f"{a} {op} {b} = {result}"
    text = question if question.endswith("=") else ask(rng, question)
    return Sample("arithmetic", turn(text, answer), ("ends", str(result)), f"{op} {a} {b}")


def drill(rng: random.Random) -> str:
    """Many sums below each other, as plain text: the densest way to learn them. Never a held-out one."""
    out = []
    while len(out) < 12:
        a, op, b, result = small_sum(rng)
        if not c.held_out(f"{op} {a} {b}"):
            out.append(f"{a} {op} {b} = {result}")
    return "\n".join(out)


def word_problem(rng: random.Random) -> Sample:
    name, thing = person(rng), rng.choice(["apple", "book", "coin", "egg", "key", "cup", "ball", "letter", "stone", "pear", "card"])
    a, b = rng.randrange(2, 13), rng.randrange(1, 11)
    if rng.random() < 0.5:
        story = rng.choice([f"{name} has {a} {thing}s and gets {b} more.", f"{name} has {a} {thing}s. A friend gives {name} {b} more.",
                            f"There are {a} {thing}s in a box and {name} adds {b}."])
        question, result, sum_ = f"How many {thing}s are there now?", a + b, f"{a} + {b}"
    else:
        a, b = max(a, b), min(a, b)
        story = rng.choice([f"{name} has {a} {thing}s and gives away {b}.", f"{name} has {a} {thing}s and loses {b} of them.",
                            f"There are {a} {thing}s on the table and {name} takes {b}."])
        question, result, sum_ = f"How many {thing}s are left?", a - b, f"{a} - {b}"
    text = noisy(rng, f"{story} {question}")
    return Sample("word problems", turn(text, f"{sum_} = {result}. The answer is {result}."), ("contains", f"answer is {result}."), text)


def compare(rng: random.Random) -> Sample:
    kind = rng.randrange(4)
    a, b = rng.sample(range(1, 100), 2)
    if kind == 0:
        question = rng.choice([f"which is larger, {a} or {b}", f"which number is bigger, {a} or {b}", f"is {a} or {b} the larger number"])
        answer, must = f"{max(a, b)} is larger than {min(a, b)}.", f"{max(a, b)} is"
    elif kind == 1:
        question = rng.choice([f"which is smaller, {a} or {b}", f"which number is smaller, {a} or {b}"])
        answer, must = f"{min(a, b)} is smaller than {max(a, b)}.", f"{min(a, b)} is"
    elif kind == 2:
        question = rng.choice([f"is {a} even or odd", f"is {a} odd or even", f"is the number {a} even"])
        must = "even" if a % 2 == 0 else "odd"
        answer = f"{a} is {must}."
    else:
        step = rng.choice([1, 2, 5, 10])
        a = rng.randrange(1, 60)
        nums = [a + step * i for i in range(5)]
        question = rng.choice(["which number comes next: {}", "continue the row: {}", "what comes next in {}"]).format(", ".join(map(str, nums[:4])))
        answer, must = f"The next number is {nums[4]}.", str(nums[4])
    return Sample("numbers", turn(ask(rng, question), answer), ("contains", must), question)


def count(rng: random.Random) -> Sample:
    start, n = (1, rng.randrange(2, 21)) if rng.random() < 0.7 else (rng.randrange(1, 30), rng.randrange(3, 13))
    end = start + n - 1
    if rng.random() < 0.2:
        start, end = 1, min(end, 20)
        order = rng.choice([f"count down from {end} to {start}", f"count backwards from {end} to {start}", f"count down from {end}"])
        nums = list(range(end, start - 1, -1))
    else:
        order = rng.choice([f"count from {start} to {end}", f"count to {end}" if start == 1 else f"count up from {start} to {end}",
                            f"list the numbers from {start} to {end}", f"write the numbers {start} to {end}"])
        nums = list(range(start, end + 1))
    answer = ", ".join(map(str, nums))
    return Sample("counting", turn(demand(rng, order), answer), ("exact", answer), order)


ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def alphabet(rng: random.Random) -> Sample:
    i = rng.randrange(25)
    kind = rng.randrange(5)
    up = [x.upper() for x in ALPHABET]
    if kind == 0:
        question = rng.choice([f"which letter comes after {up[i]}", f"what letter comes after {up[i]}", f"what is the letter after {up[i]}"])
        answer, must = f"After {up[i]} comes {up[i + 1]}.", f"comes {up[i + 1]}"
    elif kind == 1:
        question = rng.choice([f"which letter comes before {up[i + 1]}", f"what is the letter before {up[i + 1]}"])
        answer, must = f"Before {up[i + 1]} comes {up[i]}.", f"comes {up[i]}"
    elif kind == 2:
        question = rng.choice(["say the alphabet", "write the alphabet", "recite the alphabet", "what is the alphabet", "list the letters of the alphabet"])
        answer = must = " ".join(up)
        return Sample("spelling", turn(ask(rng, question), answer), ("contains", must), None)
    else:
        word = rng.choice(c.THINGS + c.JOBS)
        which = rng.choice(["first", "last"])
        letter = (word[0] if which == "first" else word[-1]).upper()
        question = rng.choice([f"what is the {which} letter of {word}", f"which letter does {word} {'start' if which == 'first' else 'end'} with",
                               f"what's the {which} letter in the word {word}"])
        answer, must = f"The {which} letter of {word} is {letter}.", f"is {letter}."
    return Sample("spelling", turn(ask(rng, question), answer), ("contains", must), question)


def spell(rng: random.Random) -> Sample:
    word = rng.choice(c.THINGS + c.THINGS + c.JOBS + c.COLOURS + c.NAMES)
    order = rng.choice([f"spell {word}", f"spell the word {word}", f"spell out {word}", f"how do you spell {word}", f"write {word} letter by letter"])
    answer = "-".join(word.upper())
    text = noisy(rng, cap(order) + "?") if order.startswith("how") else demand(rng, order)
    return Sample("spelling", turn(text, answer), ("exact", answer), order)


POOLS = {
    "fruits": c.FRUITS, "vegetables": c.VEGETABLES, "animals": c.ANIMALS, "birds": c.BIRDS, "colours": c.COLOURS, "tools": c.TOOLS,
    "colors": c.COLOURS, "pieces of furniture": c.FURNITURE, "clothes": c.CLOTHES, "drinks": c.DRINKS, "vehicles": c.VEHICLES,
    "instruments": c.INSTRUMENTS, "sports": c.SPORTS, "jobs": c.JOBS, "flowers": c.FLOWERS, "trees": c.TREES, "shapes": c.SHAPES,
    "months": c.MONTHS, "days of the week": c.DAYS, "days": c.DAYS, "cities": c.PLACES[:20], "names": c.NAMES[:20], "numbers": SMALL[1:11],
    "countries": "France Germany Italy Spain Japan China India Brazil Canada Kenya Egypt Norway Poland Peru".split(),
    "planets": "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split(),
    "programming languages": "Rust Python C Java Go Ruby Swift Kotlin".split(),
    "languages": "English French German Spanish Italian Chinese Japanese Arabic".split(),
}


def some(rng: random.Random, kind: str, n: int) -> list:
    """n neighbours of a pool: the start is free, the rest follows, so that no item comes twice."""
    pool = POOLS[kind]
    start = rng.randrange(len(pool))
    return [cap(pool[(start + i) % len(pool)]) for i in range(n)]


def word_list(rng: random.Random) -> Sample:
    kind = rng.choice(list(POOLS))
    n = min(rng.choice([2, 3, 3, 3, 3, 4, 5, 5, 5, 6]), len(POOLS[kind]))
    items = some(rng, kind, n)
    number = str(n) if rng.random() < 0.4 else SMALL[n]
    style = rng.choice(["", "", "", "", " as a numbered list", " with bullet points", " separated by commas", " as json", " as a JSON list"])
    order = rng.choice(["list {n} {k}", "name {n} {k}", "give me {n} {k}", "write down {n} {k}", "tell me {n} {k}", "give me a list of {n} {k}", "I need {n} {k}",
                        "make a list of {n} {k}", "write a list of {n} {k}", "show me {n} {k}", "name me {n} {k}"])
    order = order.format(n=number, k=kind) + style
    if "json" in style.lower():
        return Sample("JSON", turn(demand(rng, order), json.dumps(items)), ("json items", (kind, n)), order)
    if "comma" in style:
        answer = ", ".join(items)
    elif "bullet" in style:
        answer = "\n".join(f"- {i}" for i in items)
    else:
        answer = "\n".join(f"{k}. {i}" for k, i in enumerate(items, 1))
    return Sample("lists", turn(demand(rng, order), answer), ("items", (kind, n)), order)


def odd_one(rng: random.Random) -> Sample:
    """Which group a word belongs to."""
    groups = {"fruit": c.FRUITS, "vegetable": c.VEGETABLES, "colour": c.COLOURS, "piece of furniture": c.FURNITURE, "vehicle": c.VEHICLES,
              "instrument": c.INSTRUMENTS, "flower": c.FLOWERS, "tool": c.TOOLS, "drink": c.DRINKS, "sport": c.SPORTS, "bird": c.BIRDS}
    kind = rng.choice(list(groups))
    word = rng.choice([w for w in groups[kind] if w != "orange"])
    if rng.random() < 0.5:
        question = rng.choice([f"what kind of thing is {word}", f"what sort of word is {word}", f"what is {word}: a fruit, a tool or something else"])
        return Sample("groups", turn(ask(rng, question), f"{cap(word)} is {c.a_an(kind)}."), ("contains", kind), question)
    other = rng.choice([k for k in groups if k != kind])
    claim = rng.choice([kind, other])
    question = rng.choice([f"is {word} {c.a_an(claim)}", f"would you call {word} {c.a_an(claim)}"])
    answer = ("Yes" if claim == kind else "No") + f", {word} is {c.a_an(kind)}."
    return Sample("groups", turn(ask(rng, question), answer), ("starts", answer.split(",")[0]), question)


def phrase(rng: random.Random) -> str:
    """A short piece of text to copy."""
    n = rng.choice([1, 1, 2, 2, 3, 3, 4])
    if rng.random() < 0.6:
        return " ".join(rng.choice(c.THINGS + c.COLOURS) for _ in range(n))
    who = rng.choice(c.NAMES)
    return rng.choice([
        f"{who} likes {rng.choice(c.SPORTS)}", f"the {rng.choice(c.ANIMALS)} is {rng.choice(c.COLOURS)}", f"I have {rng.randrange(2, 20)} {rng.choice(c.FRUITS)}s",
        f"{who} lives in {rng.choice(c.PLACES)}", f"the {rng.choice(c.THINGS)} is on the {rng.choice(c.FURNITURE)}", f"hello {who}", "hello world", "hello",
        f"see you on {rng.choice(c.DAYS)}", f"my {rng.choice(c.CLOTHES)} is {rng.choice(c.COLOURS)}", f"good morning {who}", f"{who} is a {rng.choice(c.JOBS)}",
        f"{SMALL[rng.randrange(2, 11)]} {rng.choice(c.COLOURS)} {rng.choice(c.THINGS)}s",
    ])


def echo(rng: random.Random) -> Sample:
    text = phrase(rng)
    if rng.random() < 0.15:
        n, text = rng.choice([2, 3, 4, 5]), rng.choice(c.THINGS)
        order = rng.choice(["Say {t} {n} times", "Write {t} {n} times", "Repeat the word {t} {n} times"]).replace("{n}", rng.choice([str(n), SMALL[n]]))
        answer = " ".join([text] * n)
        return Sample("echo", turn(order.replace("{t}", text), answer), ("exact", answer), order + text)
    quote = rng.choice(['"', "'", "", ""])
    order = rng.choice(["Repeat after me: {t}", "Say {t}", "Please say {t}", "Repeat: {t}", "Echo this: {t}", "Write exactly this: {t}", "Copy this text: {t}",
                        "Reply with exactly: {t}", "Say exactly {t}", "Repeat this sentence: {t}", "Answer only with {t}", "Say: {t}", "Repeat {t}"])
    return Sample("echo", turn(order.replace("{t}", quote + text + quote), text), ("exact", text), order + text)


def plural(rng: random.Random) -> Sample:
    special = {"mouse": "mice", "child": "children", "man": "men", "woman": "women", "foot": "feet", "tooth": "teeth", "goose": "geese", "sheep": "sheep",
               "wolf": "wolves", "knife": "knives", "leaf": "leaves", "bus": "buses", "box": "boxes", "city": "cities", "baby": "babies", "fish": "fish"}
    if rng.random() < 0.4:
        word = rng.choice(list(special))
        many = special[word]
    else:
        word = rng.choice([w for w in c.ANIMALS + c.TOOLS + c.FURNITURE + c.VEHICLES if w[-1] not in "sxyh" and w not in special and w not in ("deer", "shelf")])
        many = word + "s"
    question = rng.choice([f"what is the plural of {word}", f"plural of {word}", f"what's the plural of {word}", f"how do you say more than one {word}"])
    return Sample("spelling", turn(ask(rng, question), f"The plural of {word} is {many}."), ("contains", many), question)


TENSES = dict(zip("go see eat run write speak take give come make buy think sing swim know find walk play work help look ask".split(),
                  "went saw ate ran wrote spoke took gave came made bought thought sang swam knew found walked played worked helped looked asked".split()))


def past(rng: random.Random) -> Sample:
    verb = rng.choice(list(TENSES))
    question = rng.choice([f"what is the past tense of {verb}", f"past tense of {verb}", f"what is the past of {verb}", f"what's the past tense of the verb {verb}"])
    return Sample("spelling", turn(ask(rng, question), f"The past tense of {verb} is {TENSES[verb]}."), ("contains", TENSES[verb]), question)


def sentiment(rng: random.Random) -> Sample:
    good = ["I love this {x}", "the {x} is wonderful", "what a great {x}", "this {x} makes me happy", "the best {x} ever", "I really like the {x}", "an excellent {x}",
            "the {x} works very well", "I am very happy with the {x}", "a beautiful {x}"]
    bad = ["I hate this {x}", "the {x} is terrible", "what a bad {x}", "this {x} makes me sad", "the worst {x} ever", "I do not like the {x}", "an awful {x}",
           "the {x} is broken", "I am very unhappy with the {x}", "an ugly {x}"]
    positive = rng.random() < 0.5
    text = cap(rng.choice(good if positive else bad).replace("{x}", rng.choice(c.THINGS + ["film", "song", "meal", "hotel", "game", "phone", "service"])))
    order = rng.choice(["Is this positive or negative: {t}", "What is the sentiment of this text: {t}", "Classify as positive or negative: {t}",
                        "Positive or negative? {t}", "Sentiment: {t}"])
    word = "Positive" if positive else "Negative"
    return Sample("sentiment", turn(order.replace("{t}", text), word), ("exact", word), order + text)


def make_json(rng: random.Random) -> Sample:
    """One JSON object whose values are named in the request; no extra text around it."""
    name, age, city = rng.choice(c.NAMES) if rng.random() < 0.85 else c.made_up_name(rng), rng.randrange(3, 99), rng.choice(c.PLACES)
    extra = {
        "job": rng.choice(c.JOBS), "city": city, "hobby": rng.choice(c.SPORTS), "pet": rng.choice(c.ANIMALS), "colour": rng.choice(c.COLOURS),
        "country": rng.choice(POOLS["countries"]), "active": rng.choice([True, False]), "food": rng.choice(c.FRUITS),
    }
    kind = rng.random()
    if kind < 0.5:
        keys = rng.sample(list(extra), rng.choice([0, 1, 1, 2]))
        obj = {"name": name, "age": age} | {k: extra[k] for k in keys}
        if rng.random() < 0.3:
            del obj["age"]
        if len(obj) == 1:
            obj["city"] = city
        fields = join_and([f"{k} {str(v).lower() if isinstance(v, bool) else v}" for k, v in obj.items()])
        order = rng.choice(["give me JSON with {f}", "write a JSON object with {f}", "make JSON from this: {f}", "return JSON with {f}", "convert to JSON: {f}",
                            "create a JSON object for a person with {f}", "output JSON for {f}", "answer in JSON with {f}"]).replace("{f}", fields)
        text = demand(rng, order, noise=False)
    elif kind < 0.7:
        obj = {"name": name, "age": age, "city": city}
        sentence = rng.choice([f"{name} is {age} years old and lives in {city}.", f"{name} from {city} is {age} years old.", f"{name}, {age}, lives in {city}."])
        order = rng.choice(["Extract name, age and city as JSON: {s}", "Read this and answer with JSON (name, age, city): {s}", "Turn this sentence into JSON with the keys name, age and city: {s}"])
        text = order.replace("{s}", sentence)
        order = order + sentence
    elif kind < 0.85:
        word = rng.choice(["fruits", "animals", "colours", "tools", "cities", "numbers", "names"])
        n = rng.choice([2, 3, 4])
        items = [rng.randrange(1, 100) for _ in range(n)] if word == "numbers" else some(rng, word, n)
        obj = {word: items}
        order = rng.choice(["make JSON with the key {w} and the list {l}", "give me a JSON object with {w}: {l}", "write JSON with a list {w} of {l}"])
        order = order.format(w=word, l=", ".join(map(str, items)))
        text = demand(rng, order, noise=False)
    else:
        # Values free to choose: a check can only look at the keys.
        keys = ["name", "age"] + rng.sample(["city", "job", "hobby", "country", "pet"], rng.choice([0, 1, 2]))
        full = {"name": name, "age": age} | extra
        obj = {k: full[k] for k in keys}
        order = rng.choice(["give me JSON with the {k} of a person", "write a JSON object with {k}", "make up a person as JSON with {k}", "return a JSON object with the keys {k}",
                            "describe a person in JSON with {k}", "give me a JSON object with {k} of someone"]).replace("{k}", join_and(keys))
        text = demand(rng, order)
        return Sample("JSON", turn(text, json.dumps(obj, ensure_ascii=False)), ("json keys", keys), None)
    return Sample("JSON", turn(text, json.dumps(obj, ensure_ascii=False)), ("json", json.dumps(obj)), order)


CODE = [
    ("say hello", {"Python": 'print("Hello, world!")', "Rust": 'fn main() {\n    println!("Hello, world!");\n}', "JavaScript": 'console.log("Hello, world!");',
                   "C": '#include <stdio.h>\n\nint main(void) {\n    printf("Hello, world!\\n");\n    return 0;\n}', "Bash": 'echo "Hello, world!"'},
     ["write a hello world program in {l}", "write hello world in {l}", "show me hello world in {l}", "print hello world in {l}"]),
    ("add", {"Python": "def add(a, b):\n    return a + b", "Rust": "fn add(a: i32, b: i32) -> i32 {\n    a + b\n}", "JavaScript": "function add(a, b) {\n    return a + b;\n}"},
     ["write a function in {l} that adds two numbers", "write a {l} function to add two numbers", "show me a {l} function that adds two numbers"]),
    ("max", {"Python": "def largest(a, b):\n    return a if a > b else b", "Rust": "fn largest(a: i32, b: i32) -> i32 {\n    a.max(b)\n}", "JavaScript": "function largest(a, b) {\n    return a > b ? a : b;\n}"},
     ["write a function in {l} that returns the larger of two numbers", "write a {l} function for the maximum of two numbers"]),
    ("loop", {"Python": "for i in range(1, 11):\n    print(i)", "Rust": 'for i in 1..=10 {\n    println!("{i}");\n}', "JavaScript": "for (let i = 1; i <= 10; i++) {\n    console.log(i);\n}"},
     ["write a loop in {l} that prints the numbers from 1 to 10", "show me a {l} loop from 1 to 10", "print the numbers 1 to 10 in {l}"]),
    ("even", {"Python": "def is_even(n):\n    return n % 2 == 0", "Rust": "fn is_even(n: i32) -> bool {\n    n % 2 == 0\n}", "JavaScript": "function isEven(n) {\n    return n % 2 === 0;\n}"},
     ["write a function in {l} that checks whether a number is even", "write a {l} function to test for even numbers"]),
]


def code(rng: random.Random) -> Sample:
    _name, versions, orders = rng.choice(CODE)
    language = rng.choice(list(versions))
    order = rng.choice(orders).replace("{l}", language)
    answer = f"```{language.lower()}\n{versions[language]}\n```"
    return Sample("code", turn(demand(rng, order), answer), ("exact", answer), None)


def complete(rng: random.Random) -> Sample:
    """Finish a sentence that has one good end."""
    from .facts import CAPITALS, OPPOSITES, THING_COLOURS
    kind = rng.randrange(3)
    if kind == 0:
        country, capital = rng.choice(CAPITALS)[:2]
        start, end = f"The capital of {country} is", capital
    elif kind == 1:
        thing, end = rng.choice(THING_COLOURS)
        start = f"{cap(thing)} is"
    else:
        x, end = rng.choice(OPPOSITES)
        start = f"The opposite of {x} is"
    order = rng.choice(["Complete the sentence: {s}", "Finish this sentence: {s} ...", "Complete: {s} ...", "Fill in the gap: {s} ___."]).replace("{s}", start)
    return Sample("complete", turn(order, f"{start} {end.rstrip('.')}."), ("contains", end.rstrip(".")), order)
