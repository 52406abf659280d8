//! Models by layers are as by tract's own operators, and the layers are those that are meant.

use hearth_kernels::Pool;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::{DataFormat, Softmax, SoftmaxKind};

use super::*;

fn conv(model: &mut TypedModel, name: &str, x: OutletId, channels: [usize; 2]) -> OutletId {
    let [inputs, outputs] = channels;
    let spec = PoolSpec {
        data_format: DataFormat::NCHW,
        kernel_shape: tvec!(3, 3),
        padding: PaddingSpec::Explicit(tvec!(1, 1), tvec!(1, 1)),
        dilations: None,
        strides: None,
        input_channels: inputs,
        output_channels: outputs,
    };
    let kernel = Tensor::zero::<f32>(&[outputs, inputs, 3, 3]).unwrap();
    let kernel = model.add_const(format!("{name}.kernel"), kernel).unwrap();
    let bias = Tensor::zero::<f32>(&[outputs]).unwrap();
    let bias = model.add_const(format!("{name}.bias"), bias).unwrap();
    let op = Conv {
        pool_spec: spec,
        kernel_fmt: KernelFormat::OIHW,
        group: 1,
        q_params: None,
    };
    model.wire_node(name, op, &[x, kernel, bias]).unwrap()[0]
}

fn layered(model: &TypedModel) -> TypedModel {
    with_layers(model, &Arc::new(Pool::new(2)), &Arc::default()).unwrap()
}

fn count(model: &TypedModel, is: fn(&TypedNode) -> bool) -> usize {
    model.nodes().iter().filter(|node| is(node)).count()
}

#[test]
fn nothing_is_rearranged_between_layers() {
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact([1, 6, 9, 9])).unwrap();
    let zero = Tensor::zero::<f32>(&[1, 1, 1, 1]).unwrap();
    let zero = model.add_const("zero", zero).unwrap();
    let first = conv(&mut model, "first", x, [6, 20]);
    let relu = model
        .wire_node("relu", math::max(), &[first, zero])
        .unwrap()[0];
    let pool = MaxPool {
        pool_spec: PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: tvec!(2, 2),
            padding: PaddingSpec::Valid,
            dilations: None,
            strides: Some(tvec!(2, 2)),
            input_channels: 20,
            output_channels: 20,
        },
        with_index_outputs: None,
    };
    let pooled = model.wire_node("pool", pool, &[relu]).unwrap()[0];
    let second = conv(&mut model, "second", pooled, [20, 20]);
    let sum = model
        .wire_node("sum", math::add(), &[second, pooled])
        .unwrap()[0];
    model.select_output_outlets(&[sum]).unwrap();
    let layered = layered(&model);
    assert_eq!(count(&layered, |node| node.op_is::<Layer>()), 2);
    assert_eq!(count(&layered, |node| node.op_is::<TypedBinOp>()), 0);
    let moves = count(&layered, |node| node.op_is::<AxisOp>());
    assert_eq!(moves, 2, "at input and output");
}

/// Numbers that are no multiples of each other.
fn input(shape: &[usize], first: usize) -> TValue {
    let len: usize = shape.iter().product();
    let values: Vec<f32> = (0..len)
        .map(|i| ((i * 7 + first * 13) % 31) as f32 / 16.0 - 0.9)
        .collect();
    Tensor::from_shape(shape, &values).unwrap().into_tvalue()
}

/// Runs a model both ways; returns the layered one.
fn same(model: &TypedModel, inputs: &[TValue]) -> TypedModel {
    let layered = layered(model);
    let run = |model: &TypedModel| {
        let plan = model.clone().into_runnable().unwrap();
        plan.run(inputs.iter().cloned().collect()).unwrap()
    };
    let (want, got) = (run(model), run(&layered));
    for (want, got) in want.iter().zip(&got) {
        assert_eq!(want.shape(), got.shape());
        want.close_enough(got, Approximation::Approximate).unwrap();
    }
    layered
}

fn product(model: &mut TypedModel, name: &str, axes: &str, x: [OutletId; 2]) -> OutletId {
    let op = EinSum::new(axes.parse().unwrap(), f32::datum_type());
    model.wire_node(name, op, &x).unwrap()[0]
}

#[test]
fn products_of_computed_values_are_computed_however_they_lie() {
    for (axes, left, right, is_pair) in [
        ("bmk,bkn->bmn", vec![2, 5, 7], vec![2, 7, 19], true),
        ("bmk,bnk->bmn", vec![2, 5, 7], vec![2, 19, 7], true),
        ("mbk,bnk->bmn", vec![5, 2, 7], vec![2, 19, 7], true),
        // The left factor's rows are what lies side by side.
        ("bmk,bkn->bnm", vec![2, 5, 7], vec![2, 7, 19], true),
        // One for all.
        ("bhmk,bhkn->bhmn", vec![2, 3, 5, 7], vec![2, 1, 7, 19], true),
        ("hmk,kn->hmn", vec![3, 5, 7], vec![7, 19], true),
        ("bk,bkn->bn", vec![2, 7], vec![2, 7, 19], true),
        // What lies side by side is of both.
        ("bmk,bkn->mnb", vec![2, 5, 7], vec![2, 7, 19], false),
    ] {
        let mut model = TypedModel::default();
        let a = model.add_source("a", f32::fact(&left)).unwrap();
        let b = model.add_source("b", f32::fact(&right)).unwrap();
        let y = product(&mut model, "y", axes, [a, b]);
        model.select_output_outlets(&[y]).unwrap();
        let layered = same(&model, &[input(&left, 1), input(&right, 2)]);
        let pairs = count(&layered, |node| node.op_is::<Pairs>());
        assert_eq!(pairs, usize::from(is_pair), "{axes}");
    }
}

