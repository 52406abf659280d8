//! `bench` on the built-in model.

use super::Home;

#[test]
fn figures_are_measured() {
    let home = Home::new();
    let args = [
        "bench",
        "--prompt",
        "40",
        "--gen",
        "6",
        "--batch",
        "1,3",
        "--runs",
        "1",
        "--threads",
        "1",
        "--json",
    ];
    let report = home.hearth(args).json();
    assert_eq!(report["model"], "ember");
    assert_eq!(report["prefill"]["tokens"], 40);
    let positive = |value: &serde_json::Value| assert!(value.as_f64().unwrap() > 0.0, "{report:#}");
    positive(&report["prefill"]["tokens_per_second"]);
    positive(&report["prefill"]["share_of_peak"]);
    positive(&report["load_seconds"]);
    positive(&report["resident_bytes"]);
    positive(&report["cache_bytes"]);
    for figure in [
        "read_bandwidth_bytes_per_second",
        "int8_ops_per_second",
        "f32_flops_per_second",
    ] {
        positive(&report["machine"][figure]);
    }
    assert_eq!(report["machine"]["threads"], 1);
    let decode = report["decode"].as_array().unwrap();
    assert_eq!(decode.len(), 2);
    for (figure, batch) in decode.iter().zip([1, 3]) {
        assert_eq!(figure["batch"], batch);
        assert_eq!(figure["tokens"], 6);
        positive(&figure["tokens_per_second"]);
        positive(&figure["share_of_bandwidth"]);
    }
}

#[test]
fn the_table_has_a_row_for_each_figure() {
    let home = Home::new();
    let table = home
        .hearth([
            "bench", "--prompt", "8", "--gen", "2", "--batch", "2", "--runs", "1",
        ])
        .good();
    for row in ["prefill 8", "decode 2, batch 2", "machine:", "tokens/s"] {
        assert!(table.contains(row), "no {row} in {table}");
    }
}

#[test]
fn what_cannot_be_measured_says_why() {
    let home = Home::new();
    home.hearth(["bench", "--batch", "0"])
        .failed(1, &["--batch"]);
    home.hearth(["bench", "--prompt", "99999999"])
        .failed(1, &["--prompt", "context"]);
    home.hearth(["bench", "--model", "ember-embed"])
        .failed(1, &["embeddings"]);
    home.hearth(["bench", "--model", "nonsense"])
        .failed(1, &["nonsense", "ember"]);
}
