//! Attention: each query's average of the values, by how well it fits their keys (Vaswani et al., "Attention Is All You
//! Need", 2017), with heads that share keys, masks, windows, and keys and values of before.
//!
//! Dimensions are B batch, H heads, K kv heads, S queries, T keys (those of before included), D head_dim.

use tract_onnx::model::optional_inputs;
use tract_onnx::prelude::tract_num_traits::Float;
use tract_onnx::tract_hir::internal::*;

use super::*;

/// The node's inputs in their order.
#[derive(Debug, Clone, Copy)]
enum Input {
    Query,
    Key,
    Value,
    Mask,
    PastKey,
    PastValue,
    KeyCount,
}

/// Which scores the fourth output tells.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scores {
    None,
    Products,
    Capped,
    Masked,
    Probabilities,
}

#[derive(Debug)]
struct Attention {
    /// Where each input is among those that are given.
    given: Vec<Option<usize>>,
    heads: Option<usize>,
    kv_heads: Option<usize>,
    scale: Option<f64>,
    softcap: f64,
    is_causal: bool,
    /// How many keys before and after its own place a query sees.
    window: [Option<i64>; 2],
    scores: Scores,
    has_present: [bool; 2],
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    let wants = |at: usize| node.output.get(at).is_some_and(|name| !name.is_empty());
    let scores = match node.get_attr_opt::<i64>("qk_matmul_output_mode")? {
        _ if !wants(3) => Scores::None,
        None | Some(0) => Scores::Products,
        Some(1) => Scores::Capped,
        Some(2) => Scores::Masked,
        Some(3) => Scores::Probabilities,
        Some(mode) => bail!("the mode {mode} is unknown"),
    };
    let window = |name: &str| -> TractResult<Option<i64>> {
        Ok(node.get_attr_opt::<i64>(name)?.filter(|n| *n >= 0))
    };
    let scale: Option<f32> = node.get_attr_opt("scale")?;
    let softcap: Option<f32> = node.get_attr_opt("softcap")?;
    Ok(Arc::new(Attention {
        given: optional_inputs(node).take(7).collect(),
        heads: node.get_attr_opt("q_num_heads")?,
        kv_heads: node.get_attr_opt("kv_num_heads")?,
        scale: scale.map(f64::from),
        softcap: softcap.unwrap_or(0.0).into(),
        is_causal: node.get_attr_opt::<i64>("is_causal")? == Some(1),
        window: [window("left_window_size")?, window("right_window_size")?],
        scores,
        has_present: [wants(1), wants(2)],
    }))
}

/// A tensor (B, H, L, D), row-major.
struct Heads<T> {
    shape: [usize; 4],
    data: Vec<T>,
}

impl<T: Float + Datum> Heads<T> {
    /// From (B, H, L, D), or (B, L, H D) with the number of heads.
    fn read(x: &Tensor, heads: Option<usize>) -> TractResult<Heads<T>> {
        let cast = x.cast_to::<T>()?;
        let from = cast.try_as_plain_ram()?;
        let from = from.as_slice::<T>()?;
        match *x.shape() {
            [b, h, l, d] => Ok(Heads {
                shape: [b, h, l, d],
                data: from.to_vec(),
            }),
            [b, l, hidden] => {
                let h = heads.context("the number of heads is missing")?;
                ensure!(h > 0 && hidden % h == 0, "{hidden} are not {h} heads");
                let d = hidden / h;
                let mut data = Vec::with_capacity(from.len());
                for (b, h) in (0..b).flat_map(|b| (0..h).map(move |h| (b, h))) {
                    for l in (0..l).map(|i| b * l + i) {
                        data.extend_from_slice(&from[l * hidden + h * d..][..d]);
                    }
                }
                Ok(Heads {
                    shape: [b, h, l, d],
                    data,
                })
            }
            _ => bail!("attention to a tensor of {:?}", x.shape()),
        }
    }

    /// Those of before, and then these.
    fn after(self, past: Heads<T>) -> TractResult<Heads<T>> {
        let ([b, h, l, d], [pb, ph, p, pd]) = (self.shape, past.shape);
        ensure!(
            [b, h, d] == [pb, ph, pd],
            "{:?} don't go on {:?}",
            self.shape,
            past.shape
        );
        let mut data = Vec::with_capacity(self.data.len() + past.data.len());
        for i in 0..b * h {
            data.extend_from_slice(&past.data[i * p * d..(i + 1) * p * d]);
            data.extend_from_slice(&self.data[i * l * d..(i + 1) * l * d]);
        }
        Ok(Heads {
            shape: [b, h, p + l, d],
            data,
        })
    }

    fn row(&self, b: usize, h: usize, l: usize) -> &[T] {
        let [_, heads, len, d] = self.shape;
        &self.data[((b * heads + h) * len + l) * d..][..d]
    }

    fn write(&self, dtype: DatumType) -> TractResult<Tensor> {
        let tensor = Tensor::from_shape(&self.shape, &self.data)?;
        Ok(tensor.cast_to_dt(dtype)?.into_owned())
    }
}

