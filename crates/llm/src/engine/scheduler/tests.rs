//! The scheduler with sequences that do nothing, against the laws that the engine rests on.

use std::time::Duration;

use super::*;
use proptest::prelude::*;

const BLOCK: usize = 4;

/// How many tokens a test sequence is to generate yet.
type Test = Scheduler<usize>;

const STEP: Duration = Duration::from_secs(30);

fn sequence(id: u64, priority: u8, prompt: Vec<u32>, generate: usize) -> Sequence<usize> {
    let rank = Rank::new(Duration::from_millis(id), priority, STEP, id);
    Sequence::new(rank, priority, prompt, generate)
}

/// A prompt that shares nothing with those of other ids.
fn prompt(id: u32, len: usize) -> Vec<u32> {
    vec![id; len]
}

fn positions(scheduler: &Test, step: &Step) -> Vec<(u32, Range<usize>)> {
    let running = scheduler.running();
    let name = |slice: &Slice| (running[slice.sequence].tokens[0], slice.positions.clone());
    step.slices.iter().map(name).collect()
}

/// The next step, with as many tokens of prompts as there may be.
fn plan(scheduler: &mut Test) -> Step {
    let mut step = Step::default();
    scheduler.schedule(usize::MAX, &mut step);
    step
}

/// Ends a step as the engine does: every sequence whose tokens are all computed gets one more, and
/// more as long as its guesses are right, and leaves where it has enough. `next` tells the token.
fn end_step(
    scheduler: &mut Test,
    step: &Step,
    next: impl Fn(&[u32]) -> u32,
) -> Vec<Sequence<usize>> {
    for slice in &step.slices {
        let sequence = &mut scheduler.running_mut()[slice.sequence];
        let mut fed = slice.first_draft();
        while fed == sequence.tokens.len() && sequence.work > 0 {
            let token = next(&sequence.tokens);
            let guess = sequence.drafts.get(fed - slice.first_draft());
            fed += usize::from(guess == Some(&token) && fed < slice.positions.end);
            sequence.tokens.push(token);
            sequence.work -= 1;
        }
    }
    scheduler.computed(step);
    scheduler.remove(|s| s.work == 0)
}

fn same(tokens: &[u32]) -> u32 {
    tokens[0]
}

#[test]
fn prompts_are_cut_to_what_running_sequences_leave_of_the_budget() {
    let mut scheduler = Test::new(64, BLOCK, 4, 8);
    scheduler.add(sequence(1, 5, prompt(1, 3), 9));
    scheduler.add(sequence(2, 5, prompt(2, 10), 9));
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(1, 0..3), (2, 0..5)]);
    end_step(&mut scheduler, &step, same);
    scheduler.add(sequence(3, 5, prompt(3, 20), 9));
    let step = plan(&mut scheduler);
    assert_eq!(
        positions(&scheduler, &step),
        [(1, 3..4), (2, 5..10), (3, 0..2)]
    );
    end_step(&mut scheduler, &step, same);
    let step = plan(&mut scheduler);
    assert_eq!(
        positions(&scheduler, &step),
        [(1, 4..5), (2, 10..11), (3, 2..8)]
    );
}

#[test]
fn beside_decoding_sequences_prompts_have_what_they_are_given() {
    let mut scheduler = Test::new(64, BLOCK, 4, 32);
    let mut step = Step::default();
    scheduler.add(sequence(1, 5, prompt(1, 3), 9));
    scheduler.schedule(32, &mut step);
    end_step(&mut scheduler, &step, same);
    scheduler.add(sequence(2, 5, prompt(2, 10), 9));
    scheduler.add(sequence(3, 5, prompt(3, 10), 9));
    scheduler.schedule(4, &mut step);
    assert_eq!(positions(&scheduler, &step), [(1, 3..4), (2, 0..4)]);
    assert!(step.has_prompts());
    assert_eq!(scheduler.waiting_len(), 1);
    end_step(&mut scheduler, &step, same);
    scheduler.schedule(9, &mut step);
    let expected = [(1, 4..5), (2, 4..10), (3, 0..3)];
    assert_eq!(positions(&scheduler, &step), expected);
}

