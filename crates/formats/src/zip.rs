//! Zip archives as PyTorch writes them: entries stored as they are, found through the central directory, zip64 included.
//!
//! Nothing is ever unpacked to disk. An entry is a range of the archive's own bytes, so no entry can take more memory
//! than the file has. Compressed entries are refused but where they are expected, which is in the sources of TorchScript;
//! who unpacks one says how large it may be. Checksums are not looked at: PyTorch lets its users leave them out.
//!
//! Layout: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>, sections 4.3.7 to 4.3.16 and 4.5.3.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

use flate2::read::DeflateDecoder;
use hearth_kernels::Bytes;

use crate::{Error, Result};

const LOCAL_HEADER: &[u8; 4] = b"PK\x03\x04";
const DIRECTORY_ENTRY: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const ZIP64_LOCATOR: &[u8; 4] = b"PK\x06\x07";
const ZIP64_END: &[u8; 4] = b"PK\x06\x06";

const LOCAL_HEADER_BYTES: usize = 30;
const DIRECTORY_ENTRY_BYTES: usize = 46;
const END_BYTES: usize = 22;
const ZIP64_LOCATOR_BYTES: usize = 20;
const ZIP64_END_BYTES: usize = 56;
/// The extra field that holds the 64-bit sizes of an entry.
const ZIP64_EXTRA: u16 = 1;

/// An open archive: names, and the bytes behind each.
#[derive(Debug)]
pub(crate) struct ZipArchive {
    label: String,
    data: Bytes,
    entries: BTreeMap<String, Entry>,
}

/// Where an entry's bytes lie in the archive.
#[derive(Debug, Clone)]
struct Entry {
    range: Range<usize>,
    /// How many bytes they are unpacked, where they are compressed.
    unpacked_bytes: Option<u64>,
}

/// The fields of an entry in the central directory.
struct DirectoryEntry {
    name: String,
    flags: u16,
    method: u16,
    stored_bytes: u64,
    content_bytes: u64,
    local_offset: u64,
}

impl ZipArchive {
    /// Whether bytes begin as a zip archive does.
    pub(crate) fn is_zip(data: &[u8]) -> bool {
        data.starts_with(LOCAL_HEADER) || data.starts_with(END)
    }

    /// Reads the directory of an archive.
    ///
    /// # Errors
    /// The bytes are no sound archive: a header is cut short or out of range, two entries overlap or share a name, a name
    /// climbs out of the archive, an entry is compressed or encrypted.
    pub(crate) fn from_bytes(data: Bytes, label: String) -> Result<ZipArchive> {
        Self::read(data, label, false)
    }

    /// As [`ZipArchive::from_bytes`], of an archive whose entries may be compressed; [`ZipArchive::content`] unpacks them.
    pub(crate) fn with_compressed(data: Bytes, label: String) -> Result<ZipArchive> {
        Self::read(data, label, true)
    }

    fn read(data: Bytes, label: String, may_compress: bool) -> Result<ZipArchive> {
        let reader = Reader {
            data: &data,
            label: &label,
            may_compress,
        };
        let directory = reader.directory()?;
        let mut entries = BTreeMap::new();
        let mut at = directory.start;
        while at < directory.end {
            let (entry, next) = reader.entry(at, directory.end)?;
            let name = entry.name.clone();
            // A name that ends in a slash is a folder, which holds nothing.
            if !name.ends_with('/') {
                let entry = reader.content(entry, directory.start)?;
                if entries.insert(name.clone(), entry).is_some() {
                    return Err(reader.malformed(
                        &format!("entry {name:?}"),
                        at,
                        "the name occurs twice".into(),
                    ));
                }
            }
            at = next;
        }
        let mut order: Vec<(&String, &Range<usize>)> = entries
            .iter()
            .map(|(name, entry)| (name, &entry.range))
            .collect();
        order.sort_by_key(|(_, range)| (range.start, range.end));
        for pair in order.windows(2) {
            let ((a, first), (b, second)) = (pair[0], pair[1]);
            if first.end > second.start {
                return Err(reader.malformed(
                    &format!("entry {b:?}"),
                    second.start,
                    format!("its bytes overlap those of {a:?}"),
                ));
            }
        }
        Ok(ZipArchive {
            label,
            data,
            entries,
        })
    }

