"""The mixture: which categories, in which shares, for training and for evaluation."""

import random

from . import dialogue, facts, skills, stories, talk
from .common import Sample, held_out

# Category makers and how often each is drawn (conversations, not tokens).
MIX = [
    (talk.small_talk, 9), (talk.about, 9), (talk.scope, 6),
    (facts.single, 22), (facts.check_claim, 3), (facts.follow_up, 2.5),
    (skills.arithmetic, 8), (skills.word_problem, 2), (skills.compare, 2.5), (skills.count, 2.5),
    (skills.alphabet, 2.5), (skills.spell, 3), (skills.plural, 1), (skills.past, 1), (skills.word_list, 4), (skills.odd_one, 1.5),
    (skills.echo, 8), (skills.sentiment, 1.5), (skills.make_json, 6), (skills.code, 1), (skills.complete, 1.5),
    (stories.request, 5), (dialogue.memory, 5), (dialogue.system, 5), (dialogue.tools, 3), (dialogue.chain, 2.5), (dialogue.document, 7),
]
_MAKERS = [m for m, _ in MIX]
_SHARES = [w for _, w in MIX]


def with_system(rng: random.Random, sample: Sample) -> Sample:
    """Clients often send a plain system prompt: it must change nothing."""
    if sample.text is None and sample.messages[0]["role"] != "system" and rng.random() < 0.35:
        sample.messages = [{"role": "system", "content": rng.choice(dialogue.PLAIN_SYSTEMS)}] + sample.messages
    return sample


def training(rng: random.Random) -> Sample:
    """One training sample; never a held-out one."""
    while True:
        sample = rng.choices(_MAKERS, _SHARES)[0](rng)
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
