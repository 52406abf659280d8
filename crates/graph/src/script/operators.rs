//! Operators on tensors: as nodes of the graph, or as several other operators where the table has none of that name.

use hearth_formats::torch::ScalarType;

use super::dims;
use super::facts::{RANKS, Step};
use super::infer::Infer;
use super::run::Run;
use super::schema::{Bound, Kind, bind, overloads};
use super::value::{TensorValue, Value};
use crate::lower::value::Meta;

/// More dimensions than PyTorch has.
const MAX_RANK: usize = 64;

impl Run<'_, '_> {
    /// A function of `torch`, or an operator of `aten`.
    pub(super) fn aten(
        &mut self,
        name: &str,
        args: Vec<Value>,
        named: Vec<(String, Value)>,
    ) -> Step<Value> {
        // A list is gone through by each overload that is tried.
        let weight: usize = args.iter().map(Value::weight).sum();
        self.facts.spend(8 * (1 + weight))?;
        if let Some(value) = self.at_once(name, &args, &named)? {
            return Ok(value);
        }
        if let Some(value) = self.rewritten(name, &args, &named)? {
            return Ok(value);
        }
        self.node(name, args, named)
    }

    /// What is known of a tensor.
    pub(super) fn known(&mut self, value: &Value) -> Step<Meta> {
        match value {
            Value::Number(number) => Ok(Meta {
                dtype: number.dtype,
                dims: Vec::new(),
                layout: Some((Vec::new(), 0)),
            }),
            Value::Tensor(tensor) => match (&tensor.meta, tensor.input) {
                (Some(meta), _) => Ok(meta.as_ref().clone()),
                (None, Some(input)) => self.facts.unknown(input, &RANKS),
                (None, None) => Err("a tensor of which nothing is known".into()),
            },
            other => Err(format!("a tensor was expected, not {}", other.kind()).into()),
        }
    }

    /// Adds a node.
    pub(super) fn node(
        &mut self,
        name: &str,
        args: Vec<Value>,
        named: Vec<(String, Value)>,
    ) -> Step<Value> {
        let (base, in_place) = match name.strip_suffix('_') {
            Some(base) if overloads(name).is_empty() => (base, true),
            _ => (name, false),
        };
        if overloads(base).is_empty() {
            return Err(format!("no lowering for aten::{name}").into());
        }
        let named_so = |problem: String| format!("aten::{name}: {problem}");
        let mut bound = bind(base, &args, &named).map_err(named_so)?;
        self.materialize(&mut bound, in_place)?;
        let tensors: Vec<TensorValue> = bound
            .values
            .iter()
            .flatten()
            .flat_map(|value| match value {
                Value::Tensor(tensor) => vec![tensor.clone()],
                list => list
                    .items()
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(tensor)
                    .collect(),
            })
            .collect();
        let mut infer = Infer {
            facts: self.facts,
            bound: &bound,
        };
        let mut metas = infer.results(base).map_err(|stop| match stop {
            super::facts::Stop::Wrong {
                problem,
                has_place: false,
            } => named_so(problem).into(),
            other => other,
        })?;
        let mut target = bound.schema.target.clone();
        if in_place {
            let changed = tensors.first().ok_or("it changes no tensor")?;
            self.facts.spend(self.graph.weights.len() / 8)?;
            if self
                .graph
                .weights
                .iter()
                .any(|w| w.argument == *changed.name)
            {
                return Err(format!(
                    "it changes {}, a tensor of the module's own: a network that is served keeps no state between requests",
                    changed.name
                )
                .into());
            }
            let own = changed
                .meta
                .as_deref()
                .ok_or("it changes what is not known")?;
            metas.truncate(1);
            if let Some(meta) = metas.first_mut() {
                *meta = own.clone();
            }
            let overload = target.rsplit_once('.').map_or("", |(_, overload)| overload);
            target = format!("aten.{name}.{overload}");
        }
        for meta in &mut metas {
            if meta.dims.len() > MAX_RANK {
                return Err(format!("a result of more than {MAX_RANK} dimensions").into());
            }
            for dim in &mut meta.dims {
                *dim = dims::bounded(dim.clone())?;
                self.facts.spend(dims::weight(dim))?;
                if dim.int().is_some_and(|n| n < 0) {
                    return Err(named_so(format!("a result of the negative size {dim}")).into());
                }
            }
        }
        let dtype = metas.first().map(|meta| meta.dtype);
        let typed_by = tensors
            .iter()
            .filter(|tensor| tensor.meta.as_ref().map(|meta| meta.dtype) == dtype)
            .fold(0, |all, tensor| all | tensor.typed_by);
        let mut values: Vec<Value> = self
            .graph
            .node(&bound, &target, metas, typed_by)?
            .into_iter()
            .map(Value::Tensor)
            .collect();
        Ok(match values.pop() {
            Some(only) if values.is_empty() && !bound.schema.gives_list => only,
            last => {
                values.extend(last);
                if bound.schema.gives_list {
                    Value::list(values)
                } else {
                    Value::tuple(values)
                }
            }
        })
    }