    /// The names of all entries, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is an entry of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// An entry's bytes, or `None` where there is no such entry, or it is compressed.
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        let entry = self.entries.get(name)?;
        let is_plain = entry.unpacked_bytes.is_none();
        is_plain.then(|| self.data.slice(entry.range.clone()))
    }

    /// An entry's bytes, unpacked if need be, or `None` where there is no such entry.
    ///
    /// # Errors
    /// It is compressed, and the compression is not sound, or there are more than `most` bytes in it.
    pub(crate) fn content(&self, name: &str, most: usize) -> Result<Option<Bytes>> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        let Some(unpacked_bytes) = entry.unpacked_bytes else {
            return Ok(self.get(name));
        };
        let malformed = |problem: String| Error::Malformed {
            file: self.label.clone(),
            field: format!("entry {name:?}"),
            offset: entry.range.start as u64,
            problem,
        };
        if unpacked_bytes > most as u64 {
            return Err(malformed(format!(
                "{unpacked_bytes} bytes, of which {most} are the most"
            )));
        }
        // What it says of its size is not believed: memory is taken as bytes come.
        let mut bytes = Vec::new();
        DeflateDecoder::new(&self.data[entry.range.clone()])
            .take(unpacked_bytes + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| malformed(format!("its compression is not sound: {e}")))?;
        if bytes.len() as u64 != unpacked_bytes {
            return Err(malformed(format!(
                "it is said to unpack to {unpacked_bytes} bytes, and does not"
            )));
        }
        Ok(Some(bytes.into()))
    }

    /// An entry's bytes.
    ///
    /// # Errors
    /// There is no such entry.
    pub(crate) fn need(&self, name: &str) -> Result<Bytes> {
        self.get(name)
            .ok_or_else(|| Error::field(&self.label, name, "the archive has no such entry"))
    }
}

/// Bounds-checked reads, with errors that name file, field and offset.
struct Reader<'a> {
    data: &'a [u8],
    label: &'a str,
    may_compress: bool,
}

