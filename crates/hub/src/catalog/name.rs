//! Names that models may have.

/// The first parts of the server's paths; a model of such a name would hide them or be hidden.
const RESERVED: [&str; 3] = ["v1", "v2", "api"];
const MAX_BYTES: usize = 200;

/// Checks a name; says what is wrong with it.
pub(super) fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > MAX_BYTES {
        return Err("it is longer than 200 bytes");
    }
    if name.chars().any(char::is_control) {
        return Err("it has control characters");
    }
    if name.trim() != name {
        return Err("it begins or ends with a space");
    }
    if name.contains(['\\', '?', '#', '%']) {
        return Err("none of \\ ? # % may be in it");
    }
    let mut parts = name.split('/');
    if parts
        .clone()
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Err("it has an empty part, or . or .., between slashes");
    }
    if parts.next().is_some_and(|first| RESERVED.contains(&first)) {
        return Err("v1, v2 and api are reserved for the server's own paths");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["llama", "org/model-7b", "a b", "Größe:q4", "v10"] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        for bad in [
            "", " a", "v1", "v2", "api", "api/x", "a//b", "/a", "a/", "../a", "a\nb", "a?b", "50%",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&"x".repeat(201)).is_err());
    }
}
