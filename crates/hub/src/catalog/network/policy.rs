//! Which versions of a network are served.

use serde::Deserialize;

/// Which versions of a network are served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionPolicy {
    /// All that are there.
    All,
    /// So many of the newest.
    Latest(usize),
    /// These, as far as they are there.
    #[serde(untagged)]
    Specific(Vec<u64>),
}

/// As Triton has it where nothing is said.
impl Default for VersionPolicy {
    fn default() -> Self {
        Self::Latest(1)
    }
}

impl VersionPolicy {
    /// Leaves of `versions`, the newest first, those that are served.
    pub(in crate::catalog) fn keep<T>(&self, versions: &mut Vec<T>, number: impl Fn(&T) -> u64) {
        match self {
            Self::All => {}
            Self::Latest(count) => versions.truncate(*count),
            Self::Specific(numbers) => {
                versions.retain(|version| numbers.contains(&number(version)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_leaves_what_is_served() {
        for (policy, left) in [
            (VersionPolicy::All, vec![7, 3, 1]),
            (VersionPolicy::Latest(2), vec![7, 3]),
            (VersionPolicy::Latest(9), vec![7, 3, 1]),
            (VersionPolicy::Specific(vec![1, 2, 7]), vec![7, 1]),
            (VersionPolicy::default(), vec![7]),
        ] {
            let mut versions = vec![7, 3, 1];
            policy.keep(&mut versions, |version| *version);
            assert_eq!(versions, left, "{policy:?}");
        }
    }
}
