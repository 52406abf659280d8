//! The chat at the terminal: a line editor with history, a few commands, messages of several lines.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::session::Session;

const PROMPT: &str = ">>> ";
const CONTINUATION: &str = "... ";
/// Begins and ends a message of several lines.
const FENCE: &str = "\"\"\"";
const HELP: &str = "\
/bye      leave (so does Ctrl-D)
/clear    forget the conversation
/help     this list
\"\"\"       begins a message of several lines; another \"\"\" ends it
Ctrl-C    stops the answer
Arrows    edit the line, go through earlier ones";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Input {
    Nothing,
    Leave,
    Clear,
    Help,
    Unknown(String),
    /// A message has begun that ends in a later line.
    Open(String),
    Message(String),
}

/// What a line means outside of a message of several lines.
fn parse(line: &str) -> Input {
    let word = line.trim();
    if let Some(rest) = word.strip_prefix(FENCE) {
        return match rest.strip_suffix(FENCE) {
            Some(whole) => message(whole),
            None => Input::Open(if rest.is_empty() {
                String::new()
            } else {
                format!("{rest}\n")
            }),
        };
    }
    match word {
        "" => Input::Nothing,
        "/bye" => Input::Leave,
        "/clear" => Input::Clear,
        "/help" | "/?" => Input::Help,
        command if command.starts_with('/') && !command[1..].contains(['/', ' ']) => {
            Input::Unknown(command.to_owned())
        }
        _ => message(line),
    }
}

fn message(text: &str) -> Input {
    if text.trim().is_empty() {
        Input::Nothing
    } else {
        Input::Message(text.trim_end().to_owned())
    }
}

/// Chats until the user leaves. The history is kept in `home`.
pub fn run(session: &mut Session, verbose: bool, home: &Path) -> Result<()> {
    let mut editor = DefaultEditor::new().context("cannot use this terminal")?;
    let history = home.join("history");
    // A first chat has no history yet.
    let _ = editor.load_history(&history);
    println!("{}. /help lists commands.", session.name());
    if let Some(note) = session.note() {
        println!("{note}");
    }
    if !session.is_chat() {
        println!("It has no chat template: it continues what you write.");
    }
    let result = converse(session, verbose, &mut editor);
    // A history that cannot be written is no reason to fail at the end of a chat.
    let _ = std::fs::create_dir_all(home).map(|()| editor.save_history(&history));
    result
}

fn converse(session: &mut Session, verbose: bool, editor: &mut DefaultEditor) -> Result<()> {
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                println!("/bye or Ctrl-D leaves.");
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error).context("cannot read from the terminal"),
        };
        let input = match parse(&line) {
            Input::Open(begun) => match rest_of_message(editor, begun)? {
                Some(input) => input,
                None => continue,
            },
            input => input,
        };
        match input {
            Input::Nothing | Input::Open(_) => {}
            Input::Leave => return Ok(()),
            Input::Clear => {
                session.clear();
                println!("The conversation is forgotten.");
            }
            Input::Help => println!("{HELP}"),
            Input::Unknown(command) => println!("There is no {command}; /help lists commands."),
            Input::Message(text) => {
                // A line that the history cannot take is still answered.
                let _ = editor.add_history_entry(&text);
                answer(session, verbose, &text)?;
            }
        }
    }
}

/// Reads up to the closing fence. `None` where the user gave the message up.
fn rest_of_message(editor: &mut DefaultEditor, mut text: String) -> Result<Option<Input>> {
    loop {
        match editor.readline(CONTINUATION) {
            Ok(line) => match line.trim_end().strip_suffix(FENCE) {
                Some(last) => {
                    text.push_str(last);
                    return Ok(Some(message(&text)));
                }
                None => {
                    text.push_str(&line);
                    text.push('\n');
                }
            },
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(None),
            Err(error) => return Err(error).context("cannot read from the terminal"),
        }
    }
}

fn answer(session: &mut Session, verbose: bool, text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    match session.answer(text, &mut out, true) {
        Ok(answer) => {
            writeln!(out)?;
            if let Some(note) = answer.note() {
                writeln!(out, "[{note}]")?;
            }
            if verbose {
                eprint!("{}", answer.timings(session.load_time()));
            }
            writeln!(out)?;
        }
        // The chat goes on: /clear or another message may do.
        Err(error) if !error.is::<std::io::Error>() => writeln!(out, "error: {error:#}")?,
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_messages() {
        assert_eq!(parse("  "), Input::Nothing);
        assert_eq!(parse(" /bye "), Input::Leave);
        assert_eq!(parse("/clear"), Input::Clear);
        assert_eq!(parse("/help"), Input::Help);
        assert_eq!(parse("/nope"), Input::Unknown("/nope".into()));
        assert_eq!(
            parse("/etc/hosts is a file"),
            Input::Message("/etc/hosts is a file".into())
        );
        assert_eq!(parse("  indented"), Input::Message("  indented".into()));
    }

    #[test]
    fn fences_hold_messages_of_several_lines() {
        assert_eq!(
            parse("\"\"\"one line\"\"\""),
            Input::Message("one line".into())
        );
        assert_eq!(parse("\"\"\""), Input::Open(String::new()));
        assert_eq!(parse("\"\"\"first"), Input::Open("first\n".into()));
        assert_eq!(parse("\"\"\"\"\"\""), Input::Nothing);
    }
}
