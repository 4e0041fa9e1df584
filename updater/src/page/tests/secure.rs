//! Visitors over TLS.

use super::*;

#[tokio::test]
async fn a_tls_client_gets_a_clean_end() {
    let (_page, serving) = serve();
    let hello = [&[0x16, 3, 1, 2, 0, 1][..], &[0; 512]].concat();
    assert_eq!(exchange(&serving, &hello).await, b"");
}

#[tokio::test]
async fn with_a_certificate_one_port_answers_both_who_speak_tls_and_who_do_not() {
    let (page, serving) = serve();
    let (certificate, key) = made();
    page.speak_tls(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("usable"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for protocols in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
            let stream = secure(&serving, &certificate, version, protocols).await;
            let mut stream = stream.expect("they agree");
            let request = "GET /x HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\n\r\n";
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            // Without a proper farewell, this would be an error.
            stream.read_to_string(&mut answer).await.expect("read to its end");
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            assert!(answer.ends_with("</html>\n") && answer.contains("x-changeover: "));
        }
    }
    let plain = ask(&serving, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(plain.status, 503);
    assert!(page.drained(SOON).await);
}

#[tokio::test]
async fn an_event_stream_goes_by_tls_as_well() {
    let (page, serving) = serve();
    let (certificate, key) = made();
    page.speak_tls(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("usable"));
    let stream = secure(&serving, &certificate, &rustls::version::TLS13, &[]).await;
    let mut stream = stream.expect("they agree");
    let request = "GET /.changeover/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut heard = String::new();
    let mut hear = async |word: &str| {
        while !heard.contains(word) {
            let mut some = [0; 4096];
            let read = timeout(SOON, stream.read(&mut some)).await.expect("soon").expect("read");
            assert!(read > 0, "{heard}");
            heard.push_str(&String::from_utf8_lossy(&some[..read]));
        }
    };
    hear("\"updating\"").await;
    page.publish(sample(Phase::Updated));
    hear("\"updated\"").await;
}

#[tokio::test]
async fn who_speaks_tls_in_a_way_that_we_do_not_is_told_so_by_an_alert() {
    let (page, serving) = serve();
    let (certificate, key) = made();
    page.speak_tls(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("usable"));
    let h2 = secure(&serving, &certificate, &rustls::version::TLS13, &["h2"]).await;
    let error = h2.expect_err("no protocol in common").to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    let hello = [&[0x16, 3, 1, 2, 0, 1][..], &[0; 512]].concat();
    let answer = exchange(&serving, &hello).await;
    assert_eq!(answer.first(), Some(&0x15), "an alert: {answer:?}");
    assert!(page.drained(SOON).await);
}

#[tokio::test]
async fn a_tls_client_that_stops_in_its_handshake_is_cut() {
    let limits = Limits { head: Duration::from_millis(200), ..Limits::default() };
    let (page, serving) = serve_within(limits);
    let (certificate, key) = made();
    page.speak_tls(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("usable"));
    let mut stream = connect(&serving).await;
    stream.write_all(&[0x16, 3, 1]).await.expect("sent");
    let mut rest = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it is closed");
    assert!(page.drained(SOON).await);
}

/// A visitor who trusts this certificate.
async fn secure(
    serving: &Serving,
    certificate: &str,
    version: &'static rustls::SupportedProtocolVersion,
    protocols: &[&str],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes());
    roots.add(certificate.expect("PEM")).expect("a root");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = "localhost".try_into().expect("a name");
    connector.connect(name, connect(serving).await).await
}
