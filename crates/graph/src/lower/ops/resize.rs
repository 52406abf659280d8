//! Images in other sizes, and sampled at other places.

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::{float, int, string};
use crate::lower::call::Call;
use crate::lower::expr::Expr;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::upsample_nearest1d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
        "Resize",
        |c| resize(c, "nearest"),
    ),
    op(
        "aten::upsample_nearest2d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
        "Resize",
        |c| resize(c, "nearest"),
    ),
    op(
        "aten::upsample_nearest1d(Tensor self, SymInt[1] output_size, float? scales=None) -> Tensor",
        "Resize",
        |c| resize(c, "nearest"),
    ),
    op(
        "aten::upsample_nearest2d(Tensor self, SymInt[2] output_size, float? scales_h=None, float? scales_w=None) -> Tensor",
        "Resize",
        |c| resize(c, "nearest"),
    ),
    op(
        "aten::upsample_linear1d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> Tensor",
        "Resize",
        |c| resize(c, "linear"),
    ),
    op(
        "aten::upsample_bilinear2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> Tensor",
        "Resize",
        |c| resize(c, "linear"),
    ),
    op(
        "aten::upsample_bilinear2d(Tensor self, SymInt[2] output_size, bool align_corners, float? scales_h=None, float? scales_w=None) -> Tensor",
        "Resize",
        |c| resize(c, "linear"),
    ),
    op(
        "aten::upsample_bicubic2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> Tensor",
        "Resize",
        |c| resize(c, "cubic"),
    ),
    op(
        "aten::upsample_bicubic2d(Tensor self, SymInt[2] output_size, bool align_corners, float? scales_h=None, float? scales_w=None) -> Tensor",
        "Resize",
        |c| resize(c, "cubic"),
    ),
    op(
        "aten::grid_sampler(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> Tensor",
        "GridSample",
        grid,
    ),
    op(
        "aten::grid_sampler_2d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> Tensor",
        "GridSample",
        grid,
    ),
];

/// The image in the size that the archive says the result has.
///
/// PyTorch maps an output to the place under its own centre, or, with aligned corners, from corner to corner; nearest
/// takes the pixel at the place rounded down. Where a scale factor was given, PyTorch maps by that factor and not by the
/// ratio of the sizes; the two are the same where the factor gives a whole size, else the call is refused.
fn resize(c: &mut Call<'_>, mode: &'static str) -> Step {
    let x = c.tensor(if c.has("input") { "input" } else { "self" })?;
    let dims = c.out_dims()?;
    let mut factors = c.floats("scale_factors")?;
    for name in ["scales", "scales_h", "scales_w"] {
        if let Some(factor) = c.scalar_opt(name)?.and_then(|s| s.number()) {
            factors.push(factor);
        }
    }
    for (i, factor) in factors.iter().enumerate() {
        let size = |dims: &[Expr]| dims.get(2 + i).and_then(Expr::int);
        if let (Some(from), Some(to)) = (size(&x.dims), size(&dims))
            && (from as f64 * factor - to as f64).abs() > 1e-6
        {
            return Err(format!(
                "the scale factor {factor} makes no whole number of {from}"
            ));
        }
    }
    let place = if c.bool_or("align_corners", false)? {
        "align_corners"
    } else if mode == "nearest" {
        "asymmetric"
    } else {
        "half_pixel"
    };
    let mut attributes = vec![
        string("mode", mode),
        string("coordinate_transformation_mode", place),
    ];
    if mode == "nearest" {
        attributes.push(string("nearest_mode", "floor"));
    }
    if mode == "cubic" {
        attributes.push(float("cubic_coeff_a", -0.75));
    }
    let sizes = c.sizes.vector(c.b, &dims)?;
    c.finish("Resize", &[&x.name, "", "", &sizes], attributes)
}

fn grid(c: &mut Call<'_>) -> Step {
    let (x, grid) = (c.tensor("input")?, c.tensor("grid")?);
    let mode = match c.int("interpolation_mode")? {
        0 => "bilinear",
        1 => "nearest",
        2 => "bicubic",
        other => return Err(format!("the interpolation mode {other}")),
    };
    let padding = match c.int("padding_mode")? {
        0 => "zeros",
        1 => "border",
        2 => "reflection",
        other => return Err(format!("the padding mode {other}")),
    };
    let aligned = i64::from(c.bool_or("align_corners", false)?);
    let attributes = vec![
        string("mode", mode),
        string("padding_mode", padding),
        int("align_corners", aligned),
    ];
    c.finish("GridSample", &[&x.name, &grid.name], attributes)
}
