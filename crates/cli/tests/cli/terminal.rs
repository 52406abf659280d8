//! `hearth run` at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::Home;

/// Longest wait for output; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program at a terminal that the test types at.
struct Terminal {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What was on the screen so far.
    shown: String,
    child: Child,
    _home: Home,
}

impl Terminal {
    /// Starts `hearth run`, with these lines typed before it has drawn its first prompt.
    fn start(lines: &str) -> Self {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap();
        let side =
            || -> OwnedFd { open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap() };
        let mut keyboard = File::from(main);
        let mut screen = keyboard.try_clone().unwrap();
        let home = Home::new();
        let mut command = home.command(["run", "--temperature", "0"]);
        command.env("TERM", "xterm");
        command
            .stdin(Stdio::from(side()))
            .stdout(Stdio::from(side()));
        command.stderr(Stdio::from(side()));
        keyboard.write_all(lines.as_bytes()).unwrap();
        let child = command.spawn().unwrap();
        // The last of our own ends of the terminal's side, so that the screen ends with the program.
        drop(command);
        let (show, shown) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Fails once nobody has the other side open.
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                let _ = show.send(buffer[..count].to_vec());
            }
        });
        Self {
            keyboard,
            screen: shown,
            shown: String::new(),
            child,
            _home: home,
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen has shown `text`.
    fn wait_for(&mut self, text: &str) {
        while !self.shown.contains(text) {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("no {text:?} ({error}) in: {}", self.shown),
            }
        }
    }

    /// Waits for the program's end, which must be a good one, and answers all that the screen has shown.
    fn finish(mut self) -> String {
        loop {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("it does not end ({error}): {}", self.shown),
            }
        }
        assert!(self.child.wait().unwrap().success(), "{}", self.shown);
        std::mem::take(&mut self.shown)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the program answers to a command that it does not know; what the model answers is not ours to say.
const ANSWERED: &str = "There is no /nonsense";

#[test]
fn lines_typed_ahead_are_not_lost() {
    let fenced = "\"\"\"\nHello,\nwho are you?\"\"\"\n";
    let shown = Terminal::start(&format!("{fenced}/nonsense\n/bye\n")).finish();
    assert!(shown.contains(ANSWERED), "{shown}");
    // Both lines of the message, and nothing of it was taken for a message of its own.
    assert_eq!(shown.matches("... ").count(), 2, "{shown}");
}

#[test]
fn an_interrupt_stops_the_answer_and_not_the_program() {
    let mut terminal = Terminal::start("");
    terminal.wait_for(">>> ");
    terminal.type_in("Tell me a story.\r");
    // The terminal is given back to its usual state, and the model's first words come.
    terminal.wait_for("[?2004l\r\n");
    let before = terminal.shown.len();
    while terminal.shown.len() == before {
        let bytes = terminal.screen.recv_timeout(PATIENCE).unwrap();
        terminal.shown += &String::from_utf8_lossy(&bytes);
    }
    super::signal("INT", &terminal.child);
    terminal.type_in("/nonsense\r");
    terminal.wait_for(ANSWERED);
    terminal.type_in("/bye\r");
    terminal.finish();
}
