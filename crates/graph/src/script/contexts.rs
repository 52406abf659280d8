//! What a `with` enters: objects of PyTorch's own classes.

use std::cell::Cell;
use std::rc::Rc;

use super::facts::Step;
use super::value::{Manager, Value};

/// The context in which operators choose a precision of their own.
const AUTOCAST: &str = "autocast";
const AUTOCAST_OF_A_DEVICE: &str = "autocast of a device";
/// Classes of PyTorch whose objects a `with` enters.
const MANAGERS: [&str; 6] = [
    AUTOCAST,
    AUTOCAST_OF_A_DEVICE,
    "no_grad",
    "enable_grad",
    "set_grad_enabled",
    "record_function",
];

/// What the function of this path makes, where it makes a context.
pub(super) fn context(path: &str) -> Option<Value> {
    let class = path.strip_suffix(".__new__")?;
    let (module, class) = class.strip_prefix("__torch__.torch.")?.rsplit_once('.')?;
    // Those of one device take their arguments in another order.
    let class = match class == AUTOCAST && !module.starts_with("amp.") {
        true => AUTOCAST_OF_A_DEVICE,
        false => class,
    };
    MANAGERS.contains(&class).then(|| {
        Value::Manager(Rc::new(Manager {
            class: class.to_owned(),
            is_enabled: Cell::new(true),
        }))
    })
}

/// The method of a context that a module calls: that which makes it. Of autocast it says whether it does anything: third,
/// or first where it is of one device.
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
    let place = match manager.class.as_str() {
        AUTOCAST => 2,
        AUTOCAST_OF_A_DEVICE => 0,
        _ => return Ok(Value::None),
    };
    let enabled = positional.get(place).or(said.map(|(_, value)| value));
    if matches!(enabled, Some(Value::Bool(false))) {
        manager.is_enabled.set(false);
    }
    Ok(Value::None)
}

/// Refuses to run in a context in which operators give other numbers.
pub(super) fn enter(context: &Value) -> Step {
    match context {
        Value::Manager(manager)
            if [AUTOCAST, AUTOCAST_OF_A_DEVICE].contains(&manager.class.as_str())
                && manager.is_enabled.get() =>
        {
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
