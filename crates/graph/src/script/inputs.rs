//! What `forward` takes: tensors, and lists, tuples and dictionaries of tensors, whose members are inputs of their own.
//!
//! They are named as torch.export names them: `xs_0`, `xs_1`, `sizes_height`. How long a list is and which keys a dictionary
//! has, a traced module's file says of what it was traced with; of others the declared inputs tell.

use hearth_formats::torch::ScalarType;
use hearth_formats::torchscript::syntax::{Expr as Syntax, Parameter};
use hearth_formats::torchscript::{Code, DeclaredInput, TracedInput};

use super::value::Value;

/// More inputs than any network has.
const MAX_INPUTS: usize = 256;
/// Lists of lists, and so on, deeper than anybody needs.
const MAX_NESTED: usize = 4;

/// Type and sizes of a tensor that a module was traced with.
pub(super) type Traced = (ScalarType, Vec<i64>);

/// The inputs of `forward`.
pub(super) struct Inputs {
    /// The names of all tensors.
    pub(super) names: Vec<String>,
    /// What each of them was traced with, where the module was.
    pub(super) traced: Option<Vec<Traced>>,
    /// The arguments by name, made of the tensors.
    pub(super) arguments: Vec<(String, Form)>,
}

/// An argument.
#[derive(Debug, Clone)]
pub(super) enum Form {
    /// The tensor of this place among all.
    Tensor(usize),
    List(Vec<Form>),
    Tuple(Vec<Form>),
    Dict(Vec<(String, Form)>),
}

impl Form {
    /// The argument as a value, of its tensors.
    pub(super) fn value(&self, tensor: &mut dyn FnMut(usize) -> Value) -> Value {
        let mut all = |items: &[Form]| items.iter().map(|item| item.value(tensor)).collect();
        match self {
            Form::Tensor(at) => tensor(*at),
            Form::List(items) => Value::list(all(items)),
            Form::Tuple(items) => Value::tuple(all(items)),
            Form::Dict(items) => {
                let items = items.iter();
                let pairs =
                    items.map(|(key, item)| (Value::Str(key.as_str().into()), item.value(tensor)));
                Value::dict(pairs.collect())
            }
        }
    }
}

/// The inputs of a module's `forward`; parameters that are no tensors have a default, and keep it.
///
/// # Errors
/// A sentence: a parameter is of another kind, or of a length that is not known.
pub(super) fn inputs(
    code: Code<'_>,
    traced: Option<&[TracedInput]>,
    declared: &[DeclaredInput],
) -> Result<Inputs, String> {
    let parameters = code.function.parameters.get(1..).unwrap_or_default();
    let traced = traced.filter(|traced| traced.len() == parameters.len());
    let mut all = Reader {
        declared,
        parameters: parameters.iter().map(|of| of.name.as_str()).collect(),
        names: Vec::new(),
        traced: traced.map(|_| Vec::new()),
    };
    let mut arguments = Vec::new();
    for (i, parameter) in parameters.iter().enumerate() {
        let Parameter {
            name,
            kind,
            default,
        } = parameter;
        if default.is_some() && !all.is_declared(name, kind.as_ref()) {
            continue;
        }
        let traced = traced.map(|traced| &traced[i]);
        let form = all
            .form(name, kind.as_ref(), traced, 0)
            .map_err(|problem| {
                let line = code.function.line;
                format!(
                    "{}, line {line}: the input {name} of forward {problem}",
                    code.file
                )
            })?;
        arguments.push((name.clone(), form));
    }
    if all.names.is_empty() {
        return Err("its forward takes no tensor".into());
    }
    Ok(Inputs {
        names: all.names,
        traced: all.traced,
        arguments,
    })
}

