//! What is known of a module's inputs, and how more of it is learnt.
//!
//! TorchScript says of an input that it is a tensor, and no more. Types and sizes come from what the user declares, from
//! what a traced module was traced with, and from the operators that use the input: the module is run with symbols for
//! sizes; where an operator tells something new, such as the channels that a convolution takes, it is written down here
//! and the run begins again. Where a rank is not told, ranks are tried until one fits the whole module.

use std::cell::Cell;
use std::rc::Rc;

use hearth_formats::torch::ScalarType;
use hearth_formats::torchscript::{DeclaredDim, DeclaredInput};

use super::dims;
use crate::lower::expr::Expr;

/// Why a run stops before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something is wrong, at a place that is named or yet to be named.
    Wrong { problem: String, has_place: bool },
    /// The facts have changed: the run has to begin again.
    Learnt,
    /// The rank of an input is not known; these are worth a try, the likeliest first.
    Guess { input: usize, ranks: Vec<usize> },
}

impl From<String> for Stop {
    fn from(problem: String) -> Stop {
        Stop::Wrong {
            problem,
            has_place: false,
        }
    }
}

impl From<&str> for Stop {
    fn from(problem: &str) -> Stop {
        problem.to_owned().into()
    }
}

/// A step of a run.
pub(super) type Step<T = ()> = Result<T, Stop>;

/// Ranks that are tried where nothing tells which is likely.
pub(super) const RANKS: [usize; 5] = [2, 4, 3, 1, 5];

/// All runs of a module together take at most so many steps, each of some nanoseconds; the networks that were tried
/// take less than a hundredth of them.
const MAX_STEPS: u64 = 1 << 26;
/// What is said where they take more.
pub(super) const TOO_LONG: &str = "its code takes too many steps to be run";
/// More sizes that have to be a number than those of any network.
const MAX_EQUATIONS: usize = 1024;

/// What is known of one input.
#[derive(Debug, Clone)]
pub(super) struct InputFacts {
    pub(super) name: String,
    pub(super) dtype: Option<ScalarType>,
    /// Whether the type is one that nothing contradicts yet, and no more.
    pub(super) is_dtype_assumed: bool,
    /// Whether its rank was tried.
    pub(super) is_guessed: bool,
    /// Whether it is turned to another type before anything else.
    pub(super) is_converted: bool,
    pub(super) dims: Option<Vec<Expr>>,
}

/// What is known of all inputs.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) inputs: Vec<InputFacts>,
    /// In the order in which they came about; the size that each had when the module was traced.
    symbols: Vec<(Rc<str>, Option<i64>)>,
    /// Sizes that the run took to be equal: an expression, and the number it has to be.
    equations: Vec<(Expr, i64)>,
    /// The rank that is tried first of an input whose sizes are asked for.
    pub(super) likely_rank: Option<usize>,
    /// The steps of all runs so far, also of those that a copy of the facts was for.
    steps: Rc<Cell<u64>>,
}

impl Facts {
    /// The facts of inputs of these names.
    ///
    /// # Errors
    /// A sentence: a declared input is none of them.
    pub(super) fn new(
        names: &[String],
        traced: Option<&[(ScalarType, Vec<i64>)]>,
        declared: &[DeclaredInput],
    ) -> Result<Facts, String> {
        let mut facts = Facts::default();
        for name in names {
            facts.inputs.push(InputFacts {
                name: name.clone(),
                dtype: None,
                is_dtype_assumed: false,
                is_guessed: false,
                is_converted: false,
                dims: None,
            });
        }
        for (i, name) in names.iter().enumerate() {
            if let Some(said) = declared.iter().find(|input| input.name == *name) {
                facts.declare(i, said);
            }
            if let Some(traced) = traced {
                let (dtype, sizes) = &traced[i];
                facts.inputs[i].dtype.get_or_insert(*dtype);
                if facts.inputs[i].dims.is_none() {
                    facts.open(i, sizes.len(), Some(sizes));
                }
            }
        }
        match declared.iter().find(|said| !names.contains(&said.name)) {
            Some(said) => Err(format!(
                "the input {:?} is declared, but forward takes {}",
                said.name,
                names.join(", ")
            )),
            None => Ok(facts),
        }
    }

