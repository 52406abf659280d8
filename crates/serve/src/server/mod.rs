//! Listening, serving, and stopping without cutting anyone off.

mod connection;
mod tls;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hearth_runtime::{Runtime, Shutdown};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

pub use tls::TlsError;

use crate::audit::Audit;
use crate::auth::{Auth, AuthError};
use crate::router::router;
use crate::settings::Settings;
use crate::state::App;
use crate::traces::{Traces, TracesError};
use connection::Timed;
use tls::Tls;

/// How long streams have to send their last event once they have been cut short.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long to wait after a connection could not be accepted, as when the system has no files left.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Why a server cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The accounts.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The collector of traces.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The record of who did what.
    #[error("the audit log: {0}")]
    Audit(io::Error),
}

/// A server that listens.
pub struct Server {
    app: App,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
}

/// What can be done to a server while it runs.
#[derive(Clone)]
pub struct Handle {
    app: App,
    tls: Option<Arc<Tls>>,
}

impl Server {
    /// Binds the address of `settings`. Connections wait until [`Self::run`]. Files of the server's own
    /// lie in `home`.
    ///
    /// # Errors
    /// Those of binding, of the accounts' database, of certificates and of the audit log.
    pub async fn bind(
        settings: Settings,
        home: &Path,
        runtime: Arc<Runtime>,
    ) -> Result<Self, StartError> {
        let address = SocketAddr::new(settings.host, settings.port);
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Bind { address, source })?;
        let bound = listener
            .local_addr()
            .map_err(|source| StartError::Bind { address, source })?;
        let tls = Tls::of(&settings)?.map(Arc::new);
        let auth = Auth::open(&settings, home).await?;
        let audit = match Audit::of(&settings, home) {
            Ok(audit) => audit,
            Err(error) if settings.auth => return Err(StartError::Audit(error)),
            // Where nobody is asked who he is, the record would not tell, and a home that cannot be
            // written is no reason to serve nothing.
            Err(error) => {
                tracing::warn!(%error, "no record is kept of who did what");
                Audit::none()
            }
        };
        let traces = Traces::to(settings.traces_endpoint.as_deref())?;
        let app = App::new(runtime, settings, bound, home, auth, audit, traces);
        Ok(Self { app, listener, tls })
    }

    /// The address in use, with the port that the system chose if it was asked to.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Whether it speaks HTTPS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What can be done to it while it runs.
    pub fn handle(&self) -> Handle {
        Handle {
            app: self.app.clone(),
            tls: self.tls.clone(),
        }
    }

    /// Serves until `shutdown` is ready. From then on no connection is accepted and no inference
    /// admitted; what runs may finish within the grace time, after which it is ended with an error. The
    /// engines are drained before this returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { app, listener, tls } = self;
        let settings = app.settings();
        let runtime = Arc::clone(&app.runtime);
        tokio::spawn(runtime.watch());
        tokio::spawn(async move { runtime.preload().await });
        let acceptor = Acceptor {
            router: router(app.clone()),
            app: app.clone(),
            tls,
            places: Arc::new(Semaphore::new(
                settings.max_connections.clamp(1, Semaphore::MAX_PERMITS),
            )),
            graceful: GracefulShutdown::new(),
            builder: builder(&settings),
        };
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = acceptor.accept(&listener) => {}
            }
        }
        drop(listener);
        app.stop();
        tracing::info!("stopping: running requests may finish");
        let mut ended = std::pin::pin!(acceptor.graceful.shutdown());
        if tokio::time::timeout(settings.grace, &mut ended)
            .await
            .is_err()
        {
            tracing::warn!(
                seconds = settings.grace.as_secs_f64(),
                "the grace time is over; ending what still runs"
            );
            app.runtime.shutdown(Shutdown::Abort).await;
            let _ = tokio::time::timeout(LAST_WORDS, ended).await;
        }
        app.runtime.shutdown(Shutdown::Drain).await;
        app.traces.end().await;
        let written = tokio::task::spawn_blocking(move || app.audit.flush()).await;
        if let Err(error) = written {
            tracing::error!(%error, "the audit log may lack its end");
        }
    }
}

impl Handle {
    /// Puts what can change of `new` in force, the certificate's files among it. Gives the keys of settings
    /// that changed, and of those that differ and need a new start.
    pub fn reload(&self, new: &Settings) -> (Vec<&'static str>, Vec<&'static str>) {
        if let Some(tls) = &self.tls
            && let Err(error) = tls.reload()
        {
            tracing::error!(%error, "the certificate stays as it was");
        }
        self.app.reload(new)
    }

    /// A one-time token by which the first administrator registers; `None` where there is one, or nobody
    /// is asked who he is.
    ///
    /// # Errors
    /// Those of the accounts' database.
    pub async fn setup_token(&self) -> Result<Option<String>, AuthError> {
        match self.app.settings().auth {
            true => self.app.auth.setup_token().await,
            false => Ok(None),
        }
    }
}

/// How HTTP is spoken.
fn builder(settings: &Settings) -> Builder<TokioExecutor> {
    /// Longest head of a request, in bytes.
    const LONGEST_HEAD: usize = 64 << 10;
    /// Requests that one connection of HTTP/2 may have in work.
    const STREAMS: u32 = 128;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_buf_size(LONGEST_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(LONGEST_HEAD as u32)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Some(settings.write_timeout))
        .keep_alive_timeout(settings.header_timeout);
    builder
}

/// Accepts connections and serves each on a task of its own.
struct Acceptor {
    app: App,
    router: Router,
    tls: Option<Arc<Tls>>,
    places: Arc<Semaphore>,
    graceful: GracefulShutdown,
    builder: Builder<TokioExecutor>,
}

impl Acceptor {
    async fn accept(&self, listener: &TcpListener) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => self.serve(stream, peer, place),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        // Tokens are small; holding them back to fill packets would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let settings = self.app.settings();
        let stream = Timed::new(stream, settings.header_timeout, settings.write_timeout);
        let open = Open::new(self.app.clone(), place);
        let (builder, watcher) = (self.builder.clone(), self.graceful.watcher());
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            // The router is ready at any time.
            router.clone().call(request)
        });
        let (tls, patience) = (self.tls.clone(), settings.header_timeout);
        tokio::spawn(async move {
            let _open = open;
            let served = match tls {
                None => {
                    let connection =
                        builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                    watcher.watch(connection.into_owned()).await
                }
                Some(tls) => match tokio::time::timeout(patience, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let connection =
                            builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                        watcher.watch(connection.into_owned()).await
                    }
                    Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS"),
                    Err(_elapsed) => return tracing::debug!(%peer, "no TLS in time"),
                },
            };
            if let Err(error) = served {
                tracing::debug!(%peer, %error, "a connection ended");
            }
        });
    }
}

/// A connection's place, and its count in the metrics.
struct Open {
    app: App,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn new(app: App, place: OwnedSemaphorePermit) -> Self {
        app.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self { app, _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.app.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
