//! One route of axum with nothing around it, for `bench/overhead.py` to measure the server against:
//! `bare PATH BODY` answers `BODY` at `PATH`, on a port that the system chooses and that it prints.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(body)) = (arguments.next(), arguments.next()) else {
        return Err(std::io::Error::other("bare PATH BODY"));
    };
    let answer = get(async || ([(CONTENT_TYPE, "application/json")], body));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, Router::new().route(&path, answer)).await
}
