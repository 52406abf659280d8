//! The classification extension: the largest elements of an output in place of the tensor.
//!
//! Where the classes of the elements are known, each text has its class at the end.

use hearth_runtime::{HostTensor, largest};

/// The `count` largest elements of each row, largest first, as texts `VALUE:INDEX` or `VALUE:INDEX:CLASS`, and the shape that
/// they have together. Without rows the tensor is one.
pub fn classify(
    tensor: &HostTensor,
    count: usize,
    has_rows: bool,
    classes: Option<&[String]>,
) -> (Vec<u64>, Vec<String>) {
    let values = tensor.to_f64();
    let rows = tensor.rows().filter(|_| has_rows);
    let size = values.len() / rows.unwrap_or(1).max(1);
    let count = count.min(size);
    let shape = rows.into_iter().chain([count]).map(|size| size as u64);
    let mut texts = Vec::with_capacity(rows.unwrap_or(1) * count);
    for row in values.chunks(size.max(1)) {
        let class = |at: usize| classes.and_then(|classes| classes.get(at));
        texts.extend(largest(row, count).into_iter().map(|at| match class(at) {
            Some(class) => format!("{:.6}:{at}:{class}", row[at]),
            None => format!("{:.6}:{at}", row[at]),
        }));
    }
    (shape.collect(), texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_each_row() {
        let values = [0.25, 0.5, 0.25, f32::NAN, -1.0, 3.0];
        let tensor = HostTensor::from_f32(vec![2, 3], &values).expect("a tensor");
        let (shape, texts) = classify(&tensor, 2, true, None);
        assert_eq!(shape, [2, 2]);
        assert_eq!(
            texts,
            ["0.500000:1", "0.250000:0", "3.000000:2", "-1.000000:1"]
        );
        let (shape, texts) = classify(&tensor, 1, false, None);
        assert_eq!((shape, texts), (vec![1], vec!["3.000000:5".to_owned()]));
        let (shape, texts) = classify(&tensor, 9, true, None);
        assert_eq!((shape, texts.len()), (vec![2, 3], 6));
        let classes = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let (_, texts) = classify(&tensor, 1, true, Some(&classes));
        assert_eq!(texts, ["0.500000:1:b", "3.000000:2:c"]);
    }
}
