//! Accounts in PostgreSQL. Needs its server's programs, and an account for it where the tests are root's; without
//! them it skips aloud.

mod http_support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use http_support::{Server, hearth};
use serde_json::{Value, json};
use tempfile::TempDir;

const PASSWORD: &str = "correct horse battery";

/// A PostgreSQL of the test's own.
struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// Starts one; `None` where there is none to start.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let own = Self {
            programs: programs()?,
            folder,
            port,
        };
        // It refuses to be root, and Debian's package makes an account for it.
        if is_root() {
            let path = own.folder.path();
            run(Command::new("chmod").arg("755").arg(path))?;
            run(Command::new("chown").arg("postgres").arg(path))?;
        }
        run(own
            .program("initdb")
            .args(["-A", "trust", "-U", "hearth", "--no-sync"]))?;
        let options = format!("-p {port} -k {} -c fsync=off", own.folder.path().display());
        let log = own.folder.path().join("log");
        run(own
            .program("pg_ctl")
            .args(["-w", "-o", &options, "-l"])
            .arg(log)
            .arg("start"))?;
        Some(own)
    }

    fn url(&self) -> String {
        format!("postgres://hearth@127.0.0.1:{}/postgres", self.port)
    }

    /// One of its programs, which finds the data in `PGDATA`.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = match is_root() {
            false => Command::new(path),
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
                command.arg(path);
                command
            }
        };
        command.env("PGDATA", self.folder.path().join("data"));
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self
            .program("pg_ctl")
            .args(["-m", "immediate", "stop"])
            .output();
    }
}

/// Runs a command to its end; `None` where it cannot be run, or fails.
fn run(command: &mut Command) -> Option<Output> {
    // What is started in the background would keep a pipe open.
    let done = command.stdout(std::process::Stdio::null()).output().ok()?;
    done.status.success().then_some(done)
}

fn is_root() -> bool {
    let told = Command::new("id").arg("-u").output().expect("id is there");
    told.stdout.trim_ascii() == b"0"
}

/// The folder with PostgreSQL's programs: on the path, or where Debian has the newest.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let has_all = |folder: &PathBuf| folder.join("initdb").is_file();
    let on_path = std::env::split_paths(&path).find(has_all);
    on_path.or_else(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        let folders = versions.map(|entry| entry.path().join("bin"));
        folders.filter(has_all).max()
    })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn start(home: &Path) -> Server {
    Server::start_in(home, &["--auth"])
}

#[test]
fn accounts_are_kept_in_postgresql() {
    let Some(postgres) = Postgres::start() else {
        eprintln!("SKIPPED: there is no PostgreSQL that could be started");
        return;
    };
    let home = tempfile::tempdir().expect("a folder for the server's home");
    let settings = format!("[state]\ndatabase = \"{}\"\n", postgres.url());
    std::fs::write(home.path().join("hearth.toml"), settings).expect("a file");
    let (good, said) = hearth(
        home.path(),
        &["user", "add", "root", "--admin"],
        &format!("{PASSWORD}\n"),
    );
    assert!(good, "{said}");
    let server = start(home.path());
    let body = json!({"username": "root", "password": PASSWORD});
    let granted = server.ok("/auth/login", &body);
    let token = text(&granted["access_token"]);
    let body = json!({"name": "my-app", "permissions": ["inference"], "expires_in": "30d"});
    let made = server.ask("POST", "/v1/auth/keys", token, &body);
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    let (id, key) = (text(&made["key_id"]), text(&made["api_key"]));
    let body = json!({"username": "root", "password": PASSWORD});
    assert_eq!(
        server.post("/auth/register", &body).status,
        400,
        "the name is taken"
    );
    drop(server);

    let server = start(home.path());
    let user = |credential: &str| server.ask("GET", "/v1/auth/user", credential, &Value::Null);
    assert_eq!(user(key).json()["username"], "root");
    assert_eq!(user(token).json()["api_keys"], 1);
    let path = format!("/v1/auth/keys/{id}");
    assert_eq!(server.ask("DELETE", &path, token, &Value::Null).status, 200);
    assert_eq!(user(key).status, 401);
    let renewed = server.ok(
        "/auth/refresh",
        &json!({"refresh_token": granted["refresh_token"]}),
    );
    assert_eq!(user(text(&renewed["access_token"])).status, 200);
    let body = Value::Null;
    let out = server.ask(
        "POST",
        "/auth/logout",
        text(&renewed["access_token"]),
        &body,
    );
    assert_eq!(out.status, 200, "{}", out.body);
    assert_eq!(user(text(&renewed["access_token"])).status, 401);
    assert!(
        !home.path().join("state.db").exists(),
        "nothing is kept elsewhere"
    );
}