/// A parameter's type, as far as it is told apart here.
enum Kind<'a> {
    Tensor,
    List(&'a Syntax),
    Tuple(Vec<&'a Syntax>),
    Dict(&'a Syntax),
    Other,
}

fn kind_of(kind: Option<&Syntax>) -> Kind<'_> {
    let Some(kind) = kind else {
        return Kind::Tensor;
    };
    match kind {
        Syntax::Name(name) if name == "Tensor" => Kind::Tensor,
        Syntax::Index(of, inner) => match (of.path().as_deref(), &**inner) {
            (Some("Optional"), inner) => kind_of(Some(inner)),
            (Some("List"), inner) => Kind::List(inner),
            (Some("Tuple"), Syntax::Tuple(items)) => Kind::Tuple(items.iter().collect()),
            (Some("Tuple"), only) => Kind::Tuple(vec![only]),
            (Some("Dict"), Syntax::Tuple(items)) => match items.as_slice() {
                [Syntax::Name(key), value] if key == "str" => Kind::Dict(value),
                _ => Kind::Other,
            },
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

struct Reader<'d> {
    declared: &'d [DeclaredInput],
    /// The names of all parameters, which are no members of others however they begin.
    parameters: Vec<&'d str>,
    names: Vec<String>,
    traced: Option<Vec<Traced>>,
}

impl Reader<'_> {
    fn is_declared(&self, name: &str, kind: Option<&Syntax>) -> bool {
        let said = |input: &DeclaredInput| match kind_of(kind) {
            Kind::Tensor => input.name == name,
            Kind::Other => false,
            _ => self.members(name).next().is_some(),
        };
        self.declared.iter().any(said)
    }

    /// What declared inputs are called inside of the list or dictionary `of`.
    fn members<'s>(&'s self, of: &'s str) -> impl Iterator<Item = &'s str> {
        let declared = self.declared.iter().map(|input| input.name.as_str());
        let others = declared.filter(|name| !self.parameters.contains(name));
        others.filter_map(move |name| member(name, of))
    }

    fn form(
        &mut self,
        name: &str,
        kind: Option<&Syntax>,
        traced: Option<&TracedInput>,
        nested: usize,
    ) -> Result<Form, String> {
        if nested > MAX_NESTED || self.names.len() >= MAX_INPUTS {
            return Err(format!(
                "holds more than {MAX_INPUTS} tensors, or lists too deep in each other"
            ));
        }
        let unlike = || Err("was traced with what is not of its type".to_owned());
        Ok(match kind_of(kind) {
            Kind::Tensor => {
                match (&mut self.traced, traced) {
                    (Some(all), Some(TracedInput::Tensor(dtype, sizes))) => {
                        all.push((*dtype, sizes.clone()));
                    }
                    (Some(_), _) => return unlike(),
                    (None, _) => {}
                }
                let mut unique = name.to_owned();
                while self.names.contains(&unique) {
                    unique.push('_');
                }
                self.names.push(unique);
                Form::Tensor(self.names.len() - 1)
            }
            Kind::List(of) => {
                let traced = match traced {
                    Some(TracedInput::List(items)) => Some(items),
                    Some(_) => return unlike(),
                    None => None,
                };
                let count = traced.map_or_else(|| self.length(name), Vec::len);
                if count == 0 {
                    return Err(format!(
                        "is a list of a length that is not known; declare its members, {name}_0, {name}_1 and so on"
                    ));
                }
                let items = (0..count).map(|i| {
                    let traced = traced.and_then(|items| items.get(i));
                    self.form(&format!("{name}_{i}"), Some(of), traced, nested + 1)
                });
                Form::List(items.collect::<Result<_, _>>()?)
            }
            Kind::Tuple(kinds) => {
                let traced = match traced {
                    Some(TracedInput::List(items)) if items.len() == kinds.len() => Some(items),
                    Some(_) => return unlike(),
                    None => None,
                };
                let items = kinds.into_iter().enumerate().map(|(i, kind)| {
                    let traced = traced.and_then(|items| items.get(i));
                    self.form(&format!("{name}_{i}"), Some(kind), traced, nested + 1)
                });
                Form::Tuple(items.collect::<Result<_, _>>()?)
            }
            Kind::Dict(of) => {
                let traced: Vec<(String, Option<&TracedInput>)> = match traced {
                    Some(TracedInput::Dict(items)) => {
                        let items = items.iter();
                        items
                            .map(|(key, value)| (key.clone(), Some(value)))
                            .collect()
                    }
                    Some(_) => return unlike(),
                    // Where a key ends and a place in a list begins, names do not tell.
                    None if !matches!(kind_of(Some(of)), Kind::Tensor) => {
                        return Err("is a dictionary of lists or the like, whose keys only a traced module tells".into());
                    }
                    None => {
                        let said = self.members(name);
                        said.map(|key| (key.to_owned(), None)).collect()
                    }
                };
                if traced.is_empty() {
                    return Err(format!(
                        "is a dictionary whose keys are not known; declare its members, {name}_KEY for each"
                    ));
                }
                let items = traced.into_iter().map(|(key, traced)| {
                    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let plain: String = key
                        .chars()
                        .map(|c| if is_plain(c) { c } else { '_' })
                        .collect();
                    let form =
                        self.form(&format!("{name}_{plain}"), Some(of), traced, nested + 1)?;
                    Ok((key, form))
                });
                Form::Dict(items.collect::<Result<_, String>>()?)
            }
            Kind::Other => {
                return Err("is no tensor, nor a list, a tuple or a dictionary of tensors".into());
            }
        })
    }

    /// How many members of a list are declared, from the first on.
    fn length(&self, name: &str) -> usize {
        let is_said = |i: &usize| {
            let item = i.to_string();
            self.members(name)
                .any(|own| own == item || member(own, &item).is_some())
        };
        (0..MAX_INPUTS).take_while(is_said).count()
    }
}

/// What an input is called inside of the list or dictionary `of`.
fn member<'n>(name: &'n str, of: &str) -> Option<&'n str> {
    name.strip_prefix(of)?
        .strip_prefix('_')
        .filter(|rest| !rest.is_empty())
}
