//! HTTPS by certificate files, which can be renewed while the server runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::settings::Settings;

/// Why HTTPS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the two files is missing in the settings.
    #[error("HTTPS takes both a certificate and its key: --tls-cert and --tls-key")]
    OnlyOne,
    /// A file has nothing of what it has to have.
    #[error("{}: no {what} in PEM: {source}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it has to have.
        what: &'static str,
        /// Why not.
        source: pem::Error,
    },
    /// Certificate and key cannot be used.
    #[error("{} and its key: {source}", .path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificate in use.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    acceptor: RwLock<TlsAcceptor>,
}

impl Tls {
    /// With the files that `settings` name; `None` where they name none.
    pub fn of(settings: &Settings) -> Result<Option<Self>, TlsError> {
        match (&settings.tls_certificate, &settings.tls_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(Self {
                acceptor: RwLock::new(read(certificate, key)?),
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            _ => Err(TlsError::OnlyOne),
        }
    }

    /// Reads the files again; what they say holds for connections to come.
    pub fn reload(&self) -> Result<(), TlsError> {
        let renewed = read(&self.certificate, &self.key)?;
        *self
            .acceptor
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = renewed;
        Ok(())
    }

    /// Shakes hands.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self
            .acceptor
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone();
        acceptor.accept(stream).await
    }
}

fn read(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let no_pem = |path: &Path, what| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, what, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(no_pem(certificate, "certificate"))?;
    if chain.is_empty() {
        return Err(no_pem(certificate, "certificate")(pem::Error::NoItemsFound));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(no_pem(key, "private key"))?;
    let unusable = |source| TlsError::Unusable {
        path: certificate.to_owned(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    fn settings(certificate: &str, key: &str) -> Settings {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        let file = |name: &str| (!name.is_empty()).then(|| folder.join(name));
        Settings {
            tls_certificate: file(certificate),
            tls_key: file(key),
            ..Settings::default()
        }
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_certificate_is_served() {
        let settings = settings("cert.pem", "key.pem");
        let tls = Tls::of(&settings).expect("a pair").expect("both are given");
        tls.reload().expect("the same pair");
        let mut roots = RootCertStore::empty();
        let certificate = settings.tls_certificate.expect("it is given");
        roots
            .add(CertificateDer::from_pem_file(certificate).expect("PEM"))
            .expect("a certificate");
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let (client, server) = tokio::io::duplex(16 << 10);
        let name = ServerName::try_from("localhost").expect("a name");
        let (server, client) = tokio::join!(tls.accept(server), connector.connect(name, client));
        let (mut server, mut client) =
            (server.expect("hands are shaken"), client.expect("trusted"));
        server.write_all(b"hello").await.expect("it is open");
        server.flush().await.expect("it is open");
        let mut heard = [0; 5];
        client.read_exact(&mut heard).await.expect("it is open");
        assert_eq!(&heard, b"hello");
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        assert!(matches!(Tls::of(&settings("", "")), Ok(None)));
        for (certificate, key, words) in [
            ("cert.pem", "", "--tls-key"),
            ("", "key.pem", "--tls-cert"),
            ("no-such.pem", "key.pem", "no-such.pem"),
            ("key.pem", "key.pem", "no certificate"),
            ("cert.pem", "cert.pem", "no private key"),
        ] {
            let error = match Tls::of(&settings(certificate, key)) {
                Err(error) => error.to_string(),
                Ok(_) => panic!("{certificate} {key}"),
            };
            assert!(error.contains(words), "{error}");
        }
    }
}
