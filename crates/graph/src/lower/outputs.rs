//! Names for a program's outputs.
//!
//! A graph names its outputs after operators (`linear_7`). What the program returned says more: the fields of a
//! dictionary, a dataclass or a named tuple (`logits`), which the archive keeps as a tree.

use std::collections::HashSet;

use hearth_formats::pt2::Argument;
use serde_json::Value;

/// Deeper trees of results are not looked into.
const MAX_DEPTH: usize = 16;

/// A name for each output: its path in the tree of results, or the graph's own name. All are different, and none is
/// `taken`.
///
/// `spec` is the tree as `torch.utils._pytree.treespec_dumps` writes it: a version, and a node with its type, a context
/// (the keys, as JSON in a string) and its children.
pub(super) fn output_names<'a>(
    spec: &str,
    outputs: &[&Argument],
    taken: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let mut paths = Vec::new();
    if let Ok(Value::Array(parts)) = serde_json::from_str::<Value>(spec)
        && let Some(tree) = parts.get(1)
    {
        walk(tree, "", 0, &mut paths);
    }
    if paths.len() != outputs.len() {
        paths.clear();
    }
    let mut used: HashSet<String> = taken.into_iter().map(str::to_owned).collect();
    outputs
        .iter()
        .enumerate()
        .map(|(i, output)| {
            let own = match output {
                Argument::Tensor(name) => name.clone(),
                _ => format!("output_{i}"),
            };
            let path = paths.get(i).filter(|path| !path.is_empty());
            let mut name = path.cloned().unwrap_or(own);
            while !used.insert(name.clone()) {
                name.push('_');
            }
            name
        })
        .collect()
}

fn walk(node: &Value, path: &str, depth: usize, paths: &mut Vec<String>) {
    let children = node["children_spec"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if node["type"].is_null() || depth > MAX_DEPTH {
        paths.push(path.to_owned());
        return;
    }
    let keys: Vec<Value> = node["context"]
        .as_str()
        .and_then(|context| serde_json::from_str(context).ok())
        .unwrap_or_default();
    for (i, child) in children.iter().enumerate() {
        let key = keys.get(i).and_then(Value::as_str);
        let inner = match key {
            Some(key) if path.is_empty() => key.to_owned(),
            Some(key) => format!("{path}.{key}"),
            // Members of tuples have no names of their own.
            None if path.is_empty() => String::new(),
            None => format!("{path}.{i}"),
        };
        walk(child, &inner, depth + 1, paths);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(names: &[&str]) -> Vec<Argument> {
        names
            .iter()
            .map(|n| Argument::Tensor((*n).into()))
            .collect()
    }

    fn names(spec: &str, of: &[&str]) -> Vec<String> {
        let outputs = tensors(of);
        output_names(spec, &outputs.iter().collect::<Vec<_>>(), ["x"])
    }

    const LEAF: &str = r#"{"type": null, "context": null, "children_spec": []}"#;

    #[test]
    fn fields_are_names() {
        let spec = format!(
            r#"[1, {{"type": "Output", "context": "[\"logits\", \"states\"]", "children_spec": [{LEAF},
                {{"type": "builtins.tuple", "context": "null", "children_spec": [{LEAF}, {LEAF}]}}]}}]"#
        );
        assert_eq!(
            names(&spec, &["a", "b", "c"]),
            ["logits", "states.0", "states.1"]
        );
    }

    #[test]
    fn the_graphs_own_names_stand_in() {
        assert_eq!(names(&format!("[1, {LEAF}]"), &["linear"]), ["linear"]);
        assert_eq!(names("no json", &["a", "a", "x"]), ["a", "a_", "x_"]);
        assert_eq!(names(&format!("[1, {LEAF}]"), &["a", "b"]), ["a", "b"]);
    }
}
