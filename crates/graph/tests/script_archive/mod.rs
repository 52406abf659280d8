//! Archives of TorchScript from a source alone.

use hearth_formats::torchscript::ScriptArchive;
use hearth_kernels::Bytes;

/// The pickle of a tensor of floats in the storage `0`.
fn tensor(sizes: &[u8]) -> Vec<u8> {
    let mut out = b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    out.extend(string("storage"));
    out.extend(b"ctorch\nFloatStorage\n");
    out.extend(string("0"));
    out.extend(string("cpu"));
    out.extend(b"K\x00tQK\x00(");
    sizes.iter().for_each(|&n| out.extend([b'K', n]));
    out.extend(b"t(");
    let stride = |axis: usize| sizes[axis + 1..].iter().product::<u8>();
    (0..sizes.len()).for_each(|axis| out.extend([b'K', stride(axis)]));
    out.extend(b"t\x89NtR");
    out
}

fn string(text: &str) -> Vec<u8> {
    let mut out = vec![b'X'];
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
    out
}

/// A module of the class `__torch__.Net`, with the attributes `weight` (4 by 3), `kernel` (2 by 3 by 3 by 3), `table` (10 by
/// 4), `n` (3), `flag` and `inner`, an object of the class `__torch__.Inner` with a `weight`.
pub fn bytes(source: &str) -> Vec<u8> {
    let mut data = b"\x80\x02c__torch__\nNet\n)\x81}(".to_vec();
    for (name, sizes) in [
        ("weight", &[4, 3][..]),
        ("kernel", &[2, 3, 3, 3]),
        ("table", &[10, 4]),
    ] {
        data.extend(string(name));
        data.extend(tensor(sizes));
    }
    data.extend(string("n"));
    data.extend(b"K\x03");
    data.extend(string("flag"));
    data.extend(b"\x88");
    data.extend(string("inner"));
    data.extend(b"c__torch__\nInner\n)\x81}(");
    data.extend(string("weight"));
    data.extend(tensor(&[2, 4]));
    data.extend(b"ubub.");
    let storage: Vec<u8> = (0..54u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    zip(&[
        ("net/data.pkl", &data),
        ("net/data/0", &storage),
        ("net/constants.pkl", b"\x80\x02)."),
        ("net/code/__torch__.py", source.as_bytes()),
    ])
}

pub fn archive(source: &str) -> hearth_formats::Result<ScriptArchive> {
    ScriptArchive::from_bytes(Bytes::from(bytes(source)), "net.pt".into())
}

/// A zip archive of stored entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let offset = out.len() as u32;
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
        directory.extend(b"PK\x01\x02");
        directory.extend([0; 16]);
        directory.extend(&sizes);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = out.len() as u32;
    out.extend(&directory);
    out.extend(b"PK\x05\x06");
    out.extend([0; 8]);
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out
}
