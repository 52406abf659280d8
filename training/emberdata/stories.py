"""Short stories and poems put together from parts, as chat answers and as plain documents."""

import random

from . import common as c
from .common import Sample, a_an, cap, demand, person

ADJ = "little old young brave kind clever shy happy lonely curious gentle hungry sleepy wise funny".split()
PLACES = ["a small village", "a green forest", "a house by the sea", "a quiet town", "a castle on a hill", "a farm near the river", "a busy city",
          "a cave in the mountains", "a garden full of flowers", "a tiny island", "a warm valley", "an old mill"]
TIMES = ["One morning", "One day", "One evening", "On a sunny day", "On a rainy day", "One cold winter day", "In the spring", "One summer night"]
BEINGS = c.ANIMALS + c.BIRDS[:6] + ["robot", "dragon", "fairy", "ghost", "snowman", "king", "queen", "boy", "girl", "wizard", "giant", "pirate"]
OBJECTS = ["a golden key", "a small box", "an old map", "a shiny stone", "a red balloon", "a strange book", "a silver coin", "a lost kitten", "a broken clock",
           "a letter without a name", "a blue feather", "a tiny door", "a magic lamp", "a wooden boat", "a basket of apples", "a bright star"]
WANTS = ["to find a friend", "to see the sea", "to learn to fly", "to bake a cake", "to find the way home", "to sing a song", "to build a house", "to help others",
         "to see the world", "to climb the mountain", "to cross the river", "to plant a garden"]
TROUBLES = ["But it began to rain and the path was gone.", "But a big wall stood in the way.", "But nobody wanted to help.", "But the night was dark and cold.",
            "But the bridge was broken.", "But the wind was too strong.", "But the door was locked.", "But the river was too deep."]
HELPS = ["Then {h} came by and said, \"I can help you.\"", "Just then {h} came along and smiled. \"Let us do it together,\" it said.",
         "Luckily {h} saw it all and came to help.", "\"Do not worry,\" said {h}. \"I know what to do.\""]
ENDS = ["In the end they became good friends.", "They laughed and went home together.", "From that day on they were never alone.", "And they lived happily ever after.",
        "That night they all slept well.", "And everyone was happy.", "They shared some bread and watched the stars."]
LESSONS = ["So we learn that it is good to help each other.", "So we learn that courage is worth it.", "So we learn that a friend is worth more than gold.",
           "So we learn that patience helps."]


def story(rng: random.Random, theme: str | None = None, name: str | None = None, length: int = 1, place: str | None = None) -> str:
    """A story of one paragraph or, with length 2, of three about `theme` (a noun) called `name`."""
    theme = theme or rng.choice(BEINGS)
    name = name or person(rng)
    adj, where, thing = rng.choice(ADJ), place or rng.choice(PLACES), rng.choice(OBJECTS)
    it = {"boy": "he", "king": "he", "wizard": "he", "girl": "she", "queen": "she", "fairy": "she"}.get(theme, "it")
    helper_kind = rng.choice([a for a in c.ANIMALS if a != theme])
    helper = a_an(rng.choice(ADJ) + " " + helper_kind)
    first = rng.choice([
        f"Once upon a time there was {a_an(adj + ' ' + theme)} named {name}. {name} lived in {where}.",
        f"In {where} there lived {a_an(adj + ' ' + theme)} called {name}.",
        f"{name} was {a_an(adj + ' ' + theme)} who lived in {where}.",
    ])
    want = rng.choice(WANTS)
    first += rng.choice([f" More than anything, {name} wanted {want}.", f" {name} had one dream: {want}.", f" Every day {name} thought about one thing: {want}."])
    middle = f"{rng.choice(TIMES)} {name} found {thing}. {rng.choice(TROUBLES)} {rng.choice(HELPS).replace('{h}', helper)}"
    end = f"{name} said thank you, and soon {it} was able {want}. {rng.choice(ENDS)}"
    if length == 1:
        return f"{first} {middle} {end}"
    parts = [first, middle]
    parts.append(end + (" " + rng.choice(LESSONS) if rng.random() < 0.5 else ""))
    return "\n\n".join(parts)


RHYMES = [("day", "way"), ("sea", "free"), ("light", "night"), ("tree", "me"), ("sky", "high"), ("rain", "again"), ("sun", "run"), ("hill", "still"),
          ("star", "far"), ("snow", "glow"), ("song", "long"), ("bright", "light"), ("fire", "higher"), ("home", "roam")]