/// One sequence that has its prompt of `len` tokens behind it.
fn decoding(len: usize, blocks: usize) -> Test {
    let mut scheduler = Test::new(blocks, BLOCK, 4, 16);
    scheduler.add(sequence(1, 5, prompt(1, len), 99));
    let step = plan(&mut scheduler);
    end_step(&mut scheduler, &step, same);
    scheduler
}

#[test]
fn right_guesses_are_tokens_and_wrong_ones_leave_nothing() {
    let mut scheduler = decoding(5, 64);
    scheduler.running_mut()[0].drafts = vec![1, 1, 7, 7];
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(1, 5..10)]);
    assert!(!step.has_prompts());
    end_step(&mut scheduler, &step, same);
    // Two right ones, and the token in place of the third.
    let after = &scheduler.running()[0];
    assert_eq!((after.tokens.len(), after.computed), (9, 8));
    assert_eq!(after.chain.len(), 2);
    scheduler.running_mut()[0].drafts.clear();
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(1, 8..9)]);
    end_step(&mut scheduler, &step, same);
    // Its prefix is what its tokens are, not what was guessed.
    let cached = |tokens: Vec<u32>| {
        let mut scheduler = decoding(5, 64);
        scheduler.running_mut()[0].drafts = vec![1, 1, 7, 7, 7, 7, 7, 7];
        let step = plan(&mut scheduler);
        end_step(&mut scheduler, &step, same);
        let probe = sequence(2, 5, tokens, 1);
        let rank = probe.rank;
        scheduler.add(probe);
        scheduler.cached_blocks(rank)
    };
    assert_eq!(cached(vec![1; 12]), 2);
    assert_eq!(cached([vec![1; 8], vec![7; 4]].concat()), 2);
}

#[test]
fn guesses_take_no_room_that_others_need() {
    // Beside prompts there are none.
    let mut scheduler = decoding(5, 64);
    scheduler.add(sequence(2, 5, prompt(2, 6), 9));
    scheduler.running_mut()[0].drafts = vec![1, 1];
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(1, 5..6), (2, 0..6)]);
    // Only what is left of the block where there are no others.
    let mut scheduler = decoding(5, 2);
    scheduler.running_mut()[0].drafts = vec![1; 8];
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(1, 5..8)]);
    assert_eq!(scheduler.running()[0].drafts.len(), 2);
    // And what is left of the step's tokens.
    let mut scheduler = decoding(5, 64);
    scheduler.running_mut()[0].drafts = vec![1; 40];
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(1, 5..21)]);
}

#[test]
fn blocks_from_elsewhere_are_found_like_computed_ones() {
    let mut scheduler = Test::new(6, BLOCK, 4, 16);
    let waiting = sequence(1, 5, (0..14).collect(), 1);
    let rank = waiting.rank;
    scheduler.add(waiting);
    let first = scheduler.waiting_mut(rank).map(|s| s.loading = true);
    assert_eq!(first, Some(()));
    assert!(scheduler.is_stalled());
    let mut filled = Vec::new();
    assert_eq!(
        scheduler.insert_blocks(rank, 1, 1, |_, _| unreachable!()),
        0
    );
    let cached = scheduler.insert_blocks(rank, 0, 2, |block, i| filled.push((block, i)));
    assert_eq!((cached, filled.len()), (2, 2));
    // What is there already is left out, and no more is taken than there are tokens.
    let cached = scheduler.insert_blocks(rank, 1, 9, |block, i| filled.push((block, i)));
    assert_eq!((cached, filled.len()), (3, 3));
    assert_eq!(filled[2].1, 1);
    assert_eq!(scheduler.blocks.counts().used, 0);
    scheduler.waiting_mut(rank).unwrap().loading = false;
    assert!(!scheduler.is_stalled());
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(0, 12..14)]);
    let table: Vec<u32> = filled.iter().map(|f| f.0).collect();
    assert_eq!(scheduler.running()[0].table[..3], table);
}

