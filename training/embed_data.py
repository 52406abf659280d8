"""Texts for distilling ember-embed, and the held-out pairs that score it.

The texts come from the chat generator, from docstrings of the Python standard library and of installed packages (all
under free licences, used only as input to the teacher), from random words and word groups of the teacher's vocabulary,
and from plain sentence frames filled with such words.
"""

import ast
import random
import re
import sysconfig
from pathlib import Path

from emberdata import facts, mix

PACKAGES = ["numpy", "scipy", "sklearn", "joblib", "jinja2", "click", "tqdm", "networkx", "sympy", "requests", "httpx", "rich", "transformers"]

FRAMES = [
    "{a} and {b}", "the {a} of the {b}", "what is {a}?", "how does {a} work?", "a {a} with a {b}", "I like {a} more than {b}.", "where can I find {a}?",
    "{a} is not the same as {b}.", "He told me about the {a}.", "She wrote a book about {a} and {b}.", "the best {a} for {b}", "news about {a}", "how to learn {a}",
    "The {a} was near the {b}.", "We talked about {a}, {b} and {c}.", "Is {a} good for {b}?", "a history of {a}", "an introduction to {a} and {b}",
    "The {a} {b} is in the {c}.", "My {a} has a problem with the {b}.", "buy a cheap {a}", "the difference between {a} and {b}", "They found a {a} in the {b}.",
    "{a} {b} {c}", "{a} {b}", "Please explain {a} to me.", "People in the {a} use {b} every day.", "a study of {a} in {b}", "{a}: {b}, {c} and {d}",
]

# Held out: (sentence, paraphrase, another topic). None of these appear in the training texts.
TRIPLETS = [tuple(line.split(" | ")) for line in """
A man is playing the guitar. | Someone makes music on a guitar. | A woman is cutting an onion.
The child is sleeping in bed. | A kid lies asleep in its bed. | The stock market fell again.
How can I lose weight? | What is a good way to become thinner? | How can I learn to drive?
The company earned more money this year. | Profits of the firm went up. | The cat climbed a tree.
My laptop does not start any more. | The computer will not turn on. | I baked bread this morning.
It is raining very hard outside. | There is heavy rain today. | The film was boring.
The train arrived two hours late. | The railway service was delayed a lot. | I like green tea.
She is the president of the country. | She leads the nation as head of state. | He repairs bicycles.
How do I reset my password? | I forgot my login and need a new one. | Where can I buy shoes?
The doctor gave me medicine for my cough. | A physician prescribed something against coughing. | The bridge is made of steel.
We are going to the beach on holiday. | Our vacation will be by the sea. | The exam was difficult.
The dog chased the cat through the garden. | In the yard a cat was hunted by a dog. | The price of oil rose.
He scored the winning goal in the match. | His shot decided the football game. | The soup needs more salt.
The museum shows old paintings. | Ancient pictures are on display in the gallery. | My phone battery is empty.
A fire destroyed the old factory. | The plant burned down. | She studies mathematics.
The teacher explained the lesson again. | Once more the instructor went through the material. | The ship sank in the storm.
Where is the nearest hospital? | I need to find a clinic close by. | Who painted this picture?
Sort a list in Python. | How do I order the items of an array in Python code? | How do I cook rice?
The server returned an error. | The request failed on the web host. | The flowers bloom in spring.
Cars pollute the air in cities. | Traffic makes urban air dirty. | The choir sang a hymn.
The king died and his son took the throne. | After the monarch's death the prince became ruler. | The printer is out of paper.
I would like to book a table for two. | Can I reserve a place for two people at the restaurant? | The rocket flew to the moon.
The bakery sells fresh bread. | You can buy newly baked loaves at the shop. | The judge sent him to prison.
Birds fly south in winter. | In the cold season many birds migrate to warm places. | The engine needs oil.
The baby is crying. | An infant weeps. | The bank raised its interest rates.
Scientists discovered a new planet. | A previously unknown world was found by astronomers. | The team lost the game.
She speaks four languages fluently. | She can talk well in four tongues. | The roof is leaking.
The house was sold for a high price. | Somebody paid a lot for the home. | The lion sleeps under a tree.
The election takes place next month. | People will vote in a few weeks. | This cake tastes sweet.
He broke his leg while skiing. | On the ski slope he fractured a bone. | The library opens at nine.
The plane landed safely. | The aircraft came down without trouble. | Carrots are good for your health.
A thief stole her bag. | Her purse was taken by a robber. | The lake is frozen.
The concert was sold out. | No more tickets were left for the show. | The farmer feeds the pigs.
Vaccines protect against disease. | Immunisation prevents illness. | The clock on the wall stopped.
This film is very funny. | The movie makes you laugh a lot. | The river flows through the valley.
I have a headache. | My head hurts. | The airport is closed.
Turn off the lights before you leave. | Switch the lamps out when going. | He won a prize for his novel.
The volcano erupted last night. | Lava came out of the mountain yesterday evening. | The shop sells clothes.
She is afraid of spiders. | Spiders scare her. | The software was updated.
The police arrested the suspect. | Officers took the man into custody. | I planted tomatoes.
Water boils at one hundred degrees. | The boiling point of water is 100 C. | The actor married a singer.
The students wrote an exam. | A test was taken by the pupils. | The fridge is empty.
The economy is growing slowly. | There is little economic growth. | The kitten drinks milk.
He quit his job. | He resigned from work. | The moon is bright tonight.
The road is closed because of snow. | Snowfall has blocked the street. | She plays the violin.
A neural network learns from data. | Deep learning models are trained on examples. | Grandmother knits a pullover.
How tall is the Eiffel Tower? | What is the height of the tower in Paris? | How do I remove a stain?
Delete a file on Linux. | Remove a document from the command line. | Paint the wall white.
The coffee is too hot to drink. | I can't drink this coffee yet, it would burn me. | The army crossed the border.
They got married in June. | Their wedding was in early summer. | The bus has a flat tyre.
The wine comes from France. | It is a French wine. | The keyboard is broken.
The patient needs surgery. | An operation is necessary for the sick man. | The kite flew high.
The forest is full of mushrooms. | Many fungi grow in the woods. | The lawyer read the contract.
I missed the bus this morning. | The bus left without me today. | Gold is a metal.
He is allergic to nuts. | Nuts make him ill. | The orchestra played a symphony.
The government raised taxes. | People must pay more to the state. | The horse jumped over the fence.
The phone rings. | Someone is calling. | Pandas eat bamboo.
The mountain is covered with snow. | There is snow on the peak. | The recipe needs two eggs.
The boy kicked the ball. | A ball was hit by the young man's foot. | The senate passed a law.
She dyed her hair red. | Her hair has a new red colour. | The satellite orbits the Earth.
""".strip().splitlines()]


