//! Listening, serving, and stopping without cutting anyone off.

use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use hearth_runtime::{Runtime, Shutdown};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::ServeConfig;
use crate::router::router;
use crate::state::App;

/// How long streams have to send their last event once they have been cut short.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A server that listens.
pub struct Server {
    app: App,
    listener: TcpListener,
}

impl Server {
    /// Binds the address of `config`. Connections wait until [`Self::run`].
    ///
    /// # Errors
    /// Those of binding, the address in the text.
    pub async fn bind(config: ServeConfig, runtime: Arc<Runtime>) -> io::Result<Self> {
        let address = SocketAddr::new(config.host, config.port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })?;
        let app = App::new(runtime, config);
        app.listens_on(listener.local_addr()?);
        Ok(Self { app, listener })
    }

    /// The address in use, with the port that the system chose if it was asked to.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready. From then on no connection is accepted and no inference
    /// admitted; what runs may finish within the grace time, after which it is ended with an error. The
    /// engines are drained before this returns.
    ///
    /// # Errors
    /// Those of accepting connections.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { app, listener } = self;
        let runtime = Arc::clone(&app.runtime);
        tokio::spawn(async move { runtime.preload().await });
        let (tell, told) = oneshot::channel();
        let stop = {
            let app = app.clone();
            async move {
                shutdown.await;
                app.stop();
                tracing::info!("stopping: running requests may finish");
                // Whoever would hear it is gone only when the server is.
                let _ = tell.send(());
            }
        };
        let listener = listener.tap_io(|stream| {
            // Tokens are small; holding them back to fill packets would only delay them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
        });
        let service = router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let serving = axum::serve(listener, service)
            .with_graceful_shutdown(stop)
            .into_future();
        let mut serving = std::pin::pin!(serving);

        let grace = app.settings().grace;
        let out_of_patience = async {
            if told.await.is_ok() {
                tokio::time::sleep(grace).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = &mut serving => ended,
            () = out_of_patience => {
                tracing::warn!(seconds = grace.as_secs_f64(), "the grace time is over; ending what still runs");
                app.runtime.shutdown(Shutdown::Abort).await;
                tokio::time::timeout(LAST_WORDS, serving).await.unwrap_or(Ok(()))
            }
        };
        app.runtime.shutdown(Shutdown::Drain).await;
        ended
    }
}
