//! What the user says of a module's inputs, of which TorchScript says nothing.

use std::str::FromStr;

use crate::torch::{MAX_DIMENSIONS, ScalarType};

/// An input as the user says it is.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredInput {
    /// The parameter of `forward`.
    pub name: String,
    /// The type of the elements; as the module uses it where it is not said.
    pub dtype: Option<ScalarType>,
    /// The dimensions; as the module uses them where they are not said.
    pub shape: Option<Vec<DeclaredDim>>,
}

/// A dimension as the user says it.
#[derive(Debug, Clone, PartialEq)]
pub enum DeclaredDim {
    /// Of this size.
    Fixed(i64),
    /// Of any size; the same for all dimensions of one name.
    Named(String),
    /// Of any size.
    Open,
}

impl DeclaredInput {
    /// An input of this name; a type is called as PyTorch does (`float32`), a dimension is a size, -1 or a name.
    ///
    /// # Errors
    /// A sentence: there is no such type, or a dimension is none.
    pub fn new(
        name: String,
        dtype: Option<&str>,
        shape: Option<Vec<DeclaredDim>>,
    ) -> Result<DeclaredInput, String> {
        if shape
            .as_ref()
            .is_some_and(|shape| shape.len() > MAX_DIMENSIONS)
        {
            return Err(format!("{name} has more than {MAX_DIMENSIONS} dimensions"));
        }
        let of_name = |text: &str| {
            ScalarType::of_name(text).ok_or_else(|| {
                format!("{text:?} is no type; float32, float16, int64, int32 and bool are some")
            })
        };
        Ok(DeclaredInput {
            dtype: dtype.map(of_name).transpose()?,
            name,
            shape,
        })
    }
}

impl DeclaredDim {
    /// A number as a dimension: -1 is any size.
    ///
    /// # Errors
    /// A sentence: the number is less than -1, or absurd.
    pub fn of(size: i64) -> Result<DeclaredDim, String> {
        match size {
            -1 => Ok(DeclaredDim::Open),
            0..=0xffff_ffff => Ok(DeclaredDim::Fixed(size)),
            _ => Err(format!("{size} is no size of a dimension")),
        }
    }
}

impl FromStr for DeclaredDim {
    type Err = String;

    fn from_str(text: &str) -> Result<DeclaredDim, String> {
        let text = text.trim();
        if let Ok(size) = text.parse() {
            return DeclaredDim::of(size);
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.is_empty() || text.len() > 64 || !text.chars().all(is_word) {
            return Err(format!("{text:?} is neither a size nor a name"));
        }
        Ok(DeclaredDim::Named(text.to_owned()))
    }
}

/// `NAME=TYPE[DIMENSION,DIMENSION]`, without the type or the dimensions where they are not to be said.
impl FromStr for DeclaredInput {
    type Err = String;

    fn from_str(text: &str) -> Result<DeclaredInput, String> {
        const FORM: &str =
            "an input is written NAME=TYPE[SIZE,SIZE], such as x=float32[batch,3,224,224]";
        let (name, said) = text.split_once('=').ok_or(FORM)?;
        let (dtype, shape) = match said.split_once('[') {
            None => (said, None),
            Some((dtype, rest)) => {
                let list = rest.strip_suffix(']').ok_or(FORM)?;
                let dims = match list.trim() {
                    "" => Vec::new(),
                    list => list.split(',').map(str::parse).collect::<Result<_, _>>()?,
                };
                (dtype, Some(dims))
            }
        };
        if name.is_empty() || said.is_empty() {
            return Err(FORM.into());
        }
        let dtype = Some(dtype.trim()).filter(|dtype| !dtype.is_empty());
        DeclaredInput::new(name.trim().to_owned(), dtype, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_read_from_the_command_line() {
        let read = |text: &str| text.parse::<DeclaredInput>();
        let x = read("x=float32[batch, 3,-1]").unwrap();
        assert_eq!(x.name, "x");
        assert_eq!(x.dtype, Some(ScalarType::Float));
        let dims = [
            DeclaredDim::Named("batch".into()),
            DeclaredDim::Fixed(3),
            DeclaredDim::Open,
        ];
        assert_eq!(x.shape.as_deref(), Some(&dims[..]));
        assert_eq!(read("x=int64").unwrap().shape, None);
        assert_eq!(read("x=[2]").unwrap().dtype, None);
        assert_eq!(read("x=bool[]").unwrap().shape, Some(Vec::new()));
        for text in [
            "x", "=int64", "x=", "x=int63", "x=[2", "x=[-2]", "x=[a b]", "x=[1,,2]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