impl Reader<'_> {
    fn malformed(&self, field: &str, offset: usize, problem: String) -> Error {
        Error::Malformed {
            file: self.label.to_owned(),
            field: field.to_owned(),
            offset: offset as u64,
            problem,
        }
    }

    /// `len` bytes at `at`, which have to lie before `end`.
    fn bytes(&self, field: &str, at: usize, len: usize, end: usize) -> Result<&[u8]> {
        at.checked_add(len)
            .filter(|&stop| stop <= end)
            .and_then(|stop| self.data.get(at..stop))
            .ok_or_else(|| {
                self.malformed(
                    field,
                    at,
                    format!(
                        "{len} bytes needed, {} there; is the file cut short?",
                        end.min(self.data.len()).saturating_sub(at)
                    ),
                )
            })
    }

    /// Where the central directory lies.
    fn directory(&self) -> Result<Range<usize>> {
        let field = "end of central directory";
        let len = self.data.len();
        if len < END_BYTES {
            return Err(self.malformed(
                field,
                0,
                format!("a zip archive has at least {END_BYTES} bytes, this file has {len}"),
            ));
        }
        // The record is the file's last, but for a comment of up to 65,535 bytes.
        let first = len.saturating_sub(END_BYTES + usize::from(u16::MAX));
        let end = (first..=len - END_BYTES)
            .rev()
            .find(|&at| {
                self.data[at..].starts_with(END)
                    && at + END_BYTES + usize::from(u16_at(&self.data[at..], 20)) == len
            })
            .ok_or_else(|| {
                self.malformed(
                    field,
                    first,
                    "not found: this is no zip archive, or one cut short".into(),
                )
            })?;
        let record = &self.data[end..];
        let mut size = u64::from(u32_at(record, 12));
        let mut offset = u64::from(u32_at(record, 16));
        let mut limit = end;
        if let Some(locator) = end
            .checked_sub(ZIP64_LOCATOR_BYTES)
            .filter(|&at| self.data[at..].starts_with(ZIP64_LOCATOR))
        {
            let field = "zip64 end of central directory";
            let at = self.index(field, locator, u64_at(&self.data[locator..], 8))?;
            let record = self.bytes(field, at, ZIP64_END_BYTES, locator)?;
            if !record.starts_with(ZIP64_END) {
                return Err(self.malformed(field, at, "the signature is another".into()));
            }
            size = u64_at(record, 40);
            offset = u64_at(record, 48);
            limit = at;
        }
        let start = self.index("central directory", end, offset)?;
        let stop = self.index("central directory", end, offset.saturating_add(size))?;
        if stop > limit {
            return Err(self.malformed(
                "central directory",
                start,
                format!("it reaches to byte {stop}, past its own end record at {limit}"),
            ));
        }
        Ok(start..stop)
    }

    /// A 64-bit offset as an index into the file.
    fn index(&self, field: &str, at: usize, offset: u64) -> Result<usize> {
        usize::try_from(offset)
            .ok()
            .filter(|&offset| offset <= self.data.len())
            .ok_or_else(|| {
                self.malformed(
                    field,
                    at,
                    format!(
                        "the offset {offset} is past the file's {} bytes",
                        self.data.len()
                    ),
                )
            })
    }

    /// The directory entry at `at`, and where the next begins.
    fn entry(&self, at: usize, end: usize) -> Result<(DirectoryEntry, usize)> {
        let field = "central directory";
        let fixed = self.bytes(field, at, DIRECTORY_ENTRY_BYTES, end)?;
        if !fixed.starts_with(DIRECTORY_ENTRY) {
            return Err(self.malformed(field, at, "an entry's signature is missing".into()));
        }
        let name_len = usize::from(u16_at(fixed, 28));
        let extra_len = usize::from(u16_at(fixed, 30));
        let comment_len = usize::from(u16_at(fixed, 32));
        let name_at = at + DIRECTORY_ENTRY_BYTES;
        let name = self.bytes(field, name_at, name_len, end)?;
        let name = std::str::from_utf8(name)
            .map_err(|e| self.malformed("entry name", name_at, e.to_string()))?;
        let climbs = name.contains('\\')
            || name.starts_with('/')
            || name.split('/').any(|part| part == ".." || part == ".");
        if climbs || name.contains('\0') || name.is_empty() {
            return Err(self.malformed(
                "entry name",
                name_at,
                format!("{name:?} is no path inside the archive"),
            ));
        }
        let extra_at = name_at + name_len;
        let extra = self.bytes(field, extra_at, extra_len, end)?;
        let mut entry = DirectoryEntry {
            name: name.to_owned(),
            flags: u16_at(fixed, 8),
            method: u16_at(fixed, 10),
            stored_bytes: u64::from(u32_at(fixed, 20)),
            content_bytes: u64::from(u32_at(fixed, 24)),
            local_offset: u64::from(u32_at(fixed, 42)),
        };
        widen(&mut entry, extra).map_err(|problem| {
            self.malformed(&format!("entry {name:?}: extra field"), extra_at, problem)
        })?;
        let next = extra_at + extra_len + comment_len;
        self.bytes(field, extra_at + extra_len, comment_len, end)?;
        Ok((entry, next))
    }

    /// Where an entry's content lies, which has to be before `end`.
    fn content(&self, entry: DirectoryEntry, end: usize) -> Result<Entry> {
        const DEFLATED: u16 = 8;
        let field = format!("entry {:?}", entry.name);
        let unsupported = |what: &str| {
            Err(Error::unsupported(
                self.label,
                format!("{field} is {what}; PyTorch stores entries as they are"),
            ))
        };
        if entry.flags & 1 != 0 {
            return unsupported("encrypted");
        }
        let is_compressed = entry.method == DEFLATED && self.may_compress;
        if entry.method != 0 && !is_compressed {
            return unsupported(&format!("compressed (method {})", entry.method));
        }
        let at = self.index(&field, end, entry.local_offset)?;
        if !is_compressed && entry.stored_bytes != entry.content_bytes {
            return Err(self.malformed(
                &field,
                at,
                format!(
                    "{} bytes in the archive are said to hold {} as they are",
                    entry.stored_bytes, entry.content_bytes
                ),
            ));
        }
        let header = self.bytes(&field, at, LOCAL_HEADER_BYTES, end)?;
        if !header.starts_with(LOCAL_HEADER) {
            return Err(self.malformed(
                &field,
                at,
                "the local header's signature is missing".into(),
            ));
        }
        let start = at
            + LOCAL_HEADER_BYTES
            + usize::from(u16_at(header, 26))
            + usize::from(u16_at(header, 28));
        let len = usize::try_from(entry.stored_bytes).unwrap_or(usize::MAX);
        self.bytes(&field, start, len, end)?;
        Ok(Entry {
            range: start..start + len,
            unpacked_bytes: is_compressed.then_some(entry.content_bytes),
        })
    }
}

/// Replaces the sizes and the offset that did not fit into 32 bits by those of the zip64 extra field.
fn widen(entry: &mut DirectoryEntry, mut extra: &[u8]) -> Result<(), String> {
    const TOO_WIDE: u64 = u32::MAX as u64;
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let id = u16_at(head, 0);
        let len = usize::from(u16_at(head, 2));
        let Some((field, rest)) = rest.split_at_checked(len) else {
            // Padding that is no field: PyTorch aligns its entries with such.
            return Ok(());
        };
        if id == ZIP64_EXTRA {
            let mut values = field.chunks_exact(8).map(|value| u64_at(value, 0));
            for value in [
                &mut entry.content_bytes,
                &mut entry.stored_bytes,
                &mut entry.local_offset,
            ] {
                if *value == TOO_WIDE {
                    *value = values
                        .next()
                        .ok_or("the 64-bit sizes are missing".to_owned())?;
                }
            }
            return Ok(());
        }
        extra = rest;
    }
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
#[path = "../tests/zip/mod.rs"]
mod packed;

