//! The program from the outside: the real executable with a home folder of its own, and the shipped models.

mod bench;
mod convert;
mod doctor;
mod files;
mod look;
mod quantize;
mod run;
mod serve;
#[cfg(unix)]
mod terminal;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A fresh home folder.
struct Home {
    folder: TempDir,
}

/// What a run of the program left.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Home {
    fn new() -> Home {
        Home {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The models folder that the program looks into by itself.
    fn models(&self) -> PathBuf {
        let models = self.path().join("models");
        std::fs::create_dir_all(&models).unwrap();
        models
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        for name in ["HEARTH_HOST", "HEARTH_PORT", "HEARTH_LOG"] {
            command.env_remove(name);
        }
        command
            .args(args)
            .env("HEARTH_HOME", self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    fn hearth<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// The same with something on the standard input.
    fn pipe<S: AsRef<OsStr>>(&self, input: &str, args: impl IntoIterator<Item = S>) -> Ran {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The program may end without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran::from(child.wait_with_output().unwrap())
    }
}

impl Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Ran {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The standard output of a run that went well.
    #[track_caller]
    fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    #[track_caller]
    fn json(self) -> serde_json::Value {
        let text = self.good();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The message of a run that failed with `code`, all of `words` in it.
    #[track_caller]
    fn failed(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no {word:?} in: {}",
                self.stderr
            );
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// Sends a signal to a process.
#[cfg(unix)]
fn signal(name: &str, process: &std::process::Child) {
    let status = Command::new("kill")
        .args([format!("-{name}"), process.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn help_and_version_are_there() {
    let home = Home::new();
    let help = home.hearth(["--help"]).good();
    for command in [
        "serve",
        "run",
        "list",
        "show",
        "bench",
        "quantize",
        "convert",
        "doctor",
        "completions",
    ] {
        assert!(help.contains(command), "{help}");
        let help = home.hearth([command, "--help"]).good();
        assert!(help.contains("Usage"), "{help}");
    }
    assert!(
        home.hearth(["--version"])
            .good()
            .contains(env!("CARGO_PKG_VERSION"))
    );
    home.hearth(["nonsense"]).failed(2, &["nonsense"]);
}

#[test]
fn completions_know_the_commands() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.hearth(["completions", shell]).good();
        assert!(script.contains("quantize"), "{script}");
    }
    home.hearth(["completions", "nonsense"])
        .failed(2, &["bash"]);
}
