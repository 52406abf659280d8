//! Sums of activations, element by element.

/// `x[i] += y[i]`.
///
/// # Panics
/// If the lengths differ.
pub fn add(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "add: lengths differ");
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Adds `bias` (`[n]`) to every row of `x` (`[T, n]`).
///
/// # Panics
/// If `x` does not consist of whole rows.
pub fn add_bias(x: &mut [f32], bias: &[f32]) {
    if x.is_empty() {
        return;
    }
    assert!(
        !bias.is_empty() && x.len().is_multiple_of(bias.len()),
        "add_bias: {} values are not rows of {}",
        x.len(),
        bias.len()
    );
    for row in x.chunks_exact_mut(bias.len()) {
        add(row, bias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_is_added_to_every_row() {
        let mut x = [1.0, 2.0, 3.0, 4.0];
        add_bias(&mut x, &[10.0, 20.0]);
        assert_eq!(x, [11.0, 22.0, 13.0, 24.0]);
        add_bias(&mut [], &[]);
    }

    #[test]
    #[should_panic(expected = "not rows of 2")]
    fn ragged_rows_are_refused() {
        add_bias(&mut [1.0; 3], &[1.0; 2]);
    }
}
