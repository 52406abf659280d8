//! Zip archives of stored entries, as PyTorch writes them.

#![allow(dead_code, reason = "every test file uses a part of this")]

/// An archive of these entries.
pub fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    edited(entries, |_, _| {})
}

/// An archive of which `edit` may spoil the fixed part of each directory entry.
pub fn edited(entries: &[(&str, &[u8])], edit: impl Fn(usize, &mut [u8])) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (i, (name, content)) in entries.iter().enumerate() {
        let offset = out.len() as u32;
        // Sizes and lengths as both headers have them.
        let mut sizes = Vec::new();
        sizes.extend((content.len() as u32).to_le_bytes());
        sizes.extend((content.len() as u32).to_le_bytes());
        sizes.extend((name.len() as u16).to_le_bytes());
        sizes.extend([0; 2]);
        out.extend(b"PK\x03\x04");
        out.extend([0; 14]);
        out.extend(&sizes);
        out.extend(name.as_bytes());
        out.extend(*content);
        let mut fixed = b"PK\x01\x02".to_vec();
        fixed.extend([0; 16]);
        fixed.extend(&sizes);
        fixed.extend([0; 10]);
        fixed.extend(offset.to_le_bytes());
        edit(i, &mut fixed);
        directory.extend(fixed);
        directory.extend(name.as_bytes());
    }
    let (start, count) = (out.len() as u32, entries.len() as u16);
    out.extend(&directory);
    out.extend(b"PK\x05\x06");
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out
}