fn dot<T: Float>(a: &[T], b: &[T]) -> T {
    const LANES: usize = 16;
    let mut sums = [T::zero(); LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest = rest.fold(T::zero(), |sum, (x, y)| sum + *x * *y);
    for (a, b) in a_chunks.zip(b_chunks) {
        for (sum, (x, y)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum = *sum + *x * *y;
        }
    }
    sums.into_iter().fold(rest, |sum, x| sum + x)
}

/// What is added to scores, (B, H, S, T) or less of it, with fewer keys than there are where the rest is masked.
struct Mask<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T: Float + Datum> Mask<T> {
    fn read(x: &Tensor) -> TractResult<Mask<T>> {
        let data = if x.datum_type() == DatumType::Bool {
            let kept = integers(x)?.into_iter().map(|kept| kept != 0);
            kept.map(|kept| if kept { T::zero() } else { T::neg_infinity() })
                .collect()
        } else {
            let cast = x.cast_to::<T>()?;
            cast.try_as_plain_ram()?.as_slice::<T>()?.to_vec()
        };
        ensure!(
            (1..=4).contains(&x.rank()),
            "a mask of {} dimensions",
            x.rank()
        );
        Ok(Mask {
            shape: x.shape().to_vec(),
            data,
        })
    }

    /// The keys' part for a query: as many as there are.
    fn row(&self, at: [usize; 3]) -> TractResult<&[T]> {
        let (keys, outer) = self
            .shape
            .split_last()
            .context("a mask without dimensions")?;
        let mut row = 0;
        for (size, i) in outer.iter().zip(&at[3 - outer.len()..]) {
            let i = if *size == 1 { 0 } else { *i };
            ensure!(i < *size, "a mask of {:?} is too small", self.shape);
            row = row * size + i;
        }
        Ok(&self.data[row * keys..][..*keys])
    }
}

impl Attention {
    fn given<'a, T>(&self, inputs: &'a [T], which: Input) -> Option<&'a T> {
        inputs.get((*self.given.get(which as usize)?)?)
    }

    fn needed<'a, T>(&self, inputs: &'a [T], which: Input) -> TractResult<&'a T> {
        let given = self.given(inputs, which);
        given.with_context(|| format!("{which:?} is missing"))
    }

    fn run<T: Float + Datum>(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let query = self.needed(inputs, Input::Query)?;
        let dtype = query.datum_type();
        let q = Heads::<T>::read(query, self.heads)?;
        let mut past_len = 0;
        let mut with_past = |now: Input, past: Input| -> TractResult<Heads<T>> {
            let now = Heads::read(self.needed(inputs, now)?, self.kv_heads)?;
            match self.given(inputs, past) {
                Some(past) => {
                    let past = Heads::read(past, None)?;
                    past_len = past.shape[2];
                    now.after(past)
                }
                None => Ok(now),
            }
        };
        let k = with_past(Input::Key, Input::PastKey)?;
        let v = with_past(Input::Value, Input::PastValue)?;
        let ([b, h, s, d], [_, kv, t, _]) = (q.shape, k.shape);
        let v_dim = v.shape[3];
        ensure!(
            k.shape == [b, kv, t, d],
            "queries {:?} and keys {:?}",
            q.shape,
            k.shape
        );
        ensure!(
            v.shape == [b, kv, t, v_dim],
            "keys {:?} and values {:?}",
            k.shape,
            v.shape
        );
        ensure!(kv > 0 && h % kv == 0, "{h} heads don't share {kv}");
        let mask = self
            .given(inputs, Input::Mask)
            .map(|mask| Mask::<T>::read(mask));
        let mask = mask.transpose()?;
        let counts = self
            .given(inputs, Input::KeyCount)
            .map(|counts| integers(counts));
        let counts = counts.transpose()?;
        let number = |x: f64| T::from(x).context("a number is out of range");
        let scale = number(self.scale.unwrap_or(1.0 / (d as f64).sqrt()))?;
        let softcap = number(self.softcap)?;

        let mut y = Vec::with_capacity(volume(&[b, h, s, v_dim])?);
        volume(&[b, h, s, t])?;
        let mut told = Vec::new();
        let mut scores = vec![T::zero(); t];
        let mut bias = vec![T::zero(); t];
        for (n, head) in (0..b).flat_map(|n| (0..h).map(move |head| (n, head))) {
            let shared = head / (h / kv);
            let count = match &counts {
                Some(counts) => Some(*counts.get(n).context("a number of keys is missing")?),
                None => None,
            };
            // The place of the first query among the keys.
            let first = count.map_or(past_len as i64, |count| count - s as i64);
            for i in 0..s {
                bias.fill(T::zero());
                if let Some(mask) = &mask {
                    let row = mask.row([n, head, i])?;
                    ensure!(
                        row.len() <= t,
                        "a mask for {} keys, there are {t}",
                        row.len()
                    );
                    bias[..row.len()].copy_from_slice(row);
                    bias[row.len()..].fill(T::neg_infinity());
                }
                let place = first + i as i64;
                for (j, bias) in bias.iter_mut().enumerate() {
                    let ago = place - j as i64;
                    let [before, after] = self.window;
                    let is_hidden = self.is_causal && ago < 0
                        || before.is_some_and(|n| ago > n)
                        || after.is_some_and(|n| -ago > n)
                        || count.is_some_and(|count| j as i64 >= count);
                    if is_hidden {
                        *bias = T::neg_infinity();
                    }
                }
                let query = q.row(n, head, i);
                for (j, score) in scores.iter_mut().enumerate() {
                    *score = dot(query, k.row(n, shared, j)) * scale;
                }
                let tell = |told: &mut Vec<T>, scores: &[T], which: Scores| {
                    if self.scores == which {
                        told.extend_from_slice(scores);
                    }
                };
                tell(&mut told, &scores, Scores::Products);
                if softcap > T::zero() {
                    for score in &mut scores {
                        *score = (*score / softcap).tanh() * softcap;
                    }
                }
                tell(&mut told, &scores, Scores::Capped);
                for (score, bias) in scores.iter_mut().zip(&bias) {
                    // Whatever the score: what is hidden stays so.
                    *score = match *bias == T::neg_infinity() {
                        true => *bias,
                        false => *score + *bias,
                    };
                }
                tell(&mut told, &scores, Scores::Masked);
                softmax(&mut scores);
                tell(&mut told, &scores, Scores::Probabilities);
                let start = y.len();
                y.resize(start + v_dim, T::zero());
                for (j, part) in scores.iter().enumerate() {
                    if !part.is_zero() {
                        let value = v.row(n, shared, j).iter();
                        for (y, x) in y[start..].iter_mut().zip(value) {
                            *y = *y + *part * *x;
                        }
                    }
                }
            }
        }

        let mut y = Heads {
            shape: [b, h, s, v_dim],
            data: y,
        }
        .write(dtype)?;
        if query.rank() == 3 {
            y = y.permute_axes(&[0, 2, 1, 3])?;
            y.set_shape(&[b, s, h * v_dim])?;
        }
        let nothing = || Tensor::zero_dt(dtype, &[0]);
        let present = |heads: Heads<T>, is_wanted: bool| match is_wanted {
            true => heads.write(dtype),
            false => nothing(),
        };
        let scores = match self.scores {
            Scores::None => nothing()?,
            _ => Heads {
                shape: [b, h, s, t],
                data: told,
            }
            .write(dtype)?,
        };
        let [has_key, has_value] = self.has_present;
        Ok(tvec!(
            y,
            present(k, has_key)?,
            present(v, has_value)?,
            scores
        ))
    }
}

