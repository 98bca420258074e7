//! The server's side of TLS: what the files hold, and why a handshake failed.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::TlsSpec;
use crate::source::SourceError;

/// Reads the certificates and the key, and checks that they fit.
pub(super) fn server_config(spec: &TlsSpec) -> Result<Arc<ServerConfig>, SourceError> {
    let failed = |path: &Path, cause: &dyn std::fmt::Display, hint| SourceError::Tls {
        path: path.to_owned(),
        cause: cause.to_string().into(),
        hint,
    };
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&spec.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&spec.key).map_err(|cause| {
        let hint = "the file must be readable and hold a private key in PEM without a passphrase";
        failed(&spec.key, &cause, hint)
    })?;
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| failed(&spec.key, &cause, "this is a mistake of the program"))?;
    let config = match &spec.client_ca {
        None => config.with_no_client_auth(),
        Some(path) => {
            let hint = "the file must hold certificates of authorities in PEM";
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|cause| failed(path, &cause, hint))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|cause| failed(path, &cause, hint))?;
            config.with_client_cert_verifier(verifier)
        }
    };
    let config = config.with_single_cert(chain, key).map_err(|cause| match cause {
        rustls::Error::InconsistentKeys(_) => failed(
            &spec.key,
            &format_args!("it is not the key of `{}`", spec.certificate.display()),
            "the first certificate of the file must be the server's own, made with this key",
        ),
        other => failed(&spec.certificate, &other, "use a certificate of X.509 version 3"),
    })?;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let failed = |cause: String| SourceError::Tls {
        path: path.to_owned(),
        cause: cause.into(),
        hint: "the file must be readable and hold certificates in PEM",
    };
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| failed(cause.to_string()))?;
    if chain.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(chain)
}

