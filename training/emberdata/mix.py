"""The mixture: which categories, in which shares, for training and for evaluation."""

import random

from . import dialogue, facts, skills, stories, talk
from .common import Sample, held_out

# Category makers and how often each is drawn (conversations, not tokens): in the first chunks of the training, and later,
# when the tasks that need exact copying and reckoning take more room.
MIX = [
    (talk.small_talk, 9, 7), (talk.about, 9, 8), (talk.scope, 6, 4),
    (facts.single, 22, 16), (facts.check_claim, 3, 3), (facts.follow_up, 2.5, 2.5),
    (skills.arithmetic, 8, 9), (skills.sums, 0, 3), (skills.word_problem, 2, 3), (skills.compare, 2.5, 3), (skills.count, 2.5, 3.5),
    (skills.alphabet, 2.5, 3), (skills.spell, 3, 5), (skills.plural, 1, 1), (skills.past, 1, 1), (skills.word_list, 4, 5), (skills.odd_one, 1.5, 2),
    (skills.echo, 8, 11), (skills.long_echo, 0, 5), (skills.sentiment, 1.5, 1.5), (skills.make_json, 6, 9), (skills.code, 1, 0.7), (skills.complete, 1.5, 1),
    (stories.request, 5, 3), (dialogue.memory, 5, 7), (dialogue.system, 5, 5), (dialogue.tools, 3, 3.5), (dialogue.chain, 2.5, 1), (dialogue.document, 7, 3),
]
LATER_FROM_CHUNK = 10
_MAKERS = [row[0] for row in MIX]
_SHARES = [[row[1] for row in MIX], [row[2] for row in MIX]]


def with_system(rng: random.Random, sample: Sample) -> Sample:
    """Clients often send a plain system prompt: it must change nothing."""
    if sample.text is None and sample.messages[0]["role"] != "system" and rng.random() < 0.35:
        sample.messages = [{"role": "system", "content": rng.choice(dialogue.PLAIN_SYSTEMS)}] + sample.messages
    return sample


def training(rng: random.Random, later: bool = False) -> Sample:
    """One training sample; never a held-out one."""
    while True:
        sample = rng.choices(_MAKERS, _SHARES[later])[0](rng)
        if not held_out(sample.key):
            return with_system(rng, sample)


def evaluation(rng: random.Random, maker, count: int) -> list:
    """`count` held-out samples of one maker, without doubles."""
    out, seen = [], set()
    for _ in range(count * 2000):
        sample = maker(rng)
        if sample.key is None or sample.check is None or not held_out(sample.key) or sample.key in seen:
            continue
        seen.add(sample.key)
        out.append(with_system(rng, sample))
        if len(out) == count:
            break
    return out
