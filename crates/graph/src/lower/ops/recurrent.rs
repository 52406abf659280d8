//! Recurrent layers: LSTM, GRU, and the plain one.

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::{int, string};
use crate::lower::call::Call;
use crate::lower::expr::Expr;
use crate::lower::value::Tensor;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::lstm.input(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor, Tensor)",
        "LSTM",
        |c| recurrent(c, &LSTM),
    ),
    op(
        "aten::gru.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)",
        "GRU",
        |c| recurrent(c, &GRU),
    ),
    op(
        "aten::rnn_tanh.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)",
        "RNN",
        |c| recurrent(c, &RNN),
    ),
];

/// A kind of layer.
struct Kind {
    op: &'static str,
    /// Where each of ONNX's gates is among PyTorch's.
    gates: &'static [i64],
    /// Whether there is a cell's state beside the output.
    cell: bool,
}

/// Input, output, forget, cell; PyTorch has input, forget, cell, output.
const LSTM: Kind = Kind {
    op: "LSTM",
    gates: &[0, 3, 1, 2],
    cell: true,
};
/// Update, reset, hidden; PyTorch has reset, update, new.
const GRU: Kind = Kind {
    op: "GRU",
    gates: &[1, 0, 2],
    cell: false,
};
const RNN: Kind = Kind {
    op: "RNN",
    gates: &[0],
    cell: false,
};

