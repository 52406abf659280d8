//! `/logs`: the log files, read, tailed and cleared.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error::{ApiError, Errors};
use crate::account_bodies;
use crate::audit::Event;
use crate::caller::Caller;
use crate::family::Family;
use crate::fields::FieldError;
use crate::logs::LogFile;
use crate::problem::{Kind, Problem};
use crate::quantities::datetime;
use crate::route::{Access, Routes};
use crate::state::App;

/// The routes of log files.
pub fn routes() -> Routes {
    use Access::Admin;
    Routes::of(Family::Framework)
        .get("/logs", Admin, "logs", index)
        .get("/logs/{log_file}", Admin, "log_file", show)
        .delete("/logs/{log_file}", Admin, "log_clear", clear)
}

/// Lists the files.
#[utoipa::path(
    get, path = "/logs", tag = "framework", operation_id = "logs",
    responses((status = 200, description = "The log files", body = account_bodies::Logs), Errors)
)]
pub async fn index(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let logs = app.logs.clone().ok_or_else(no_logs)?;
    let folder = logs.folder().display().to_string();
    let files = blocking(move || {
        let files = logs.list()?.into_iter().map(|file| {
            let lines = file.count_lines()?;
            Ok((file, lines))
        });
        files.collect::<std::io::Result<Vec<_>>>()
    })
    .await?;
    let total: u64 = files.iter().map(|(file, _)| file.size).sum();
    let files: Vec<Value> = files
        .iter()
        .map(|(file, lines)| {
            json!({
                "name": file.name,
                "path": file.path.display().to_string(),
                "size_bytes": file.size,
                "size_mb": megabytes(file.size),
                "line_count": lines,
                "last_modified": datetime(file.modified),
                "created": file.created.map(datetime),
            })
        })
        .collect();
    Ok(Json(json!({
        "log_directory": folder,
        "log_level": app.settings().log_level.word(),
        "available_log_files": files,
        "total_log_size_mb": megabytes(total),
    })))
}

/// Sends lines of a file, from its end unless told otherwise.
#[utoipa::path(
    get, path = "/logs/{log_file}", tag = "framework", operation_id = "log_file",
    params(
        ("log_file" = String, Path, description = "Its name", example = "server.log"),
        ("lines" = Option<u32>, Query, description = "How many, 100 unless told otherwise", minimum = 1, maximum = 100000),
        ("from_end" = Option<bool>, Query, description = "The last ones, unless told otherwise"),
    ),
    responses((status = 200, description = "Its lines", body = String, content_type = "text/plain"), Errors)
)]
pub async fn show(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let lines = count(&uri)?.unwrap_or(100);
    let from_end = flag(&uri, "from_end")?.unwrap_or(true);
    let file = find(&app, name).await?;
    let (name, size) = (file.name.clone(), file.size);
    let text = blocking(move || match from_end {
        true => file.tail(lines),
        false => file.head(lines),
    })
    .await?;
    let sent = text.iter().filter(|byte| **byte == b'\n').count();
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    // A log's name has letters, digits, dots and underscores only.
    if let Ok(value) = HeaderValue::try_from(format!("inline; filename={name}")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    headers.insert(
        HeaderName::from_static("x-total-lines"),
        HeaderValue::from(sent),
    );
    headers.insert(
        HeaderName::from_static("x-file-size"),
        HeaderValue::from(size),
    );
    Ok(response)
}

/// Empties a file; one that was set aside is emptied as well.
#[utoipa::path(
    delete, path = "/logs/{log_file}", tag = "framework", operation_id = "log_clear",
    params(("log_file" = String, Path, description = "Its name", example = "server.log")),
    responses((status = 200, description = "It is empty", body = account_bodies::Cleared), Errors)
)]
pub async fn clear(
    State(app): State<App>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let file = find(&app, name).await?;
    let logs = app.logs.clone().ok_or_else(no_logs)?;
    let name = file.name.clone();
    let size = blocking(move || match logs.written(&file.name) {
        Some(written) => written.clear(),
        None => {
            let open = std::fs::File::options().write(true).open(&file.path)?;
            open.set_len(0)?;
            Ok(file.size)
        }
    })
    .await?;
    app.audit.event(
        Event::new("log_cleared")
            .by(&caller)
            .with("file", name.as_str()),
    );
    Ok(Json(json!({
        "success": true,
        "message": format!("Log file {name} cleared successfully"),
        "original_size_bytes": size,
        "original_size_mb": megabytes(size),
    })))
}

/// The file of this name. A name is compared with those that there are and never made a path of.
async fn find(app: &App, name: Result<Path<String>, PathRejection>) -> Result<LogFile, Problem> {
    let missing = |name: &str| {
        Problem::new(
            Kind::NotFound,
            format!("there is no log file '{}'", name.escape_debug()),
        )
    };
    let Ok(Path(name)) = name else {
        return Err(missing(""));
    };
    let logs = app.logs.clone().ok_or_else(no_logs)?;
    let files = blocking(move || logs.list()).await?;
    files
        .into_iter()
        .find(|file| file.name == name)
        .ok_or_else(|| missing(&name))
}

/// The answer of a server whose home cannot be written.
fn no_logs() -> Problem {
    Problem::new(Kind::NotFound, "this server writes no log files")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a log file");
        Problem::new(Kind::Internal, "the log file cannot be read or written")
    };
    match done {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// The query parameter `name`, undecoded: the values here have no letters that need it.
fn parameter<'u>(uri: &'u Uri, name: &str) -> Option<&'u str> {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(own, _)| *own == name)
        .map(|(_, value)| value)
}

fn count(uri: &Uri) -> Result<Option<usize>, FieldError> {
    const MOST: i64 = 100_000;
    let Some(text) = parameter(uri, "lines") else {
        return Ok(None);
    };
    let wrong = |_| FieldError::wrong_type("lines", "a whole number", &json!(text));
    let number: i64 = text.parse().map_err(wrong)?;
    match usize::try_from(number) {
        Ok(count @ 1..) if number <= MOST => Ok(Some(count)),
        _ => Err(FieldError::invalid(
            "lines",
            format!("a number from 1 to {MOST}"),
            &json!(number),
        )),
    }
}

fn flag(uri: &Uri, name: &str) -> Result<Option<bool>, FieldError> {
    match parameter(uri, name) {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(other) => Err(FieldError::wrong_type(name, "true or false", &json!(other))),
    }
}

/// Bytes in binary megabytes with one decimal.
fn megabytes(bytes: u64) -> f64 {
    (bytes as f64 / f64::from(1 << 20) * 10.0).round() / 10.0
}