#[test]
fn higher_priority_goes_first_until_a_lower_one_has_waited() {
    let rank = |seconds, priority| Rank::new(Duration::from_secs(seconds), priority, STEP, 0);
    assert!(rank(20, 6) < rank(0, 5));
    assert!(rank(40, 6) > rank(0, 5));
    assert!(rank(149, 10) < rank(0, 5));
    assert!(rank(151, 10) > rank(0, 5));
    assert!(rank(1, 5) < rank(2, 5));
    let huge = Rank::new(Duration::from_secs(1), 0, Duration::MAX, 0);
    assert!(rank(u64::from(u32::MAX), 10) < huge);
}

#[test]
fn a_higher_priority_takes_the_place_of_the_last() {
    let mut scheduler = Test::new(64, BLOCK, 2, 8);
    for id in [1, 2] {
        scheduler.add(sequence(id, 5, prompt(id as u32, 2), 9));
    }
    let step = plan(&mut scheduler);
    end_step(&mut scheduler, &step, same);
    scheduler.add(sequence(3, 5, prompt(3, 2), 9));
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(1, 2..3), (2, 2..3)]);
    end_step(&mut scheduler, &step, same);
    scheduler.add(sequence(4, 6, prompt(4, 2), 9));
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(4, 0..2), (1, 3..4)]);
    assert_eq!(scheduler.waiting_len(), 2);
}

#[test]
fn a_sequence_without_a_block_takes_the_last_ones() {
    // Two sequences of two blocks each fit; both then want a third, and there is one.
    let mut scheduler = Test::new(5, BLOCK, 2, 16);
    scheduler.add(sequence(1, 5, prompt(1, 7), 99));
    scheduler.add(sequence(2, 5, prompt(2, 7), 99));
    for _ in 0..2 {
        let step = plan(&mut scheduler);
        assert_eq!(step.slices.len(), 2);
        end_step(&mut scheduler, &step, same);
    }
    // The last waits with what it has.
    for computed in 8..12 {
        let step = plan(&mut scheduler);
        let next = computed..computed + 1;
        assert_eq!(positions(&scheduler, &step), [(1, next)]);
        assert_eq!(scheduler.running().len(), 2);
        end_step(&mut scheduler, &step, same);
    }
    // A fourth block is only to be had from it.
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(1, 12..13)]);
    assert_eq!(scheduler.counts().preemptions, 1);
    assert_eq!((scheduler.running().len(), scheduler.waiting_len()), (1, 1));
    end_step(&mut scheduler, &step, same);
    // It does not come back while there are too few for it.
    let step = plan(&mut scheduler);
    assert_eq!(step.slices.len(), 1);
    end_step(&mut scheduler, &step, same);
    scheduler.remove(|s| s.tokens[0] == 1);
    // Then it finds a block that it had and goes on with the rest.
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(2, 4..9)]);
}

#[test]
fn a_prefix_that_another_computed_is_found() {
    let mut scheduler = Test::new(64, BLOCK, 4, 64);
    scheduler.add(sequence(1, 5, prompt(7, 10), 1));
    let step = plan(&mut scheduler);
    end_step(&mut scheduler, &step, same);
    assert!(scheduler.is_idle());
    assert_eq!(scheduler.blocks.counts().used, 0);
    scheduler.add(sequence(2, 5, prompt(7, 11), 1));
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(7, 8..11)]);
    assert_eq!(scheduler.counts().prefix_hit_tokens, 8);
    assert!(step.copies.is_empty());
}