    fn declare(&mut self, i: usize, said: &DeclaredInput) {
        self.inputs[i].dtype = said.dtype;
        let Some(shape) = &said.shape else {
            return;
        };
        let dims = shape
            .iter()
            .enumerate()
            .map(|(axis, dim)| match dim {
                DeclaredDim::Fixed(n) => Expr::Int(*n),
                DeclaredDim::Named(name) => {
                    let name: Rc<str> = name.as_str().into();
                    if !self.symbols.iter().any(|(known, _)| *known == name) {
                        self.symbols.push((Rc::clone(&name), None));
                    }
                    Expr::Symbol(name)
                }
                DeclaredDim::Open => self.symbol(i, axis, shape.len(), None),
            })
            .collect();
        self.inputs[i].dims = Some(dims);
    }

    /// Gives an input as many dimensions. What was traced with as many samples as another input has the same samples, and
    /// images are of the size that they were traced with; all other sizes may be any.
    pub(super) fn open(&mut self, i: usize, rank: usize, sizes: Option<&[i64]>) {
        let dims = (0..rank)
            .map(|axis| {
                let size = sizes.and_then(|sizes| sizes.get(axis)).copied();
                let first = self.symbols.iter().find(|(name, _)| &**name == BATCH);
                match (first, size) {
                    (Some((name, known)), Some(_)) if axis == 0 && *known == size => {
                        Expr::Symbol(Rc::clone(name))
                    }
                    (_, Some(size)) if axis > 0 && rank >= IMAGE_RANK => Expr::Int(size),
                    _ => self.symbol(i, axis, rank, size),
                }
            })
            .collect();
        self.inputs[i].dims = Some(dims);
    }

    /// A new symbol for a dimension, of a telling name that no other has.
    fn symbol(&mut self, i: usize, axis: usize, rank: usize, size: Option<i64>) -> Expr {
        let name = match (axis, rank) {
            (0, _) => BATCH.to_owned(),
            (1, 2 | 3) => "length".to_owned(),
            (2, 4) => "height".to_owned(),
            (3, 4) => "width".to_owned(),
            _ => format!("dim_{axis}"),
        };
        let is_taken = |name: &str| self.symbols.iter().any(|(known, _)| &**known == name);
        let mut unique = name.clone();
        if is_taken(&unique) {
            unique = format!("{}_{name}", self.inputs[i].name);
        }
        while is_taken(&unique) {
            unique.push('_');
        }
        let unique: Rc<str> = unique.into();
        self.symbols.push((Rc::clone(&unique), size));
        Expr::Symbol(unique)
    }

    /// Begins a run: what the one before took to be equal is forgotten.
    pub(super) fn begin(&mut self) {
        self.equations.clear();
        self.likely_rank = None;
        for input in &mut self.inputs {
            input.is_converted = false;
        }
    }

    /// Counts steps.
    ///
    /// # Errors
    /// All runs together have taken too many.
    pub(super) fn spend(&self, steps: usize) -> Step {
        self.steps
            .set(self.steps.get().saturating_add(steps as u64));
        if self.is_spent() {
            return Err(TOO_LONG.into());
        }
        Ok(())
    }

    /// Whether there were too many steps.
    pub(super) fn is_spent(&self) -> bool {
        self.steps.get() > MAX_STEPS
    }

    /// The size that an expression had when the module was traced, where that is known.
    fn traced(&self, expr: &Expr) -> Option<i64> {
        let steps = dims::count(expr) * (1 + self.symbols.len() / 8);
        self.steps.set(self.steps.get() + steps as u64);
        dims::evaluate(expr, &|name| {
            let found = self.symbols.iter().find(|(known, _)| &**known == name);
            found.and_then(|(_, size)| *size)
        })
    }

    /// A symbol is an expression from now on.
    fn replace(&mut self, symbol: &str, by: &Expr) -> Step {
        for dim in self
            .inputs
            .iter_mut()
            .flat_map(|input| input.dims.iter_mut().flatten())
        {
            self.steps.set(self.steps.get() + dims::count(dim) as u64);
            *dim = dims::bounded(dims::substitute(dim, symbol, by))?;
        }
        self.symbols.retain(|(name, _)| &**name != symbol);
        self.spend(1)
    }

    fn age(&self, symbol: &str) -> usize {
        let found = self.symbols.iter().position(|(name, _)| &**name == symbol);
        found.unwrap_or(usize::MAX)
    }

    /// Whether any size but the number of samples is not known.
    pub(super) fn has_open_sizes(&self) -> bool {
        let dims = self.inputs.iter().flat_map(|input| &input.dims);
        dims.flat_map(|dims| dims.iter().skip(1))
            .any(|dim| dim.int().is_none())
    }