/// All layers in turn, each over the outputs of the one before, both ways side by side.
fn recurrent(c: &mut Call<'_>, kind: &Kind) -> Step {
    if c.bool_or("train", false)? && c.float_or("dropout", 0.0)? > 0.0 {
        return Err(
            "it drops elements at random, as in training; export the model after model.eval()"
                .into(),
        );
    }
    let mut x = c.tensor("input")?;
    if x.rank() != 3 {
        return Err("an input without a batch".into());
    }
    let layers = c.int("num_layers")?;
    let ways = if c.bool_or("bidirectional", false)? {
        2
    } else {
        1
    };
    let biased = c.bool_or("has_biases", true)?;
    let batch_first = c.bool_or("batch_first", false)?;
    let params = c.tensors("params")?;
    let states = if kind.cell {
        c.tensors("hx")?
    } else {
        vec![c.tensor("hx")?]
    };
    let per_way = if biased { 4 } else { 2 };
    if !(1..=1024).contains(&layers) || params.len() as i64 != layers * ways * per_way {
        return Err(format!(
            "{} weights for {layers} layers; projections are not lowered",
            params.len()
        ));
    }
    let hidden = params[1].fixed(1)?;
    if batch_first {
        x = c.transpose(&x, &[1, 0, 2]);
    }
    let (steps, batch) = (x.dims[0].clone(), x.dims[1].clone());
    let mut last: Vec<Vec<String>> = vec![Vec::new(); states.len()];
    for layer in 0..layers {
        let of_layer = |way: i64, i: i64| &params[((layer * ways + way) * per_way + i) as usize];
        let mut stacked = Vec::new();
        for i in 0..2 {
            let each: Vec<&Tensor> = (0..ways).map(|way| of_layer(way, i)).collect();
            stacked.push(gates(c, &each, kind, hidden)?);
        }
        let mut inputs = vec![x.name.clone(), stacked.remove(0), stacked.remove(0)];
        if biased {
            let mut rows = Vec::new();
            for way in 0..ways {
                let of_input = reordered(c, of_layer(way, 2), kind, hidden)?;
                let of_state = reordered(c, of_layer(way, 3), kind, hidden)?;
                let both = c.emit("Concat", &[&of_input, &of_state], vec![int("axis", 0)]);
                rows.push(both);
            }
            inputs.push(stack(c, &rows)?);
        } else {
            inputs.push(String::new());
        }
        // No sequence lengths; states where they are not zero, which they are by default.
        if states.iter().any(|s| s.splat != Some(0.0)) {
            inputs.push(String::new());
            for state in &states {
                inputs.push(rows(c, state, layer * ways, ways)?);
            }
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let mut attributes = vec![
            int("hidden_size", hidden),
            string(
                "direction",
                if ways == 2 {
                    "bidirectional"
                } else {
                    "forward"
                },
            ),
        ];
        if kind.op == "GRU" {
            attributes.push(int("linear_before_reset", 1));
        }
        let outputs =
            c.b.emit_many(kind.op, &inputs, attributes, 1 + states.len());
        for (list, name) in last.iter_mut().zip(&outputs[1..]) {
            list.push(name.clone());
        }
        // (steps, ways, batch, hidden) to (steps, batch, ways * hidden).
        let y = Tensor {
            name: outputs[0].clone(),
            dtype: x.dtype,
            dims: vec![
                steps.clone(),
                Expr::Int(ways),
                batch.clone(),
                Expr::Int(hidden),
            ],
            splat: None,
        };
        let apart = c.transpose(&y, &[0, 2, 1, 3]);
        x = c.reshape(
            &apart,
            &[steps.clone(), batch.clone(), Expr::Int(ways * hidden)],
        )?;
    }
    if batch_first {
        x = c.transpose(&x, &[1, 0, 2]);
    }
    let x_dtype = x.dtype;
    c.set_tensor(0, x)?;
    for (i, names) in last.iter().enumerate() {
        if i + 1 >= c.results.len() {
            break;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let name = match names.as_slice() {
            [only] => (*only).to_owned(),
            many => c.emit("Concat", many, vec![int("axis", 0)]),
        };
        // PyTorch before 2.9 describes the states with a dimension too many.
        c.set_known(
            i + 1,
            Tensor {
                name,
                dtype: x_dtype,
                dims: vec![Expr::Int(layers * ways), batch.clone(), Expr::Int(hidden)],
                splat: None,
            },
        )?;
    }
    Ok(())
}

/// A weight or bias with its gates in ONNX's order. Runtimes do this once, when they load the model.
fn reordered(c: &mut Call<'_>, tensor: &Tensor, kind: &Kind, hidden: i64) -> Step<String> {
    if kind.gates.len() == 1 {
        return Ok(tensor.name.clone());
    }
    if tensor.fixed(0)? != hidden * kind.gates.len() as i64 {
        return Err(format!(
            "a weight of {:?} for {hidden} hidden units",
            tensor.dims
        ));
    }
    let axes = c.b.ints(&[0])?;
    let mut parts = Vec::new();
    for &gate in kind.gates {
        let (start, end) = (
            c.b.ints(&[gate * hidden])?,
            c.b.ints(&[(gate + 1) * hidden])?,
        );
        parts.push(c.emit("Slice", &[&tensor.name, &start, &end, &axes], vec![]));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(c.emit("Concat", &parts, vec![int("axis", 0)]))
}

fn gates(c: &mut Call<'_>, each: &[&Tensor], kind: &Kind, hidden: i64) -> Step<String> {
    let mut names = Vec::new();
    for tensor in each {
        names.push(reordered(c, tensor, kind, hidden)?);
    }
    stack(c, &names)
}

/// Tensors one above the other, with a new first axis.
fn stack(c: &mut Call<'_>, names: &[String]) -> Step<String> {
    let axes = c.b.ints(&[0])?;
    let rows: Vec<String> = names
        .iter()
        .map(|name| c.emit("Unsqueeze", &[name, &axes], vec![]))
        .collect();
    if let [only] = rows.as_slice() {
        return Ok(only.clone());
    }
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    Ok(c.emit("Concat", &rows, vec![int("axis", 0)]))
}

/// `count` rows of a state from `start` on.
fn rows(c: &mut Call<'_>, state: &Tensor, start: i64, count: i64) -> Step<String> {
    if state.dims.first() == Some(&Expr::Int(count)) {
        return Ok(state.name.clone());
    }
    let (from, to) = (c.b.ints(&[start])?, c.b.ints(&[start + count])?);
    let axes = c.b.ints(&[0])?;
    Ok(c.emit("Slice", &[&state.name, &from, &to, &axes], vec![]))
}
