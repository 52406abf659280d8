//! Programs whose graph has been tampered with: whatever their numbers are, there is a model or an error, no panic.

use hearth_formats::pt2::Pt2Archive;
use hearth_graph::lower::lower;
use hearth_kernels::Bytes;
use proptest::prelude::*;

const PROGRAMS: [&[u8]; 6] = [
    include_bytes!("fixtures/attention-2.5.pt2"),
    include_bytes!("fixtures/bert-core.pt2"),
    include_bytes!("fixtures/cnn-2.8.pt2"),
    include_bytes!("fixtures/lstm.pt2"),
    include_bytes!("fixtures/segmenter.pt2"),
    include_bytes!("fixtures/views.pt2"),
];

/// Replaces the `n`-th number after a colon, in the text of a graph, by another of as many digits.
fn tamper(program: &mut [u8], n: usize, digit: u8, sign: bool) {
    let numbers: Vec<usize> = program
        .windows(3)
        .enumerate()
        .filter(|(_, w)| w[0] == b':' && w[1] == b' ' && w[2].is_ascii_digit())
        .map(|(at, _)| at + 2)
        .collect();
    let at = numbers[n % numbers.len()];
    program[at] = b'0' + digit;
    if sign {
        program[at - 1] = b'-';
    }
}

/// A view that is changed in place says that it has a negative number of elements.
#[test]
fn negative_sizes_of_a_view_are_survived() {
    let mut bytes = PROGRAMS[5].to_vec();
    tamper(&mut bytes, 4_210_650_262_688_407_192, 1, true);
    tamper(&mut bytes, 9_642_363_967_564_849_605, 1, true);
    let archive = Pt2Archive::from_bytes(Bytes::from(bytes), "hostile".into());
    let error = lower(&archive.expect("the container is sound")).err();
    assert!(error.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn tampered_graphs_are_survived(
        which in 0..PROGRAMS.len(),
        changes in prop::collection::vec((any::<usize>(), 0..10u8, any::<bool>()), 1..4),
    ) {
        let mut bytes = PROGRAMS[which].to_vec();
        for (n, digit, sign) in changes {
            tamper(&mut bytes, n, digit, sign);
        }
        if let Ok(archive) = Pt2Archive::from_bytes(Bytes::from(bytes), "hostile".into())
            && let Ok(model) = lower(&archive)
        {
            model.to_bytes().expect("it is small");
        }
    }
}
