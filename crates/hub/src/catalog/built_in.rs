//! The models that are part of the program.

use std::sync::{Arc, OnceLock};

use hearth_formats::Checkpoint;
use hearth_formats::pt2::Pt2Archive;
use hearth_kernels::Bytes;

use super::{Entry, Kind, Location, NetworkFile, Stamp, describe};

/// A model compiled into the program.
pub(super) struct BuiltIn {
    pub(super) name: &'static str,
    note: &'static str,
    /// It is an archive of torch.export; else a GGUF file.
    is_network: bool,
    /// What a network's `config.toml` would say.
    pub(super) config: &'static str,
    data: &'static Aligned<[u8]>,
}

/// Bytes at an address that is a multiple of 64, so that tensors lie as they do in a mapped file.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static EMBER: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../../models/ember.gguf"));
static EMBER_EMBED: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../../../../models/ember-embed.gguf"));
static DIGITS: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../../models/digits.pt2"));
static EXAMPLE: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../../models/example.pt2"));

/// Images of any size, of ink on paper or light on dark, become pixels from 0 (paper) to 16 (ink).
const DIGITS_CONFIG: &str = "
classes = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']
activation = 'none'
[image]
light_on_dark = true
resample = 'box'
rescale_factor = 0.06274509803921569
";

/// When the built-in models were made, in seconds of Unix time.
const CREATED: u64 = 1_795_305_600;

/// All built-in models.
pub(super) static BUILT_IN: [BuiltIn; 4] = [
    BuiltIn {
        name: "ember",
        note: "a very small chat model, for trying things out",
        is_network: false,
        config: "",
        data: EMBER,
    },
    BuiltIn {
        name: "ember-embed",
        note: "a very small embedding model, for trying things out",
        is_network: false,
        config: "",
        data: EMBER_EMBED,
    },
    BuiltIn {
        name: "digits",
        note: "a small network that reads handwritten digits of 8x8 pixels",
        is_network: true,
        config: DIGITS_CONFIG,
        data: DIGITS,
    },
    BuiltIn {
        name: "example",
        note: "a very small network that tells whether a row of numbers rises, for trying things out",
        is_network: true,
        config: "",
        data: EXAMPLE,
    },
];

impl BuiltIn {
    pub(super) fn open(&self) -> hearth_formats::Result<Checkpoint> {
        Checkpoint::from_static(&self.data.0, &format!("built-in model {}", self.name))
    }

    pub(super) fn open_network(&self) -> hearth_formats::Result<NetworkFile> {
        let label = format!("built-in model {}", self.name);
        if !self.is_network {
            return Err(hearth_formats::Error::unsupported(
                label,
                "a model that is no network",
            ));
        }
        let data: &'static [u8] = &self.data.0;
        let bytes = Bytes::new(Arc::new(data), 0..data.len());
        Ok(NetworkFile::Pt2(
            Pt2Archive::from_bytes(bytes, label)?.into(),
        ))
    }

    pub(super) fn entry(&self) -> Entry {
        static DESCRIBED: [OnceLock<(Kind, Option<String>)>; BUILT_IN.len()] =
            [const { OnceLock::new() }; BUILT_IN.len()];
        let at = BUILT_IN.iter().position(|m| m.name == self.name);
        let describe = || match self.open() {
            _ if self.is_network => (Kind::Network, None),
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
            place: None,
            versions: Vec::new(),
            version_of: None,
            instances: None,
            stamp: Stamp::default(),
        }
    }
}
