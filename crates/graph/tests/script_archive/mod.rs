//! Archives of TorchScript from a source alone.

#[path = "../../../formats/tests/zip/mod.rs"]
mod zip;

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
    zip::archive(&[
        ("net/data.pkl", &data),
        ("net/data/0", &storage),
        ("net/constants.pkl", b"\x80\x02)."),
        ("net/code/__torch__.py", source.as_bytes()),
    ])
}

pub fn archive(source: &str) -> hearth_formats::Result<ScriptArchive> {
    ScriptArchive::from_bytes(Bytes::from(bytes(source)), "net.pt".into())
}