    /// What two sizes become together by broadcasting. One that was 1 when the module was traced, beside another that was
    /// not, is 1 always; else they have to be one.
    pub(super) fn broadcast(&mut self, a: &Expr, b: &Expr) -> Step<Expr> {
        match (a, b) {
            (Expr::Int(1), other) | (other, Expr::Int(1)) => return Ok(other.clone()),
            _ => {}
        }
        let one = match (a, self.traced(a), b, self.traced(b)) {
            (Expr::Symbol(name), Some(1), _, Some(other)) if other != 1 => Some(name),
            (_, Some(other), Expr::Symbol(name), Some(1)) if other != 1 => Some(name),
            _ => None,
        };
        if let Some(name) = one {
            self.replace(&Rc::clone(name), &Expr::Int(1))?;
            return Err(Stop::Learnt);
        }
        self.equal(a, b)
    }

    /// Two sizes have to be one; it, where they can be. Sizes that differed when the module was traced can't.
    pub(super) fn equal(&mut self, a: &Expr, b: &Expr) -> Step<Expr> {
        if a == b {
            return Ok(a.clone());
        }
        self.spend(dims::count(a) + dims::count(b))?;
        if let (Some(x), Some(y)) = (self.traced(a), self.traced(b))
            && x != y
        {
            return Err(match (a, b) {
                (Expr::Int(_), Expr::Int(_)) => format!("the sizes {a} and {b} differ"),
                _ => format!("the sizes {a} and {b} differ, as the module was traced: {x} and {y}"),
            }
            .into());
        }
        match (a, b) {
            (Expr::Int(x), Expr::Int(y)) => Err(format!("the sizes {x} and {y} differ").into()),
            (Expr::Symbol(x), Expr::Symbol(y)) => {
                // The older name stays.
                let (old, new) = if self.age(x) <= self.age(y) {
                    (a, y)
                } else {
                    (b, x)
                };
                let (old, new) = (old.clone(), Rc::clone(new));
                self.replace(&new, &old)?;
                Err(Stop::Learnt)
            }
            (Expr::Symbol(x), other) | (other, Expr::Symbol(x)) if !dims::has(other, x) => {
                self.replace(&Rc::clone(x), &other.clone())?;
                Err(Stop::Learnt)
            }
            (other, Expr::Int(n)) | (Expr::Int(n), other) => {
                if let Some((symbol, value)) = dims::solve(other, *n) {
                    self.replace(&symbol, &Expr::Int(value))?;
                    return Err(Stop::Learnt);
                }
                let said = |(expr, size): &(Expr, i64)| expr == other && size == n;
                if self.equations.iter().any(said) {
                    return Ok(Expr::Int(*n));
                }
                self.spend(dims::MAX_SIZE as usize * dims::count(other))?;
                if !dims::can_be(other, *n) {
                    return Err(format!("the sizes {other} and {n} differ").into());
                }
                if self.equations.len() >= MAX_EQUATIONS {
                    return Err("too many sizes that have to be a number".into());
                }
                self.equations.push((other.clone(), *n));
                Ok(Expr::Int(*n))
            }
            // What is computed in two ways is taken to be the same, as it was when the module was made.
            _ => Ok(a.clone()),
        }
    }

    /// The rank of an input, where it has to be known and is not.
    pub(super) fn unknown<T>(&mut self, input: usize, ranks: &[usize]) -> Step<T> {
        let mut all = ranks.to_vec();
        all.dedup();
        Err(Stop::Guess { input, ranks: all })
    }

    /// An input has this rank.
    pub(super) fn set_rank(&mut self, input: usize, rank: usize) {
        self.open(input, rank, None);
        let facts = &mut self.inputs[input];
        facts.is_guessed = true;
        if facts.dtype.is_none() {
            facts.dtype = Some(ScalarType::Float);
            facts.is_dtype_assumed = true;
        }
    }

    /// Inputs of a set are of this type, where that was only assumed to be another.
    pub(super) fn learn_dtype(&mut self, inputs: u64, dtype: ScalarType) -> Step {
        let mut has_changed = false;
        for (i, input) in self.inputs.iter_mut().enumerate() {
            if i < 64 && inputs >> i & 1 == 1 && input.is_dtype_assumed {
                input.dtype = Some(dtype);
                input.is_dtype_assumed = false;
                has_changed = true;
            }
        }
        if has_changed {
            Err(Stop::Learnt)
        } else {
            Ok(())
        }
    }

    /// What a whole run leaves to be settled; whether that has changed anything.
    pub(super) fn settle(&mut self) -> Step<bool> {
        Ok(self.settle_masks() || self.settle_equations()?)
    }

