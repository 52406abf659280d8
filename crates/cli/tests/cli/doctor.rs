//! `doctor`: what runs exported networks, and why.

use super::Home;

#[test]
fn without_a_library_it_is_tract_and_the_reason_is_told() {
    let home = Home::new();
    for (variable, other) in [
        ("HEARTH_ONNXRUNTIME", "ORT_DYLIB_PATH"),
        ("ORT_DYLIB_PATH", "HEARTH_ONNXRUNTIME"),
    ] {
        let doctor = home
            .command(["doctor"])
            .env(variable, "/no/such/libonnxruntime.so")
            .env_remove(other)
            .output()
            .unwrap();
        let said = String::from_utf8(doctor.stdout).unwrap();
        assert!(doctor.status.success(), "{said}");
        for words in [
            "exported networks run on tract",
            "onnxruntime  not found",
            "not /no/such/libonnxruntime.so: failed to load",
        ] {
            assert!(said.contains(words), "no {words:?} in: {said}");
        }
    }
}

#[test]
fn a_file_that_is_no_library_is_refused() {
    let home = Home::new();
    let odd = home.path().join("libonnxruntime.so.1.2.3");
    std::fs::write(&odd, "no library").unwrap();
    // The folder will do: the library in it is looked for.
    let doctor = home
        .command(["doctor"])
        .env("HEARTH_ONNXRUNTIME", home.path())
        .output()
        .unwrap();
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(
        said.contains("run on tract") && said.contains("libonnxruntime.so.1.2.3"),
        "{said}"
    );
}