#[test]
fn of_a_prompt_that_is_found_whole_one_token_is_computed_in_a_copy() {
    let mut scheduler = Test::new(64, BLOCK, 4, 64);
    scheduler.add(sequence(1, 5, prompt(7, 8), 1));
    let step = plan(&mut scheduler);
    let table = scheduler.running()[0].table.clone();
    end_step(&mut scheduler, &step, same);
    scheduler.add(sequence(2, 5, prompt(7, 8), 1));
    let step = plan(&mut scheduler);
    assert_eq!(positions(&scheduler, &step), [(7, 7..8)]);
    let own = &scheduler.running()[0].table;
    assert_eq!(own[0], table[0]);
    assert_eq!(step.copies, [(table[1], own[1])]);
    // The copy turns out to hold what the first block holds, and is given back.
    scheduler.computed(&step);
    assert_eq!(scheduler.running()[0].table, table);
    assert_eq!(scheduler.blocks.counts().used, 2);
}

#[test]
fn a_prompt_that_fills_the_cache_and_is_found_whole_is_computed_in_place() {
    let mut scheduler = Test::new(2, BLOCK, 4, 64);
    for id in [1, 2] {
        scheduler.add(sequence(id, 5, prompt(7, 8), 1));
        let step = plan(&mut scheduler);
        assert!(step.copies.is_empty());
        assert_eq!(end_step(&mut scheduler, &step, same).len(), 1);
    }
    assert_eq!(scheduler.counts().prefix_hit_tokens, 4);
}

#[test]
fn the_same_prompt_at_the_same_time_is_computed_once() {
    let mut scheduler = Test::new(64, BLOCK, 4, 8);
    for id in 1..4 {
        scheduler.add(sequence(id, 5, prompt(7, 18), 2));
    }
    scheduler.add(sequence(4, 5, prompt(8, 1), 2));
    let mut computed = 0;
    while !scheduler.is_idle() {
        let step = plan(&mut scheduler);
        computed += step.slices.iter().map(|s| s.positions.len()).sum::<usize>();
        end_step(&mut scheduler, &step, same);
    }
    // 18 tokens once, two tokens of the last block for the two others, one for the fourth; then
    // one token more for each.
    assert_eq!(computed, 18 + 2 * 2 + 1 + 4);
}

#[test]
fn removal_frees_blocks_at_once() {
    let mut scheduler = Test::new(64, BLOCK, 2, 8);
    for id in 1..4 {
        scheduler.add(sequence(id, 5, prompt(id as u32, 6), 9));
    }
    plan(&mut scheduler);
    assert!(scheduler.blocks.counts().used > 0);
    let removed = scheduler.remove(|s| s.tokens[0] != 2);
    assert_eq!(removed.len(), 2);
    let left: usize = scheduler.running().iter().map(|s| s.table.len()).sum();
    assert_eq!(scheduler.blocks.counts().used, left);
    scheduler.remove(|_| true);
    assert!(scheduler.is_idle());
    assert_eq!(scheduler.blocks.counts().used, 0);
}

#[derive(Clone, Debug)]
struct Arrival {
    before_step: usize,
    priority: u8,
    prompt: Vec<u32>,
    generate: usize,
    cancelled_at: Option<usize>,
}

fn arrival(capacity: usize) -> impl Strategy<Value = Arrival> {
    let tokens = prop::collection::vec(0..2u32, 1..capacity / 2);
    let cancel = prop::option::weighted(0.2, 0..80usize);
    (0..40usize, 0..=10u8, tokens, 1..capacity / 2, cancel).prop_map(
        |(before_step, priority, prompt, generate, cancelled_at)| Arrival {
            before_step,
            priority,
            prompt,
            generate,
            cancelled_at,
        },
    )
}

/// What the cache would hold: for each slot the tokens up to and with the one stored there.
struct Slots(Vec<Vec<u32>>);