    /// Beside numbers of words, what is turned to another type before anything else is a mask, and of their type.
    fn settle_masks(&mut self) -> bool {
        let has_ids = self
            .inputs
            .iter()
            .any(|input| input.dtype == Some(ScalarType::Long));
        let mut has_changed = false;
        for input in &mut self.inputs {
            if has_ids && input.is_dtype_assumed && input.is_converted {
                input.dtype = Some(ScalarType::Long);
                input.is_dtype_assumed = false;
                has_changed = true;
            }
        }
        has_changed
    }

    /// Sizes for the symbols that equations are about: those that the module was traced with, or one number for all of
    /// them, as of square images. Of several that fit, it is the one that the highest power of two divides.
    fn settle_equations(&mut self) -> Step<bool> {
        let mut names: Vec<Rc<str>> = Vec::new();
        for (expr, _) in &self.equations {
            dims::symbols(expr, &mut names);
        }
        if names.is_empty() {
            return Ok(false);
        }
        let counts = self.equations.iter().map(|(expr, _)| dims::count(expr));
        self.spend(dims::MAX_SIZE as usize * counts.sum::<usize>())?;
        let fits = |size: &dyn Fn(&str) -> Option<i64>| {
            self.equations
                .iter()
                .all(|(expr, n)| dims::evaluate(expr, size) == Some(*n))
        };
        let traced = |name: &str| {
            let found = self.symbols.iter().find(|(known, _)| &**known == name);
            found.and_then(|(_, size)| *size)
        };
        let sizes: Option<Vec<i64>> = if fits(&traced) {
            names.iter().map(|name| traced(name)).collect()
        } else {
            (1..=dims::MAX_SIZE)
                .filter(|&size| fits(&|_| Some(size)))
                .max_by_key(|size| (size.trailing_zeros(), -size))
                .map(|size| vec![size; names.len()])
        };
        let Some(sizes) = sizes else {
            return Ok(false);
        };
        for (name, size) in names.iter().zip(sizes) {
            self.replace(name, &Expr::Int(size))?;
        }
        Ok(true)
    }
}

/// Images have so many dimensions, or more.
const IMAGE_RANK: usize = 4;
/// The symbol of the first dimension of the first input.
const BATCH: &str = "batch";

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(sizes: &[&[i64]]) -> Facts {
        let names: Vec<String> = (0..sizes.len()).map(|i| format!("x{i}")).collect();
        let traced: Vec<_> = sizes
            .iter()
            .map(|s| (ScalarType::Float, s.to_vec()))
            .collect();
        Facts::new(&names, Some(&traced), &[]).unwrap()
    }

    fn dim(facts: &Facts, input: usize, axis: usize) -> Expr {
        facts.inputs[input].dims.as_ref().unwrap()[axis].clone()
    }

    #[test]
    fn sizes_that_differed_when_a_module_was_traced_are_not_one() {
        let mut facts = traced(&[&[2, 5], &[2, 7], &[2, 5]]);
        let (a, b, c) = (dim(&facts, 0, 1), dim(&facts, 1, 1), dim(&facts, 2, 1));
        let Err(Stop::Wrong { problem, .. }) = facts.equal(&a, &b) else {
            panic!("5 is not 7");
        };
        assert!(
            problem.contains("as the module was traced: 5 and 7"),
            "{problem}"
        );
        let twice = Expr::product([Expr::Int(2), a.clone()]);
        assert!(matches!(facts.equal(&twice, &a), Err(Stop::Wrong { .. })));
        assert!(matches!(facts.equal(&a, &c), Err(Stop::Learnt)));
        assert_eq!(dim(&facts, 0, 1), dim(&facts, 2, 1));
    }

    #[test]
    fn a_size_that_was_one_is_broadcast() {
        let mut facts = traced(&[&[4, 5], &[4, 1]]);
        let (wide, one) = (dim(&facts, 0, 1), dim(&facts, 1, 1));
        assert!(matches!(facts.broadcast(&one, &wide), Err(Stop::Learnt)));
        assert_eq!(dim(&facts, 1, 1), Expr::Int(1));
        let mut facts = traced(&[&[4, 5], &[4, 1]]);
        assert!(matches!(
            facts.broadcast(&Expr::Int(5), &one),
            Err(Stop::Learnt)
        ));
        assert_eq!(dim(&facts, 1, 1), Expr::Int(1));
        assert_eq!(dim(&facts, 0, 1), wide);
    }

    #[test]
    fn steps_are_counted_over_all_copies() {
        let facts = traced(&[&[1]]);
        let copy = facts.clone();
        copy.spend(MAX_STEPS as usize).unwrap();
        assert!(facts.spend(1).is_err() && facts.is_spent() && copy.is_spent());
    }
}
