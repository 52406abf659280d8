//! Passes over a whole vocabulary, in chunks that the compiler makes vector code of.

/// Values looked at together, to be passed over together.
pub(super) const CHUNK: usize = 64;
const LANES: usize = 16;

/// Whether any value is at least `bound`.
pub(super) fn any_at_least(values: &[f32], bound: f32) -> bool {
    values.iter().fold(false, |any, &v| any | (v >= bound))
}

/// The largest value, where all are below infinity and one is above negative infinity.
pub(super) fn finite_max(values: &[f32]) -> Option<f32> {
    let mut max = [f32::NEG_INFINITY; LANES];
    let mut valid = [true; LANES];
    let (lanes, rest) = values.as_chunks::<LANES>();
    let mut look = |lane: usize, value: f32| {
        // False for NaN too.
        valid[lane] &= value < f32::INFINITY;
        max[lane] = if value > max[lane] { value } else { max[lane] };
    };
    for values in lanes {
        for (lane, &value) in values.iter().enumerate() {
            look(lane, value);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        look(lane, value);
    }
    let max = max.into_iter().fold(f32::NEG_INFINITY, f32::max);
    (valid == [true; LANES] && max > f32::NEG_INFINITY).then_some(max)
}

/// Where the largest of the values, `max`, is first.
pub(super) fn position_of_max(values: &[f32], max: f32) -> Option<usize> {
    let chunk = values
        .chunks(CHUNK)
        .position(|chunk| any_at_least(chunk, max))?;
    let first = chunk * CHUNK;
    let within = values[first..].iter().position(|&v| v == max)?;
    Some(first + within)
}

/// The sum of the values that are at least `bound`, in double precision.
pub(super) fn sum_at_least(values: &[f32], bound: f32) -> f64 {
    let mut sums = [0.0f64; LANES];
    let kept = |value: f32| f64::from(if value >= bound { value } else { 0.0 });
    let (lanes, rest) = values.as_chunks::<LANES>();
    for values in lanes {
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += kept(value);
        }
    }
    for (sum, &value) in sums.iter_mut().zip(rest) {
        *sum += kept(value);
    }
    sums.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around the sizes of chunks and lanes.
    const LENGTHS: [usize; 9] = [1, 15, 16, 17, 63, 64, 65, 130, 1000];

    fn values(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 37) % 101) as f32 - 50.0).collect()
    }

    #[test]
    fn sums_maxima_and_their_places_are_those_of_plain_loops() {
        for len in LENGTHS {
            let mut values = values(len);
            let plain = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(finite_max(&values), Some(plain));
            let place = values.iter().position(|&v| v == plain);
            assert_eq!(position_of_max(&values, plain), place);
            for bound in [f32::NEG_INFINITY, -3.0, 50.0, 51.0] {
                let kept = values.iter().filter(|&&v| v >= bound);
                let plain: f64 = kept.map(|&v| f64::from(v)).sum();
                assert_eq!(sum_at_least(&values, bound), plain);
            }
            for place in [0, len / 2, len - 1] {
                let before = values[place];
                for broken in [f32::NAN, f32::INFINITY] {
                    values[place] = broken;
                    assert_eq!(finite_max(&values), None, "{broken} at {place} of {len}");
                }
                values[place] = 90.0;
                assert_eq!(finite_max(&values), Some(90.0));
                assert_eq!(position_of_max(&values, 90.0), Some(place));
                values[place] = before;
            }
        }
        assert_eq!(finite_max(&[]), None);
        assert_eq!(finite_max(&[f32::NEG_INFINITY; 20]), None);
    }
}
