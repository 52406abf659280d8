//! The models that are part of the program.

use std::sync::OnceLock;

use hearth_formats::Checkpoint;

use super::{Entry, Kind, Location, describe};

/// A model compiled into the program.
pub(super) struct BuiltIn {
    pub(super) name: &'static str,
    note: &'static str,
    data: &'static Aligned<[u8]>,
}

/// Bytes at an address that is a multiple of 64, so that tensors lie as they do in a mapped file.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static EMBER: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../../models/ember.gguf"));
static EMBER_EMBED: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../../../../models/ember-embed.gguf"));

/// When the built-in models were made, in seconds of Unix time.
const CREATED: u64 = 1_795_305_600;

/// All built-in models.
pub(super) static BUILT_IN: [BuiltIn; 2] = [
    BuiltIn {
        name: "ember",
        note: "a very small chat model, for trying things out",
        data: EMBER,
    },
    BuiltIn {
        name: "ember-embed",
        note: "a very small embedding model, for trying things out",
        data: EMBER_EMBED,
    },
];

impl BuiltIn {
    pub(super) fn open(&self) -> hearth_formats::Result<Checkpoint> {
        Checkpoint::from_static(&self.data.0, &format!("built-in model {}", self.name))
    }

    pub(super) fn entry(&self) -> Entry {
        static DESCRIBED: [OnceLock<(Kind, Option<String>)>; BUILT_IN.len()] =
            [const { OnceLock::new() }; BUILT_IN.len()];
        let at = BUILT_IN.iter().position(|m| m.name == self.name);
        let describe = || match self.open() {
            Ok(c) => (describe::kind(&c), Some(c.architecture().to_owned())),
            Err(e) => (Kind::Unknown(e.to_string()), None),
        };
        let (kind, architecture) = match at.and_then(|i| DESCRIBED.get(i)) {
            Some(cell) => cell.get_or_init(describe).clone(),
            None => describe(),
        };
        Entry {
            name: self.name.to_owned(),
            location: Location::BuiltIn,
            kind,
            architecture,
            bytes: self.data.0.len() as u64,
            created: CREATED,
            note: Some(self.note),
        }
    }
}
