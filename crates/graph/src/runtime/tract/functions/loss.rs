//! Losses: of log-probabilities of classes, and of scores before the softmax.

use super::body::{Body, int};

/// Log-probabilities (B, C, ...) and the right classes (B, ...) to the loss.
pub(super) fn negative_log_likelihood(body: &mut Body) -> Option<()> {
    let log_prob = body.input(0)?;
    of_log_probabilities(body, log_prob)
}

/// Scores (B, C, ...) and the right classes (B, ...) to the loss, and the log-probabilities.
pub(super) fn softmax_cross_entropy(body: &mut Body) -> Option<()> {
    // Before that a softmax was over all dimensions from its axis on.
    if body.opset() < 13 {
        return None;
    }
    let scores = body.input(0)?;
    let log_prob = body.add("LogSoftmax", &[scores], vec![int("axis", 1)]);
    of_log_probabilities(body, &log_prob)?;
    body.give(1, &log_prob);
    Some(())
}

fn of_log_probabilities(body: &mut Body, log_prob: &str) -> Option<()> {
    let mut target = body.input(1)?.to_owned();
    let mut weight = None;
    let mut ignored = None;
    if let Some(index) = body.int("ignore_index") {
        let index = body.integer(index, &target);
        let mask = body.add("Equal", &[&target, &index], vec![]);
        // A class that there is, where none is looked at.
        let zero = body.integer(0, &target);
        target = body.add("Where", &[&mask, &zero, &target], vec![]);
        ignored = Some(mask);
    }
    if let Some(weights) = body.input(2) {
        weight = Some(body.add("Gather", &[weights, &target], vec![int("axis", 0)]));
    }
    if let Some(mask) = ignored {
        let zero = body.number(0.0, log_prob);
        let other = match weight {
            Some(weight) => weight,
            None => body.number(1.0, log_prob),
        };
        weight = Some(body.add("Where", &[&mask, &zero, &other], vec![]));
    }
    let column = body.squeeze("Unsqueeze", &target, &[1]);
    let picked = body.add("GatherElements", &[log_prob, &column], vec![int("axis", 1)]);
    let picked = body.squeeze("Squeeze", &picked, &[1]);
    let mut loss = body.add("Neg", &[&picked], vec![]);
    if let Some(weight) = &weight {
        loss = body.add("Mul", &[&loss, weight], vec![]);
    }
    let whole = || vec![int("keepdims", 0)];
    let reduction = body.setting("reduction").map_or(&b"mean"[..], |a| &a.s);
    let loss = match (reduction, &weight) {
        (b"none", _) => loss,
        (b"sum", _) => body.add("ReduceSum", &[&loss], whole()),
        (b"mean", None) => body.add("ReduceMean", &[&loss], whole()),
        (b"mean", Some(weight)) => {
            let loss = body.add("ReduceSum", &[&loss], whole());
            let weight = body.add("ReduceSum", &[weight], whole());
            body.add("Div", &[&loss, &weight], vec![])
        }
        _ => return None,
    };
    body.give(0, &loss);
    Some(())
}
