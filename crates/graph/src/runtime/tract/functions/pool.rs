//! LpPool: the p-norm of what a kernel covers.

use super::body::{Body, int};

/// As an average of powers, times the kernel's elements.
pub(super) fn lp_pool(body: &mut Body) -> Option<()> {
    let x = body.input(0)?;
    let kernel: i64 = body.setting("kernel_shape")?.ints.iter().product();
    // Cut windows are averages over fewer elements.
    if body.int("ceil_mode").unwrap_or(0) != 0 {
        return None;
    }
    let p = body.int("p").unwrap_or(2) as f32;
    let names = ["kernel_shape", "strides", "pads", "auto_pad", "dilations"];
    let mut settings: Vec<_> = names
        .iter()
        .filter_map(|name| body.setting(name).cloned())
        .collect();
    settings.push(int("count_include_pad", 1));
    let power = body.number(p, x);
    let root = body.number(1.0 / p, x);
    let kernel = body.number(kernel as f32, x);
    let positive = body.add("Abs", &[x], vec![]);
    let powers = body.add("Pow", &[&positive, &power], vec![]);
    let average = body.add("AveragePool", &[&powers], settings);
    let sum = body.add("Mul", &[&average, &kernel], vec![]);
    let norm = body.add("Pow", &[&sum, &root], vec![]);
    body.give(0, &norm);
    Some(())
}