    /// Numbers that are tensors become nodes where an operator takes them.
    fn materialize(&mut self, bound: &mut Bound, in_place: bool) -> Step {
        for (i, parameter) in bound.schema.parameters.iter().enumerate() {
            match (&bound.values[i], parameter.kind) {
                (Some(Value::Number(_)), _) if in_place && i == 0 => {
                    return Err("it changes a number in place".into());
                }
                (Some(Value::Number(number)), _) => {
                    let number = number.clone();
                    bound.values[i] = Some(Value::Tensor(self.materialized(&number)?));
                }
                (Some(list), Kind::Tensors | Kind::OptionalTensors) => {
                    let mut items = list.items().unwrap_or_default();
                    for item in &mut items {
                        if let Value::Number(number) = item {
                            let number = number.clone();
                            *item = Value::Tensor(self.materialized(&number)?);
                        }
                    }
                    bound.values[i] = Some(Value::list(items));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Operators that are others together.
    fn rewritten(
        &mut self,
        name: &str,
        args: &[Value],
        named: &[(String, Value)],
    ) -> Step<Option<Value>> {
        let rest = || named.to_vec();
        Ok(Some(match (name, args) {
            ("to" | "_to_copy", [x @ Value::Tensor(_), more @ ..]) => self.to(x, more, named)?,
            ("type_as", [x, other @ Value::Number(_)]) => {
                let dtype = self.known(other)?.dtype;
                self.cast(x, dtype)?
            }
            ("float", [x]) => self.cast(x, ScalarType::Float)?,
            ("long", [x]) => self.cast(x, ScalarType::Long)?,
            ("half", [x]) => self.cast(x, ScalarType::Half)?,
            (
                "_convolution",
                [
                    x,
                    weight,
                    bias,
                    stride,
                    padding,
                    dilation,
                    transposed,
                    output,
                    groups,
                    ..,
                ],
            ) => {
                let all = [
                    x, weight, bias, stride, padding, dilation, transposed, output, groups,
                ];
                self.node(
                    "convolution",
                    all.into_iter().cloned().collect(),
                    Vec::new(),
                )?
            }
            ("_convolution_mode", [_, weight, ..]) => {
                let name = match self.known(weight)?.dims.len() {
                    3 => "conv1d",
                    5 => "conv3d",
                    _ => "conv2d",
                };
                self.node(name, args.to_vec(), Vec::new())?
            }
            // Divisions of integers that are rounded down.
            ("floordiv", _) => self.aten("floor_divide", args.to_vec(), rest())?,
            ("__not__", [x @ Value::Tensor(_)]) => {
                self.node("logical_not", vec![x.clone()], rest())?
            }
            (
                "rand" | "randn" | "bernoulli_" | "normal_" | "uniform_" | "rand_like"
                | "randn_like",
                _,
            ) => {
                return Err(format!("aten::{name} gives random numbers").into());
            }
            ("_native_multi_head_attention", _) => self.multi_head(args)?,
            ("_transformer_encoder_layer_fwd", _) => self.encoder_layer(args)?,
            ("var" | "std", [x, Value::Bool(unbiased)]) => {
                let all = self.known(x)?.dims.len() as i64;
                let axes = Value::list((0..all).map(Value::int).collect());
                let args = vec![x.clone(), axes, Value::Bool(*unbiased)];
                self.node(name, args, Vec::new())?
            }
            ("expand", [x, sizes, ..]) => {
                self.node("expand", vec![x.clone(), sizes.clone()], Vec::new())?
            }
            ("dropout" | "feature_dropout" | "alpha_dropout", [x, _, Value::Bool(false)]) => {
                x.clone()
            }
            ("dropout_", [x, _, Value::Bool(false)]) => x.clone(),
            _ => return Ok(None),
        }))
    }

    fn cast(&mut self, x: &Value, dtype: ScalarType) -> Step<Value> {
        let Value::Tensor(tensor) = x else {
            return self.aten(
                "to",
                vec![x.clone(), Value::int(dtype.code().unwrap_or(6))],
                Vec::new(),
            );
        };
        if let Some(input) = tensor.input {
            self.facts.inputs[input].is_converted = true;
        }
        if self.known(x)?.dtype == dtype {
            return Ok(x.clone());
        }
        let code = dtype.code().ok_or("a type without a number")?;
        self.node("to", vec![x.clone(), Value::int(code)], Vec::new())
    }

    /// The overloads of `to`: a type among its arguments, a tensor whose type is taken, or only a device.
    fn to(&mut self, x: &Value, more: &[Value], named: &[(String, Value)]) -> Step<Value> {
        let said = named
            .iter()
            .find(|(name, _)| name == "dtype")
            .map(|(_, v)| v);
        for value in said.into_iter().chain(more) {
            match value {
                Value::Int(n) => {
                    let code = n.int().ok_or("a type that depends on sizes")?;
                    let dtype = ScalarType::of_code(code).ok_or("a type of an unknown number")?;
                    return self.cast(x, dtype);
                }
                Value::Tensor(_) | Value::Number(_) => {
                    let dtype = self.known(value)?.dtype;
                    return self.cast(x, dtype);
                }
                _ => {}
            }
        }
        Ok(x.clone())
    }

    /// `_native_multi_head_attention(query, key, value, embed_dim, num_head, qkv_weight, qkv_bias, proj_weight, proj_bias,
    /// mask, need_weights, average_attn_weights, mask_type)` of one tensor with itself.
    fn multi_head(&mut self, args: &[Value]) -> Step<Value> {
        let [
            x,
            key,
            value,
            Value::Int(size),
            Value::Int(heads),
            qkv,
            qkv_bias,
            out,
            out_bias,
            more @ ..,
        ] = args
        else {
            return Err("aten::_native_multi_head_attention: its arguments are others".into());
        };
        let name = |v: &Value| match v {
            Value::Tensor(t) => t.name.to_string(),
            _ => String::new(),
        };
        if name(x) != name(key) || name(x) != name(value) {
            return Err("aten::_native_multi_head_attention of several tensors".into());
        }
        if !matches!(more.first(), None | Some(Value::None)) {
            return Err("aten::_native_multi_head_attention with a mask".into());
        }
        let (Some(size), Some(heads)) = (size.int(), heads.int().filter(|&n| n > 0)) else {
            return Err("aten::_native_multi_head_attention of unknown sizes".into());
        };
        let dims = self.known(x)?.dims;
        let [batch, length, _] = dims.as_slice() else {
            return Err("aten::_native_multi_head_attention of other than three dimensions".into());
        };
        let (batch, length) = (Value::Int(batch.clone()), Value::Int(length.clone()));
        let all = self.aten(
            "linear",
            vec![x.clone(), qkv.clone(), qkv_bias.clone()],
            Vec::new(),
        )?;
        let parts = self.aten(
            "chunk",
            vec![all, Value::int(3), Value::int(-1)],
            Vec::new(),
        )?;
        let split = Value::list(vec![
            batch.clone(),
            length.clone(),
            Value::int(heads),
            Value::int(size / heads),
        ]);
        let mut each = Vec::new();
        for part in parts.items().unwrap_or_default() {
            let split = self.aten("view", vec![part, split.clone()], Vec::new())?;
            each.push(self.aten(
                "transpose",
                vec![split, Value::int(1), Value::int(2)],
                Vec::new(),
            )?);
        }
        let mixed = self.aten("scaled_dot_product_attention", each, Vec::new())?;
        let back = self.aten(
            "transpose",
            vec![mixed, Value::int(1), Value::int(2)],
            Vec::new(),
        )?;
        let joined = Value::list(vec![batch, length, Value::int(size)]);
        let joined = self.aten("reshape", vec![back, joined], Vec::new())?;
        let out = self.aten(
            "linear",
            vec![joined, out.clone(), out_bias.clone()],
            Vec::new(),
        )?;
        // The weights of attention are not given to anybody; who asks for them learns so.
        Ok(Value::tuple(vec![out, Value::Nothing]))
    }

    /// `_transformer_encoder_layer_fwd(src, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, use_gelu,
    /// norm_first, eps, norm_weight_1, norm_bias_1, norm_weight_2, norm_bias_2, ffn_weight_1, ffn_bias_1, ffn_weight_2,
    /// ffn_bias_2, mask, mask_type)`.
    fn encoder_layer(&mut self, args: &[Value]) -> Step<Value> {
        let [
            x,
            size,
            heads,
            qkv,
            qkv_bias,
            out,
            out_bias,
            Value::Bool(is_gelu),
            Value::Bool(is_norm_first),
            eps,
            scale_1,
            shift_1,
            scale_2,
            shift_2,
            wide,
            wide_bias,
            narrow,
            narrow_bias,
            more @ ..,
        ] = args
        else {
            return Err("aten::_transformer_encoder_layer_fwd: its arguments are others".into());
        };
        if !matches!(more.first(), None | Some(Value::None)) {
            return Err("aten::_transformer_encoder_layer_fwd with a mask".into());
        }
        let all = |list: &[&Value]| list.iter().map(|&v| v.clone()).collect::<Vec<_>>();
        let shape = Value::list(vec![size.clone()]);
        let norm = |run: &mut Self, x: &Value, scale: &Value, shift: &Value| {
            run.aten(
                "layer_norm",
                all(&[x, &shape, scale, shift, eps]),
                Vec::new(),
            )
        };
        let attend = |run: &mut Self, x: &Value| -> Step<Value> {
            let args = all(&[x, x, x, size, heads, qkv, qkv_bias, out, out_bias]);
            let both = run.multi_head(&args)?.items().unwrap_or_default();
            Ok(both.first().ok_or("attention of nothing")?.clone())
        };
        let forward = |run: &mut Self, x: &Value| -> Step<Value> {
            let inner = run.aten("linear", all(&[x, wide, wide_bias]), Vec::new())?;
            let name = if *is_gelu { "gelu" } else { "relu" };
            let inner = run.aten(name, vec![inner], Vec::new())?;
            run.aten("linear", all(&[&inner, narrow, narrow_bias]), Vec::new())
        };
        let sum = |run: &mut Self, a: &Value, b: &Value| run.aten("add", all(&[a, b]), Vec::new());
        if *is_norm_first {
            let inner = norm(self, x, scale_1, shift_1)?;
            let inner = attend(self, &inner)?;
            let x = sum(self, x, &inner)?;
            let inner = norm(self, &x, scale_2, shift_2)?;
            let inner = forward(self, &inner)?;
            return sum(self, &x, &inner);
        }
        let inner = attend(self, x)?;
        let x = sum(self, x, &inner)?;
        let x = norm(self, &x, scale_1, shift_1)?;
        let inner = forward(self, &x)?;
        let x = sum(self, &x, &inner)?;
        norm(self, &x, scale_2, shift_2)
    }
}

fn tensor(value: Value) -> Option<TensorValue> {
    match value {
        Value::Tensor(tensor) => Some(tensor),
        _ => None,
    }
}
