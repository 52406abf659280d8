//! Log files: `server.log` with everything, `api_requests.log` with one line a request. A thread writes them;
//! what comes faster than it can write is passed over, and how much it was is told.

mod console;
mod read;
mod rotating;

use std::fmt::{self, Write};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Local;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

pub use console::Console;
pub use read::LogFile;
pub use rotating::{Rotating, Rotation};

use crate::settings::{LogLevel, Settings};
use crate::writer::{Batch, Writer};

/// The files.
pub const NAMES: [&str; 2] = ["server.log", "api_requests.log"];

/// The target of the events that are one line a request.
pub const REQUESTS: &str = "hearth_serve::api";

/// The log files of this process.
#[derive(Debug)]
pub struct Logs {
    folder: PathBuf,
    files: Arc<Files>,
    writer: Writer<Line>,
}

/// Lines that may wait to be written.
const MOST_WAITING: usize = 8192;

#[derive(Debug)]
struct Files {
    server: Rotating,
    requests: Rotating,
}

#[derive(Debug)]
struct Line {
    text: String,
    is_request: bool,
}

impl Files {
    fn write(&self, batch: &Batch<Line>) {
        let lines = || batch.items.iter().map(|line| line.text.as_str());
        let lost = (batch.lost > 0).then(|| passed_over(batch.lost));
        let requests = batch.items.iter().filter(|line| line.is_request);
        // There is nowhere to tell of a log that cannot be written.
        let _ = self
            .server
            .append(lost.as_deref().into_iter().chain(lines()));
        let _ = self
            .requests
            .append(requests.map(|line| line.text.as_str()));
    }
}

/// The line that stands for `lost` lines.
fn passed_over(lost: u64) -> String {
    let text = format!("{lost} lines came faster than they could be written, and are not here");
    whole_line(LogLevel::Warning, "logs", &text)
}

/// A line as it stands in a file, without its end.
fn whole_line(level: LogLevel, module: &str, text: &str) -> String {
    let time = Local::now().format("%Y-%m-%d %H:%M:%S,%3f");
    format!("{time} - {module} - {} - {text}", level.word())
}

impl Logs {
    /// Opens the files in the folder that `settings` name, by default `logs` in `home`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(settings: &Settings, home: &Path) -> io::Result<Self> {
        let folder = settings
            .log_directory
            .clone()
            .unwrap_or_else(|| home.join("logs"));
        crate::private::folder(&folder)?;
        let rotation = Rotation {
            size: settings.log_size.0,
            keep: settings.log_files,
        };
        let open = |name: &str| Rotating::open(folder.join(name), rotation);
        let files = Arc::new(Files {
            server: open(NAMES[0])?,
            requests: open(NAMES[1])?,
        });
        let own = Arc::clone(&files);
        let write = move |batch: &mut Batch<Line>| own.write(batch);
        Ok(Self {
            folder,
            files,
            writer: Writer::start("logs", MOST_WAITING, write)?,
        })
    }

    /// The log files with all lines so far: those that are written and those that were set aside.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn list(&self) -> io::Result<Vec<LogFile>> {
        self.flush();
        read::list(&self.folder)
    }

    /// Waits until all lines so far are in the files.
    pub fn flush(&self) {
        self.writer.flush();
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of this name, if it is one that is written now.
    pub fn written(&self, name: &str) -> Option<&Rotating> {
        match name {
            _ if name == NAMES[0] => Some(&self.files.server),
            _ if name == NAMES[1] => Some(&self.files.requests),
            _ => None,
        }
    }
}

/// Writes events to the files.
pub struct LogLayer(pub Arc<Logs>);

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        let module = metadata.target().rsplit("::").next().unwrap_or_default();
        let level = level_of(*metadata.level());
        self.0.writer.offer(Line {
            text: whole_line(level, module, &one_line(text.whole())),
            is_request: metadata.target() == REQUESTS,
        });
    }
}

/// The level of an event in our words.
fn level_of(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warning,
        Level::INFO => LogLevel::Info,
        Level::DEBUG | Level::TRACE => LogLevel::Debug,
    }
}

/// The text without anything that would begin another line or move a terminal's cursor.
fn one_line(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    let escaped = text.chars().map(|letter| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    });
    escaped.collect()
}

/// The fields of an event: its message, then the others as `name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(self) -> String {
        self.message + &self.fields
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message += value,
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::prelude::*;

    #[test]
    fn events_are_lines_of_the_documented_form() {
        let home = tempfile::tempdir().expect("a folder");
        let logs = Arc::new(Logs::open(&Settings::default(), home.path()).expect("files"));
        let subscriber = tracing_subscriber::registry().with(LogLayer(Arc::clone(&logs)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: REQUESTS, "[API REQUEST] GET /health - Client: 127.0.0.1");
            tracing::warn!(model = "a\nb", "two\nlines {}", "\u{1b}[31m");
        });
        logs.flush();
        let text = std::fs::read_to_string(home.path().join("logs/server.log")).expect("the file");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let (time, rest) = lines[0].split_at(23);
        assert!(
            chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S,%3f").is_ok(),
            "{time}"
        );
        assert_eq!(
            rest,
            " - api - INFO - [API REQUEST] GET /health - Client: 127.0.0.1"
        );
        assert!(
            lines[1].contains(" - tests - WARNING - two\\nlines \\u{1b}[31m model=\"a\\nb\""),
            "{}",
            lines[1]
        );
        let requests =
            std::fs::read_to_string(home.path().join("logs/api_requests.log")).expect("the file");
        assert_eq!(requests.lines().count(), 1);
    }
}