def poem(rng: random.Random, theme: str) -> str:
    (a1, a2), (b1, b2) = rng.sample(RHYMES, 2)
    first = rng.choice([f"I saw the {theme} one fine {a1}," if a1 == "day" else f"The {theme} dreams of the {a1},", f"O little {theme}, think of the {a1},"])
    if a1 in ("bright", "long", "high", "still", "far"):
        first = f"The {theme} is so very {a1},"
    second = {"way": "and quietly went on its way.", "free": "where every heart is glad and free.", "night": "that shines so softly in the night.", "me": "and sings its little song for me.",
              "high": "where birds are flying, oh so high.", "again": "and hopes to see it soon again.", "run": "where all the children laugh and run.", "still": "where all the world is calm and still.",
              "far": "that shines on us from very far.", "glow": "that makes the quiet garden glow.", "long": "that we have loved for very long.", "light": "and fills the morning with its light.",
              "higher": "and sees the sparks go ever higher.", "roam": "wherever it may go and roam."}[a2]
    ends = {"way": ("We meet again some other day,", "and dance along the sunny way."), "free": ("The wind is blowing from the sea,", "and we are happy, we are free."), "night": ("We sit together by the light,", "and tell our stories through the night."),
            "me": ("We rest a while beneath the tree,", "a quiet place for you and me."), "high": ("A cloud is sailing in the sky,", "and we are dreaming, you and I."), "again": ("And after all the wind and rain,", "the sun will warm us once again."),
            "run": ("We greet the golden morning sun,", "and down the hill we run and run."), "still": ("The moon is rising on the hill,", "and all the little birds are still."), "far": ("Above us shines the evening star,", "it tells of places near and far."),
            "glow": ("The world is white with winter snow,", "and all the little windows glow."), "long": ("We sing a merry little song,", "and winter does not last so long."), "light": ("The morning comes, so clear and bright,", "and everything is full of light."),
            "higher": ("We warm our hands beside the fire,", "the flames are dancing, ever higher."), "roam": ("And in the evening we go home,", "however far we like to roam.")}[b2]
    return "\n".join([first, second, *ends])


def request(rng: random.Random) -> Sample:
    kind = rng.random()
    if kind < 0.2:
        theme = rng.choice(c.ANIMALS + c.FLOWERS + c.TREES + c.BIRDS + "moon sun star river mountain sea garden rain snow city forest wind robot winter summer spring autumn night morning".split())
        named = rng.choice([f"the {theme}", a_an(theme)]) if theme not in ("winter", "summer", "spring", "autumn", "rain", "snow") else theme
        order = rng.choice(["write a poem about {t}", "write a short poem about {t}", "make a poem about {t}", "give me a little poem about {t}", "tell me a poem about {t}"]).replace("{t}", named)
        return Sample("poems", c.turn(demand(rng, order), poem(rng, theme)), ("contains", theme), order)
    theme = rng.choice(BEINGS)
    name = person(rng) if rng.random() < 0.5 else None
    length = rng.choices([1, 2], [4, 1])[0]
    place = rng.choice(PLACES) if rng.random() < 0.2 else None
    size = {1: rng.choice(["short ", "little ", ""]), 2: "long "}[length]
    named = f" named {name}" if name else ""
    where = f" in {place}" if place else ""
    if rng.random() < 0.25 and not name:
        order = rng.choice(["tell me a story", "write a story", "tell me a short story", "I want to hear a story", "write a short story for me", "tell me a bedtime story", "a story please", "story", "make up a story", "do you know a story", "give me a story"])
        answer = story(rng, None, None, 1)
        return Sample("stories", c.turn(demand(rng, order), answer), ("long", 40), None)
    order = rng.choice([f"tell me a {size}story about {a_an(theme)}", f"write a {size}story about {a_an(theme)}", f"make up a {size}story about {a_an(theme)}",
                        f"I want a {size}story about {a_an(theme)}", f"give me a {size}story about {a_an(theme)}", f"write a {size}tale of {a_an(theme)}"]) + named + where
    return Sample("stories", c.turn(demand(rng, order), story(rng, theme, name, length, place)), ("all", [theme] + ([name] if name else [])), order)