fn softmax(axis: usize) -> Softmax {
    Softmax {
        axes: tvec!(axis),
        quant_output_dt: None,
        kind: SoftmaxKind::Softmax,
    }
}

#[test]
fn attention_is_one_node() {
    let (b, h, s, t, d) = (2, 3, 5, 21, 8);
    for mask in ["none", "added", "kept"] {
        let mut model = TypedModel::default();
        let side_by_side = |rows: usize| vec![b, rows, h, d];
        let shapes = [side_by_side(s), side_by_side(t), side_by_side(t)];
        let mut heads = Vec::new();
        for (name, shape) in ["q", "k", "v"].into_iter().zip(&shapes) {
            let x = model.add_source(name, f32::fact(shape)).unwrap();
            let moved = AxisOp::Move(2, 1);
            let x = model.wire_node(format!("{name}.heads"), moved, &[x]);
            heads.push(x.unwrap()[0]);
        }
        let mut inputs: Vec<TValue> = (1..).zip(&shapes).map(|(i, s)| input(s, i)).collect();
        let scale = tensor4(&[[[[0.35f32]]]]);
        let scale = model.add_const("scale", scale).unwrap();
        let q = model.wire_node("scaled", math::mul(), &[heads[0], scale]);
        let mut x = product(
            &mut model,
            "scores",
            "bhsd,bhtd->bhst",
            [q.unwrap()[0], heads[1]],
        );
        if mask == "added" {
            let of = model.add_source("mask", f32::fact([b, 1, 1, t])).unwrap();
            x = model.wire_node("masked", math::add(), &[x, of]).unwrap()[0];
            inputs.push(input(&[b, 1, 1, t], 9));
        }
        let kept = (mask == "kept").then(|| {
            let kept = model.add_source("mask", bool::fact([b, 1, s, t])).unwrap();
            // The last row of all sees nothing.
            let values: Vec<bool> = (0..b * s * t)
                .map(|i| i % 3 != 0 && i / t < b * s - 1)
                .collect();
            let values = Tensor::from_shape(&[b, 1, s, t], &values).unwrap();
            inputs.push(values.into_tvalue());
            kept
        });
        let number = |model: &mut TypedModel, name: &str, x: f32| {
            model.add_const(name, tensor4(&[[[[x]]]])).unwrap()
        };
        if let Some(kept) = kept {
            let least = number(&mut model, "least", f32::NEG_INFINITY);
            x = model.wire_node("masked", Iff, &[kept, x, least]).unwrap()[0];
        }
        x = model.wire_node("parts", softmax(3), &[x]).unwrap()[0];
        if let Some(kept) = kept {
            let none = number(&mut model, "none", 0.0);
            x = model.wire_node("seen", Iff, &[kept, x, none]).unwrap()[0];
        }
        x = product(&mut model, "y", "bhst,bhtd->bhsd", [x, heads[2]]);
        x = model.wire_node("back", AxisOp::Move(1, 2), &[x]).unwrap()[0];
        model.select_output_outlets(&[x]).unwrap();
        let layered = same(&model, &inputs).into_compact().unwrap();
        let rest = count(&layered, |node| !node.op_is::<TypedSource>());
        assert_eq!(count(&layered, |node| node.op_is::<Pairs>()), 1, "{mask}");
        assert_eq!(rest, 1, "{mask}: {layered}");
    }
}

#[test]
fn softmax_along_other_dimensions_stays_by_itself() {
    let mut model = TypedModel::default();
    let a = model.add_source("a", f32::fact([2, 5, 7])).unwrap();
    let b = model.add_source("b", f32::fact([2, 7, 19])).unwrap();
    let c = model.add_source("c", f32::fact([2, 19, 4])).unwrap();
    let x = product(&mut model, "x", "bmk,bkn->bmn", [a, b]);
    let x = model.wire_node("parts", softmax(1), &[x]).unwrap()[0];
    let y = product(&mut model, "y", "bmk,bkn->bmn", [x, c]);
    model.select_output_outlets(&[y]).unwrap();
    let inputs = [[2, 5, 7], [2, 7, 19], [2, 19, 4]];
    let inputs = [1, 2, 3].map(|i| input(&inputs[i - 1], i));
    let layered = same(&model, &inputs);
    assert_eq!(count(&layered, |node| node.op_is::<Pairs>()), 2);
}
