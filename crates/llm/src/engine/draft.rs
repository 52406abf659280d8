//! Drafts from the text itself: prompt lookup.
//!
//! Where a sequence's last tokens appeared before in it, what followed then is a guess at what follows now, and a model
//! that reads several guesses in one step finds out about all of them for little more than the price of one token
//! (Leviathan et al. 2022, arXiv:2211.17192; drafts by lookup: Saxena 2023, "Prompt Lookup Decoding"; Yang et al. 2023,
//! arXiv:2304.04487). Nothing is lost in exactness: a token is drawn from the model's own scores with the draw that its
//! index has anyway, and a guess counts only where it equals that token.
//!
//! A guess is worth its row as long as it is right more often than the row costs tokens elsewhere: how often guesses
//! after a match of that length were right is counted for each sequence, whether they were tried or not, and what a row
//! costs is [measured](super::pace). So drafts stop by themselves where a text doesn't repeat, and where so many
//! sequences decode that rows are dear.

/// Matches shorter than this say nothing.
const SHORTEST: usize = 2;
/// Longer matches need not be told apart.
const LONGEST: usize = 12;
/// Guesses of a sequence in one step.
const MOST: usize = 12;
/// How much dearer than measured a row counts, for what is not measured.
const CAUTION: f64 = 1.2;
/// Weight of the newest outcome in the mean.
const NEWEST: f32 = 0.15;

/// How often guesses were right, by the length of the match: 2, 3, 4 to 6, 7 and longer.
#[derive(Clone, Debug)]
struct Rates([f32; 4]);

impl Rates {
    fn of(&mut self, length: usize) -> &mut f32 {
        let class = match length {
            0..=2 => 0,
            3 => 1,
            4..=6 => 2,
            _ => 3,
        };
        &mut self.0[class]
    }
}

/// One sequence's guesses.
#[derive(Clone, Debug)]
pub(super) struct Drafter {
    rates: Rates,
    /// Length of the match, and the first token that followed it.
    guess: Option<(usize, u32)>,
}

impl Default for Drafter {
    fn default() -> Self {
        Self {
            rates: Rates([0.2, 0.35, 0.5, 0.7]),
            guess: None,
        }
    }
}

impl Drafter {
    /// Fills `draft` with at most `most` tokens that may follow `tokens`, and notes the first of them.
    pub fn guess(&mut self, tokens: &[u32], most: usize, draft: &mut Vec<u32>) {
        draft.clear();
        self.guess = None;
        let Some((end, length)) = longest_match(tokens) else {
            return;
        };
        self.guess = Some((length, tokens[end]));
        for i in 0..most.min(MOST) {
            // Where the repetition reaches to the very end it goes on with itself.
            let token = match tokens.get(end + i) {
                Some(&token) => token,
                None => draft[end + i - tokens.len()],
            };
            draft.push(token);
        }
    }

    /// How likely the next guess is right.
    pub fn rate(&mut self) -> f64 {
        match self.guess {
            Some((length, _)) => f64::from(*self.rates.of(length)),
            None => 0.0,
        }
    }

    /// Learns from what followed: of `drafted` guesses `accepted` were right, the token after those is `next`.
    pub fn learn(&mut self, drafted: usize, accepted: usize, next: u32) {
        let Some((length, first)) = self.guess.take() else {
            return;
        };
        let rate = self.rates.of(length);
        let mut note = |right: bool| *rate += NEWEST * (f32::from(u8::from(right)) - *rate);
        if drafted == 0 {
            note(first == next);
            return;
        }
        (0..accepted).for_each(|_| note(true));
        if accepted < drafted {
            note(false);
        }
    }

    /// Forgets the last guess, of which nothing is going to be known.
    pub fn forget(&mut self) {
        self.guess = None;
    }
}

/// The longest earlier appearance of the last tokens, the latest of equal ones: the position behind it and its length.
fn longest_match(tokens: &[u32]) -> Option<(usize, usize)> {
    let (&last, before) = tokens.split_last()?;
    let mut best = None;
    let mut length = SHORTEST - 1;
    for (i, _) in before.iter().enumerate().rev().filter(|&(_, &t)| t == last) {
        let earlier = tokens[..=i].iter().rev();
        let same = earlier.zip(tokens.iter().rev()).take(LONGEST);
        let same = same.take_while(|(a, b)| a == b).count();
        if same > length {
            length = same;
            best = Some((i + 1, same));
            if same == LONGEST {
                break;
            }
        }
    }
    best
}

