//! What a `with` enters: objects of PyTorch's own classes.

use std::cell::Cell;
use std::rc::Rc;

use super::facts::Step;
use super::value::{Manager, Value};

/// The context in which operators choose a precision of their own.
const AUTOCAST: &str = "autocast";
/// Classes of PyTorch whose objects a `with` enters.
const MANAGERS: [&str; 5] = [
    AUTOCAST,
    "no_grad",
    "enable_grad",
    "set_grad_enabled",
    "record_function",
];

/// What the function of this path makes, where it makes a context.
pub(super) fn context(path: &str) -> Option<Value> {
    let class = path.strip_suffix(".__new__")?;
    let (_, class) = class.strip_prefix("__torch__.torch.")?.rsplit_once('.')?;
    MANAGERS.contains(&class).then(|| {
        Value::Manager(Rc::new(Manager {
            class: class.to_owned(),
            is_enabled: Cell::new(true),
        }))
    })
}

/// The method of a context that a module calls: that which makes it. Of autocast it says whether it does anything, third.
pub(super) fn manage(
    manager: &Manager,
    method: &str,
    positional: &[Value],
    named: &[(String, Value)],
) -> Step<Value> {
    if method != "__init__" {
        return Err(format!("{method} of {}", manager.class).into());
    }
    let said = named.iter().find(|(name, _)| name == "enabled");
    let enabled = positional.get(2).or(said.map(|(_, value)| value));
    if manager.class == AUTOCAST && matches!(enabled, Some(Value::Bool(false))) {
        manager.is_enabled.set(false);
    }
    Ok(Value::None)
}

/// Refuses to run in a context in which operators give other numbers.
pub(super) fn enter(context: &Value) -> Step {
    match context {
        Value::Manager(manager) if manager.class == AUTOCAST && manager.is_enabled.get() => {
            Err(
                "torch.autocast, in which operators compute in another precision; save the module without it, in the \
                 precision that is meant"
                    .into(),
            )
        }
        // Which gradients are kept and what is profiled changes no number.
        Value::Manager(_) => Ok(()),
        other => Err(format!("a with of {}", other.kind()).into()),
    }
}
