//! ONNX's own tests of each operator, on both engines, and the page that tells what passes.
//!
//! `ONNX_NODE_TESTS` is a folder of them, which `oracle/onnx_node_tests.py` writes. Without one nothing is tested, and the
//! test says so. `tract.txt` and `onnxruntime.txt` name the cases that pass: one of them that does not any more fails the
//! test. `UPDATE_DOCS=1` adds what passes besides, and writes the page anew. `--nocapture` shows what is wrong with the others.

mod case;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use case::Case;
use hearth_graph::runtime::{Engine, Engines, find};

/// The version of the package that the lists are of.
const ONNX: &str = "1.23.2";

/// The version of ONNX Runtime that its list is of: others have more operators, or fewer.
const ONNX_RUNTIME: &str = "1.32.0";

type Names = BTreeSet<String>;

fn here(file: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx_nodes");
    folder.join(file)
}

/// The cases that are known to pass on an engine.
fn listed(engine: Engine) -> Names {
    let list = std::fs::read_to_string(here(&format!("{engine}.txt"))).unwrap_or_default();
    list.lines().map(str::to_owned).collect()
}

fn cases(folder: &Path) -> Vec<Case> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let mut cases: Vec<Case> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("model.onnx").is_file())
        .map(|path| Case::read(&path))
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    let operators: HashMap<String, String> = cases
        .iter()
        .map(|case| (case.name.clone(), case.operator.clone()))
        .collect();
    for case in &mut cases {
        if let Some(operator) = case.base().and_then(|base| operators.get(base)) {
            case.operator = operator.clone();
        }
    }
    cases
}

/// Runs the cases on an engine, and tells what is wrong with each that fails.
fn failing<'a>(cases: &'a [Case], engines: &Engines, engine: Engine) -> BTreeMap<&'a str, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = |case: &'a Case| {
        let wrong = case.run(engines, engine).err()?;
        Some((case.name.as_str(), wrong))
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = cases
            .chunks(cases.len().div_ceil(threads).max(1))
            .map(|part| scope.spawn(move || part.iter().filter_map(run).collect::<Vec<_>>()))
            .collect();
        let parts = parts.into_iter().map(|part| part.join().unwrap());
        parts.flatten().collect()
    })
}

/// The page, by the lists.
fn page(cases: &[Case], others: usize, lists: &[(Engine, Names)]) -> String {
    let share = |passing: usize, all: usize| 100.0 * passing as f64 / all as f64;
    let passes = |case: &&Case, list: &Names| list.contains(&case.name);
    let mut page = format!(
        "# ONNX's own tests\n\n\
         The Python package onnx {ONNX} carries tests of each operator: a model, inputs, and the outputs that are right. {} of\n\
         them take and give nothing but tensors of floating-point numbers, integers and booleans; what Hearth makes of these is told\n\
         here. The {others} others are about sequences, strings, and numbers of 8 bits or fewer that are not integers of 8. A case counts\n\
         as passed where the model loads, and each number is right within 0.1 % and 10⁻⁷, as in ONNX's own runner. Cases named\n\
         `expanded` in ONNX, where the operator is written as a function of others, are counted with the operator.\n\n\
         | engine | cases | pass | share |\n|---|---|---|---|\n",
        cases.len()
    );
    for (engine, list) in lists {
        let passing = cases.iter().filter(|case| passes(case, list)).count();
        let (all, share) = (cases.len(), share(passing, cases.len()));
        let version = match engine {
            Engine::OnnxRuntime => format!(" {ONNX_RUNTIME}"),
            Engine::Tract => String::new(),
        };
        writeln!(
            page,
            "| {engine}{version} | {all} | {passing} | {share:.1} % |"
        )
        .unwrap();
    }
    let mut operators: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        operators.entry(&case.operator).or_default().push(case);
    }
    write!(
        page,
        "\nThe lists are in `crates/graph/tests/onnx_nodes`; a test holds them, so that what passes once does not cease to. The page is\n\
         made from them:\n\n\
         ```sh\n\
         pip install onnx=={ONNX} onnxruntime=={ONNX_RUNTIME} && python oracle/onnx_node_tests.py DATA\n\
         ONNX_NODE_TESTS=$PWD/DATA UPDATE_DOCS=1 cargo test --release -p hearth -p hearth-graph --test onnx_nodes\n\
         ```\n\n\
         ## By operator\n\n| operator | cases |",
    )
    .unwrap();
    for (engine, _) in lists {
        write!(page, " {engine} |").unwrap();
    }
    page.push_str("\n|---|---|---|---|\n");
    for (operator, cases) in operators {
        write!(page, "| {operator} | {} |", cases.len()).unwrap();
        for (_, list) in lists {
            let passing = cases.iter().filter(|case| passes(case, list)).count();
            match passing == cases.len() {
                true => page.push_str(" all |"),
                false => write!(page, " {passing} |").unwrap(),
            }
        }
        page.push('\n');
    }
    page
}

#[test]
fn what_passed_once_passes() {
    let Some(folder) = std::env::var_os("ONNX_NODE_TESTS") else {
        eprintln!("left out: ONNX_NODE_TESTS is not set");
        return;
    };
    let is_update = std::env::var_os("UPDATE_DOCS").is_some();
    let (numbers, others): (Vec<Case>, Vec<Case>) = cases(Path::new(&folder))
        .into_iter()
        .partition(Case::is_of_numbers);
    let (engines, _) = Engines::with_libraries(find::candidates(), 1);
    let mut lists = [Engine::Tract, Engine::OnnxRuntime].map(|engine| (engine, listed(engine)));
    let mut broken = Vec::new();
    for (engine, list) in &mut lists {
        // Builds don't all say which version they are; their names do.
        let library = engines.onnx_runtime().map(|runtime| runtime.path());
        let is_listed = |path: &Path| path.to_string_lossy().ends_with(ONNX_RUNTIME);
        if *engine == Engine::OnnxRuntime && !library.is_some_and(is_listed) {
            eprintln!("tract alone: ONNX Runtime is {library:?}, not {ONNX_RUNTIME}");
            continue;
        }
        let failing = failing(&numbers, &engines, *engine);
        for (name, wrong) in &failing {
            eprintln!("{name} on {engine}: {wrong}");
        }
        let names = numbers.iter().map(|case| &case.name);
        let passing: Names = names
            .filter(|name| !failing.contains_key(name.as_str()))
            .cloned()
            .collect();
        for name in list.difference(&passing) {
            let wrong = failing.get(name.as_str());
            let wrong = wrong.map_or("it is not there", String::as_str);
            broken.push(format!("{name} on {engine}: {wrong}"));
        }
        for name in passing.difference(list) {
            eprintln!("{name} passes on {engine}: UPDATE_DOCS=1 adds it to the list");
        }
        if is_update {
            list.extend(passing);
            let mut lines = String::new();
            for name in list.iter() {
                writeln!(lines, "{name}").unwrap();
            }
            std::fs::write(here(&format!("{engine}.txt")), lines).unwrap();
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));

    let page = page(&numbers, others.len(), &lists);
    let path = here("../../../../docs/onnx.md");
    if is_update {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/onnx.md is not what the lists say");
}
