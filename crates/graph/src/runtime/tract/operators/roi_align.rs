//! RoiAlign: regions of feature maps, brought to one size by bilinear samples (He et al., "Mask R-CNN", 2017).

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct RoiAlign {
    /// Height and width of what comes out.
    size: [usize; 2],
    /// Samples in each direction of a cell; 0 for as many as the cell has pixels.
    sampling_ratio: usize,
    spatial_scale: f64,
    is_max: bool,
    is_half_pixel: bool,
}

pub(super) fn read(context: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    // The first definition knew no half pixels.
    let default = match context.onnx_operator_set_version {
        ..16 => "output_half_pixel",
        _ => "half_pixel",
    };
    let mode = node.get_attr_opt::<&str>("coordinate_transformation_mode")?;
    let extent = |name: &str| size(node.get_attr_opt(name)?.unwrap_or(1));
    let is_max = match node.get_attr_opt::<&str>("mode")? {
        None | Some("avg") => false,
        Some("max") => true,
        Some(mode) => bail!("the mode {mode} is unknown"),
    };
    let sampling_ratio = size(node.get_attr_opt("sampling_ratio")?.unwrap_or(0))?;
    ensure!(
        sampling_ratio <= 1 << 10,
        "{sampling_ratio} samples are too many"
    );
    Ok(Arc::new(RoiAlign {
        size: [extent("output_height")?, extent("output_width")?],
        sampling_ratio,
        spatial_scale: node.get_attr_opt("spatial_scale")?.unwrap_or(1f32).into(),
        is_max,
        is_half_pixel: mode.unwrap_or(default) == "half_pixel",
    }))
}

/// A place between pixels of a line: the pixels around it, and the parts of each.
fn between(place: f64, len: usize) -> [(usize, f64); 2] {
    let place = place.clamp(0.0, len as f64 - 1.0);
    let low = place as usize;
    let part = place - low as f64;
    [(low, 1.0 - part), ((low + 1).min(len - 1), part)]
}

impl RoiAlign {
    /// One channel of one region: where it starts and how large it is, vertically and horizontally.
    fn region(
        &self,
        map: &[f64],
        [height, width]: [usize; 2],
        start: [f64; 2],
        extent: [f64; 2],
    ) -> TractResult<Vec<f64>> {
        let [rows, columns] = self.size;
        let cell = [extent[0] / rows as f64, extent[1] / columns as f64];
        let samples = cell.map(|cell| match self.sampling_ratio {
            // More samples than pixels show nothing new.
            0 => cell.ceil().clamp(0.0, height.max(width) as f64 + 1.0) as usize,
            n => n,
        });
        let count = size((samples[0] as i64).saturating_mul(samples[1] as i64))?;
        let mut out = Vec::with_capacity(rows * columns);
        for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
            let (mut sum, mut largest) = (0.0, None::<f64>);
            for (i, j) in (0..samples[0]).flat_map(|i| (0..samples[1]).map(move |j| (i, j))) {
                let place = |axis: usize, cells: usize, sample: usize| {
                    let within = (sample as f64 + 0.5) / samples[axis] as f64;
                    start[axis] + (cells as f64 + within) * cell[axis]
                };
                let (y, x) = (place(0, row, i), place(1, column, j));
                let is_inside =
                    (-1.0..=height as f64).contains(&y) && (-1.0..=width as f64).contains(&x);
                let mut top = if is_inside { f64::NEG_INFINITY } else { 0.0 };
                if is_inside {
                    for (y, y_part) in between(y, height) {
                        for (x, x_part) in between(x, width) {
                            let value = y_part * x_part * map[y * width + x];
                            sum += value;
                            top = top.max(value);
                        }
                    }
                }
                largest = Some(largest.map_or(top, |so_far| so_far.max(top)));
            }
            out.push(match self.is_max {
                true => largest.unwrap_or(0.0),
                false => sum / count.max(1) as f64,
            });
        }
        Ok(out)
    }
}

impl Operator for RoiAlign {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let (x, rois) = (input(inputs, 0)?, input(inputs, 1)?);
        ensure!(
            x.rank() == 4 && rois.rank() == 2,
            "RoiAlign takes images and boxes"
        );
        let [height, width] = self.size.map(|n| n.to_dim());
        let shape = [rois.shape[0].clone(), x.shape[1].clone(), height, width];
        Ok(tvec!(x.datum_type.fact(shape)))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (x, rois) = (input(inputs, 0)?, input(inputs, 1)?);
        let batches = integers(input(inputs, 2)?)?;
        let &[batch, channels, height, width] = x.shape() else {
            bail!("RoiAlign takes images");
        };
        let count = batches.len();
        ensure!(
            rois.shape() == [count, 4],
            "{count} batch indices for {:?}",
            rois.shape()
        );
        let plane = height * width;
        ensure!(plane > 0, "the feature maps are empty");
        let total = [count, channels, self.size[0], self.size[1]];
        volume(&total)?;
        let (maps, rois) = (numbers(x)?, numbers(rois)?);
        let offset = if self.is_half_pixel { 0.5 } else { 0.0 };
        let mut out = Vec::new();
        for (roi, n) in rois.chunks_exact(4).zip(&batches) {
            let n = usize::try_from(*n).ok().filter(|n| *n < batch);
            let n = n.with_context(|| format!("a region is of none of the {batch} images"))?;
            let [left, top, right, bottom] =
                [0, 1, 2, 3].map(|i| roi[i] * self.spatial_scale - offset);
            let least = if self.is_half_pixel {
                f64::NEG_INFINITY
            } else {
                1.0
            };
            let extent = [(bottom - top).max(least), (right - left).max(least)];
            for channel in 0..channels {
                let from = (n * channels + channel) * plane;
                let map = &maps[from..from + plane];
                out.extend(self.region(map, [height, width], [top, left], extent)?);
            }
        }
        Ok(tvec!(tensor(x.datum_type(), &total, &out)?))
    }
}