/// To parts of 1 in all; to none where nothing is seen.
fn softmax<T: Float>(scores: &mut [T]) {
    let top = scores.iter().fold(T::neg_infinity(), |top, x| top.max(*x));
    if top == T::neg_infinity() {
        scores.fill(T::zero());
        return;
    }
    let mut sum = T::zero();
    for score in scores.iter_mut() {
        *score = (*score - top).exp();
        sum = sum + *score;
    }
    scores.iter_mut().for_each(|score| *score = *score / sum);
}

impl Operator for Attention {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let query = self.needed(inputs, Input::Query)?;
        // (B, H, L, D) of a tensor, or of one with its heads side by side.
        let shape = |fact: &TypedFact, heads: Option<usize>| -> TractResult<[TDim; 4]> {
            match &*fact.shape.to_tvec() {
                [b, h, l, d] => Ok([b.clone(), h.clone(), l.clone(), d.clone()]),
                [b, l, hidden] => {
                    let heads = heads.filter(|heads| *heads > 0);
                    let heads = heads.context("the number of heads is missing")?;
                    Ok([b.clone(), heads.to_dim(), l.clone(), hidden.clone() / heads])
                }
                other => bail!("attention to a tensor of {other:?}"),
            }
        };
        let with_past = |now: Input, past: Input| -> TractResult<[TDim; 4]> {
            let mut now = shape(self.needed(inputs, now)?, self.kv_heads)?;
            if let Some(past) = self.given(inputs, past) {
                now[2] = now[2].clone() + &shape(past, None)?[2];
            }
            Ok(now)
        };
        let [b, h, s, _] = shape(query, self.heads)?;
        let k = with_past(Input::Key, Input::PastKey)?;
        let v = with_past(Input::Value, Input::PastValue)?;
        let y = match query.rank() {
            3 => tvec![b.clone(), s.clone(), h.clone() * &v[3]],
            _ => tvec![b.clone(), h.clone(), s.clone(), v[3].clone()],
        };
        let scores = [b, h, s, k[2].clone()];
        let dtype = query.datum_type;
        let fact = |shape: [TDim; 4], is_wanted: bool| match is_wanted {
            true => dtype.fact(shape),
            false => dtype.fact([0usize]),
        };
        let [has_key, has_value] = self.has_present;
        Ok(tvec!(
            dtype.fact(y),
            fact(k, has_key),
            fact(v, has_value),
            fact(scores, self.scores != Scores::None)
        ))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        match self.needed(inputs, Input::Query)?.datum_type() {
            DatumType::F64 => self.run::<f64>(inputs),
            _ => self.run::<f32>(inputs),
        }
    }
}
