"""What every data category shares: the sample type, user phrasing noise, word pools and the held-out split."""

import hashlib
import random
import re
from dataclasses import dataclass, field


@dataclass
class Sample:
    """One conversation (or one plain document), with an automatic check for its last answer."""

    category: str
    messages: list = field(default_factory=list)  # {"role", "content"}
    check: tuple | None = None  # (kind, value), see eval.py
    key: str | None = None  # what the held-out split hashes; None: never held out
    text: str | None = None  # a plain document instead of a conversation
    tools: list | None = None  # tool definitions (OpenAI format), for the tools category


def turn(question: str, answer: str) -> list:
    """One exchange."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def normal(text: str) -> str:
    """Text without case, punctuation and doubled spaces: the form that is hashed."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


HELD_OUT_ONE_IN = 30


def held_out(key: str | None) -> bool:
    """Whether this key belongs to the evaluation and must never be trained on."""
    if key is None:
        return False
    digest = hashlib.sha256(normal(key).encode()).digest()
    return int.from_bytes(digest[:4], "little") % HELD_OUT_ONE_IN == 0


def cap(text: str) -> str:
    return text[:1].upper() + text[1:]


def a_an(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def articles(text: str) -> str:
    """'a' as 'an' where a vowel follows."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def join_and(items: list) -> str:
    items = list(items)
    if len(items) == 1:
        return items[0]
    return ", ".join(items[:-1]) + " and " + items[-1]


WRAPS = [
    "{Q}?", "{Q}?", "{Q}?", "{Q}?", "{Q}?", "{Q}?", "{Q}?", "{Q}?",
    "Quick question: {q}?", "Question: {Q}?", "Hey, {q}?", "Hi, {q}?", "Hello! {Q}?", "{Q}? Thanks!",
    "{Q}, please?", "Please tell me: {q}?", "Tell me, {q}?", "I have a question: {q}?", "Do you know this? {Q}?",
    "Can you tell me this: {q}?", "I forgot: {q}?", "My friend asks: {q}?", "So, {q}?", "Ok, {q}?",
    "{Q}? Answer briefly.", "I want to know: {q}?", "Help me please, {q}?", "One more thing: {q}?",
]


def ask(rng: random.Random, question: str) -> str:
    """Wrap a direct question (no question mark, lower-case start) the way people write to a chat, with noise."""
    text = rng.choice(WRAPS).replace("{Q}", cap(question)).replace("{q}", question)
    return noisy(rng, text)


DEMAND_WRAPS = [
    "{Q}.", "{Q}.", "{Q}.", "{Q}.", "Please {q}.", "{Q}, please.", "Can you {q}?", "Could you {q}?", "I need you to {q}.",
    "Would you {q}?", "Hi! Please {q}.", "{Q}. Thank you!", "Hey, {q}.", "Can you please {q}?", "I want you to {q}.",
]


def demand(rng: random.Random, order: str, noise: bool = True) -> str:
    """Wrap an order in the imperative (lower-case start, no full stop)."""
    if order.startswith("I "):
        text = order + "."
    else:
        text = rng.choice(DEMAND_WRAPS).replace("{Q}", cap(order)).replace("{q}", order)
    return noisy(rng, text) if noise else text


def typo(rng: random.Random, text: str) -> str:
    """Swap, drop or double one letter inside a longer word."""
    spots = [m.start() for m in re.finditer(r"(?<=[a-z])[a-z](?=[a-z])", text)]
    if not spots:
        return text
    i = rng.choice(spots)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:i] + text[i + 1] + text[i] + text[i + 2:]
    if kind == 1:
        return text[:i] + text[i + 1:]
    return text[:i] + text[i] + text[i:]


def noisy(rng: random.Random, text: str) -> str:
    """User noise: case, missing end punctuation, now and then a typing error."""
    if rng.random() < 0.30:
        text = text.lower()
    elif rng.random() < 0.02:
        text = text.upper()
    if rng.random() < 0.25:
        text = text.rstrip("?.!")
    if rng.random() < 0.07:
        text = typo(rng, text)
    return text


def words(text: str) -> list:
    return text.split()


NAMES = words(
    "Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Mia Noah Olivia Paul Rosa Sam Tina Victor Wendy "
    "Alice Bob Carol Daniel Elena Frank Gina Hugo Irene James Karl Laura Max Nina Oscar Petra Quinn Robert Sara Tom "
    "Ursula Vera Walter Xenia Yusuf Zoe Amir Bianca Chen Dora Emil Fatima George Hana Ivan Julia Kofi Lena Marco Nadia "
    "Omar Priya Ravi Sofia Tariq Uma Vikram Yuki Zara Adam Beth Carlos Diana Erik Flora Greta Hannah Isaac Jonas Kim "
    "Lucas Maria Nora Otto Pia Ruth Simon Thea Lily Peter John Mary Linda Mark Susan Kevin Lisa Brian Sandra Oliver"
)
_SYLLABLES = words("ka lo mi ren ta vor sel du nim pa ro shi be lan fo ger ti mar ya zen ul ko ri ne sa jo ba del ver qui")
PLACES = words(
    "Berlin Paris London Madrid Rome Vienna Oslo Lisbon Dublin Athens Cairo Tokyo Boston Chicago Sydney Toronto Mumbai "
    "Zurich Prague Warsaw Helsinki Hamburg Lyon Milan Porto Bergen Denver Austin Seattle Montreal Osaka Seoul Lima"
)
FRUITS = words("apple banana cherry grape lemon mango orange peach pear plum kiwi melon strawberry pineapple")
VEGETABLES = words("carrot potato tomato onion pea bean cabbage spinach lettuce cucumber pepper broccoli")
ANIMALS = words("cat dog horse cow sheep goat pig lion tiger bear wolf fox rabbit mouse elephant monkey zebra deer")
BIRDS = words("eagle owl sparrow robin duck swan parrot crow penguin pigeon")
COLOURS = words("red blue green yellow orange purple black white brown pink grey")
TOOLS = words("hammer saw drill screwdriver wrench axe shovel rake")
FURNITURE = words("table chair bed sofa desk shelf lamp cupboard")
CLOTHES = words("shirt hat coat scarf sock shoe dress jacket glove belt")
DRINKS = words("water tea coffee milk juice lemonade cocoa")
VEHICLES = words("car bus train bicycle boat plane truck tram")
INSTRUMENTS = words("piano guitar violin flute drum trumpet cello harp")
SPORTS = words("football tennis swimming running basketball cycling skiing hockey")
JOBS = words("teacher doctor baker farmer pilot painter singer nurse cook engineer gardener writer")
FLOWERS = words("rose tulip daisy lily sunflower violet orchid poppy")
TREES = words("oak pine birch maple willow beech elm cedar")
SHAPES = words("circle square triangle rectangle oval star hexagon")
MONTHS = words("January February March April May June July August September October November December")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
THINGS = (
    FRUITS + VEGETABLES + ANIMALS + TOOLS + FURNITURE + CLOTHES + VEHICLES + INSTRUMENTS + FLOWERS
    + words("book window door key cup plate river mountain stone cloud star moon sun house garden bridge road letter "
            "bell candle clock coin basket box ship train school forest lake island city village bread cheese butter "
            "sugar salt honey soup cake paper pencil mirror carpet ladder rope wheel engine rocket robot")
)


def made_up_name(rng: random.Random) -> str:
    """A name that is in no list, so that the model learns to copy rather than to choose."""
    return cap("".join(rng.choice(_SYLLABLES) for _ in range(rng.choice([2, 2, 3]))))


def person(rng: random.Random) -> str:
    return rng.choice(NAMES) if rng.random() < 0.7 else made_up_name(rng)