/// How many guesses each sequence of a step should make: sets `counts[i]`, at most `most[i]`, for sequences whose
/// guesses are right with chance `rates[i]`, where a step of one row each takes `step` seconds and every row more `row`.
///
/// A guess is taken while its chance to be right, that of all before it included, exceeds the tokens that the step would
/// yield in the row's time.
pub(super) fn allot(
    rates: &[f64],
    most: &[usize],
    (step, row): (f64, f64),
    counts: &mut Vec<usize>,
) {
    counts.clear();
    counts.resize(rates.len(), 0);
    let (mut tokens, mut time) = (rates.len() as f64, step);
    loop {
        // The best guess that is not taken yet.
        let chance = |i: usize, counts: &[usize]| rates[i].powi(counts[i] as i32 + 1);
        let open = (0..rates.len()).filter(|&i| counts[i] < most[i].min(MOST));
        let best = open.max_by(|&a, &b| chance(a, counts).total_cmp(&chance(b, counts)));
        let Some(best) = best else { return };
        let gain = chance(best, counts);
        if gain <= CAUTION * row * tokens / time {
            return;
        }
        counts[best] += 1;
        tokens += gain;
        time += row;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u32; 0] = [];

    fn guess(tokens: &[u32], most: usize) -> Vec<u32> {
        let mut draft = Vec::new();
        Drafter::default().guess(tokens, most, &mut draft);
        draft
    }

    #[test]
    fn what_followed_before_is_guessed() {
        assert_eq!(guess(&[1, 2, 3, 4, 5, 9, 2, 3], 3), [4, 5, 9]);
        assert_eq!(guess(&[1, 2, 3], 3), NONE);
        assert_eq!(guess(&[3, 9, 3], 3), NONE, "one token is no match");
        assert_eq!(guess(&[], 3), NONE);
        assert_eq!(guess(&[1, 2, 7, 1, 2, 8, 1, 2], 1), [8], "the latest");
        let longer = [5, 1, 2, 7, 1, 2, 8, 5, 1, 2];
        assert_eq!(guess(&longer, 2), [7, 1], "the longest");
        assert_eq!(guess(&[1, 2, 3, 4, 2, 3], 0), NONE);
    }

    #[test]
    fn a_loop_goes_on() {
        assert_eq!(guess(&[9, 1, 2, 3, 1, 2, 3], 7), [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(guess(&[4, 4, 4], 4), [4; 4]);
        assert!(guess(&[4; 100], 100).len() <= MOST);
    }

    #[test]
    fn right_guesses_raise_the_rate_and_wrong_ones_lower_it() {
        let mut drafter = Drafter::default();
        let mut draft = Vec::new();
        let text = [1, 2, 3, 1, 2];
        drafter.guess(&text, 1, &mut draft);
        let first = drafter.rate();
        drafter.learn(0, 0, 3);
        drafter.guess(&text, 1, &mut draft);
        assert!(drafter.rate() > first);
        for _ in 0..50 {
            drafter.guess(&text, 1, &mut draft);
            drafter.learn(1, 0, 9);
        }
        drafter.guess(&text, 1, &mut draft);
        assert!(drafter.rate() < 0.01);
        drafter.forget();
        assert_eq!(drafter.rate(), 0.0);
        for _ in 0..50 {
            drafter.guess(&text, 1, &mut draft);
            drafter.learn(0, 0, 3);
        }
        drafter.guess(&text, 1, &mut draft);
        assert!(drafter.rate() > 0.99, "untried guesses teach as well");
    }

    #[test]
    fn guesses_are_made_where_they_pay() {
        let allot = |rates: &[f64], cost| {
            let mut counts = Vec::new();
            super::allot(rates, &vec![8; rates.len()], cost, &mut counts);
            counts
        };
        // Rows are nearly free: as many as there may be.
        assert_eq!(allot(&[0.95], (0.02, 0.0001)), [8]);
        // A row costs as much as a step: none pays.
        assert_eq!(allot(&[0.99], (0.02, 0.02)), [0]);
        assert_eq!(allot(&[0.0, 0.0], (0.02, 0.0)), [0, 0]);
        // A fifth of a step: while the chance is above that.
        let one = allot(&[0.8], (0.02, 0.004))[0];
        assert!((2..6).contains(&one), "{one}");
        // Many sequences share a step, so a row is worth more tokens there.
        assert_eq!(allot(&[0.6; 32], (0.14, 0.004)), [0; 32]);
        // The surer ones get the rows.
        let two = allot(&[0.9, 0.3], (0.02, 0.004));
        assert!(two[0] > 1 && two[1] == 0, "{two:?}");
        let mut counts = vec![7];
        super::allot(&[0.99], &[2], (0.02, 0.0), &mut counts);
        assert_eq!(counts, [2]);
    }
}