#[cfg(test)]
mod tests {
    use super::*;

    use super::packed::{archive, edited};

    fn open(bytes: Vec<u8>) -> Result<ZipArchive> {
        ZipArchive::from_bytes(Bytes::from(bytes), "file".into())
    }

    fn problem(entries: &[(&str, &[u8])], edit: impl Fn(usize, &mut [u8])) -> String {
        open(edited(entries, edit))
            .expect_err("a defect")
            .to_string()
    }

    #[test]
    fn entries_are_found_by_name() {
        let zip = open(archive(&[("a/b", b"one"), ("c", b"")])).unwrap();
        assert_eq!(zip.names().collect::<Vec<_>>(), ["a/b", "c"]);
        assert_eq!(&*zip.get("a/b").unwrap(), b"one");
        assert_eq!(&*zip.get("c").unwrap(), b"");
        let error = zip.need("d").unwrap_err().to_string();
        assert_eq!(error, "file: d: the archive has no such entry");
    }

    #[test]
    fn each_defect_is_named() {
        let one: &[(&str, &[u8])] = &[("a", b"content")];
        let ok = |_: usize, _: &mut [u8]| {};
        let set = |at: usize, value: &'static [u8]| {
            move |_: usize, fixed: &mut [u8]| fixed[at..at + value.len()].copy_from_slice(value)
        };
        assert!(problem(one, set(10, &[8])).contains("entry \"a\" is compressed (method 8)"));
        assert!(problem(one, set(8, &[1])).contains("encrypted"));
        assert!(problem(one, set(24, &[0, 0, 0, 64])).contains("said to hold 1073741824"));
        assert!(problem(one, set(20, &[255, 0, 0, 0, 255, 0])).contains("255 bytes needed"));
        assert!(problem(one, set(42, &[9, 0, 0, 127])).contains("past the file's"));
        assert!(problem(one, set(42, &[1])).contains("signature is missing"));
        assert!(problem(one, set(28, &[0, 1])).contains("cut short"));
        assert!(problem(&[("../a", b"")], ok).contains("\"../a\" is no path inside"));
        assert!(problem(&[("/etc/x", b"")], ok).contains("no path inside"));
        assert!(problem(&[("a", b"1"), ("a", b"2")], ok).contains("occurs twice"));
        let same = |i: usize, fixed: &mut [u8]| {
            if i == 1 {
                fixed[42..46].fill(0);
            }
        };
        assert!(problem(&[("a", b"12"), ("b", b"34")], same).contains("overlap"));
    }

    #[test]
    fn compressed_entries_are_unpacked_where_they_may_be() {
        use flate2::Compression;
        use flate2::write::DeflateEncoder;
        use std::io::Write;

        let text = "the same again, ".repeat(100);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        let packed = encoder.finish().unwrap();
        let said = |bytes: u32| {
            let bytes = edited(&[("a", &packed)], |_, fixed| {
                fixed[10] = 8;
                fixed[24..28].copy_from_slice(&bytes.to_le_bytes());
            });
            ZipArchive::with_compressed(Bytes::from(bytes), "file".into()).unwrap()
        };
        let zip = said(1600);
        assert!(zip.get("a").is_none());
        assert_eq!(&*zip.content("a", 1600).unwrap().unwrap(), text.as_bytes());
        assert!(zip.content("b", 1600).unwrap().is_none());
        let problem = |zip: ZipArchive, most| zip.content("a", most).unwrap_err().to_string();
        assert!(problem(zip, 1599).contains("1600 bytes, of which 1599"));
        for wrong in [0, 1599, 1601, u32::MAX - 1] {
            assert!(problem(said(wrong), usize::MAX).contains("and does not"));
        }
        let broken = edited(&[("a", b"\xff\xff\xff")], |_, fixed| fixed[10] = 8);
        let broken = ZipArchive::with_compressed(Bytes::from(broken), "file".into()).unwrap();
        assert!(problem(broken, 9).contains("not sound"));
    }

    #[test]
    fn what_is_cut_short_is_no_archive() {
        let whole = archive(&[("a", b"content")]);
        for len in 0..whole.len() {
            assert!(open(whole[..len].to_vec()).is_err(), "{len} bytes");
        }
    }
}