impl Slots {
    fn run(&mut self, scheduler: &Test, step: &Step) {
        for &(from, to) in &step.copies {
            for i in 0..BLOCK {
                self.0[to as usize * BLOCK + i] = self.0[from as usize * BLOCK + i].clone();
            }
        }
        let slot = |table: &[u32], p: usize| table[p / BLOCK] as usize * BLOCK + p % BLOCK;
        for slice in &step.slices {
            let s = &scheduler.running()[slice.sequence];
            let fed = [&s.tokens[..], &s.drafts].concat();
            for p in slice.positions.clone() {
                self.0[slot(&s.table, p)] = fed[..=p].to_vec();
            }
        }
        // Attention after all writes, as a model's: nobody's slots may have been overwritten.
        for slice in &step.slices {
            let s = &scheduler.running()[slice.sequence];
            let fed = [&s.tokens[..], &s.drafts].concat();
            for p in 0..slice.positions.end {
                assert_eq!(self.0[slot(&s.table, p)], fed[..=p], "position {p}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn everyone_finishes_in_their_own_slots(
        blocks in 4..20usize,
        max_sequences in 1..6usize,
        spare_budget in 0..12usize,
        arrivals in prop::collection::vec(arrival(16), 1..14),
        prompt_tokens in prop::collection::vec(1..16usize, 1..5),
        guesses in prop::collection::vec(prop::collection::vec(0..2u32, 0..5), 1..7),
    ) {
        let mut scheduler = Test::new(blocks, BLOCK, max_sequences, max_sequences + spare_budget);
        let mut slots = Slots(vec![Vec::new(); blocks * BLOCK]);
        let mut open: Vec<usize> = (0..arrivals.len()).collect();
        let mut ids: BTreeMap<Rank, usize> = BTreeMap::new();
        let mut ended = 0;
        for now in 0.. {
            prop_assert!(now < 5000, "no end in sight");
            open.retain(|&i| {
                let due = arrivals[i].before_step <= now;
                if due {
                    let a = &arrivals[i];
                    let s = sequence(i as u64, a.priority, a.prompt.clone(), a.generate);
                    ids.insert(s.rank, i);
                    scheduler.add(s);
                }
                !due
            });
            ended += scheduler
                .remove(|s| arrivals[ids[&s.rank]].cancelled_at.is_some_and(|at| at <= now))
                .len();
            if scheduler.is_idle() {
                if open.is_empty() {
                    break;
                }
                continue;
            }
            for (i, s) in scheduler.running_mut().iter_mut().enumerate() {
                s.drafts.clone_from(&guesses[(now + i) % guesses.len()]);
                s.drafts.truncate(s.work - 1);
            }
            let mut step = Step::default();
            scheduler.schedule(prompt_tokens[now % prompt_tokens.len()], &mut step);
            prop_assert_eq!(step.slices[0].sequence, 0, "the first in the order always gets on");
            let tokens: usize = step.slices.iter().map(|s| s.positions.len()).sum();
            prop_assert!(tokens > 0 && tokens <= max_sequences + spare_budget);
            prop_assert!(scheduler.running().len() <= max_sequences);
            slots.run(&scheduler, &step);
            // The token depends on the sequence alone, so that answers can be compared.
            let sum = |tokens: &[u32]| tokens.iter().sum::<u32>() % 2;
            let done = end_step(&mut scheduler, &step, sum);
            for s in &done {
                let a = &arrivals[ids[&s.rank]];
                let mut expected = a.prompt.clone();
                for _ in 0..a.generate {
                    expected.push(sum(&expected));
                }
                prop_assert_eq!(&s.tokens, &expected);
            }
            ended += done.len();
            let mut held: Vec<u32> =
                scheduler.running().iter().flat_map(|s| s.table.clone()).collect();
            held.sort_unstable();
            held.dedup();
            prop_assert_eq!(scheduler.blocks.counts().used, held.len());
        }
        prop_assert_eq!(ended, arrivals.len());
        prop_assert_eq!(scheduler.blocks.counts().used, 0);
    }
}