def docstrings(rng: random.Random, count: int) -> list:
    """Sentences (some of them in longer runs) from docstrings, in a fixed order for fixed package versions."""
    roots = [Path(sysconfig.get_paths()["stdlib"])] + [Path(sysconfig.get_paths()["purelib"]) / p for p in PACKAGES]
    files = []
    for root in roots:
        if root.exists():
            found = sorted(p for p in root.rglob("*.py") if "site-packages" not in p.relative_to(root).parts and "test" not in str(p.relative_to(root)))
            rng.shuffle(found)
            files += found[:450]
    rng.shuffle(files)
    out, seen = [], set()
    for file in files:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue
        for node in ast.walk(tree):
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                continue
            text = ast.get_docstring(node) or ""
            for paragraph in re.split(r"\n\s*\n", text):
                paragraph = re.sub(r"\s+", " ", paragraph).strip()
                if ">>>" in paragraph or len(paragraph) < 20 or sum(ch.isalpha() or ch == " " for ch in paragraph) < 0.85 * len(paragraph):
                    continue
                pieces = [paragraph[:900]] if rng.random() < 0.05 else re.split(r"(?<=[.!?]) ", paragraph)[:3]
                for piece in pieces:
                    if len(piece) > 15 and piece not in seen:
                        seen.add(piece)
                        out.append(piece)
        if len(out) >= 3 * count:
            break
    rng.shuffle(out)
    return out[:count]


def texts(words: list, seed: int, scale: float = 1.0) -> list:
    """All training texts, without doubles; `words` are whole words of the teacher's vocabulary."""
    rng = random.Random(seed)
    out = list(words)

    def word():
        # Frequent words stand first: prefer them.
        return words[int(len(words) * rng.random() ** 1.5)]

    for _ in range(int(22_000 * scale)):
        out.append(rng.choice(FRAMES).format(a=word(), b=word(), c=word(), d=word()))
    for _ in range(int(7_000 * scale)):
        out.append(" ".join(word() for _ in range(rng.randrange(3, 9))))
    count = int(16_000 * scale)
    while count > 0:
        s = mix.training(rng)
        parts = [s.text] if s.text else [m["content"] for m in s.messages]
        for text in parts[-2:]:
            if len(text) < (700 if rng.random() < 0.1 else 160):
                out.append(text)
                count -= 1
    out += docstrings(rng, int(24_000 * scale))
    out = list(dict.fromkeys(out))
    held = {s for t in TRIPLETS for s in t}
    return [t for t in out if t not in held]


def question_triplets(seed: int, count: int) -> list:
    """Two phrasings of one fact and a phrasing of another fact of the same topic: harder than the written triplets."""
    rng = random.Random(seed)
    out = []
    while len(out) < count:
        topic, fact = facts.pick(rng)
        if len(fact.questions) < 2 or topic == "animal yes/no":
            continue
        other = rng.choice([f for f in facts.BY_TOPIC[topic] if f.answer != fact.answer])
        a, b = rng.sample(fact.questions, 2)
        out.append((a + "?", b + "?", rng.choice(other.questions) + "?"))
    return out