/// What to tell of a failure, with a hint where there is one.
pub(super) fn reason(error: &rustls::Error) -> String {
    let hint = match error {
        rustls::Error::NoCertificatesPresented => "; the peer needs a client certificate",
        rustls::Error::InvalidCertificate(_) => {
            "; the peer's certificate must come from an authority in the file of client authorities"
        }
        rustls::Error::InvalidMessage(_) => "; is the peer set to send with TLS?",
        rustls::Error::AlertReceived(_) => "; the peer does not accept this server",
        _ => "",
    };
    format!("TLS failed: {error}{hint}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{
        EVENTS, assert_events, batch, batches_to, connect, listen, loopback, rest, skip, spec,
    };
    use super::super::{LIMITS, Limits, Listen};
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, StreamOwned};
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::path::PathBuf;
    use std::thread;
    use std::time::Duration;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Issuer {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
    }

    /// Certificate and key in PEM.
    fn issue(issuer: &Issuer) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    /// A server's files and the authorities behind them.
    struct Tls {
        folder: tempfile::TempDir,
        spec: TlsSpec,
        servers: Issuer,
        clients: Issuer,
    }

    impl Tls {
        fn new() -> Tls {
            let folder = tempfile::tempdir().expect("a folder");
            let (servers, clients) = (authority(), authority());
            let (certificate, key) = issue(&servers);
            let write = |name: &str, text: &str| {
                let path = folder.path().join(name);
                std::fs::write(&path, text).expect("a file");
                path
            };
            let spec = TlsSpec {
                certificate: write("server.pem", &certificate),
                key: write("server.key", &key),
                client_ca: Some(write("clients.pem", &clients.pem())),
            };
            Tls { folder, spec, servers, clients }
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        }

        fn client(
            &self,
            stream: TcpStream,
            own: Option<(String, String)>,
        ) -> StreamOwned<ClientConnection, TcpStream> {
            let mut roots = RootCertStore::empty();
            roots.add(self.servers.der().clone()).expect("a certificate");
            let provider = Arc::new(ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots);
            let config = match own {
                None => config.with_no_client_auth(),
                Some((certificate, key)) => {
                    let chain = CertificateDer::from_pem_slice(certificate.as_bytes());
                    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                    config
                        .with_client_auth_cert(vec![chain.expect("a certificate")], key)
                        .expect("they fit")
                }
            };
            let name = ServerName::try_from("localhost").expect("a name");
            let session = ClientConnection::new(Arc::new(config), name).expect("a client");
            StreamOwned::new(session, stream)
        }

        fn fails(&self, spec: TlsSpec, path: &Path, words: &str) {
            let error = listen(loopback(), Some(spec)).expect_err("it is of no use");
            let text = error.to_string();
            let start = format!("cannot use `{}` for TLS: ", path.display());
            assert!(text.starts_with(&start) && text.contains("\n  hint: "), "{text}");
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_client_with_the_right_certificate_is_read_and_others_are_refused_with_a_reason() {
        let tls = Tls::new();
        let mut server = listen(loopback(), Some(tls.spec.clone())).expect("the files fit");
        let mut good = tls.client(connect(&server), Some(issue(&tls.clients)));
        good.write_all(EVENTS[0].as_bytes()).expect("the server reads");
        assert_eq!(batch(&mut server).1, EVENTS[0]);

        // Whether the client learns of it in time is not the question.
        let mut none = tls.client(connect(&server), None);
        let _ = none.write_all(EVENTS[1].as_bytes());
        let reason = skip(&mut server);
        assert!(reason.contains("the peer needs a client certificate"), "{reason}");
        let mut other = tls.client(connect(&server), Some(issue(&tls.servers)));
        let _ = other.write_all(EVENTS[1].as_bytes());
        let reason = skip(&mut server);
        assert!(reason.contains("must come from an authority"), "{reason}");
        let mut clear = connect(&server);
        let _ = clear.write_all(EVENTS[1].as_bytes());
        let reason = skip(&mut server);
        assert!(reason.contains("is the peer set to send with TLS?"), "{reason}");
        let mut begun = connect(&server);
        begun.write_all(&[22, 3, 1]).expect("the server reads");
        drop(begun);
        assert!(skip(&mut server).contains("went away during the TLS handshake"));
        // Whoever probes whether the port is open is not worth a word.
        drop(connect(&server));

        good.write_all(EVENTS[2].as_bytes()).expect("the server reads");
        assert_eq!(batch(&mut server).1, EVENTS[2]);
        good.write_all(b"<Event>").expect("the server reads");
        good.conn.send_close_notify();
        good.flush().expect("the server reads");
        assert_eq!(batch(&mut server).1, "<Event>");
        assert!(rest(&mut server).is_empty());
    }

    #[test]
    fn much_over_tls_comes_whole_though_the_peer_is_gone_without_a_farewell() {
        let mut tls = Tls::new();
        tls.spec.client_ca = None;
        let mut server = listen(loopback(), Some(tls.spec.clone())).expect("the files fit");
        let mut client = tls.client(connect(&server), None);
        let events: Vec<String> = (0..50_000).map(|n| format!("{{\"EventID\":{n}}}\n")).collect();
        let text = events.concat();
        let sender = thread::spawn(move || {
            client.write_all(text.as_bytes()).expect("the server reads");
            client.flush().expect("the server reads");
            // The server's tickets are read, or the end would be a reset.
            client.sock.shutdown(Shutdown::Write).expect("the server reads");
            let _ = client.sock.read_to_end(&mut Vec::new());
        });
        let batches = batches_to(&mut server, "{\"EventID\":49999}\n");
        sender.join().expect("the peer sends all");
        assert_events(&batches, &events.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(rest(&mut server).is_empty());
    }

    #[test]
    fn a_handshake_that_takes_too_long_is_cut_off() {
        let tls = Tls::new();
        let limits = Limits { handshake: Duration::from_millis(10), ..LIMITS };
        let spec = spec(loopback(), Some(tls.spec));
        let mut server = Listen::within(limits, &spec).expect("the files fit");
        let mut peer = connect(&server);
        assert!(skip(&mut server).contains("no TLS handshake within 10ms"));
        assert_eq!(peer.read(&mut [0]).expect("no byte was sent"), 0);
    }

    #[test]
    fn a_stop_drains_what_was_sent_over_tls_and_does_not_wait_for_a_handshake() {
        let mut tls = Tls::new();
        tls.spec.client_ca = None;
        let limits = Limits { drain_quiet: Duration::from_secs(1), ..LIMITS };
        let spec = spec(loopback(), Some(tls.spec.clone()));
        let mut server = Listen::within(limits, &spec).expect("the files fit");
        let _silent = connect(&server);
        let mut client = tls.client(connect(&server), None);
        client.write_all(EVENTS[0].as_bytes()).expect("the server reads");
        assert_eq!(batch(&mut server).1, EVENTS[0]);
        let events: Vec<String> = (0..20_000).map(|n| format!("{{\"EventID\":{n}}}\n")).collect();
        client.write_all(events.concat().as_bytes()).expect("the system takes it");
        client.flush().expect("the system takes it");
        assert_events(&rest(&mut server), &events.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn files_that_are_of_no_use_for_tls_are_errors_that_name_them() {
        let tls = Tls::new();
        let spec = || tls.spec.clone();
        let none = tls.folder.path().join("none");
        tls.fails(TlsSpec { certificate: none.clone(), ..spec() }, &none, "certificates in PEM");
        tls.fails(TlsSpec { key: none.clone(), ..spec() }, &none, "a private key in PEM");
        tls.fails(TlsSpec { client_ca: Some(none.clone()), ..spec() }, &none, "in PEM");
        let (_, other) = issue(&tls.servers);
        let other = tls.write("other.key", &other);
        let words = format!("it is not the key of `{}`", tls.spec.certificate.display());
        tls.fails(TlsSpec { key: other.clone(), ..spec() }, &other, &words);
        let empty = tls.write("empty.pem", "");
        tls.fails(TlsSpec { certificate: empty.clone(), ..spec() }, &empty, "no certificate");
        tls.fails(TlsSpec { client_ca: Some(empty.clone()), ..spec() }, &empty, "no certificate");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken = tls.write("broken.pem", broken);
        tls.fails(TlsSpec { certificate: broken.clone(), ..spec() }, &broken, "X.509");
        tls.fails(TlsSpec { client_ca: Some(broken.clone()), ..spec() }, &broken, "authorities");
    }
}
