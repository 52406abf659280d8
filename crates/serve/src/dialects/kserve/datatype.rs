//! The protocol's names of element types.

use hearth_runtime::DataType;

/// Each type that networks take or give, with its name.
const NAMES: [(DataType, &str); 13] = [
    (DataType::Bool, "BOOL"),
    (DataType::Uint8, "UINT8"),
    (DataType::Uint16, "UINT16"),
    (DataType::Uint32, "UINT32"),
    (DataType::Uint64, "UINT64"),
    (DataType::Int8, "INT8"),
    (DataType::Int16, "INT16"),
    (DataType::Int32, "INT32"),
    (DataType::Int64, "INT64"),
    (DataType::Float16, "FP16"),
    (DataType::Float, "FP32"),
    (DataType::Double, "FP64"),
    (DataType::Bfloat16, "BF16"),
];

/// The name of the type of texts and files. Networks take it in place of the tensors that are made of them, and classes are given
/// so.
pub const BYTES: &str = "BYTES";

/// The name of a type.
pub fn name(dtype: DataType) -> &'static str {
    let found = NAMES.iter().find(|(own, _)| *own == dtype);
    found.map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_name() {
        let numbers = (0..=32).filter_map(DataType::from_number);
        let mut names: Vec<&str> = numbers.map(name).collect();
        assert_eq!(names.len(), NAMES.len());
        names.sort_unstable();
        names.dedup();
        assert!(names.len() == NAMES.len() && !names.contains(&""));
    }
}
