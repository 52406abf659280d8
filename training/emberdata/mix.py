"""The mixture: which categories, in which shares, for training and for evaluation."""

import random

from . import dialogue, facts, skills, stories, talk
from .common import Sample, held_out

# Category makers and how often each is drawn (conversations, not tokens): in the first chunks of the training, and later,
# when what needs many repetitions (facts, sums, copying) takes the room of what is learned by then.
MIX = [
    (talk.small_talk, 12, 9), (talk.about, 18, 17), (talk.scope, 8, 7),
    (facts.single, 18, 24), (facts.check_claim, 2, 2.5), (facts.follow_up, 1, 1),
    (skills.arithmetic, 9, 11), (skills.word_problem, 1.5, 1.5), (skills.compare, 1.5, 2), (skills.count, 1.5, 2),
    (skills.alphabet, 1.5, 1.5), (skills.spell, 2.5, 3), (skills.plural, 0.5, 0.5), (skills.past, 0.5, 0.5), (skills.word_list, 4, 4), (skills.odd_one, 1.5, 1.5),
    (skills.echo, 3, 6), (skills.sentiment, 0.7, 0.4), (skills.make_json, 4, 5), (skills.code, 0.7, 0.4), (skills.complete, 0.7, 0.4),
    (stories.request, 3, 2), (dialogue.memory, 3, 3), (dialogue.system, 1.5, 1), (dialogue.chain, 4, 3), (dialogue.document, 2.5, 1), (dialogue.drill, 2.5, 3),
]
LATER_FROM_CHUNK = 28
_MAKERS = [row[0] for row in MIX]
_SHARES = [[row[1] for row in MIX], [row[2] for row in MIX]]


def with_system(rng: random.Random, sample: Sample) -> Sample:
    """Clients often send a plain system prompt: it must change nothing."""
    if sample.text is None and sample.messages[0]["role"] != "system" and rng.random() < 0.15:
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
